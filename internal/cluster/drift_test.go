package cluster

import (
	"context"
	"fmt"
	"testing"
	"time"

	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/plan"
)

// drifted compares with a release that is applied already.
func (f *fixture) drifted(set manifest.Set) ([]plan.Change, error) {
	return f.c.Drift(f.Context(), f.owner, func(context.Context) (manifest.Set, error) { return set, nil })
}

// A field that somebody has taken is not ours any more, so nothing of ours changes
// when they change it again, or undo it. Where drift is only reported, that
// was never told.
func TestWhatOthersTookIsWatched(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	set := f.of(f.set(configMap("a", "key", "1"), configMap("b", "key", "1")))
	f.release(set)
	f.eventually("quiet after the apply", f.rests)
	seen := f.changes(t)
	f.eventually("the watch to know it all", f.rests)
	for idle := false; !idle; {
		select {
		case <-seen:
		case <-time.After(time.Second):
			idle = true
		}
	}
	for _, value := range []string{"2", "3", "1"} {
		f.patch("ConfigMap", "a", fmt.Sprintf(`{"data": {"key": %q}}`, value))
		limit := time.After(30 * time.Second)
		var changes []plan.Change
		for told := false; !told; { // it may call for nothing, too, or tell of what was before
			select {
			case id := <-seen:
				if id.Name != "a" {
					continue
				}
			case <-limit:
				t.Fatalf("value %s: the last drift that was told of is %v", value, changes)
			}
			var err error
			if changes, err = f.drifted(set); err != nil {
				t.Fatal(err)
			}
			told = (value == "1") == (len(changes) == 0 || len(changes[0].Fields) == 0)
		}
	}
}
