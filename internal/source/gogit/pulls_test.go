package gogit_test

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"chaperone.dev/chaperone/internal/fault"
	"chaperone.dev/chaperone/internal/source"
	"chaperone.dev/chaperone/internal/source/gogit"
	"chaperone.dev/chaperone/internal/testkit/gitserver"
)

// pulled is a head that only a ref such as a forge's leads to.
func pulled(t *testing.T, s *site, number int, files map[string]string) (string, source.Revision) {
	t.Helper()
	branch := fmt.Sprintf("theirs-%d", number)
	head := s.Commit(t, gitserver.Commit{Branch: branch, Parent: s.Head(t, gitserver.Main), Files: files})
	ref := fmt.Sprintf("refs/pull/%d/head", number)
	gitserver.Git(t, s.Dir, "update-ref", ref, head)
	s.Delete(t, branch)
	return ref, source.Revision(head)
}

func openPulls(t *testing.T, r *gogit.Repository) *gogit.Pulls {
	t.Helper()
	pulls, err := r.Pulls()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pulls.Close)
	return pulls
}

// The head of a pull request is read over the mirror, and beside it: the mirror
// has nothing of it, and what the pull request does not change comes from there.
func TestPullRequestIsReadBesideTheMirror(t *testing.T) {
	everywhere(t, func(t *testing.T, s *site) {
		first := monorepo(t, s.Repo)
		r := s.open(t)
		poll(t, r)
		pulls := openPulls(t, r)
		ref, head := pulled(t, s, 7, map[string]string{"base/shop/app.yaml": "kind: DaemonSet\n", "new/place/a.yaml": "kind: Pod\n"})
		for range 2 {
			if err := pulls.Fetch(t.Context(), ref, head); err != nil {
				t.Fatal(err)
			}
		}
		for file, want := range map[string]string{"base/shop/app.yaml": "kind: DaemonSet\n", "new/place/a.yaml": "kind: Pod\n",
			"base/shop/db.yaml": "kind: StatefulSet\n", "odd/place/app.yaml": "kind: Job\n"} {
			snapshot, err := pulls.Snapshot(head)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := fs.ReadFile(snapshot, file); string(got) != want || err != nil {
				t.Errorf("%s: %q, %v", file, got, err)
			}
		}
		if base, err := pulls.MergeBase(t.Context(), first, head); base != first || err != nil {
			t.Errorf("merge base %s, %v", base, err)
		}
		for revision, want := range map[source.Revision]bool{first: false, head: true} {
			if is, err := pulls.Contains(t.Context(), head, revision); is != want || err != nil {
				t.Errorf("head below %s: %v, %v", revision.Short(), is, err)
			}
		}
		if _, err := r.Commit(head); !errors.Is(err, source.ErrUnknownRevision) {
			t.Errorf("the mirror has the commit: %v", err)
		}
		if s.name != "http-version-0" && mirrored(t, s, "main", "odd/place/app.yaml") {
			t.Error("what the pull request was read for is in the mirror")
		}
		again := openPulls(t, r)
		if _, err := again.Commit(head); !errors.Is(err, source.ErrUnknownRevision) {
			t.Errorf("a new place begins with the commit: %v", err)
		}
	})
}

// A head that the server does not have, one that is too much, a server that is
// away: each is told apart, and the followed branch is read as before.
func TestPullRequestsThatCannotBeFetched(t *testing.T) {
	remote(t, func(t *testing.T, s *site) {
		first := source.Revision(s.Commit(t, gitserver.Commit{Files: map[string]string{"base/a.yaml": "a\n"}}))
		s.options.Limits = gogit.Limits{Pack: 64 << 10}
		r := s.open(t)
		poll(t, r)
		pulls := openPulls(t, r)
		noise := make([]byte, 128<<10)
		rand.Read(noise)
		ref, large := pulled(t, s, 1, map[string]string{"base/noise": hex.EncodeToString(noise)})
		if err := pulls.Fetch(t.Context(), ref, large); !errors.Is(err, source.ErrTooMuch) || !fault.IsTerminal(err) {
			t.Errorf("too much: %v", err)
		}
		absent := source.Revision(strings.Repeat("ab", 20))
		if err := pulls.Fetch(t.Context(), "refs/pull/2/head", absent); !errors.Is(err, source.ErrUnknownRevision) || !fault.IsTerminal(err) {
			t.Errorf("absent: %v", err)
		}
		for _, ref := range []string{"", "main", "refs/../x", "refs/pull/1/head lock", "refs/pull/1/head\n", "--upload-pack=x"} {
			if err := pulls.Fetch(t.Context(), ref, absent); !fault.IsTerminal(err) {
				t.Errorf("%q: %v", ref, err)
			}
		}
		ref, small := pulled(t, s, 3, map[string]string{"base/a.yaml": "b\n"})
		s.controls.Down()
		if err := pulls.Fetch(t.Context(), ref, small); !errors.Is(err, source.ErrUnavailable) || fault.IsTerminal(err) {
			t.Errorf("away: %v", err)
		}
		if got := read(t, r, first, "base/a.yaml"); got != "a\n" {
			t.Errorf("the followed branch: %q", got)
		}
		s.controls.Up(t)
		if err := pulls.Fetch(t.Context(), ref, small); err != nil {
			t.Errorf("back again: %v", err)
		}
	})
}

// However many heads there are, and however they compress, little is kept of them.
func TestPullRequestsDoNotFillTheDisk(t *testing.T) {
	t.Parallel()
	repo := gitserver.NewRepo(t)
	s := &site{Repo: repo, options: gogit.Options{URL: repo.Dir, Branch: gitserver.Main, CacheDir: t.TempDir(), Limits: gogit.Limits{Pack: 64 << 10}}}
	repo.Commit(t, gitserver.Commit{Files: map[string]string{"base/a.yaml": "a\n"}})
	r := s.open(t)
	poll(t, r)
	pulls := openPulls(t, r)
	pulls.SetLimit(256 << 10)
	for i := range 12 {
		noise := make([]byte, 20<<10)
		rand.Read(noise)
		ref, head := pulled(t, s, i, map[string]string{"base/noise": hex.EncodeToString(noise)})
		if err := pulls.Fetch(t.Context(), ref, head); err != nil {
			t.Fatal(err)
		}
		if _, err := pulls.Snapshot(head); err != nil {
			t.Fatal(err)
		}
	}
	var held int64
	err := filepath.WalkDir(filepath.Join(s.options.CacheDir, "pulls.git"), func(_ string, entry os.DirEntry, err error) error {
		if info, infoErr := entry.Info(); infoErr == nil {
			held += info.Size()
		}
		return err
	})
	if err != nil || held > 256<<10 {
		t.Errorf("%d bytes are kept, %v", held, err)
	}
	for name, bomb := range map[string]map[string]string{
		"of one file":   {"base/zeros": strings.Repeat("0", 20<<20)},
		"of many files": {"base/0": strings.Repeat("0", 600<<10), "base/1": strings.Repeat("1", 600<<10)},
	} {
		ref, head := pulled(t, s, 90+len(bomb), bomb)
		if err := pulls.Fetch(t.Context(), ref, head); !errors.Is(err, source.ErrTooMuch) {
			t.Errorf("a bomb %s: %v", name, err)
		}
	}
}
