package rego

import (
	"fmt"
	"strings"
	"testing"
)

// An archive stays signed for ever; only its number tells that a newer one was
// in force.
func TestOlderArchiveIsNotTakenAgain(t *testing.T) {
	t.Parallel()
	ours := newSigner(t)
	archive := func(revision, more string) []byte {
		files := oneRule(more)
		if revision != "" {
			files["bundle/data.yaml"] = "revision: " + revision + "\n"
		}
		return archiveOf(t, ours.sign(t, files), "")
	}
	const another = `deny contains "odd" if input.object.metadata.name == "odd"`
	store := NewStore(t.TempDir(), Limits{})
	for _, step := range []struct{ revision, more, want string }{
		{"", "", ""}, {"", another, ""}, // nothing is numbered: nothing is older
		{"3", "", ""}, {"3", "", ""}, {"10", another, ""},
		{"3", "", "revision 3 is older than 10, which was in force; want a higher one in bundle/data.yaml"},
		{"", another, "revision 0 is older than 10"},
		{"10", "", "revision 10 was in force with another content"},
		{"10", another, ""},
		{"0", "", "want a whole number from 1"}, {"11.5", "", "want a whole number"}, {"'11'", "", "want a whole number"}, {"1e300", "", "want a whole number"},
		{"11", "deny contains 1 if nonsense", "rego"},
		{"10", another, ""}, // what was refused was never in force
		{"1790000000", "", ""},
	} {
		before := store.Current()
		_, err := store.OfferSigned(t.Context(), archive(step.revision, step.more), ours.key(t), "the archive")
		if (err == nil) != (step.want == "") || err != nil && !strings.Contains(err.Error(), step.want) {
			t.Errorf("revision %q: %v; want %q", step.revision, err, step.want)
		}
		if err != nil && (store.Current() != before || store.Status().Err == nil) {
			t.Errorf("revision %q: refused, and in force or not told", step.revision)
		}
	}
	if got := fmt.Sprint(store.Seen().Revision); got != "1790000000" {
		t.Errorf("seen %s", got)
	}
	next := NewStore(t.TempDir(), Limits{})
	next.Recall(store.Seen())
	if _, err := next.OfferSigned(t.Context(), archive("10", another), ours.key(t), "the archive"); err == nil || next.Current() != nil {
		t.Errorf("%v; want what was in force before the restart to count", err)
	}
	next.Recall(Seen{})
	if _, err := next.OfferSigned(t.Context(), archive("10", another), ours.key(t), "the archive"); err != nil {
		t.Errorf("%v; want it taken once nothing is known", err)
	}
}
