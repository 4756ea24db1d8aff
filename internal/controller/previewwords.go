package controller

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"chaperone.dev/chaperone/internal/fault"
	"chaperone.dev/chaperone/internal/forge"
	"chaperone.dev/chaperone/internal/preview"
	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/source"
)

const (
	// previewMarker is by which the comment is found again.
	previewMarker = "preview"
	// statusPrefix begins the contexts of all statuses that the daemon sets.
	statusPrefix = "chaperone/"
	// previewContext is the status of what has no preview. No environment has a name
	// like this.
	previewContext = statusPrefix + "preview"
	// moreContext is the status of the environments beyond maxTold.
	moreContext = statusPrefix + "more"
	// maxTold bounds the statuses of one head: each costs requests, and anybody may
	// add a thousand environments.
	maxTold = 40
)

// words are what a pull request is told.
type words struct {
	head     source.Revision
	statuses []forge.Status
	comment  string
	begins   bool // a comment is written where there is none
	lost     bool // nobody knows what merging it would do
}

func (w words) equal(o words) bool {
	return w.head == o.head && w.comment == o.comment && w.begins == o.begins && w.lost == o.lost && slices.Equal(w.statuses, o.statuses)
}

// words of a preview. What a proposal of the daemon's says in its own text is not
// said again.
func wordsOf(now previewed, pr forge.PullRequest, found preview.Preview) words {
	answer := words{head: pr.Head, begins: true}
	all := found.Statuses()
	for _, s := range all[:min(len(all), maxTold)] {
		answer.statuses = append(answer.statuses, forge.Status{Context: s.Context, State: forge.StatusState(s.State), Description: s.Description}.Bounded())
	}
	if rest := all[min(len(all), maxTold):]; len(rest) > 0 {
		more := forge.Status{Context: moreContext, State: forge.Success, Description: fmt.Sprintf("%d more environments take it", len(rest))}
		if i := slices.IndexFunc(rest, func(s preview.Status) bool { return s.State == preview.Failure }); i >= 0 {
			more.State, more.Description = forge.Failure, fmt.Sprintf("%d more environments, and %s would not take it", len(rest), rest[i].Context)
		}
		answer.statuses = append(answer.statuses, more.Bounded())
	}
	switch {
	case len(all) == 0 && len(found.Notes) == 0:
		answer.comment, answer.begins = fmt.Sprintf("No environment changes with `%s`.\n", pr.Head.Short()), false
	default:
		answer.comment = found.Markdown(preview.Layout{Title: "What merging this does"})
	}
	if !pr.FromFork && proposes(now, pr) {
		answer.comment = ""
	}
	return answer
}

// awaited reports whether a pull request is from a promotion branch, and of another
// commit than is known to be there: the daemon has just pushed it, or somebody
// else has.
func awaited(now previewed, pr forge.PullRequest) bool {
	for id, head := range now.proposals {
		if !pr.FromFork && source.PromotionBranch(id.String()) == pr.Branch {
			return head != pr.Head
		}
	}
	return false
}

func proposes(now previewed, pr forge.PullRequest) bool {
	for id, head := range now.proposals {
		if head != "" && head == pr.Head && source.PromotionBranch(id.String()) == pr.Branch {
			return true
		}
	}
	return false
}

// errNobodyJudges: nothing is allowed, and so nothing is known of a change.
var errNobodyJudges = errors.New("no policies could be loaded")

// unanswered are the words for what has no preview; again is that it may have one
// soon. Errors hold what is nobody's business on a forge, such as addresses, so
// that only those about the change itself are quoted.
func unanswered(err error, pr forge.PullRequest) (answer words, again bool) {
	state, text := forge.Error, ""
	switch {
	case errors.Is(err, source.ErrTooMuch):
		text = "it brings more files than are fetched for a preview"
	case errors.Is(err, source.ErrNotAncestor):
		text = "it has no history in common with the branch"
	case errors.Is(err, source.ErrTooFar):
		text = "its history is too long to look through"
	case errors.Is(err, source.ErrUnknownRevision):
		text, again = fmt.Sprintf("%s: Git does not have %s yet; it is asked again", promotion.SourceUnavailable, pr.Head.Short()), true
	case errors.Is(err, source.ErrUnavailable):
		text, again = fmt.Sprintf("%s: Git cannot be asked for %s; it is asked again", promotion.SourceUnavailable, pr.Head.Short()), true
	case errors.Is(err, errNobodyJudges):
		text, again = fmt.Sprintf("%s: %v, so that nobody can say whether it is allowed", promotion.PolicyError, errNobodyJudges), true
	case fault.IsTerminal(err):
		state, text = forge.Failure, err.Error()
	case errors.Is(err, context.DeadlineExceeded):
		text, again = "it takes longer to work out than is allowed", true
	default:
		text, again = "it could not be worked out; the daemon's log says why, and it is tried again", true
	}
	status := forge.Status{Context: previewContext, State: state, Description: text}.Bounded()
	return words{head: pr.Head, statuses: []forge.Status{status}, lost: true,
		comment: fmt.Sprintf("There is no preview of `%s`; its status `%s` says why.\n", pr.Head.Short(), previewContext)}, again
}

// say makes what stands on the forge what is to be said, and returns what was
// said by then: what the forge will not have of this pull request is in nobody
// else's way.
func (p *previews) say(ctx context.Context, pr forge.PullRequest, before, want words) (words, error) {
	if before.equal(want) {
		return want, nil
	}
	err := p.sayStatuses(ctx, pr.Head, want)
	if err == nil {
		err = p.sayComment(ctx, pr, want)
	}
	switch {
	case errors.Is(err, forge.ErrRejected), errors.Is(err, forge.ErrNotFound), errors.Is(err, forge.ErrForbidden):
		p.c.Log.Warn("pull request is not told what merging it does", "number", pr.Number, "revision", pr.Head, "err", err)
		return words{}, nil
	case err != nil:
		return words{}, err
	}
	p.c.Log.Info("pull request is told what merging it does", "number", pr.Number, "revision", pr.Head, "statuses", len(want.statuses))
	return want, nil
}

// sayStatuses sets those that differ. One that stands and is not to be said any
// more is answered, so that it is in nobody's way; but not because nobody knows.
func (p *previews) sayStatuses(ctx context.Context, head source.Revision, want words) error {
	standing, err := p.c.Forge.Statuses(ctx, head)
	if err != nil {
		return err
	}
	wanted := want.statuses
	for _, old := range standing {
		if want.lost {
			break
		}
		spoken := slices.ContainsFunc(wanted, func(s forge.Status) bool { return s.Context == old.Context })
		if strings.HasPrefix(old.Context, statusPrefix) && !spoken && old.State != forge.Success {
			wanted = append(slices.Clip(wanted), forge.Status{Context: old.Context, State: forge.Success, Description: settledText(old.Context)})
		}
	}
	for _, status := range wanted {
		if slices.Contains(standing, status) {
			continue
		}
		if merged, err := p.c.Source.Contains(ctx, head); merged || err != nil {
			return err // meanwhile: what is said of it now is where it is
		}
		if err := p.c.Forge.SetStatus(ctx, head, status); err != nil {
			return err
		}
	}
	return nil
}

func settledText(of string) string {
	if of == previewContext {
		return "there is a preview now"
	}
	return "this does not change it any more"
}

func (p *previews) sayComment(ctx context.Context, pr forge.PullRequest, want words) error {
	switch {
	case want.comment == "":
		return nil
	case want.begins:
		return p.c.Forge.Comment(ctx, pr.Number, previewMarker, want.comment)
	}
	return p.c.Forge.Amend(ctx, pr.Number, previewMarker, want.comment)
}
