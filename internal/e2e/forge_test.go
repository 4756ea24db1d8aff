package e2e

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	sdk "code.gitea.io/sdk/gitea"

	"chaperone.dev/chaperone/internal/forge"
	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/source"
	"chaperone.dev/chaperone/internal/state"
	"chaperone.dev/chaperone/internal/testkit/gitea"
	"chaperone.dev/chaperone/internal/testkit/gitserver"
)

// hosted is a world whose source is a repository on a real Gitea.
type hosted struct {
	*world
	front              *gitea.Front
	there              *gitea.Repository
	daemon, alex, rita *gitea.Person
	tokenFile          string
}

func newHosted(t *testing.T, stops []stop) *hosted {
	t.Helper()
	w := newWorld(t, stops)
	server := gitea.Start(t)
	h := &hosted{world: w, front: server.Front(t), tokenFile: filepath.Join(t.TempDir(), "token"),
		daemon: server.Person(t, "daemon"), alex: server.Person(t, "alex"), rita: server.Person(t, "rita")}
	h.there = h.rita.Repository(t)
	for _, who := range []*gitea.Person{h.daemon, h.alex} {
		h.there.Let(t, who, sdk.AccessModeWrite)
	}
	h.newToken()
	gitserver.Git(t, w.repo.Dir, "push", "-q", "--force", h.there.WithToken(t, h.front, h.rita), gitserver.Main)
	return h
}

func (h *hosted) newToken() {
	h.Helper()
	write(h, h.tokenFile, h.daemon.NewToken(h, "write:repository", "write:issue", "read:user")+"\n")
}

// settings are those that differ from a bare Git server's. Where the forge is and
// what the repository is called there follows from the source.
func (h *hosted) settings() map[string]string {
	return map[string]string{
		"source-url": h.there.Address(h.front), "source-token-file": h.tokenFile, "source-username": h.daemon.Login,
		"author-email": h.daemon.Email, "forge-kind": "gitea",
	}
}

// fetch brings what is on the forge to where tests look at it.
func (h *hosted) fetch() {
	h.Helper()
	gitserver.Git(h, h.repo.Dir, "fetch", "-q", "--prune", h.there.WithToken(h, h.front, h.rita), "+refs/heads/*:refs/heads/*")
}

// change merges a change in a pull request of Alex's, by Rita.
func (h *hosted) change(branch string, files map[string]string) source.Revision {
	h.Helper()
	from := gitserver.Main
	for _, name := range slices.Sorted(maps.Keys(files)) {
		h.there.Commit(h, h.alex, branch, from, name, files[name])
		from = ""
	}
	return h.merge(h.there.Propose(h, h.alex, branch, gitserver.Main, branch))
}

func (h *hosted) merge(number int64) source.Revision {
	h.Helper()
	return source.Revision(h.there.Merge(h, number, h.rita, sdk.MergeStyleMerge))
}

// awaitPull waits until one pull request is open from a branch, and no other of the daemon's.
func (h *hosted) awaitPull(branch string, says ...string) *sdk.PullRequest {
	h.Helper()
	var found *sdk.PullRequest
	h.await("a pull request from "+branch+" that says "+strings.Join(says, ", "), func() bool {
		open := h.pulls()
		if len(open) != 1 || open[0].Head.Name != branch {
			return false
		}
		found = open[0]
		return !slices.ContainsFunc(says, func(part string) bool { return !strings.Contains(found.Title+"\n"+found.Body, part) })
	})
	return found
}

// awaitStatus waits until the newest status of a commit says that of an environment.
func (h *hosted) awaitStatus(commit source.Revision, id promotion.ID, state forge.StatusState) {
	h.Helper()
	h.await("status "+string(state)+" of "+commit.Short()+" in "+id.String(), func() bool {
		for _, status := range h.there.Statuses(h, string(commit)) {
			if status.Context == "chaperone/"+id.String() {
				return forge.StatusState(status.State) == state
			}
		}
		return false
	})
}

// pulls are the daemon's that are open.
func (h *hosted) pulls() []*sdk.PullRequest {
	h.Helper()
	return slices.DeleteFunc(h.there.PullRequests(h), func(pr *sdk.PullRequest) bool {
		return pr.State != sdk.StateOpen || pr.Poster.UserName != h.daemon.Login
	})
}

// From a verified commit to production and back, all of it in pull requests: the
// promotion is proposed and merged on the forge, follows upstream in the same
// pull request, and where the branch is protected the revert is one as well.
func TestPullRequestsOnARealForge(t *testing.T) {
	quick(t)
	h := newHosted(t, toProduction(""))
	daemon := h.start(h.settings())
	h.awaitRuns(development, h.first)
	first := h.awaitPull(proposal, "Promote demo/production to "+h.first.Short(), "demo/development verified "+h.first.Short(),
		"What merging this does", "| `demo/production` |", "Policies allow it", "What is known now")
	h.says(production, "merge pull request", first.HTMLURL)

	second := h.change("version-2", version("2.0.0"))
	h.awaitRuns(development, second)
	if again := h.awaitPull(proposal, "to "+second.Short(), "# new: Deployment.apps/"); again.Index != first.Index {
		t.Errorf("a second pull request, %d after %d", again.Index, first.Index)
	}
	if said := h.told(first.Index); len(said) != 0 {
		t.Errorf("what the text says is said again: %q", said[0].Body)
	}
	h.merge(first.Index)
	h.awaitRuns(production, second)
	h.wantApp(production, "2.0.0")

	h.awaitStatus(second, development, forge.Success)
	h.there.Protect(t, gitserver.Main)
	bad := h.change("version-3", version("3.0.0-errors-100"))
	revert := h.awaitPull(source.RevertBranch(bad), `Revert "`, "answered 500", "demo/development", string(bad))
	h.awaitHeld(development, promotion.RevertRejected)
	h.says(development, "pull request", revert.HTMLURL)
	h.awaitStatus(bad, development, forge.Failure)
	h.wantApp(development, "2.0.0")
	if head := h.there.Head(t, gitserver.Main); head != string(bad) {
		t.Errorf("the protected branch is at %s, want %s", head, bad)
	}
	daemon.stop()
	h.start(h.settings())
	h.never("another pull request", time.Second, func() bool { return len(h.pulls()) != 1 })
	back := h.merge(revert.Index)
	h.awaitRuns(development, back)
	h.wantApp(development, "2.0.0")
	h.wantApp(production, "2.0.0")
	h.fetch()
	if reverts := h.reverts(); len(reverts) != 1 {
		t.Errorf("reverts: %v", reverts)
	}
	if open := h.pulls(); len(open) != 0 {
		t.Errorf("left open: %d", len(open))
	}
}

// A forge that is down, or whose token was taken back, delays pull requests and
// nothing else; and they are as they should be once it can be asked. One that a
// person closed stays closed, and is told of.
func TestPullRequestsAfterTheForgeWasDown(t *testing.T) {
	quick(t)
	h := newHosted(t, toProduction(""))
	settings := h.settings()
	apart := gitea.Start(t).Front(t) // the source is up meanwhile
	settings["forge-url"], settings["forge-token-file"] = apart.URL, filepath.Join(t.TempDir(), "token")
	write(t, settings["forge-token-file"], h.daemon.NewToken(t, "write:repository", "write:issue", "read:user"))
	apart.Down()
	h.start(settings)
	h.awaitRuns(development, h.first)
	h.awaitReason(production, promotion.WaitingForPromotion)
	h.says(production, "merge "+proposal)
	if open := h.pulls(); len(open) != 0 {
		t.Errorf("open: %d", len(open))
	}
	apart.Up(t)
	pr := h.awaitPull(proposal)
	h.says(production, pr.HTMLURL)
	if text := h.log.String(); !strings.Contains(text, forge.ErrUnavailable.Error()) {
		t.Error("nothing was said about the forge")
	}

	h.there.Close(t, pr.Index, h.alex, sdk.StateClosed)
	second := h.change("version-2", version("2.0.0"))
	h.awaitRuns(development, second)
	again := h.awaitPull(proposal, "to "+second.Short())
	if again.Index == pr.Index {
		t.Error("what a person closed was opened again")
	}
}

// Who approved on the forge has approved: the merge of somebody who may not is
// refused by name, and the same merge is applied once a manager approved exactly
// what was merged.
func TestApprovalOnARealForge(t *testing.T) {
	quick(t)
	h := newHosted(t, toProduction(", approval: {from: [release-managers], notAuthor: true}"))
	settings := h.settings()
	settings["groups"] = "{release-managers: [" + h.rita.Email + "]}"
	h.start(settings)
	h.awaitRuns(development, h.first)
	byAlex := func(number int64, style sdk.MergeStyle) source.Revision {
		return source.Revision(h.there.Merge(t, number, h.alex, style))
	}
	byAlex(h.awaitPull(proposal).Index, sdk.MergeStyleMerge)
	h.awaitReason(production, promotion.ApprovalRequired)
	h.says(production, h.alex.Email+"> is not among release-managers", "0 of 1")
	if h.app(production) != nil {
		t.Error("production runs what nobody approved")
	}

	for i, style := range []sdk.MergeStyle{sdk.MergeStyleMerge, sdk.MergeStyleSquash} {
		tag := []string{"2.0.0", "3.0.0"}[i]
		next := h.change("version-"+tag, version(tag))
		h.awaitRuns(development, next)
		pr := h.awaitPull(proposal, "to "+next.Short(), "image: "+image([...]string{"1.0.0", "2.0.0"}[i]), "`demo/production` |")
		h.there.Review(t, pr.Index, h.rita, sdk.ReviewStateApproved)
		byAlex(pr.Index, style)
		h.awaitRuns(production, next)
		h.wantApp(production, tag)
		h.awaitCredit(production, next, h.rita.Email, h.alex.Login, pr.HTMLURL)
		h.awaitCredit(development, next, "", h.rita.Login, "/pulls/")
	}
}

// awaitCredit waits until the record of a release says who stands behind it.
func (h *hosted) awaitCredit(id promotion.ID, revision source.Revision, approved, merged, request string) {
	h.Helper()
	var last state.Release
	h.await(fmt.Sprintf("the release of %s in %s to name %q and %q", revision.Short(), id, approved, merged), func() bool {
		releases, err := h.store.Releases(h.Context(), id)
		if err != nil || len(releases) == 0 {
			return false
		}
		last = releases[0]
		return last.Release.Revision == revision && strings.Contains(strings.Join(last.ApprovedBy, ", "), approved) &&
			strings.Contains(last.MergedBy, merged) && strings.Contains(last.PullRequest, request)
	})
	if approved == "" && len(last.ApprovedBy) > 0 {
		h.Errorf("approved by %v, and nobody did", last.ApprovedBy)
	}
}
