package cluster

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"chaperone.dev/chaperone/internal/fault"
	"chaperone.dev/chaperone/internal/plan"
)

func hook(name, stage, image string) string {
	return fmt.Sprintf(`apiVersion: batch/v1
kind: Job
metadata: {name: %s, annotations: {chaperone.dev/hook: %s}}
spec:
  backoffLimit: 0
  template:
    spec:
      restartPolicy: Never
      containers: [{name: run, image: %s}]
`, name, stage, image)
}

func TestHooksRunInTheirStageAndOnce(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	set := f.set(hook("migrate", "pre-deploy", "registry.local/migrate:1"), hook("smoke", "post-deploy", "registry.local/smoke:1"),
		hook("undo", "rollback", "registry.local/undo:1"), configMap("settings", "a", "b"), deployment("api", "registry.local/api:1", "replicas: 0"))
	var order []string
	_, err := f.c.Apply(t.Context(), f.owner, f.plan(set), func(c plan.Change, err error) {
		order = append(order, c.ID.Name)
		if c.ID.Name == "api" {
			if state, _ := plan.StateOf(f.live("Job", "migrate")); state != plan.JobComplete {
				t.Error("the workload was applied before its migration was complete")
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := strings.Join(order, " "), "settings migrate api smoke"; got != want {
		t.Errorf("applied %q, want %q", got, want)
	}
	if state, _ := plan.StateOf(f.live("Job", "smoke")); state != plan.JobComplete {
		t.Error("Apply returned before the post-deploy hook was complete")
	}
	before := f.live("Job", "migrate").GetUID()
	if p := f.plan(set); !p.Quiet() {
		t.Errorf("plan after the hooks ran: %v, want nothing to do", p.Changes)
	}
	// A Job with a time to live goes by itself, and does not run again for it.
	if err := f.c.dynamic.Resource(gvrs["Job"]).Namespace(f.owner.Namespace).Delete(t.Context(), "smoke", deleteNow); err != nil {
		t.Fatal(err)
	}
	if p := f.plan(set); !p.Quiet() {
		t.Errorf("plan after a hook is gone: %v, want nothing to do", p.Changes)
	}
	// Another image is another migration.
	next := f.set(hook("migrate", "pre-deploy", "registry.local/migrate:2"), configMap("settings", "a", "b"))
	if p := f.plan(next); len(p.Applies()) != 1 || p.Applies()[0].Action != plan.Replace || p.Applies()[0].Reason != plan.ReasonImmutable {
		t.Fatalf("plan with a changed hook: %v, want it replaced", p.Changes)
	}
	f.release(next)
	if after := f.live("Job", "migrate").GetUID(); after == before {
		t.Error("the hook was not run again")
	}
}

func TestFailedHookEndsTheRelease(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	set := f.set(hook("migrate", "pre-deploy", "registry.local/migrate:job-fail"), deployment("api", "registry.local/api:1", "replicas: 0"))
	_, err := f.c.Apply(t.Context(), f.owner, f.plan(set), nil)
	if err == nil || !fault.IsTerminal(err) || !strings.Contains(err.Error(), "Job.batch/"+f.owner.Namespace+"/migrate: hook: the Job failed") {
		t.Fatalf("apply: %v, want a terminal error that names the hook", err)
	}
	f.exists("Deployment", "api", false)
	// When a person asks for it again, it is run again.
	p := f.plan(set)
	if p.Changes[0].Action != plan.Replace || p.Changes[0].Reason != plan.ReasonHookFailed {
		t.Errorf("plan after a failed hook: %v, want it to run again", p.Changes)
	}
	// Restoring does not run hooks, and drift is not about them.
	if drift, err := f.drifted(f.set(hook("migrate", "pre-deploy", "registry.local/migrate:job-fail"))); err != nil || len(drift) > 0 {
		t.Errorf("drift: %v, %v; want none", drift, err)
	}
	restoring := *f
	restoring.owner.Restoring = true
	restoring.release(f.set(hook("migrate", "pre-deploy", "registry.local/migrate:0"), deployment("api", "registry.local/api:0", "replicas: 0")))
	f.exists("Deployment", "api", true)
	if image, _, _ := unstructured.NestedSlice(f.live("Job", "migrate").Object, "spec", "template", "spec", "containers"); !strings.Contains(fmt.Sprint(image), "job-fail") {
		t.Errorf("a restore ran the old migration: %v", image)
	}
}

func TestHookThatIsRejectedIsNotDeletedFirst(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.release(f.set(hook("migrate", "pre-deploy", "registry.local/migrate:1")))
	bad := strings.Replace(hook("migrate", "pre-deploy", "registry.local/migrate:2"), "restartPolicy: Never", "restartPolicy: Sometimes", 1)
	_, err := f.c.Plan(t.Context(), f.owner, f.set(bad))
	var rejected *plan.Rejected
	if !errors.As(err, &rejected) || !strings.Contains(err.Error(), "Sometimes") {
		t.Errorf("plan: %v, want the reason why the new hook is not acceptable", err)
	}
	f.exists("Job", "migrate", true)
}

func TestHookIsAwaitedAfterARestart(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	set := f.set(hook("migrate", "pre-deploy", "registry.local/migrate:slow-3000ms"), deployment("api", "registry.local/api:1", "replicas: 0"))
	// The daemon is stopped while the migration runs…
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	jobs := f.local.Client().BatchV1().Jobs(f.owner.Namespace)
	go func() {
		for ctx.Err() == nil {
			if _, err := jobs.Get(ctx, "migrate", metav1.GetOptions{}); err == nil {
				stop()
			}
			time.Sleep(20 * time.Millisecond)
		}
	}()
	if _, err := f.c.Apply(ctx, f.owner, f.plan(set), nil); err == nil {
		t.Fatal("the apply ended well though the daemon was stopped in the middle of the migration")
	}
	f.exists("Deployment", "api", false)
	uid := f.live("Job", "migrate").GetUID()
	f.release(set) // …and started again
	f.exists("Deployment", "api", true)
	if state, _ := plan.StateOf(f.live("Job", "migrate")); state != plan.JobComplete {
		t.Error("the workload was applied while its migration ran")
	}
	if f.live("Job", "migrate").GetUID() != uid {
		t.Error("the migration was run a second time")
	}
}

func TestNamespaceComesWithTheRelease(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	space := f.owner.Namespace + "-new"
	f.owner.Namespace = space
	text := "apiVersion: v1\nkind: Namespace\nmetadata: {name: " + space + "}"
	t.Cleanup(func() {
		_ = f.local.Client().CoreV1().Namespaces().Delete(context.Background(), space, deleteNow)
	})
	set := f.set(text, configMap("settings", "a", "b"), deployment("api", "registry.local/api:1", "replicas: 0"))
	_, err := f.c.Plan(t.Context(), f.owner, set)
	var refusal *plan.Refusal
	if !errors.As(err, &refusal) || !strings.Contains(err.Error(), `add "Namespace/`+space+`" to target.allow`) {
		t.Fatalf("plan: %v, want the Namespace refused as outside the target", err)
	}
	f.owner.Allow = append(f.owner.Allow, namespaceAllowed(space))
	p := f.plan(set)
	staged := 0
	for _, c := range p.Changes {
		if c.Staged {
			staged++
		}
	}
	if staged != 2 {
		t.Errorf("plan has %d staged changes, want 2: %v", staged, p.Changes)
	}
	// What can be tried only later still stops the release before workloads.
	_, err = f.c.Apply(t.Context(), f.owner, f.plan(f.set(text, configMap("settings", "a", "b"), deployment("api", "registry.local/api:1", "replicas: -1"))), nil)
	var rejected *plan.Rejected
	if !errors.As(err, &rejected) || !rejected.Touched || len(rejected.Objects) != 1 {
		t.Fatalf("apply: %v, want the Deployment rejected after the Namespace was made", err)
	}
	f.exists("ConfigMap", "settings", false)
	f.release(set)
	f.exists("ConfigMap", "settings", true)
	if p := f.plan(set); !p.Quiet() {
		t.Errorf("second plan: %v, want nothing to do", p.Changes)
	}
}

// A migration that ran under the former name does not run again under the new
// one: neither one that is there, nor one that has left.
func TestPitfall09_RenameRunsNoHookAgain(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	set := f.set(hook("migrate", "pre-deploy", "registry.local/migrate:1"), hook("seed", "pre-deploy", "registry.local/seed:1"), configMap("settings", "a", "b"))
	f.release(set)
	if err := f.c.dynamic.Resource(gvrs["Job"]).Namespace(f.owner.Namespace).Delete(t.Context(), "seed", deleteNow); err != nil {
		t.Fatal(err)
	}
	uid := f.live("Job", "migrate").GetUID()
	n := f.renamed("store", "live")
	n.release(set)
	n.prune(set)
	n.exists("Job", "seed", false)
	if o := n.live("Job", "migrate"); o.GetUID() != uid || !n.owner.plan().Marked(o) {
		t.Errorf("the hook that was there has UID %s, had %s; marks %v", o.GetUID(), uid, o.GetAnnotations())
	}
	n.owner.Formerly = nil
	if p := n.plan(set); !p.Quiet() {
		t.Errorf("plan without the former name: %v, want nothing to do", p.Changes)
	}
	if err := n.c.dynamic.Resource(gvrs["Job"]).Namespace(f.owner.Namespace).Delete(t.Context(), "migrate", deleteNow); err != nil {
		t.Fatal(err)
	}
	if p := n.plan(set); !p.Quiet() {
		t.Errorf("plan after the other is gone too: %v, want nothing to do", p.Changes)
	}
}

// What a failed hook wrote goes with its error, and is not told by it.
func TestFailedHookBringsItsLog(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.owner.LogLines = 5
	set := f.set(hook("migrate", "pre-deploy", "registry.local/migrate:job-fail"), configMap("settings", "a", "b"))
	_, err := f.c.Apply(t.Context(), f.owner, f.plan(set), nil)
	var wrote *HookLog
	if !errors.As(err, &wrote) || !strings.HasPrefix(wrote.Log, "migrate:\n") || strings.Contains(err.Error(), wrote.Log) || !fault.IsTerminal(err) {
		t.Errorf("got %v with %+v", err, wrote)
	}
}

// The hooks of a stage run by their order, one after the other.
func TestHooksRunByTheirOrder(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	ordered := func(name, order string) string {
		return strings.Replace(hook(name, "pre-deploy", "registry.local/migrate:1"), "chaperone.dev/hook: pre-deploy", "chaperone.dev/hook: pre-deploy, chaperone.dev/hook-order: '"+order+"'", 1)
	}
	set := f.set(ordered("a", "10"), ordered("b", "-1"), ordered("c", "2"))
	var order []string
	_, err := f.c.Apply(t.Context(), f.owner, f.plan(set), func(c plan.Change, err error) {
		for _, before := range order {
			if state, _ := plan.StateOf(f.live("Job", before)); state != plan.JobComplete {
				t.Errorf("%s was applied before %s was complete", c.ID.Name, before)
			}
		}
		order = append(order, c.ID.Name)
	})
	if got := strings.Join(order, " "); err != nil || got != "b c a" {
		t.Errorf("ran %q, %v", got, err)
	}
}
