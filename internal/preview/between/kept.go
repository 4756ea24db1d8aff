package between

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"chaperone.dev/chaperone/internal/fault"
	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/preview"
	"chaperone.dev/chaperone/internal/source"
)

// Bounds of what is kept.
const (
	maxKept      = 256
	maxKeptBytes = 32 << 20
	// keptFor is how long an answer is good: it tells times, such as when a window
	// opens next.
	keptFor = time.Hour
	// maxTime bounds one comparison.
	maxTime = 2 * time.Minute
)

// Commits is a Source that knows what two revisions have in common.
type Commits interface {
	Source
	MergeBase(ctx context.Context, one, other source.Revision) (source.Revision, error)
}

// ErrNoPolicies: nobody is there to judge.
var ErrNoPolicies = errors.New("no policies could be loaded, so nothing is allowed")

// Previews answers for open pull requests, again and again. What did not change
// costs nothing: neither head, nor what it has in common with the branch, nor the
// policies. It works on one at a time, so that previews never keep the daemon from
// its work, and is safe for concurrent use.
type Previews struct {
	Source   Commits
	Renderer Renderer
	Policies func() Policies // those in force; nil is none
	Redact   manifest.Redactor
	Now      func() time.Time
	// Known is asked each time: what the daemon knows changes more often.
	Known func(preview.Environment) []string

	working sync.Mutex // held through one comparison
	mu      sync.Mutex
	kept    []answer // the newest first
}

type answer struct {
	of      asked
	at      time.Time
	preview preview.Preview
	err     error // terminal
}

type asked struct {
	base, head source.Revision
	policies   manifest.Digest
}

// Of is what merging head into the branch whose head is given would do. Both have
// to be in the source. An error that is terminal is the change's own, for its
// author to mend; any other passes.
func (p *Previews) Of(ctx context.Context, branch, head source.Revision) (preview.Preview, error) {
	ctx, cancel := context.WithTimeout(ctx, maxTime)
	defer cancel()
	judges := p.Policies()
	if judges == nil {
		return preview.Preview{}, fault.Retryable("preview", head.Short(), ErrNoPolicies)
	}
	base, err := p.Source.MergeBase(ctx, branch, head)
	if err != nil {
		return preview.Preview{}, err
	}
	of := asked{base, head, judges.Digest()}
	found, known := p.recall(of)
	if !known {
		found = p.work(ctx, of, branch, judges)
	}
	if found.err != nil {
		return preview.Preview{}, found.err
	}
	return p.now(found.preview), nil
}

// now adds what is known at this moment.
func (p *Previews) now(kept preview.Preview) preview.Preview {
	if p.Known == nil {
		return kept
	}
	kept.Environments = slices.Clone(kept.Environments)
	for i, e := range kept.Environments {
		kept.Environments[i].Evidence = slices.Concat(e.Evidence, p.Known(e))
	}
	return kept
}

// work finds an answer, unless somebody else has meanwhile.
func (p *Previews) work(ctx context.Context, of asked, branch source.Revision, judges Policies) answer {
	p.working.Lock()
	defer p.working.Unlock()
	if found, known := p.recall(of); known {
		return found
	}
	a := answer{of: of, at: p.Now()}
	a.preview, a.err = p.ask(ctx, of, branch, judges)
	if a.err == nil || fault.IsTerminal(a.err) && ctx.Err() == nil {
		p.keep(a)
	}
	return a
}

func (p *Previews) ask(ctx context.Context, of asked, branch source.Revision, judges Policies) (preview.Preview, error) {
	read := meter(ctx, p.Source)
	var sides [2]Side
	for i, revision := range []source.Revision{of.base, of.head} {
		if err := ctx.Err(); err != nil {
			return preview.Preview{}, err
		}
		commit, err := read.Commit(revision)
		if err != nil {
			return preview.Preview{}, err
		}
		snapshot, err := read.Snapshot(revision)
		if err != nil {
			return preview.Preview{}, err
		}
		sides[i], err = Open(snapshot, commit)
		if spent := read.spent(); spent != nil {
			return preview.Preview{}, spent
		}
		if err != nil {
			return preview.Preview{}, fmt.Errorf("%s: %w", revision.Short(), err)
		}
	}
	asker := Asker{Source: read, Renderer: p.Renderer, Policies: judges, Judges: "policies " + judges.Digest().Short(), Bundle: "policies",
		Branch: branch, Redact: p.Redact, Now: p.Now()}
	found, err := asker.Ask(ctx, sides[0], sides[1])
	if spent := read.spent(); spent != nil {
		return preview.Preview{}, spent
	}
	return found, err
}

func (p *Previews) recall(of asked) (answer, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	i := slices.IndexFunc(p.kept, func(a answer) bool { return a.of == of })
	if i < 0 {
		return answer{}, false
	}
	found := p.kept[i]
	p.kept = slices.Delete(p.kept, i, i+1)
	if age := p.Now().Sub(found.at); age < 0 || age >= keptFor {
		return answer{}, false
	}
	p.kept = slices.Insert(p.kept, 0, found)
	return found, true
}

// keep puts an answer before the others, and forgets those that were not asked
// for the longest, where there are too many or they hold too much.
func (p *Previews) keep(a answer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.kept = slices.Insert(p.kept, 0, a)
	bytes := 0
	for i, kept := range p.kept {
		bytes += kept.bytes()
		if i == maxKept || i > 0 && bytes > maxKeptBytes {
			p.kept = slices.Delete(p.kept, i, len(p.kept))
			return
		}
	}
}

// bytes is about what an answer holds.
func (a answer) bytes() int {
	const each = 512
	n := each
	for _, e := range a.preview.Environments {
		n += each * (1 + len(e.New) + len(e.Standing) + len(e.Solved) + len(e.Settings))
		for _, o := range e.Objects {
			n += each + len(o.Diff)
		}
	}
	return n
}
