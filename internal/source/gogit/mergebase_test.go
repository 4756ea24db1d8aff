package gogit

import (
	"errors"
	"fmt"
	"path/filepath"
	"testing"

	"pgregory.net/rapid"

	"chaperone.dev/chaperone/internal/source"
)

// A merge base is in the history of both, and no other commit that is has it in its
// own, whatever the clocks say.
func TestMergeBaseOfAnyHistory(t *testing.T) {
	t.Parallel()
	dir, n := t.TempDir(), 0
	rapid.Check(t, func(t *rapid.T) {
		all := drawHistory(t, rapid.Bool().Draw(t, "honest"))
		n++
		o, revisions := history(t, filepath.Join(dir, fmt.Sprint(n)), Limits{}, all)
		defer o.use(nil)
		left, right := rapid.IntRange(0, len(all)-1).Draw(t, "left"), rapid.IntRange(0, len(all)-1).Draw(t, "right")
		ofLeft, ofRight := below(all, left), below(all, right)
		best := map[source.Revision]bool{}
		for i := range all {
			if !ofLeft[i] || !ofRight[i] {
				continue
			}
			top := true
			for k := range all {
				top = top && !(k != i && ofLeft[k] && ofRight[k] && below(all, k)[i])
			}
			best[revisions[i]] = top
		}
		base, err := o.MergeBase(t.Context(), revisions[left], revisions[right])
		switch {
		case len(best) == 0 && !errors.Is(err, source.ErrNotAncestor):
			t.Fatalf("nothing is common to %d and %d: %v", left, right, err)
		case len(best) > 0 && (err != nil || !best[base]):
			t.Fatalf("%d and %d: %s is no merge base: %v", left, right, base.Short(), err)
		}
	})
}
