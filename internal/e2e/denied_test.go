package e2e

import (
	"strings"
	"testing"

	"chaperone.dev/chaperone/internal/promotion"
)

// The security team tightens a rule, so that what runs would be denied now. A
// release that obeys it fails, and last good comes back all the same: recovery
// does not deadlock. It is shown as denied, before and after, also by a daemon
// that was killed in between; what comes next has to obey.
func TestPitfall37_LastGoodThatIsDeniedByNowIsRestored(t *testing.T) {
	quick(t)
	w := newWorld(t, alone())
	policies := &mount{TB: t, dir: t.TempDir()}
	forbid := func(word string) {
		policies.put(map[string]string{
			"image/allowed/rule.rego":              strings.ReplaceAll(rule, "WORD", word),
			"image/allowed/testdata/pass/one.yaml": deployment("9.9.9"),
			"image/allowed/testdata/fail/one.yaml": deployment(word),
		})
	}
	forbid("forbidden")
	m := w.mortal(map[string]string{"policies-directory": policies.dir})
	w.awaitRuns(development, w.first)
	forbid("1.0.0")
	denied := func() {
		t.Helper()
		w.awaitReason(development, promotion.PolicyDenied)
		w.says(development, "1.0.0")
		w.wantApp(development, "1.0.0")
	}
	denied()

	wait := m.doom("in the middle of the restore", func(c call) moment {
		if w.runs(development) == "2.0.0-errors-100" && w.changing(development, before, "deployments", "app")(c) == before {
			return before
		}
		return alive
	})
	bad := w.push("break it", version("2.0.0-errors-100"))
	wait()
	m.revive()
	w.await("a revert", func() bool { return w.head() != bad })
	denied()
	w.await("it to be at rest", func() bool { return w.record(development).Journal.Attempt.Stage == "" })
	w.wantRevert(bad, w.first, development, "answered 500")
	if r := w.record(development); r.Journal.LastGood.Revision != w.first && r.Journal.LastGood.Revision != w.head() || len(r.Journal.Quarantine) != 1 {
		t.Errorf("journal %+v", r.Journal)
	}
	good := w.push("obey", version("2.0.1"))
	w.awaitRuns(development, good)
	w.wantApp(development, "2.0.1")
}
