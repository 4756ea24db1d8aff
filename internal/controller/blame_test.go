package controller

import (
	"slices"
	"strings"
	"testing"

	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/reconcile"
	"chaperone.dev/chaperone/internal/source"
)

const stagingFile = "environments/demo/staging.yaml"

// staged is an environment file with extra lines in its spec.
func staged(spec ...string) string {
	return "apiVersion: chaperone.dev/v1alpha1\nkind: Environment\nmetadata: {name: staging}\nspec:\n  target: {namespace: demo}\n  " +
		strings.Join(spec, "\n  ") + "\n"
}

func pinnedTo(i int) string { return staged(`revision: "` + string(revision(i)) + `"`) }

//lint:long because it is one table
func TestBlame(t *testing.T) {
	t.Parallel()
	const old, moved = "overlays/demo/staging/content", "overlays/moved/content"
	first := map[string]string{stagingFile: staged(), old: "good", moved: "other"}
	note := map[string]string{"NOTES.md": "a note"}
	long := branch{first, {stagingFile: pinnedTo(1)}}
	for range maxSuspectRange {
		long = append(long, note)
	}
	for _, test := range []struct {
		name      string
		branch    branch
		good, bad reconcile.Release
		pinned    bool
		suspects  []int
		reason    promotion.Reason
	}{
		{"the one that changed the render", branch{first, note, {old: "bad"}, note},
			reconcile.Release{Revision: revision(0), Digest: "good"}, reconcile.Release{Revision: revision(3), Digest: "bad"},
			false, []int{2}, ""},
		{"two", branch{first, {old: "soso"}, {old: "bad"}},
			reconcile.Release{Revision: revision(0), Digest: "good"}, reconcile.Release{Revision: revision(2), Digest: "bad"},
			false, []int{1, 2}, ""},
		{"the one that moved the path, not the one before it", branch{first, note, {stagingFile: staged("path: overlays/moved")}},
			reconcile.Release{Revision: revision(0), Digest: "good"}, reconcile.Release{Revision: revision(2), Digest: "other"},
			false, []int{2}, ""},
		{"not one whose file was invalid, so that nothing ran", branch{first, {stagingFile: "spec: ["}, {stagingFile: staged(), old: "bad"}},
			reconcile.Release{Revision: revision(0), Digest: "good"}, reconcile.Release{Revision: revision(2), Digest: "bad"},
			false, []int{2}, ""},
		{"one that did not render, and one that did again", branch{first, {old: "broken"}, {old: "bad"}},
			reconcile.Release{Revision: revision(0), Digest: "good"}, reconcile.Release{Revision: revision(2), Digest: "bad"},
			false, []int{1, 2}, ""},
		{"last good renders otherwise by now", branch{first, note, {old: "bad"}},
			reconcile.Release{Revision: revision(0), Digest: "good by another version"}, reconcile.Release{Revision: revision(2), Digest: "bad"},
			false, nil, promotion.NoSuspect},
		{"what failed was rendered from another path", branch{first, {old: "bad"}},
			reconcile.Release{Revision: revision(0), Digest: "good"}, reconcile.Release{Revision: revision(1), Digest: "other"},
			false, nil, promotion.NoSuspect},
		{"the one that moved the pin", branch{first, note, {stagingFile: pinnedTo(0)}, note, {stagingFile: pinnedTo(1)}, note},
			reconcile.Release{Revision: revision(0), Digest: "good"}, reconcile.Release{Revision: revision(1), Digest: "bad"},
			true, []int{4}, ""},
		{"the one that moved the pin, not the one that mended the file", branch{first, {stagingFile: pinnedTo(1)}, {stagingFile: "spec: ["}, {stagingFile: pinnedTo(1)}},
			reconcile.Release{Revision: revision(0), Digest: "good"}, reconcile.Release{Revision: revision(1), Digest: "bad"},
			true, []int{1}, ""},
		{"the pin has not moved", branch{first, {stagingFile: pinnedTo(0)}, {stagingFile: pinnedTo(0) + "  path: overlays/moved\n"}},
			reconcile.Release{Revision: revision(0), Digest: "good"}, reconcile.Release{Revision: revision(0), Digest: "other"},
			true, nil, promotion.NoSuspect},
		{"the pin moved too long ago", long,
			reconcile.Release{Revision: revision(0), Digest: "good"}, reconcile.Release{Revision: revision(1), Digest: "bad"},
			true, nil, promotion.NoSuspect},
	} {
		here := &actor{branch: test.branch}
		j := &job{c: replica(t, &memory{}, here), file: promotion.Environment{ID: staging}}
		if test.pinned {
			j.file.Revision = test.bad.Revision
		}
		j.action = reconcile.Action{Kind: reconcile.ActionBlame, Environment: staging, Release: test.bad, LastGood: test.good}
		end := j.blame(t.Context())
		var want []source.Revision
		for _, i := range test.suspects {
			want = append(want, revision(i))
		}
		var suspects []source.Revision
		for _, s := range end.result.Suspects {
			suspects = append(suspects, s.Revision)
		}
		if got := end.result; !slices.Equal(suspects, want) || got.Reason != test.reason {
			t.Errorf("%s: suspects %v (%s: %s), want %v (%s)", test.name, got.Suspects, got.Reason, end.note, want, test.reason)
		}
	}
}
