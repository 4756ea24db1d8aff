// Package forge holds the words for what stands around a Git repository on
// GitHub, GitLab or Gitea: pull requests, reviews, commit statuses, comments,
// and the ways in which asking for them ends. It does no I/O; the packages
// below it do, and guarantee that everything they hand out is bounded by this
// package's limits and was checked as far as it can be without a forge.
package forge

import (
	"slices"
	"strings"

	"chaperone.dev/chaperone/internal/source"
)

// Account is somebody on the forge. Logins are the forge's own; an address may
// be one that the forge made up to hide the person's.
type Account struct {
	Login string `json:"login"`
	Name  string `json:"name,omitempty"`
	Email string `json:"email,omitempty"`
}

// Same compares logins as forges do: A to Z in any case. Nobody is the same as
// nobody.
func (a Account) Same(b Account) bool {
	return a.Login != "" && source.Address(a.Login) == source.Address(b.Login)
}

func (a Account) String() string {
	switch {
	case a.Login == "":
		return "somebody unknown"
	case a.Name == "" || a.Name == a.Login:
		return a.Login
	}
	return a.Name + " (" + a.Login + ")"
}

// PullRequestState is how far a pull request is.
type PullRequestState string

// The states of a pull request.
const (
	Open   PullRequestState = "open"
	Merged PullRequestState = "merged"
	Closed PullRequestState = "closed" // and not merged
)

// PullRequest asks for one branch to be merged into another.
type PullRequest struct {
	Number   int64            `json:"number"`
	Title    string           `json:"title"`
	Body     string           `json:"body,omitempty"`
	Branch   string           `json:"branch"` // of the head, perhaps in another repository
	Base     string           `json:"base"`
	Head     source.Revision  `json:"head"`
	State    PullRequestState `json:"state"`
	Draft    bool             `json:"draft,omitempty"`
	FromFork bool             `json:"fromFork,omitempty"` // or from a repository that is gone
	Author   Account          `json:"author"`
	URL      string           `json:"url"`           // for people
	Ref      string           `json:"ref,omitempty"` // where Git has the head, also that of a fork; of one that is listed

	// What a merged one has.
	MergedBy    Account         `json:"mergedBy,omitzero"`
	MergeCommit source.Revision `json:"mergeCommit,omitempty"` // as it stands on Base, whichever way it was merged
}

// Proposal is a pull request that the daemon wants to be open, from a branch
// that it has pushed to the followed repository.
type Proposal struct {
	Branch, Base string
	Head         source.Revision // what stands on Branch
	Title, Body  string
}

// Bounded cuts the texts to what every forge takes, so that what is read back
// compares equal.
func (p Proposal) Bounded() Proposal {
	p.Title, p.Body = Line(p.Title, MaxTitle), Text(p.Body, MaxBody)
	return p
}

// Differs reports whether the pull request's texts are not what is wanted.
// Forges turn line ends into those of the web, and drop space at the ends.
func (p Proposal) Differs(from PullRequest) bool {
	return strings.TrimSpace(p.Title) != strings.TrimSpace(from.Title) || !SameText(p.Body, from.Body)
}

// Listing is which pull requests are wanted.
type Listing struct {
	State        PullRequestState // Open, or Closed with those that were merged
	Branch, Base string           // "" is any
}

// Comment is what somebody wrote on a pull request.
type Comment struct {
	ID   int64
	By   Account
	Body string
}

// Manners are in what forges differ.
type Manners struct {
	Repository  string // as errors call it
	PullRequest string // and as they call that
	PageSize    int    // entries that it gives at once
	HeadRef     string // of the head of a pull request, with its number as %d
	MaxLink     int    // bytes of a status' address; 0 is MaxURL
	// Safe takes out of a text what the forge would do because somebody wrote it; nil
	// is nothing. What it has done it leaves alone.
	Safe func(text string) string
}

// IsName reports whether every forge could call somebody or something so.
func IsName(s string) bool {
	return s != "" && s != "." && s != ".." && !strings.ContainsFunc(s, func(r rune) bool {
		return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("-_.", r))
	})
}

// Verdict is what one review says.
type Verdict string

// The verdicts of reviews.
const (
	Approved         Verdict = "approved"
	ChangesRequested Verdict = "changes-requested"
	Commented        Verdict = "commented"
	Dismissed        Verdict = "dismissed" // taken back, by its writer or by another
)

// Review is one person's word on a pull request.
type Review struct {
	By      Account `json:"by"`
	Verdict Verdict `json:"verdict"`
	// Official: By may write to the repository, or the forge counts it for other
	// reasons. On a public one anybody may say anything.
	Official bool            `json:"official,omitempty"`
	At       source.Revision `json:"at,omitempty"` // what was looked at; "" where the forge does not say
}

// Merge is how a commit came to the branch: the pull request, and its reviews
// in the order that they were given.
type Merge struct {
	PullRequest PullRequest `json:"pullRequest"`
	Reviews     []Review    `json:"reviews,omitempty"`
}

// Approvals are the reviews that stand: each person's last word where it is an
// approval that counts, the latest first. Comments take nothing back.
func (m Merge) Approvals() []Review {
	var standing []Review
	var spoken []Account
	for _, review := range slices.Backward(m.Reviews) {
		heard := slices.ContainsFunc(spoken, review.By.Same)
		if review.Verdict == Commented || review.By.Login == "" || heard {
			continue
		}
		spoken = append(spoken, review.By)
		if review.Verdict == Approved && review.Official {
			standing = append(standing, review)
		}
	}
	return standing
}

// StatusState is what a commit status says.
type StatusState string

// The states of a commit status, as all forges know them.
const (
	Pending StatusState = "pending"
	Success StatusState = "success"
	Failure StatusState = "failure" // the answer is no
	Error   StatusState = "error"   // could not be asked
)

// Status is what the daemon says about one commit in one context, such as
// chaperone/novamind/staging. The newest one of a context counts.
type Status struct {
	Context     string
	State       StatusState
	Description string
	URL         string
}

// Bounded cuts the description to what every forge takes. A context is a name,
// and so it is not cut: forges refuse one that is too long.
func (s Status) Bounded() Status {
	s.Description = Line(s.Description, MaxDescription)
	return s
}
