package cluster

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	"chaperone.dev/chaperone/internal/fault"
	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/plan"
)

// undoing is a release with a migration that failed, after one without.
type undoing struct {
	*fixture
	good, failed manifest.Set
}

func newUndoing(t *testing.T, rollback string) undoing {
	t.Helper()
	f := newFixture(t)
	u := undoing{fixture: f, good: f.set(configMap("settings", "a", "b"), hook("migrate", "pre-deploy", "registry.local/migrate:1"))}
	u.failed = f.set(configMap("settings", "a", "c"), hook("migrate", "pre-deploy", "registry.local/migrate:2"), rollback)
	f.release(u.good)
	f.release(u.failed)
	return u
}

func (u undoing) rollback(attempt string, round int) error {
	return u.c.Undo(u.Context(), u.owner, Rollback{Failed: u.failed, Good: u.good, Attempt: attempt, Round: round})
}

func (u undoing) uid(name string) types.UID {
	u.Helper()
	o, err := u.c.dynamic.Resource(gvrs["Job"]).Namespace(u.owner.Namespace).Get(u.Context(), name, metav1.GetOptions{})
	if err != nil {
		return ""
	}
	return o.GetUID()
}

func (u undoing) delete(name string) {
	u.Helper()
	if err := u.c.dynamic.Resource(gvrs["Job"]).Namespace(u.owner.Namespace).Delete(u.Context(), name, deleteNow); err != nil {
		u.Fatal(err)
	}
}

// Pitfall 36 (compass#1948, argo-cd#6344): a rollback ran the hooks of the release
// that it went back to, which does not know the migration that came after it.
func TestPitfall36_RollbackHooksOfWhatFailedRunOnce(t *testing.T) {
	t.Parallel()
	u := newUndoing(t, hook("unmigrate", "rollback", "registry.local/migrate:2-down"))
	if err := u.rollback("first", 0); err != nil {
		t.Fatal(err)
	}
	ran := u.uid("unmigrate")
	if state, _ := plan.StateOf(u.live("Job", "unmigrate")); state != plan.JobComplete {
		t.Fatal("the rollback hook is not complete")
	}
	if u.uid("migrate") != "" {
		t.Error("the migration that was undone is there still, as if it had run")
	}
	for range 2 { // as after a crash that lost the answer
		if err := u.rollback("first", 0); err != nil || u.uid("unmigrate") != ran {
			t.Fatalf("%v; the rollback hook ran again for one attempt: %v", err, u.uid("unmigrate") != ran)
		}
	}
	// What last good ran under the same name does not run again…
	restoring := *u.fixture
	restoring.owner.Restoring = true
	restoring.release(u.good)
	if p := u.plan(u.good); len(p.Applies()) > 0 {
		t.Errorf("last good after it was restored: %v, want nothing to do", p.Changes)
	}
	// …and what was undone does, and is undone anew.
	u.release(u.failed)
	if state, _ := plan.StateOf(u.live("Job", "migrate")); state != plan.JobComplete {
		t.Error("the migration did not run again with its release")
	}
	if err := u.rollback("second", 0); err != nil || u.uid("unmigrate") == ran {
		t.Fatalf("%v; the rollback hook did not run for another attempt: %v", err, u.uid("unmigrate") == ran)
	}
}

func TestNothingIsUndoneThatWasNotBegun(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	undo := hook("undo-b", "rollback", "registry.local/b:down")
	u := undoing{fixture: f, good: f.set(configMap("settings", "a", "b"), hook("a", "pre-deploy", "registry.local/a:1"))}
	undo = strings.Replace(undo, "rollback}", "rollback, chaperone.dev/undoes: b}", 1)
	u.failed = f.set(configMap("settings", "a", "c"), hook("a", "pre-deploy", "registry.local/a:1"),
		hook("b", "pre-deploy", "registry.local/b:1"), undo, hook("undo-a", "rollback", "registry.local/a:down"))
	f.release(u.good)
	if err := u.rollback("first", 0); err != nil || u.uid("undo-a") != "" || u.uid("undo-b") != "" {
		t.Fatalf("%v; rollback hooks ran for a release that was never applied", err)
	}
	// The migration of last good is no reason to undo anything.
	f.release(f.set(configMap("settings", "a", "c"), hook("a", "pre-deploy", "registry.local/a:1")))
	if err := u.rollback("second", 0); err != nil || u.uid("undo-a") != "" {
		t.Fatalf("%v; the migration of last good was undone", err)
	}
}

func TestRollbackHooksRunInTheReverseOrder(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	after := func(text, annotation string) string {
		return strings.Replace(text, "annotations: {", "annotations: {"+annotation+", ", 1)
	}
	u := undoing{fixture: f, good: f.set(configMap("settings", "a", "b"))}
	u.failed = f.set(configMap("settings", "a", "c"), hook("z-first", "pre-deploy", "registry.local/one:1"),
		after(hook("a-second", "pre-deploy", "registry.local/two:1"), "chaperone.dev/depends-on: batch/Job/NS/z-first"),
		after(hook("undo-first", "rollback", "registry.local/one:down"), "chaperone.dev/undoes: z-first"),
		after(hook("undo-second", "rollback", "registry.local/two:down"), "chaperone.dev/undoes: a-second"))
	f.release(u.good)
	f.release(u.failed)
	if err := u.rollback("first", 0); err != nil {
		t.Fatal(err)
	}
	first, second := u.live("Job", "undo-first"), u.live("Job", "undo-second")
	if first == nil || second == nil {
		t.Fatal("not every rollback hook ran")
	}
	started, _ := time.Parse(time.RFC3339, word(first, "status", "startTime"))
	ended, _ := time.Parse(time.RFC3339, word(second, "status", "completionTime"))
	if started.Before(ended) {
		t.Errorf("what was done first was undone from %s on, before what was done second was, at %s", started, ended)
	}
}

func TestRollbackHookThatFailsRunsAgainOnlyWhenAsked(t *testing.T) {
	t.Parallel()
	u := newUndoing(t, hook("unmigrate", "rollback", "registry.local/migrate:job-fail"))
	err := u.rollback("first", 0)
	if err == nil || !fault.IsTerminal(err) || !strings.Contains(err.Error(), "unmigrate: hook: the Job failed") {
		t.Fatalf("undo: %v, want a terminal error that names the hook", err)
	}
	ran := u.uid("unmigrate")
	if err := u.rollback("first", 0); !fault.IsTerminal(err) || u.uid("unmigrate") != ran {
		t.Fatalf("undo again: %v; ran again: %v", err, u.uid("unmigrate") != ran)
	}
	u.delete("unmigrate")
	if err := u.rollback("first", 0); !fault.IsTerminal(err) || u.uid("unmigrate") != "" {
		t.Fatalf("undo with the Job gone: %v; ran again: %v", err, u.uid("unmigrate") != "")
	}
	if err := u.rollback("first", 1); !fault.IsTerminal(err) || u.uid("unmigrate") == "" {
		t.Fatalf("undo when asked to: %v; ran: %v", err, u.uid("unmigrate") != "")
	}
	u.exists("Job", "migrate", true)
}

// What it wrote goes with the error, without what is secret in its release, also
// where another daemon finds out how it ended.
func TestRollbackHookThatFailsBringsItsLog(t *testing.T) {
	t.Parallel()
	u := newUndoing(t, hook("unmigrate", "rollback", "registry.local/migrate:job-fail"))
	u.owner.LogLines = 5
	for _, life := range []string{"the one that waits for it", "the next one"} {
		var wrote *HookLog
		err := u.rollback("first", 0)
		if !errors.As(err, &wrote) || !strings.HasPrefix(wrote.Log, "unmigrate:\n") || strings.Contains(err.Error(), wrote.Log) || !fault.IsTerminal(err) {
			t.Errorf("%s: got %v with %+v", life, err, wrote)
		}
	}
}

func TestRollbackHookThatVanishesIsNoSuccess(t *testing.T) {
	t.Parallel()
	u := newUndoing(t, hook("unmigrate", "rollback", "registry.local/migrate:slow-60000ms"))
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- u.c.Undo(ctx, u.owner, Rollback{Failed: u.failed, Good: u.good, Attempt: "first"})
	}()
	for u.uid("unmigrate") == "" || word(u.live("Job", "unmigrate"), "status", "startTime") == "" {
		time.Sleep(20 * time.Millisecond)
	}
	stop() // the daemon dies while it runs…
	<-ended
	ran := u.uid("unmigrate")
	again, stopAgain := context.WithTimeout(t.Context(), 2*time.Second)
	defer stopAgain()
	// …and the next one goes on waiting for the same Job.
	if err := u.c.Undo(again, u.owner, Rollback{Failed: u.failed, Good: u.good, Attempt: "first"}); err == nil || u.uid("unmigrate") != ran {
		t.Fatalf("undo: %v; ran again: %v", err, u.uid("unmigrate") != ran)
	}
	u.delete("unmigrate")
	if err := u.rollback("first", 0); !fault.IsTerminal(err) || !strings.Contains(err.Error(), "nobody saw it") || u.uid("unmigrate") != "" {
		t.Fatalf("undo with the Job gone: %v; ran again: %v", err, u.uid("unmigrate") != "")
	}
}

// mortal dies with its first write: the server has it, and nobody hears of that.
type mortal struct {
	next http.RoundTripper
	die  context.CancelFunc
}

func (m *mortal) WrappedRoundTripper() http.RoundTripper { return m.next }

func (m *mortal) RoundTrip(request *http.Request) (*http.Response, error) {
	response, err := m.next.RoundTrip(request)
	if request.Method == http.MethodGet || strings.Contains(request.URL.RawQuery, "dryRun") {
		return response, err
	}
	if err == nil {
		response.Body.Close()
	}
	m.die()
	return nil, context.Canceled
}

// A daemon that dies after any of its writes goes on from there, and the rollback
// hook runs once: its Job is let run only when it is written down.
func TestRollbackHookRunsOnceWhereverTheDaemonDies(t *testing.T) {
	t.Parallel()
	u := newUndoing(t, hook("unmigrate", "rollback", "registry.local/migrate:2-down"))
	ran := map[types.UID]bool{}
	lives := 0
	for done := false; !done; lives++ {
		if lives > 40 {
			t.Fatal("it never ends")
		}
		ctx, die := context.WithCancel(t.Context())
		config := rest.CopyConfig(u.local.Config())
		config.Wrap(func(next http.RoundTripper) http.RoundTripper { return &mortal{next, die} })
		c, err := Connect(config, Options{})
		if err != nil {
			t.Fatal(err)
		}
		err = c.Undo(ctx, u.owner, Rollback{Failed: u.failed, Good: u.good, Attempt: "first"})
		c.Close()
		if done = err == nil; !done && ctx.Err() == nil {
			t.Fatalf("life %d: %v", lives, err)
		}
		die()
		if uid := u.uid("unmigrate"); uid != "" && word(u.live("Job", "unmigrate"), "status", "startTime") != "" {
			ran[uid] = true
		}
	}
	if len(ran) != 1 || lives < 6 {
		t.Errorf("%d Jobs of the rollback hook ran in %d lives, want one in several", len(ran), lives)
	}
	if u.uid("migrate") != "" {
		t.Error("the migration still counts as run")
	}
}

func word(o *manifest.Object, path ...string) string {
	text, _, _ := unstructured.NestedString(o.Object, path...)
	return text
}
