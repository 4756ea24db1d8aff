package verify

import (
	"context"
	"fmt"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"chaperone.dev/chaperone/internal/fault"
	"chaperone.dev/chaperone/internal/health"
	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/promotion"
)

// Jobs are how smoke tests are run.
type Jobs interface {
	// Begin makes the Job of a check, unless it was made before for this very
	// verification, and returns its UID. It may be repeated.
	Begin(ctx context.Context, check promotion.JobCheck) (uid string, err error)
	// Look reads that Job; nil is that it is gone.
	Look(ctx context.Context, check promotion.JobCheck, uid string) (*manifest.Object, error)
	// Log is the last lines that its newest pod wrote, with every secret taken out,
	// or why there are none.
	Log(ctx context.Context, check promotion.JobCheck, uid string) string
}

// jobPatience is how long a Job may be late to say that its own time is over.
const jobPatience = 30 * time.Second

func (v *Verifier) jobCheck(c promotion.JobCheck, jobs Jobs) Check {
	return Check{Name: c.Name, Within: c.Timeout + jobPatience, Ask: func(ctx context.Context) (Result, error) { return v.job(ctx, c, jobs) }}
}

// job runs a smoke test. It passes when its Job was seen to complete, and fails
// when it was seen to fail. A Job that is gone before that tells nothing, whoever
// deleted it (pitfall 26); neither does one whose pod never came to run.
func (v *Verifier) job(ctx context.Context, check promotion.JobCheck, jobs Jobs) (Result, error) {
	r := run{check: check, jobs: jobs, started: v.clock.Now()}
	if jobs == nil {
		return r.end(v, Error, "could not be run: nobody runs Jobs here"), nil
	}
	for {
		verdict, evidence := r.look(ctx, v.clock.Now())
		if err := ctx.Err(); err != nil {
			return Result{}, cancelled(err)
		}
		if verdict != "" {
			result := r.end(v, verdict, evidence)
			if r.uid != "" && verdict != Pass {
				asked, cancel := context.WithTimeout(ctx, whyWithin)
				result.Log = jobs.Log(asked, check, r.uid)
				cancel()
			}
			if err := ctx.Err(); err != nil {
				return Result{}, cancelled(err)
			}
			return result, nil
		}
		if err := v.clock.Wait(ctx, v.poll); err != nil {
			return Result{}, cancelled(err)
		}
	}
}

// run is one smoke test under way.
type run struct {
	check   promotion.JobCheck
	jobs    Jobs
	started time.Time
	uid     string
	ran     bool  // a pod of it was seen to run, or to end
	err     error // of the last look
}

func (r *run) look(ctx context.Context, now time.Time) (Verdict, string) {
	late := now.Sub(r.started) >= r.check.Timeout+jobPatience
	if r.uid == "" {
		uid, err := r.jobs.Begin(ctx, r.check)
		if err != nil {
			if late || fault.IsTerminal(err) {
				return Error, "could not be run: " + brief(err)
			}
			return "", ""
		}
		r.uid = uid
	}
	o, err := r.jobs.Look(ctx, r.check, r.uid)
	switch {
	case err != nil:
		if r.err = err; late {
			return Error, "cannot be judged: its Job could not be read: " + brief(err)
		}
		return "", ""
	case o == nil:
		return Error, "cannot be judged: its Job is gone before its result was seen"
	}
	return r.judge(o, now, late)
}

func (r *run) judge(o *manifest.Object, now time.Time, late bool) (Verdict, string) {
	judged := health.Of(o)
	r.ran = r.ran || cameToRun(o)
	after := " after " + health.Span(now.Sub(r.started))
	switch {
	case judged.State == health.Current && judged.Definitive:
		return Pass, judged.Message + after
	case judged.State == health.Failed && judged.Definitive && r.ran:
		return Fail, judged.Message + after
	case judged.State == health.Failed && judged.Definitive:
		return Error, "cannot be judged: no pod of it came to run; it " + judged.Message
	case judged.State == health.Terminating:
		return Error, "cannot be judged: its Job was deleted before it ended"
	case late:
		return Error, "cannot be judged: its Job " + judged.Message + after
	}
	return "", ""
}

// cameToRun reports whether a pod was ready once, or has ended by itself. Those
// that are taken away when the Job's time is over count as failed, too.
func cameToRun(o *manifest.Object) bool {
	for _, count := range []string{"ready", "succeeded", "failed"} {
		n, _, _ := unstructured.NestedInt64(o.Object, "status", count)
		if n > 0 && (count != "failed" || !outOfTime(o)) {
			return true
		}
	}
	return false
}

// outOfTime is said a moment before the Job is said to have failed.
func outOfTime(o *manifest.Object) bool {
	conditions, _, _ := unstructured.NestedSlice(o.Object, "status", "conditions")
	return slices.ContainsFunc(conditions, func(c any) bool {
		condition, _ := c.(map[string]any)
		return condition["reason"] == "DeadlineExceeded"
	})
}

func (r *run) end(v *Verifier, verdict Verdict, evidence string) Result {
	return Result{Verdict: verdict, Check: r.check.Name, Started: r.started, Ended: v.clock.Now(),
		Evidence: fmt.Sprintf("job %q %s", r.check.Name, evidence)}
}
