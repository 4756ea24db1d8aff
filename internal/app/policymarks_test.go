package app

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"chaperone.dev/chaperone/internal/config"
	"chaperone.dev/chaperone/internal/state"
	"chaperone.dev/chaperone/internal/testkit/gitserver"
)

// kept is a cluster's memory of a mark.
type kept struct {
	mark state.PolicyMark
	away bool
}

var errAway = errors.New("the cluster is away")

func (k *kept) PolicyMark(context.Context) (state.PolicyMark, error) {
	if k.away {
		return state.PolicyMark{}, errAway
	}
	return k.mark, nil
}

func (k *kept) SetPolicyMark(_ context.Context, mark state.PolicyMark) error {
	if k.away {
		return errAway
	}
	k.mark = mark
	return nil
}

// restarted is a daemon that begins, on what one before it may have kept.
func restarted(t *testing.T, k *kept, p config.Policies) following {
	t.Helper()
	c := config.Config{Policies: p}
	c.Source.CacheDir, c.Source.Timeout = t.TempDir(), 10*time.Second
	a := New(c, Build{}, slog.New(slog.DiscardHandler))
	a.marks = k
	t.Cleanup(func() { _ = a.takeDown() })
	remote, err := a.openPolicies(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return following{t, remote}
}

// Whoever can write where archives lie cannot bring back an old one, also not
// while the daemon starts; a person can.
func TestOlderArchiveAfterARestart(t *testing.T) {
	t.Parallel()
	ours, k, dir := newSigning(t), &kept{}, t.TempDir()
	p := config.Policies{Archive: filepath.Join(dir, "policies.tar.gz"), KeyFile: filepath.Join(dir, "key.pem"), PollInterval: time.Second}
	write(t, p.KeyFile, ours.public)
	archive := func(revision, rule string) {
		files := onePolicy("", rule)
		// Structured files are signed by their content; as JSON it is the same.
		files["bundle/data.json"] = `{"revision":` + revision + `}`
		write(t, p.Archive, ours.archive(t, files))
	}
	archive("2", forbidsAWord)
	f := restarted(t, k, p)
	k.away = true
	f.expect("the cluster is away", "recall which policies were in force", false)
	k.away = false
	newer := f.expect("the newer", "", true)
	archive("1", anotherRule)
	if f.expect("the older", "revision 1 is older than 2", true) != newer {
		t.Error("an older archive took the place of a newer")
	}
	restarted(t, k, p).expect("the older, after a restart", "revision 1 is older than 2", false)
	elsewhere := p
	elsewhere.Archive = filepath.Join(dir, "other.tar.gz")
	write(t, elsewhere.Archive, ours.archive(t, onePolicy("", anotherRule)))
	restarted(t, &kept{mark: k.mark}, elsewhere).expect("another place", "", true)
	k.mark = state.PolicyMark{}
	if f.expect("the older, when a person let go of the mark", "", true) == newer || k.mark.Revision != "1" {
		t.Errorf("it is not taken, or not noted: %+v", k.mark)
	}
}

// A branch that was pushed over does not bring back old policies.
func TestPoliciesPushedOver(t *testing.T) {
	t.Parallel()
	repo := gitserver.NewRepo(t)
	repo.Commit(t, gitserver.Commit{Files: onePolicy("policies/", anotherRule)})
	repo.Commit(t, gitserver.Commit{Files: onePolicy("policies/", forbidsAWord)})
	server := gitserver.ServeHTTP(t, repo, "canary-77aa")
	token, k := filepath.Join(t.TempDir(), "token"), &kept{}
	write(t, token, []byte("canary-77aa\n"))
	p := config.Policies{URL: server.URL, Branch: "main", Path: "policies", TokenFile: token, Username: "git", PollInterval: time.Second}
	f := restarted(t, k, p)
	newer := f.expect("the newer", "", true)
	if k.mark.Revision == "" {
		t.Error("nothing is noted")
	}
	files := onePolicy("policies/", anotherRule)
	repo.Commit(t, gitserver.Commit{Files: files, Fresh: true})
	if f.expect("pushed over", "it was pushed over; bring it back, or delete the Secret chaperone-policies-seen", true) != newer {
		t.Error("what was pushed over is in force")
	}
	restarted(t, k, p).expect("pushed over, after a restart", "does not hold", false)
	k.mark = state.PolicyMark{}
	if f.expect("when a person let go of the mark", "", true) == newer {
		t.Error("it is not taken")
	}
	repo.Commit(t, gitserver.Commit{Files: onePolicy("policies/", forbidsAWord)})
	f.expect("and further", "", true)
}
