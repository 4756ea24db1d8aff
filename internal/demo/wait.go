package demo

import (
	"context"
	"fmt"
	"strings"
	"time"

	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/reconcile"
	"chaperone.dev/chaperone/internal/source"
	"chaperone.dev/chaperone/internal/state"
)

const (
	glance   = 150 * time.Millisecond // between two looks
	patience = 4 * time.Minute        // for one environment to get where it should

	firstPoll = time.Minute // for the daemon to read the repository
)

// records are what the daemon last wrote down of each environment.
type records map[promotion.ID]state.Record

// condition reports whether what is waited for is so. An error ends the wait:
// it cannot become so any more.
type condition func(records) (bool, error)

func (d *demo) look(ctx context.Context) (records, error) {
	all, err := d.kube.store.Load(ctx)
	if err != nil {
		return nil, err
	}
	found := records{}
	for _, r := range all {
		found[r.ID] = r
		if r.Status.Reason != "" {
			d.report.phase(r.ID.String(), fmt.Sprintf("%s (%s) at %s", r.Status.Phase, r.Status.Reason, shortOr(r.Journal.Running.Revision)))
		}
	}
	return found, nil
}

func shortOr(r source.Revision) string {
	if r == "" {
		return "nothing yet"
	}
	return r.Short()
}

// until waits for a condition that involves some environments, and tells when
// it does not come where those are instead.
func (d *demo) until(ctx context.Context, what string, limit time.Duration, who []promotion.ID, is condition) (records, error) {
	waiting, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	var last records
	for {
		seen, err := d.look(waiting)
		if err == nil {
			last = seen
			done, err := is(seen)
			if err != nil {
				return seen, d.stuck(what, err, seen, who)
			}
			if done {
				return seen, nil
			}
		}
		if err := d.daemon.alive(); err != nil {
			return seen, fmt.Errorf("wait until %s: %w", what, err)
		}
		select {
		case <-ctx.Done():
			return last, fmt.Errorf("wait until %s: interrupted: %w", what, ctx.Err())
		case <-waiting.Done():
			if last == nil && err != nil {
				return last, fmt.Errorf("wait until %s: %w", what, err)
			}
			return last, d.stuck(what, fmt.Errorf("not so after %s", limit), last, who)
		case <-time.After(glance):
		}
	}
}

// stuck tells of a wait that was in vain: what `why` tells of the environments,
// and the end of the daemon's log.
func (d *demo) stuck(what string, cause error, seen records, who []promotion.ID) error {
	var b strings.Builder
	for _, id := range who {
		fmt.Fprintf(&b, "\n%s", why(id, seen))
	}
	return fmt.Errorf("wait until %s: %w%s\nthe daemon's log ends with:\n%s", what, cause, b.String(), d.daemon.lastWords())
}

// why is one environment's state in one line, as `chaperone why` has it in more.
func why(id promotion.ID, seen records) string {
	r, known := seen[id]
	if !known {
		return fmt.Sprintf("%s: the daemon has not seen it yet", id)
	}
	text := fmt.Sprintf("%s: %s (%s): %s", id, r.Status.Phase, r.Status.Reason, r.Message)
	if r.Evidence != "" && r.Status.Phase != reconcile.PhaseReady {
		text += " Evidence: " + r.Evidence
	}
	if r.Status.Reason != promotion.UpToDate {
		text += " Unblock: " + r.Status.Reason.Unblock()
	}
	return text
}

// rests reports whether an environment runs a revision, verified, with nothing
// under way. A promotion may wait for somebody to merge it.
func rests(r state.Record, at source.Revision) bool {
	j := r.Journal
	return j.LastGood.Revision == at && j.Running == j.LastGood && j.Attempt.Stage == reconcile.StageNone &&
		r.Status.Phase == reconcile.PhaseReady && (r.Status.Reason == promotion.UpToDate || r.Status.Reason == promotion.WaitingForPromotion)
}

// stopped are the phases that do not end by themselves.
func stopped(phase reconcile.Phase) bool {
	return phase == reconcile.PhaseHeld || phase == reconcile.PhaseInvalid
}

// arrives is the condition that environments rest at a revision that should
// get there. It is over once the daemon holds it, or took it back.
func arrives(at source.Revision, ids ...promotion.ID) condition {
	return func(seen records) (bool, error) {
		all := true
		for _, id := range ids {
			r := seen[id]
			switch {
			case rests(r, at):
				continue
			case r.Journal.LastRevert.Guilty == at:
				return false, fmt.Errorf("%s took %s back", id, at.Short())
			case r.Status.Wanted.Revision == at && stopped(r.Status.Phase):
				return false, fmt.Errorf("%s holds %s", id, at.Short())
			}
			all = false
		}
		return all, nil
	}
}

// arrive waits for it.
func (d *demo) arrive(ctx context.Context, at source.Revision, ids ...promotion.ID) error {
	_, err := d.until(ctx, fmt.Sprintf("%s runs %s", list(ids), at.Short()), patience, ids, arrives(at, ids...))
	return err
}

func list(ids []promotion.ID) string {
	var names []string
	for _, id := range ids {
		names = append(names, id.String())
	}
	return strings.Join(names, ", ")
}
