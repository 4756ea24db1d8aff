package cluster

import (
	"errors"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"

	"chaperone.dev/chaperone/internal/plan"
)

// refusedHook is a Job that no API server takes.
func refusedHook(name, stage string) string {
	return strings.Replace(hook(name, stage, "registry.local/migrate:2-down"), "restartPolicy: Never", "restartPolicy: Always", 1)
}

// A rollback hook that the server would refuse stops its release before anything
// is touched: afterwards the data are changed, and nothing can change them back.
func TestRollbackHookThatWouldBeRefusedStopsTheRelease(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.release(f.set(configMap("settings", "a", "b")))
	before := f.versions()
	_, err := f.c.Plan(f.Context(), f.owner, f.set(configMap("settings", "a", "c"), hook("migrate", "pre-deploy", "registry.local/migrate:1"), refusedHook("unmigrate", "rollback")))
	var rejected *plan.Rejected
	if !errors.As(err, &rejected) || len(rejected.Objects) != 1 || rejected.Objects[0].ID.Name != "unmigrate" ||
		!strings.Contains(err.Error(), "is to undo a migration of this release, and would be refused") || !strings.Contains(err.Error(), "restartPolicy") {
		t.Fatalf("got %v, want the rollback hook to be rejected with the server's words", err)
	}
	if after := f.versions(); len(after) != len(before) || after["ConfigMap/settings"] != before["ConfigMap/settings"] {
		t.Errorf("something was touched: %v, before %v", after, before)
	}
}

// Of a migration that ran before nothing is taken back, so what would undo it is
// not asked about; nor is it while last good is restored, or drift looked for.
func TestRollbackHookIsTriedOnlyWhereItMayBeNeeded(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	migration := hook("migrate", "pre-deploy", "registry.local/migrate:1")
	f.release(f.set(configMap("settings", "a", "b"), migration))
	broken := f.set(configMap("settings", "a", "c"), migration, refusedHook("unmigrate", "rollback"))
	f.release(broken)
	owner := f.owner
	owner.Restoring = true
	if _, err := f.c.Plan(f.Context(), owner, f.set(configMap("settings", "a", "d"), hook("migrate", "pre-deploy", "registry.local/migrate:2"), refusedHook("unmigrate", "rollback"))); err != nil {
		t.Errorf("a restore: %v", err)
	}
	// The Job of an earlier attempt, which is in the way, says nothing about the next.
	u := undoing{fixture: f, good: broken, failed: f.set(configMap("settings", "a", "c"), hook("migrate", "pre-deploy", "registry.local/migrate:3"),
		hook("unmigrate", "rollback", "registry.local/migrate:3-down"))}
	f.release(u.failed)
	if err := u.rollback("first", 0); err != nil {
		t.Fatal(err)
	}
	f.release(f.set(configMap("settings", "a", "c"), hook("migrate", "pre-deploy", "registry.local/migrate:4"), hook("unmigrate", "rollback", "registry.local/migrate:4-down")))
}

// To undo a release is to delete Jobs: a right that is missing is told before.
func TestRightsToUndoAreAskedForBefore(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.release(f.set(configMap("settings", "a", "b")))
	most := []string{"get", "list", "watch", "create", "update", "patch"}
	restricted, _ := f.asDeployer(rbacv1.PolicyRule{APIGroups: []string{"batch"}, Resources: []string{"jobs"}, Verbs: most})
	release := f.set(configMap("settings", "a", "b"), hook("migrate", "pre-deploy", "registry.local/migrate:1"), hook("unmigrate", "rollback", "registry.local/migrate:1-down"))
	_, err := restricted.c.Plan(f.Context(), restricted.owner, release)
	var refusal *plan.Refusal
	if !errors.As(err, &refusal) || !strings.Contains(err.Error(), "may not delete jobs.batch") {
		t.Fatalf("got %v, want the right to delete Jobs to be missing", err)
	}
}

// A drill in the middle of a failure tries the rollback hooks that would run.
func TestTryUndo(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	good := f.set(configMap("settings", "a", "b"))
	f.release(good)
	before := f.versions()
	for _, test := range []struct {
		hook string
		want int
	}{{refusedHook("unmigrate", "rollback"), 1}, {hook("unmigrate", "rollback", "registry.local/migrate:1-down"), 0}} {
		failed := f.set(configMap("settings", "a", "c"), hook("migrate", "pre-deploy", "registry.local/migrate:1"), test.hook)
		refused, err := f.c.TryUndo(f.Context(), f.owner, Rollback{Failed: failed, Good: good})
		if err != nil || len(refused) != test.want {
			t.Errorf("got %v, %v; want %d refused", refused, err, test.want)
		}
	}
	if after := f.versions(); len(after) != len(before) {
		t.Errorf("it has left something: %v, before %v", after, before)
	}
}
