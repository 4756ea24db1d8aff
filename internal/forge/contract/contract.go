// Package contract says, as tests, what every forge must do for the controller,
// on a forge where other people act meanwhile. The clients pass it on the real
// thing, or on what has that one's shapes.
package contract

import (
	"net/http"
	"testing"

	"chaperone.dev/chaperone/internal/controller"
	"chaperone.dev/chaperone/internal/forge"
	"chaperone.dev/chaperone/internal/source"
)

// Base is the branch that is followed.
const Base = "main"

// Somebody is one of those who have an account in a World.
type Somebody string

// Everybody who there is.
const (
	Daemon   Somebody = "daemon"   // whose token the client has; may write
	Writer   Somebody = "writer"   // may write, and merge
	Stranger Somebody = "stranger" // may read, and has a fork
)

// Style is a way to merge.
type Style string

// The ways to merge.
const (
	MergeCommit Style = "merge"
	Squash      Style = "squash"
	Rebase      Style = "rebase"
)

// World is one repository on a forge, with a first commit on Base. What cannot be
// done ends the test.
type World interface {
	Forge() controller.Forge // of Daemon
	Login(who Somebody) string
	// Commit makes a branch from Base, if it is not there, with one more commit.
	Commit(t testing.TB, by Somebody, branch string) source.Revision
	DeleteBranch(t testing.TB, branch string)
	// Open opens a pull request; of Stranger, from a branch of that name in a fork.
	Open(t testing.TB, by Somebody, branch, title string) (number int64)
	Merge(t testing.TB, number int64, by Somebody, style Style) source.Revision
	Close(t testing.TB, number int64, by Somebody)
	Review(t testing.TB, number int64, by Somebody, verdict forge.Verdict)
	Dismiss(t testing.TB, number int64, review Somebody)
	Say(t testing.TB, number int64, by Somebody, text string)
	Comments(t testing.TB, number int64) []Comment            // the first one first
	PullRequests(t testing.TB) int                            // how many there ever were
	Statuses(t testing.TB, of source.Revision) []forge.Status // all that were ever set, the newest first
	Faults() Faults
}

// Comment is one, and who wrote it.
type Comment struct{ By, Text string }

// Faults are what can go wrong between the client and the forge.
type Faults interface {
	// Lose carries out the next request of this method, whose path holds a text,
	// and cuts the connection instead of giving its answer.
	Lose(method, path string)
	// Answer answers everything in the forge's place; nil ends it.
	Answer(http.HandlerFunc)
	Down()
	Up(t testing.TB)
	// Requests are how many of this method came, whose path holds a text; "" is any.
	Requests(method, path string) int
	// Token is the one that the client has, and Revoke takes it back. Rotate gives
	// the client another one, in the same file.
	Token() string
	Revoke(t testing.TB)
	Rotate(t testing.TB)
	// Calls to write, as a path holds them: of a pull request, a comment, a status.
	Paths() (pulls, comments, statuses string)
}

// Run holds a forge to all of it.
func Run(t *testing.T, world func(t *testing.T) World) {
	for name, part := range map[string]func(*testing.T, World){
		"OnePullRequest": onePullRequest, "LostAnswers": lostAnswers, "OnlyOurs": onlyOurs, "Declined": declined, "NotTwice": notTwice, "Closes": closes,
		"Obsolete": obsolete, "Merged": merged, "Approvals": approvals, "NobodyMerged": nobodyMerged, "LongTexts": longTexts,
		"Statuses": statuses, "Comments": comments, "OpenOnes": openOnes,
		"Revoked": revoked, "Down": down, "RateLimits": rateLimits, "Redirects": redirects, "Hostile": hostile,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			part(t, world(t))
		})
	}
}

func proposal(w World, t *testing.T) forge.Proposal {
	t.Helper()
	const branch = "chaperone/promote/shop/production"
	head := w.Commit(t, Daemon, branch)
	return forge.Proposal{Branch: branch, Base: Base, Head: head, Title: "Promote shop/production", Body: "What changes:\n\n- nothing much\n"}
}

func keep(t *testing.T, w World, want forge.Proposal) forge.PullRequest {
	t.Helper()
	pr, err := w.Forge().KeepPullRequest(t.Context(), want)
	if err != nil {
		t.Fatal(err)
	}
	return pr
}
