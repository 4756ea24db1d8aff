package gogit_test

import (
	"fmt"
	"path/filepath"
	"testing"

	"chaperone.dev/chaperone/internal/source"
	"chaperone.dev/chaperone/internal/source/gogit"
	"chaperone.dev/chaperone/internal/testkit/gitea"
	"chaperone.dev/chaperone/internal/testkit/gitserver"
)

// A real forge gives the newest part of a history, older commits as they are asked
// for by name, and takes a revert that was made of these.
func TestForgeGivesItsHistoryInParts(t *testing.T) {
	t.Parallel()
	server := gitea.Start(t)
	front, owner := server.Front(t), server.Person(t, "owner")
	there := owner.Repository(t)
	repo := gitserver.NewRepo(t)
	all := line(t, repo, 30)
	for i := range 3 { // a pull request that was begun long ago
		repo.Commit(t, gitserver.Commit{Branch: "theirs", Parent: map[bool]string{true: all[5]}[i == 0], Files: map[string]string{fmt.Sprintf("theirs%d", i): "x"}})
	}
	gitserver.Git(t, repo.Dir, "push", "-q", "--force", there.WithToken(t, front, owner), gitserver.Main, "theirs")
	number := there.Propose(t, owner, "theirs", gitserver.Main, "mine")
	token := filepath.Join(t.TempDir(), "token")
	write(t, token, owner.NewToken(t, "write:repository")+"\n")
	s := &site{Repo: repo, options: gogit.Options{URL: there.Address(front), Branch: gitserver.Main, CacheDir: t.TempDir(),
		Credentials: gogit.Credentials{TokenFile: token, Username: owner.Login}, Limits: gogit.Limits{Depth: 3}}}
	r := s.open(t)
	poll(t, r)
	if n := ends(t, s); n != 1 {
		t.Errorf("the history ends in %d places, want 1", n)
	}
	pulls, theirs := openPulls(t, r), source.Revision(repo.Head(t, "theirs"))
	if err := pulls.Fetch(t.Context(), fmt.Sprintf("refs/pull/%d/head", number), theirs); err != nil {
		t.Fatal(err)
	}
	if base, err := pulls.MergeBase(t.Context(), r.Head(), theirs); string(base) != all[5] || err != nil {
		t.Errorf("merge base %s, %v; want %s", base, err, all[5])
	}
	result := revert(t, r, all[12])
	expect(t, result, gogit.Reverted)
	if head := there.Head(t, gitserver.Main); head != string(result.Commit) {
		t.Errorf("the branch is at %s, want %s", head, result.Commit)
	}
}
