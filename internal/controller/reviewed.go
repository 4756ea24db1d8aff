package controller

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"chaperone.dev/chaperone/internal/forge"
	"chaperone.dev/chaperone/internal/source"
)

const (
	// maxMerges bounds what is remembered of the forge's answers.
	maxMerges = 1024
	// mergesKnown is how long one is believed: people review what is merged, too.
	mergesKnown = 5 * time.Minute
	// mergesSettle is how long a forge may take, after a commit, to say by which
	// pull request it came: Git has it first.
	mergesSettle = time.Minute
	// mergesSkew is how far a clock that dates commits may be ahead.
	mergesSkew = 5 * time.Minute
)

// merges remembers who merged what, so that each evaluation need not ask.
type merges struct {
	mu    sync.Mutex
	known map[source.Revision]seenMerge
}

type seenMerge struct {
	forge.Merge
	found bool
	until time.Time
}

func (c *Controller) mergedBy(ctx context.Context, commit source.Commit) (forge.Merge, bool, error) {
	now := c.Now()
	c.merges.mu.Lock()
	seen := c.merges.known[commit.Revision]
	c.merges.mu.Unlock()
	if left := seen.until.Sub(now); left > 0 && left <= mergesKnown {
		return seen.Merge, seen.found, nil
	}
	merge, found, err := c.Forge.MergedBy(ctx, c.Base, commit.Revision)
	if err != nil {
		return merge, false, err
	}
	if age := now.Sub(commit.Committer.When); !found && -mergesSkew < age && age < mergesSettle {
		return merge, false, fmt.Errorf("%w: it does not say yet by which pull request %s came", forge.ErrUnavailable, commit.Revision.Short())
	}
	c.merges.mu.Lock()
	defer c.merges.mu.Unlock()
	if c.merges.known == nil || len(c.merges.known) >= maxMerges {
		c.merges.known = map[source.Revision]seenMerge{}
	}
	c.merges.known[commit.Revision] = seenMerge{merge, found, now.Add(mergesKnown)}
	return merge, found, nil
}

// reviewers are those who agreed to the move of a pin on the forge: who merged
// its pull request, where Git does not say so already, and who approved exactly
// what was merged. The pin must stand in what they looked at.
func (v *evaluation) reviewers(ctx context.Context, t *trail, mover move, merger voice) ([]voice, error) {
	if v.c.Forge == nil || v.file.Promotion.Approval.Required == 0 || len(mover.murky) > 0 {
		return nil, nil
	}
	merge, found, err := v.c.mergedBy(ctx, mover.Commit)
	if !found || err != nil {
		return nil, err
	}
	pr := merge.PullRequest
	switch is, err := t.pinAt(pr.Head); {
	case errors.Is(err, source.ErrUnknownRevision), err == nil && is != pinSame:
		return nil, nil // squashed, and out of sight: nobody can tell what was approved
	case err != nil:
		return nil, err
	}
	var voices []voice
	people := v.c.people()
	if merger.who == "" {
		voices = append(voices, people.account(pr.MergedBy, fmt.Sprintf("merged pull request %d", pr.Number)))
	}
	for _, review := range merge.Approvals() {
		if review.By.Same(pr.MergedBy) || review.By.Same(pr.Author) {
			continue // who merged it speaks by that, and nobody approves their own
		}
		said := people.account(review.By, fmt.Sprintf("approved pull request %d", pr.Number))
		if review.At != pr.Head {
			said.who, said.problem = "", fmt.Sprintf("%s approved %s, and %s was merged", review.By, orUnknown(review.At), pr.Head.Short())
		}
		voices = append(voices, said)
	}
	return voices, nil
}

func orUnknown(revision source.Revision) string {
	if revision == "" {
		return "what the forge does not say"
	}
	return revision.Short()
}

// account is who speaks by an account on the forge: whoever has its e-mail address.
func (p people) account(a forge.Account, did string) voice {
	said := voice{Person: source.Person{Name: a.Name, Email: a.Email}}
	if said.Name == "" {
		said.Name = a.Login
	}
	if said.who = p.who(said.Person); said.who != "" {
		return said
	}
	said.problem = fmt.Sprintf("%s %s, and the forge shows no e-mail address of theirs", a, did)
	if a.Email != "" {
		said.problem = fmt.Sprintf("%s %s, whose address there is %s: list it under people", a, did, a.Email)
	}
	return said
}
