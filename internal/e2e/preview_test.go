package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	sdk "code.gitea.io/sdk/gitea"

	"chaperone.dev/chaperone/internal/forge"
	"chaperone.dev/chaperone/internal/source"
	"chaperone.dev/chaperone/internal/testkit/gitea"
	"chaperone.dev/chaperone/internal/testkit/gitserver"
)

// secretCanary stands in a Secret of the repository. It must be told nobody.
const secretCanary = "value-canary-5b81e0"

// told are the daemon's comments on a pull request.
func (h *hosted) told(number int64) []*sdk.Comment {
	h.Helper()
	var ours []*sdk.Comment
	for _, c := range h.there.Comments(h, number) {
		if c.Poster.UserName == h.daemon.Login {
			ours = append(ours, c)
		}
	}
	return ours
}

// awaitTold waits until the daemon has one comment on a pull request, which says
// all that and nothing of what stands after it.
func (h *hosted) awaitTold(number int64, says ...string) *sdk.Comment {
	h.Helper()
	var found *sdk.Comment
	h.await("a comment that says "+strings.Join(says, ", "), func() bool {
		all := h.told(number)
		if len(all) > 1 {
			h.Fatalf("%d comments on pull request %d", len(all), number)
		}
		for _, c := range all {
			found = c
			for _, part := range says {
				if !strings.Contains(c.Body, part) {
					return false
				}
			}
		}
		return len(all) == 1
	})
	if strings.Contains(found.Body, secretCanary) {
		h.Errorf("the value of a Secret is told:\n%s", found.Body)
	}
	return found
}

// statusOf is the newest of an environment on a commit.
func (h *hosted) statusOf(commit, context string) (newest *sdk.Status) {
	h.Helper()
	for _, s := range h.there.Statuses(h, commit) {
		if s.Context == context {
			return s
		}
	}
	return nil
}

// propose pushes files to a branch as Alex, and opens a pull request.
func (h *hosted) propose(branch string, changes ...map[string]string) (number int64, head string) {
	h.Helper()
	head = h.pushed(branch, gitserver.Main, changes...)
	return h.there.Propose(h, h.alex, branch, gitserver.Main, branch), head
}

func (h *hosted) pushed(branch, from string, changes ...map[string]string) (head string) {
	h.Helper()
	for _, files := range changes {
		for name, content := range files {
			head = h.there.Commit(h, h.alex, branch, from, name, content)
			from = ""
		}
	}
	return head
}

func withSecret(value string) map[string]string {
	return map[string]string{
		"base/demo/kustomization.yaml": kustomization("deployment.yaml", "service.yaml", "secret.yaml"),
		"base/demo/secret.yaml":        "{apiVersion: v1, kind: Secret, metadata: {name: app}, stringData: {password: " + value + "}}\n",
	}
}

// Whoever opens a pull request sees on it what merging does, denials with the line
// to change; it follows each push in the same comment, and nothing is asked while
// nothing changes.
func TestPreviewsOnARealForge(t *testing.T) {
	quick(t)
	h := newHosted(t, alone())
	daemon := h.start(h.settings())
	h.awaitRuns(development, h.first)

	number, head := h.propose("version-2", version("2.0.0"), withSecret(secretCanary))
	comment := h.awaitTold(number, "What merging this does", "demo/development", "2.0.0", "Secret/", source.Revision(head).Short())
	h.awaitStatus(source.Revision(head), development, forge.Success)

	denied := h.pushed("version-2", "", version("forbidden"))
	again := h.awaitTold(number, "**No:", "base/demo/deployment.yaml:", "image/allowed", source.Revision(denied).Short())
	if again.ID != comment.ID {
		t.Errorf("comment %d, and then %d", comment.ID, again.ID)
	}
	h.awaitStatus(source.Revision(denied), development, forge.Failure)

	other, unrelated := h.propose("words", map[string]string{"NOTES.md": "words\n"})
	// Which may be before the forge has answered who opened it.
	h.await("the other one to be looked at", func() bool { return h.front.Requests("", fmt.Sprintf("/issues/%d/comments", other)) > 0 })
	time.Sleep(time.Second)
	asked := h.front.Requests("", "/comments") + h.front.Requests("", "/statuses")
	h.never("requests for nothing", 2*time.Second, func() bool {
		return h.front.Requests("", "/comments")+h.front.Requests("", "/statuses") != asked
	})
	if len(h.told(other)) != 0 || len(h.there.Statuses(t, unrelated)) != 0 {
		t.Error("a pull request that touches nothing is told something")
	}

	daemon.stop()
	fixed := h.pushed("version-2", "", version("2.0.1"))
	h.start(h.settings())
	if back := h.awaitTold(number, "2.0.1", source.Revision(fixed).Short()); back.ID != comment.ID {
		t.Errorf("comment %d, and then %d", comment.ID, back.ID)
	}
	h.awaitStatus(source.Revision(fixed), development, forge.Success)
	merged := h.merge(number)
	h.awaitRuns(development, merged)
	h.awaitStatus(merged, development, forge.Success)
	for _, commit := range []string{head, denied, fixed, string(merged)} {
		for _, s := range h.there.Statuses(t, commit) {
			if strings.Contains(s.Description, secretCanary) {
				t.Errorf("the value of a Secret is told: %+v", s)
			}
		}
	}
	if strings.Contains(h.log.String(), secretCanary) {
		t.Error("the value of a Secret is in the log")
	}
}

// A stranger's fork is looked at as well, and merging it is told of. A forge that
// is down meanwhile delays that and nothing else.
func TestPreviewsOfForks(t *testing.T) {
	quick(t)
	h := newHosted(t, alone())
	settings := h.settings()
	apart := gitea.Start(t).Front(t) // the source is up meanwhile
	settings["forge-url"], settings["forge-token-file"] = apart.URL, h.tokenFile
	h.start(settings)
	h.awaitRuns(development, h.first)
	stranger := gitea.Start(t).Person(t, "stranger")
	fork := h.there.Fork(t, stranger)
	var head string
	for name, content := range version("2.0.0") {
		head = fork.Commit(t, stranger, "mine", gitserver.Main, name, content)
	}
	apart.Down()
	number := h.there.Propose(t, stranger, stranger.Login+":mine", gitserver.Main, "mine")
	second := h.change("version-3", version("3.0.0"))
	h.awaitRuns(development, second)
	if len(h.told(number)) != 0 {
		t.Error("told by a forge that is down")
	}
	apart.Up(t)
	h.awaitTold(number, "2.0.0", "demo/development", source.Revision(head).Short())
	h.awaitStatus(source.Revision(head), development, forge.Success)
	h.there.Close(t, number, h.rita, sdk.StateClosed)
	h.awaitRuns(development, second)
}
