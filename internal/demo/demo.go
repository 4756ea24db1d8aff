// Package demo is the guided tour: a local control plane, a Git repository
// with the sample's two systems, the daemon as a process of its own, and eight
// steps that show what the daemon is for. It guarantees that a step is told as
// it came out: each one asks the cluster and the repository, never what the
// daemon was told to do; that every wait ends; and that nothing which it
// started outlives it.
package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

// Options say what to show, and where.
type Options struct {
	Repo       string    // working tree with base/, overlays/, environments/ and policies/; "" is "."
	Dir        string    // for everything the demo makes: new or empty; "" is a new temporary one
	Keep       bool      // leave Dir there
	Exit       bool      // end after the last step instead of staying up
	Executable string    // chaperone itself, which runs the daemon; "" is this program
	Cluster    string    // program of the local cluster; "" finds or builds it
	Environ    []string  // of the processes that are started
	Tour       io.Writer // what people read; nil is nowhere
	Progress   io.Writer // what goes on meanwhile; nil is nowhere
	Colour     bool      // in Tour
}

// Result is how the steps came out. It always holds all of them.
type Result struct {
	Steps []Step `json:"steps"`
}

// Step is one of them.
type Step struct {
	Name   string        `json:"name"`
	OK     bool          `json:"ok"`
	Detail string        `json:"detail"` // what was seen
	Took   time.Duration `json:"-"`
}

// OK reports whether every step came out as told.
func (r Result) OK() bool {
	for _, step := range r.Steps {
		if !step.OK {
			return false
		}
	}
	return len(r.Steps) > 0
}

// cleanupWait bounds what is done at the end, whoever asked for it.
const cleanupWait = 40 * time.Second

// Run plays the demo. The error is about what the steps need, or says that the
// demo was interrupted; how the steps came out is in the result, also beside
// an error.
func Run(ctx context.Context, options Options) (Result, error) {
	d := &demo{Options: options, began: time.Now()}
	d.fillIn()
	scenes := script()
	var result Result
	err := d.prepare(ctx)
	if err != nil {
		result = notRun(scenes, "not run: "+firstLine(err.Error()))
	} else {
		result = d.play(ctx, scenes)
		if ctx.Err() == nil && !d.Exit {
			err = d.stay(ctx, result)
		}
	}
	if ctx.Err() != nil && !d.staying {
		err = fmt.Errorf("demo: interrupted: %w", ctx.Err())
	}
	ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupWait)
	defer cancel()
	return result, errors.Join(err, d.end(ending))
}

// demo is one run. What was started is ended in the reverse order.
type demo struct {
	Options
	began   time.Time
	staying bool // every step was played, and what came after is up to the user

	place  layout
	tour   *tour
	report *progress

	cluster *controlPlane
	daemon  *daemon
	source  *repository
	kube    *kube
	endings []func(context.Context) error
}

func (d *demo) fillIn() {
	if d.Repo == "" {
		d.Repo = "."
	}
	if d.Environ == nil {
		d.Environ = os.Environ()
	}
	if d.Tour == nil {
		d.Tour = io.Discard
	}
	if d.Progress == nil {
		d.Progress = io.Discard
	}
	d.tour = &tour{w: d.Tour, colour: d.Colour}
	d.report = &progress{w: d.Progress, began: d.began, phases: map[string]string{}}
}

// later says what is to be done at the end.
func (d *demo) later(end func(context.Context) error) { d.endings = append(d.endings, end) }

func (d *demo) end(ctx context.Context) error {
	var problems []error
	for i := len(d.endings) - 1; i >= 0; i-- {
		problems = append(problems, d.endings[i](ctx))
	}
	d.endings = nil
	return errors.Join(problems...)
}

// prepare brings up everything that the steps are played on.
func (d *demo) prepare(ctx context.Context) error {
	for _, part := range []func(context.Context) error{
		d.makeDirectory, d.makeSource, d.startCluster, d.installChaperone, d.startDaemon,
	} {
		if err := part(ctx); err != nil {
			return fmt.Errorf("demo: %w", err)
		}
	}
	d.welcome()
	return nil
}

// play goes through the steps. After one that did not come out, the others
// would only tell of the same: they are not played.
func (d *demo) play(ctx context.Context, scenes []scene) Result {
	result := notRun(scenes, "")
	failed := ""
	for i, s := range scenes {
		step := &result.Steps[i]
		if failed != "" {
			step.Detail = "not run: " + failed
			continue
		}
		d.tour.heading(i+1, len(result.Steps), s.title, s.story)
		d.report.say("step %d of %d: %s", i+1, len(result.Steps), s.name)
		began := time.Now()
		detail, err := s.play(d, ctx)
		step.OK, step.Detail, step.Took = err == nil, detail, time.Since(began)
		if err != nil {
			step.Detail = strings.TrimSpace(err.Error())
			failed = fmt.Sprintf("%q did not come out", s.name)
			if ctx.Err() != nil {
				failed = "interrupted"
			}
		}
		d.tour.outcome(*step)
		d.report.say("step %d of %d: %s after %s", i+1, len(result.Steps), okWord(step.OK), step.Took.Round(100*time.Millisecond))
		if err == nil {
			d.show(ctx, s.look...)
		}
	}
	return result
}

func okWord(ok bool) string {
	if ok {
		return "as told"
	}
	return "not as told"
}

// notRun is the result before anything was played.
func notRun(scenes []scene, why string) Result {
	var result Result
	for _, s := range scenes {
		result.Steps = append(result.Steps, Step{Name: s.name, Detail: why})
	}
	return result
}

func firstLine(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	return line
}
