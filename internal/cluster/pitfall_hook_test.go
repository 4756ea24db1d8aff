package cluster

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"chaperone.dev/chaperone/internal/fault"
	"chaperone.dev/chaperone/internal/plan"
)

// runs counts the Jobs that there are in the fixture's namespace until the
// returned function is called.
func (f *fixture) runs() func() int {
	f.Helper()
	watch, err := f.local.Client().BatchV1().Jobs(f.owner.Namespace).Watch(f.Context(), metav1.ListOptions{})
	if err != nil {
		f.Fatal(err)
	}
	counted := make(chan int)
	go func() {
		seen := map[types.UID]bool{}
		for event := range watch.ResultChan() {
			if o, isObject := event.Object.(metav1.Object); isObject {
				seen[o.GetUID()] = true
			}
		}
		counted <- len(seen)
	}()
	return func() int {
		watch.Stop()
		return <-counted
	}
}

func leavingHook(image string) string {
	return strings.Replace(hook("migrate", "pre-deploy", image), "backoffLimit: 0", "backoffLimit: 0\n  ttlSecondsAfterFinished: 0", 1)
}

// A Job that leaves as soon as it has finished is gone before it was looked at
// (argo-cd#23994, #23719): a migration ran again at each try, and the failure of
// one was never seen.
func TestPitfall26_HookThatWouldLeaveAtOnceRunsOnce(t *testing.T) {
	t.Parallel()
	for name, image := range map[string]string{"completes": "registry.local/migrate:1", "fails": "registry.local/migrate:job-fail"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			set := f.set(leavingHook(image), deployment("api", "registry.local/api:1", "replicas: 0"))
			runs := f.runs()
			_, err := f.c.Apply(t.Context(), f.owner, f.plan(set), nil)
			if fails := name == "fails"; (err != nil) != fails || fails && (!fault.IsTerminal(err) || !strings.Contains(err.Error(), "the Job failed")) {
				t.Errorf("apply: %v", err)
			}
			if err == nil {
				if p := f.plan(set); !p.Quiet() {
					t.Errorf("plan afterwards: %v", p.Changes)
				}
			}
			if n := runs(); n != 1 {
				t.Errorf("the migration ran %d times, want once", n)
			}
		})
	}
}

// A hook that was deleted while it ran may have done its work or not
// (argo-cd#23719, kc#1578): it neither counts as passed, nor runs again before a
// person has changed it, whatever is restored or restarted in between.
func TestPitfall26_HookThatIsGoneWithoutAResultIsNotRunAgain(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	good := f.set(configMap("settings", "a", "b"))
	f.release(good)
	text := hook("migrate", "pre-deploy", "registry.local/migrate:slow-60000ms")
	set := f.set(text, configMap("settings", "a", "b"))
	runs := f.runs()
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	go func() {
		for ctx.Err() == nil && f.c.dynamic.Resource(gvrs["Job"]).Namespace(f.owner.Namespace).Delete(ctx, "migrate", deleteNow) != nil {
			time.Sleep(20 * time.Millisecond)
		}
	}()
	_, err := f.c.Apply(ctx, f.owner, f.plan(set), nil)
	var told *fault.Error
	if !fault.IsTerminal(err) || !errors.As(err, &told) || told.Op == "hook" || !strings.Contains(err.Error(), "migrate") {
		t.Fatalf("apply: %v, want a terminal error that is no verdict of the hook", err)
	}
	refused := func(when string) {
		t.Helper()
		var refusal *plan.Refusal
		if _, err := f.with(Options{}).c.Plan(t.Context(), f.owner, set); !errors.As(err, &refusal) || !strings.Contains(err.Error(), "Job.batch/"+f.owner.Namespace+"/migrate") {
			t.Errorf("plan %s: %v, want it refused until a person has looked", when, err)
		}
	}
	refused("afterwards")
	restoring := *f
	restoring.owner.Restoring = true
	restoring.release(good)
	restoring.prune(good)
	refused("after last good was restored")
	if n := runs(); n != 1 {
		t.Errorf("the migration ran %d times, want once", n)
	}
	again := f.set(strings.Replace(text, "pre-deploy", "pre-deploy, example.org/run: again", 1), configMap("settings", "a", "b"))
	if p := f.plan(again); len(p.Applies()) != 1 || p.Applies()[0].Action != plan.Create {
		t.Errorf("plan with the hook changed: %v, want it to run", p.Changes)
	}
}
