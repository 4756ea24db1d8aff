// Package behavior says how the containers of the local cluster behave.
//
// A behaviour is chosen by the pod's annotation or else by each container's image tag, so that
// "a new version that is broken" is nothing but a new tag. A tag that names no behaviour is
// healthy: any real image reference works.
package behavior

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Annotation on a pod chooses the behaviour of all its containers, whatever their images say.
const Annotation = "local.chaperone.dev/behavior"

// Kind is what a container does.
type Kind string

const (
	Healthy      Kind = "healthy"
	NeverReady   Kind = "never-ready"
	CrashLoop    Kind = "crash-loop"
	ImageMissing Kind = "image-missing"
	Errors       Kind = "errors"
	Slow         Kind = "slow"
	FailsAfter   Kind = "fails-after"
	JobFail      Kind = "job-fail"
	OOMLoop      Kind = "oom-loop"
	Exit         Kind = "exit"
	Restarts     Kind = "restarts"
	OOM          Kind = "oom"
)

// MaxDelay, MaxLife and MaxTimes bound what a tag can ask for, so that nothing waits for ever.
const (
	MaxDelay = 10 * time.Minute
	MaxLife  = 24 * time.Hour
	MaxTimes = 1000
)

// outOfMemory is the exit code of what the kernel kills.
const outOfMemory = 137

// Behavior is one container's.
type Behavior struct {
	Kind    Kind
	Percent int           // Errors: this share of the answers is a 500
	Delay   time.Duration // Slow: before each answer
	After   time.Duration // FailsAfter: since the container's start
	Code    int32         // Exit: its exit code, never 0
	Times   int32         // Restarts, OOM: so often it ends, and then stays up
}

// String is the token that Parse reads.
func (b Behavior) String() string {
	switch b.Kind {
	case Errors:
		return fmt.Sprintf("errors-%d", b.Percent)
	case Slow:
		return fmt.Sprintf("slow-%dms", b.Delay.Milliseconds())
	case FailsAfter:
		return fmt.Sprintf("fails-after-%ds", int64(b.After.Seconds()))
	case Exit:
		return fmt.Sprintf("exit-%d", b.Code)
	case Restarts, OOM:
		return fmt.Sprintf("%s-%d", b.Kind, b.Times)
	}
	return string(b.Kind)
}

// Help describes every behaviour: one line each, token first.
func Help() []string {
	return []string{
		"healthy            ready soon, answers 200; a Job's pod completes (also: any tag that names no behaviour)",
		"never-ready        runs, but its readiness never comes; a Job's pod never ends",
		"crash-loop         CrashLoopBackOff, restarts counted; a Job's pod fails",
		"image-missing      ErrImagePull, then ImagePullBackOff",
		"errors-NN          ready, but NN % of the answers are 500, evenly spread",
		"slow-NNNms         ready, every answer delayed; a Job's pod takes that much longer",
		"fails-after-NNs    answers 200 for NN seconds after its start and 500 from then on, ready all the while",
		"job-fail           a Job's pod exits 1; elsewhere a crash loop",
		"exit-NN            like job-fail, by this exit code",
		"oom-loop           like crash-loop, killed each time for using too much memory",
		"restarts-NN        becomes ready, exits 1 soon after, and so NN times; then it stays up",
		"oom-NN             the same, killed each time for using too much memory",
	}
}

// Of is the behaviour of one container of a pod.
func Of(annotations map[string]string, image string) Behavior {
	if token, ok := annotations[Annotation]; ok {
		b, _ := Parse(token)
		return b
	}
	b, _ := Parse(Tag(image))
	return b
}

// Tag is the tag of an image reference, "" without one. A digest behind it is ignored.
func Tag(image string) string {
	image, _, _ = strings.Cut(image, "@")
	if i := strings.LastIndexByte(image, '/'); i >= 0 {
		image = image[i+1:] // a registry's port is no tag
	}
	_, tag, _ := strings.Cut(image, ":")
	return tag
}

// Parse reads a behaviour out of a tag: the whole of it, a part between underscores, or what
// follows a dash at its end ("1.4.2-errors-100"). The last one wins; ok is false and the
// behaviour healthy where there is none.
func Parse(tag string) (b Behavior, ok bool) {
	parts := strings.Split(tag, "_")
	for i := len(parts) - 1; i >= 0; i-- {
		if b, ok := parseSuffix(parts[i]); ok {
			return b, true
		}
	}
	return Behavior{Kind: Healthy}, false
}

// parseSuffix prefers the longest suffix: "x-fails-after-3s" holds no other token.
func parseSuffix(part string) (Behavior, bool) {
	for rest := part; ; {
		if b, ok := parseToken(rest); ok {
			return b, true
		}
		i := strings.IndexByte(rest, '-')
		if i < 0 {
			return Behavior{}, false
		}
		rest = rest[i+1:]
	}
}

func parseToken(token string) (Behavior, bool) {
	switch kind := Kind(token); kind {
	case Healthy, NeverReady, CrashLoop, ImageMissing, JobFail, OOMLoop:
		return Behavior{Kind: kind}, true
	}
	if n, ok := number(token, "errors-", ""); ok && n <= 100 {
		return Behavior{Kind: Errors, Percent: int(n)}, true
	}
	if n, ok := number(token, "slow-", "ms"); ok && n <= MaxDelay.Milliseconds() {
		return Behavior{Kind: Slow, Delay: time.Duration(n) * time.Millisecond}, true
	}
	if n, ok := number(token, "fails-after-", "s"); ok && n <= int64(MaxLife.Seconds()) {
		return Behavior{Kind: FailsAfter, After: time.Duration(n) * time.Second}, true
	}
	if n, ok := number(token, "exit-", ""); ok && n > 0 && n < 256 {
		return Behavior{Kind: Exit, Code: int32(n)}, true
	}
	for _, kind := range []Kind{Restarts, OOM} {
		if n, ok := number(token, string(kind)+"-", ""); ok && n <= MaxTimes {
			return Behavior{Kind: kind, Times: int32(n)}, true
		}
	}
	return Behavior{}, false
}

func number(token, prefix, unit string) (int64, bool) {
	digits, ok := strings.CutPrefix(token, prefix)
	if !ok {
		return 0, false
	}
	if digits, ok = strings.CutSuffix(digits, unit); !ok {
		return 0, false
	}
	n, err := strconv.ParseUint(digits, 10, 31)
	return int64(n), err == nil
}

// FailsRequest says whether the nth request (from 1) of a container that began at start is
// answered with an error. Errors are spread evenly, so that every long enough row of requests
// shows the share exactly.
func (b Behavior) FailsRequest(n uint64, start, now time.Time) bool {
	switch b.Kind {
	case Errors:
		share := uint64(b.Percent)
		return n*share/100 > (n-1)*share/100
	case FailsAfter:
		return !now.Before(start.Add(b.After))
	}
	return false
}

// Exits says that the container ends with an error by itself, each time.
func (b Behavior) Exits() bool {
	return b.Kind == CrashLoop || b.Kind == JobFail || b.Kind == OOMLoop || b.Kind == Exit
}

// Stumbles says that the container ends once more, having been started again that often.
func (b Behavior) Stumbles(restarts int32) bool { return restarts < b.Times }

// ExitCode is that of an end by itself.
func (b Behavior) ExitCode() int32 {
	switch b.Kind {
	case OOMLoop, OOM:
		return outOfMemory
	case Exit:
		return b.Code
	}
	return 1
}

// ExitReason is what a kubelet calls such an end.
func (b Behavior) ExitReason() string {
	if b.Kind == OOMLoop || b.Kind == OOM {
		return "OOMKilled"
	}
	return "Error"
}
