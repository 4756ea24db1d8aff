package controller

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"chaperone.dev/chaperone/internal/fault"
	"chaperone.dev/chaperone/internal/policy"
	"chaperone.dev/chaperone/internal/source"
)

// agreement is what the commit that brought a pinned release says: who agreed
// to it, and whether it is a break-glass override.
type agreement struct {
	voices   []voice // the commit on the branch, and those that it merged
	override string  // its reason; "" is none
	reviewed bool    // by another person than who wrote the override
	unheard  error   // why the forge could not be asked who else agreed
}

// voice is one commit that moved the pin, and who speaks by it.
type voice struct {
	source.Person
	who     string // "" is nobody
	problem string // why nobody
}

// agreed finds the commits that made the environment's revision and path what
// they are, on the branch and on what was merged there, and reads them; and on
// the forge, where there is one, who merged and approved that.
func (v *evaluation) agreed(ctx context.Context) (agreement, error) {
	t, people := newTrail(v.c.Source, v.file), v.c.people()
	mover, found, err := t.head(ctx, v.head, &v.c.movers)
	if err != nil {
		return agreement{}, err
	}
	if !found {
		return agreement{}, fmt.Errorf("%s at %s: %w: its pin is another there", v.file.File, v.head.Short(), source.ErrUnknownRevision)
	}
	v.mover = mover.Commit
	sides, err := t.sides(ctx, mover.Commit)
	if err != nil {
		return agreement{}, err
	}
	var a agreement
	var carriers []bool
	for i, m := range append([]move{mover}, sides...) {
		said, err := v.undersigned(people.voice(m, i == 0 && len(sides) > 0), m.Commit, people)
		if err != nil {
			return agreement{}, err
		}
		a.voices = append(a.voices, said)
		reason, carries := m.Override()
		carriers = append(carriers, carries)
		if carries && a.override == "" {
			a.override = reason
		}
	}
	for i, carries := range carriers {
		a.reviewed = a.reviewed || carries && a.reviews(i)
	}
	reviewers, err := v.reviewers(ctx, t, mover, a.voices[0])
	a.voices, a.unheard = append(a.voices, reviewers...), err
	return a, nil
}

// reviews reports whether the override that one voice wrote was seen by another:
// what a merge says by who wrote one of its sides, what a side says by who
// merged it.
func (a agreement) reviews(writer int) bool {
	others := a.voices[:1]
	if writer == 0 {
		others = a.voices[1:]
	}
	by := a.voices[writer].who
	return by != "" && slices.ContainsFunc(others, func(o voice) bool { return o.who != "" && o.who != by })
}

// sides are the moves that a merge brought to the branch: one that the branch
// had before, by an old parent or below a new one, is nobody's word on this.
func (t *trail) sides(ctx context.Context, merge source.Commit) ([]move, error) {
	var sides []move
	for _, parent := range merge.Parents[min(1, len(merge.Parents)):] {
		side, found, err := t.mover(ctx, parent, seenMove{})
		if err != nil {
			return nil, err
		}
		if !found {
			continue
		}
		had, err := t.ancestor(ctx, side.by.Revision, merge.Parents[0])
		if err != nil {
			return nil, err
		}
		if !had {
			sides = append(sides, side.by)
		}
	}
	return sides, nil
}

// voice is who speaks by a move: its author, who must have committed it, too,
// for whoever picks or rebases another one's commit keeps the author. A forge
// commits merges in the name of who asks for them.
func (p people) voice(m move, merges bool) voice {
	said := voice{Person: m.Author}
	author, committer := p.who(m.Author), p.who(m.Committer)
	switch {
	case automatic(m.Commit):
		said.problem = fmt.Sprintf("%s by %s has the trailers of the daemon's commits, which are nobody's word; merge it from a branch", m.Revision.Short(), m.Author)
	case author == "":
		said.problem = fmt.Sprintf("%s is no person", m.Author)
	case author != committer && !(merges && committer == "" && ofForge(source.Address(m.Committer.Email))):
		said.problem = fmt.Sprintf("%s wrote %s, and %s committed it", m.Author, m.Revision.Short(), m.Committer)
	case len(m.murky) > 0 && slices.ContainsFunc(m.murky, func(c source.Commit) bool { return p.voice(move{Commit: c}, false).who != author }):
		said.problem = fmt.Sprintf("%s may only have mended the file, which could not be read since %s by %s",
			m.Author, m.murky[len(m.murky)-1].Revision.Short(), m.murky[len(m.murky)-1].Author)
	default:
		said.who = author
	}
	return said
}

// automatic tells the daemon's commits, whatever address it had then. It never
// merges, nor writes an override: the same trailers are a person's then.
func automatic(c source.Commit) bool {
	if len(c.Parents) > 1 {
		return false
	}
	_, overrides := c.Override()
	_, promotes := c.Promotes()
	_, reverts := c.Reverts()
	return reverts || promotes && !overrides
}

// maxAuthors bounds the commits whose authors are looked at.
const maxAuthors = 2000

// approved holds what was agreed against what the environment asks for. The
// answer says who is missing.
func (v *evaluation) approved(ctx context.Context, a agreement) (bool, string, error) {
	asked, people := v.file.Promotion.Approval, v.c.people()
	wrote := map[string]bool{}
	if asked.NotAuthor {
		authors, err := v.c.Source.Authors(ctx, v.lastGood.Revision, v.file.Revision, maxAuthors)
		if errors.Is(err, source.ErrTooFar) || errors.Is(err, source.ErrUnknownRevision) {
			return false, fmt.Sprintf("who wrote what %s brings cannot be told: %v; promote a revision in between first, "+
				"or have one approved that leaves notAuthor out", v.file.Revision.Short(), err), nil
		}
		if err != nil {
			return false, "", err
		}
		for _, author := range authors {
			wrote[people.who(author)] = true
		}
	}
	counted := map[string]bool{}
	var refused []string
	for _, voice := range a.voices {
		switch {
		case voice.who == "":
			refused = append(refused, voice.problem)
		case counted[voice.who]:
		case len(asked.From) > 0 && !people.among(voice.who, asked.From):
			refused = append(refused, fmt.Sprintf("%s is not among %s", voice.Person, strings.Join(asked.From, ", ")))
		case wrote[voice.who]:
			refused = append(refused, fmt.Sprintf("%s wrote a part of it", voice.Person))
		default:
			counted[voice.who] = true
			v.approval.By = append(v.approval.By, policy.Approver{Person: policy.PersonOf(voice.Person), Revision: v.file.Revision})
		}
	}
	required := max(1, asked.Required)
	if len(counted) >= required {
		return true, "", nil
	}
	if a.unheard != nil && !fault.IsTerminal(a.unheard) {
		return false, "", fmt.Errorf("ask who approved %s: %w", v.file.Revision.Short(), a.unheard)
	}
	if a.unheard != nil {
		refused = append(refused, fmt.Sprintf("who approved on the forge cannot be asked: %v", a.unheard))
	}
	text := fmt.Sprintf("%d of %d approvals for %s", len(counted), required, v.file.Revision.Short())
	if len(refused) > 0 {
		text += ": " + strings.Join(refused, "; ")
	}
	return false, text, nil
}
