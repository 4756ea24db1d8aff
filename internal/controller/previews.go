package controller

import (
	"context"
	"slices"
	"sync"
	"time"

	"chaperone.dev/chaperone/internal/forge"
	"chaperone.dev/chaperone/internal/preview"
	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/reconcile"
	"chaperone.dev/chaperone/internal/source"
)

// Whose open pull requests are told what merging them would do.
const (
	PreviewsAll   = "all"
	PreviewsOwn   = "repository" // not those of forks
	PreviewsNever = "never"
)

const (
	// maxPreviewed bounds the open pull requests that are looked at, the latest
	// changed first, and those of the repository itself before those of forks.
	maxPreviewed = 100
	// previewsAnew is how often one is worked out again that tells times.
	previewsAnew = time.Hour
	// previewsYield is how long the daemon's own evaluations go first.
	previewsYield = 30 * time.Second
	// forksShare is how much longer than its work a pause is after a fork's: what
	// strangers push is worked on a quarter of the time.
	forksShare = 3
	// maxAwaited is how often a promotion branch is left alone that is not as the
	// journal says: the push is seen before it is written down.
	maxAwaited = 4
	// pausesOver is the longest of these pauses.
	pausesOver = time.Minute
)

// previews tells on each open pull request what merging it would do, beside the
// loop, one after the other and after everything else. What is told is kept in
// mind, so that what did not change costs nothing but the list of what is open.
type previews struct {
	c    *Controller
	wake chan struct{}
	told map[int64]said // by number; the worker's alone

	mu  sync.Mutex
	now previewed
}

// previewed is what all of them are asked against.
type previewed struct {
	head      source.Revision
	policy    reconcile.Digest
	proposals map[promotion.ID]source.Revision // whose texts hold the same; of all environments
}

// said is what one pull request was told.
type said struct {
	asked    asked
	words    words
	failures int
	at       time.Time
	again    time.Time // zero is when something has changed
}

// asked is what an answer depends on.
type asked struct {
	head, branch source.Revision
	policy       reconcile.Digest
}

func newPreviews(c *Controller) *previews {
	return &previews{c: c, wake: make(chan struct{}, 1), told: map[int64]said{}}
}

// offer takes the newest view. It does not block.
func (p *previews) offer(view View) {
	if !view.Polled {
		return
	}
	proposals := make(map[promotion.ID]source.Revision, len(view.Environments))
	for _, e := range view.Environments {
		proposals[e.ID] = e.Journal.Proposal.Commit // "" while it is being pushed: what it will be nobody knows
	}
	p.mu.Lock()
	changed := p.now.head != view.Head || p.now.policy != view.Policy
	p.now = previewed{view.Head, view.Policy, proposals}
	p.mu.Unlock()
	if changed {
		p.look()
	}
}

// look asks for a look at what is open, as after each poll.
func (p *previews) look() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// run tells them until ctx ends.
func (p *previews) run(ctx context.Context) {
	pause, wake := pullsAnew, p.wake
	for {
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-wake:
			timer.Stop()
		case <-timer.C:
		}
		err := p.round(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err == nil:
			pause, wake = p.rest(), p.wake
			continue
		case wake != nil:
			pause = pullsAgain
		default:
			pause = min(2*pause, pullsAnew)
		}
		pause, wake = max(pause, forge.Waits(err)), nil // whatever happens meanwhile
		p.c.Log.Warn("pull requests are not told what merging them does", "reason", promotion.SourceUnavailable, "again", pause, "err", err)
	}
}

// rest is how long nothing is due.
func (p *previews) rest() time.Duration {
	rest := pullsAnew
	for _, t := range p.told {
		if !t.again.IsZero() {
			rest = min(rest, t.again.Sub(p.c.Now()))
		}
	}
	return max(rest, time.Second)
}

// round looks at what is open, and tells what is due. It ends early for a newer
// list, so that who comes last does not wait for all the others.
func (p *previews) round(ctx context.Context) error {
	p.mu.Lock()
	now := p.now
	p.mu.Unlock()
	if now.head == "" {
		return nil
	}
	list, _, err := p.c.Forge.OpenPullRequests(ctx, p.c.Base)
	if err != nil {
		return err
	}
	open := p.heeded(list)
	p.forget(open)
	for _, pr := range p.due(now, open) {
		if err := p.tell(ctx, now, pr); err != nil {
			return err
		}
		if len(p.wake) > 0 {
			return nil
		}
	}
	return nil
}

// due are those to which there is something to say, who has waited longest first:
// nobody stands in the way of others by pushing again and again. What the branch
// has says by now where it is, and has no preview any more.
func (p *previews) due(now previewed, open []forge.PullRequest) []forge.PullRequest {
	due := slices.DeleteFunc(slices.Clone(open), func(pr forge.PullRequest) bool {
		t := p.told[pr.Number]
		return t.asked == now.asked(pr) && (t.again.IsZero() || p.c.Now().Before(t.again))
	})
	slices.SortStableFunc(due, func(a, b forge.PullRequest) int {
		if a.FromFork != b.FromFork {
			return map[bool]int{false: -1, true: 1}[a.FromFork]
		}
		return p.told[a.Number].at.Compare(p.told[b.Number].at)
	})
	return due
}

func (n previewed) asked(pr forge.PullRequest) asked { return asked{pr.Head, n.head, n.policy} }

// heeded are those that are told, in their order. A fork's whose head is that of
// one of our own is not: a status is a commit's, and a stranger's would take its place.
func (p *previews) heeded(list []forge.PullRequest) []forge.PullRequest {
	own, forks := []forge.PullRequest{}, []forge.PullRequest{}
	for _, pr := range list {
		switch {
		case !pr.FromFork:
			own = append(own, pr)
		case p.c.Previewed != PreviewsOwn && !slices.ContainsFunc(list, func(other forge.PullRequest) bool { return !other.FromFork && other.Head == pr.Head }):
			forks = append(forks, pr)
		}
	}
	open := slices.Concat(own, forks)
	if len(open) > maxPreviewed {
		p.c.Log.Warn("not every open pull request is told what merging it does", "open", len(open), "told", maxPreviewed)
		open = open[:maxPreviewed]
	}
	return open
}

// forget those that are not open any more.
func (p *previews) forget(open []forge.PullRequest) {
	for number := range p.told {
		if !slices.ContainsFunc(open, func(pr forge.PullRequest) bool { return pr.Number == number }) {
			delete(p.told, number)
		}
	}
}

// tell is of one pull request. An error is the forge's, which the next one would
// meet as well.
func (p *previews) tell(ctx context.Context, now previewed, pr forge.PullRequest) error {
	before := p.told[pr.Number]
	next := said{asked: now.asked(pr), at: p.c.Now(), words: before.words}
	if before.asked != next.asked {
		before.failures = 0
	}
	if merged, err := p.c.Source.Contains(ctx, pr.Head); merged || err != nil {
		if err != nil {
			next.failures = before.failures + 1
			next.again = p.c.Now().Add(again(next.failures))
		}
		p.told[pr.Number] = next
		return ctx.Err()
	}
	if awaited(now, pr) && before.failures < maxAwaited {
		next.failures, next.again = before.failures+1, p.c.Now().Add(pullsAgain<<before.failures)
		p.told[pr.Number] = next
		return nil
	}
	yield(ctx, p.c.slots)
	began := p.c.Now()
	answer, err := p.find(ctx, now, pr, before.failures, &next)
	worked := p.c.Now().Sub(began)
	if err != nil {
		return err
	}
	p.c.Telemetry.Step("preview", worked)
	if next.failures != 1 { // the forge may know a commit before Git has it
		if next.words, err = p.say(ctx, pr, before.words, answer); err != nil {
			return err
		}
		if !next.words.equal(answer) && next.again.IsZero() {
			next.again = p.c.Now().Add(pullsAnew)
		}
	}
	p.told[pr.Number] = next
	p.pause(ctx, pr, worked)
	return ctx.Err()
}

// find works out what is to be said, and when again. An error is that of ctx.
func (p *previews) find(ctx context.Context, now previewed, pr forge.PullRequest, failures int, next *said) (words, error) {
	found, err := preview.Preview{}, errNobodyJudges
	if now.policy != "" {
		found, err = p.c.Previews.OfPull(ctx, now.head, pr)
	}
	if ctx.Err() != nil {
		return words{}, ctx.Err()
	}
	if err == nil {
		if timed(found) {
			next.again = p.c.Now().Add(previewsAnew)
		}
		return wordsOf(now, pr, found), nil
	}
	answer, mayChange := unanswered(err, pr)
	if mayChange {
		next.failures = failures + 1
		next.again = p.c.Now().Add(again(next.failures))
	}
	p.c.Log.Warn("pull request without a preview", "number", pr.Number, "revision", pr.Head, "err", forge.Line(err.Error(), maxLogged))
	return answer, nil
}

const maxLogged = 500

// again is how long after so many failures in a row it is tried once more.
func again(failures int) time.Duration { return min(pullsAgain<<min(failures, 10), pullsAnew) }

// yield lets evaluations go first, which the daemon is there for.
func yield(ctx context.Context, to chan struct{}) {
	const step = 100 * time.Millisecond
	for waited := time.Duration(0); len(to) > 0 && waited < previewsYield && ctx.Err() == nil; waited += step {
		wait(ctx, step)
	}
}

// pause leaves the processor to others, for as long as it was used.
func (p *previews) pause(ctx context.Context, pr forge.PullRequest, worked time.Duration) {
	if pr.FromFork {
		worked *= forksShare
	}
	wait(ctx, min(worked, pausesOver))
}

func wait(ctx context.Context, pause time.Duration) {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// timed reports whether a preview says at what time something will be.
func timed(p preview.Preview) bool {
	return slices.ContainsFunc(p.Environments, func(e preview.Environment) bool {
		return slices.ContainsFunc(e.Gates, func(g preview.Gate) bool {
			return g.Reason == promotion.Frozen || g.Reason == promotion.OutsideWindow || g.Reason == promotion.WaitingForSchedule
		})
	})
}
