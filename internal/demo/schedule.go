package demo

import (
	"context"
	"fmt"
	"time"

	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/source"
	"chaperone.dev/chaperone/internal/state"
)

// urgent is the trailer of a commit that does not wait for a schedule.
const urgent = source.TrailerUrgent + ": true"

// urgentFix merges a change that goes to a scheduled environment at once, with
// what waited there.
func (d *demo) urgentFix(ctx context.Context) (string, error) {
	id := scheduled()
	waited, err := d.waitsForSchedule(ctx, id)
	if err != nil {
		return "", err
	}
	s := service{"crohns", "ehr-integration"}
	fix, err := d.upgrade(ctx, s, good(s))
	if err != nil {
		return "", err
	}
	began := time.Now()
	commit, err := d.source.change(ctx, fix.message+"\n\n"+urgent, fix.edits...)
	if err != nil {
		return "", err
	}
	d.report.say("merged %s %q, which is urgent", commit.Short(), fix.message)
	if err := d.arrive(ctx, commit, append(followers(), id)...); err != nil {
		return "", err
	}
	runs, err := d.kube.image(ctx, id.Pipeline+"-"+id.Name, s.name)
	return fmt.Sprintf("%s\n%s %q came to %s %s after it was merged, verified in %s: %s", waited, commit.Short(), fix.message, id,
		time.Since(began).Round(time.Second), crohns().automatic[0], brief(runs)), err
}

// waitsForSchedule sees that a scheduled environment leaves what its upstream
// runs for later, and tells until when. In the hour that its schedule fires
// there is nothing to wait for.
func (d *demo) waitsForSchedule(ctx context.Context, id promotion.ID) (string, error) {
	seen, err := d.until(ctx, fmt.Sprintf("%s waits for its schedule", id), patience, []promotion.ID{id}, func(seen records) (bool, error) {
		r := seen[id]
		return r.Status.Reason == promotion.WaitingForSchedule || rests(r, r.Status.Wanted.Revision) && !behind(r, seen), nil
	})
	if err != nil {
		return "", err
	}
	r := seen[id]
	if r.Status.Reason != promotion.WaitingForSchedule {
		return fmt.Sprintf("%s has just changed on its schedule, to %s.", id, r.Journal.Running.Revision.Short()), nil
	}
	if !behind(r, seen) || !r.Status.Until.After(time.Now()) {
		return "", fmt.Errorf("%s waits until %s to run what it runs: %s", id, r.Status.Until.Format(time.RFC3339), r.Message)
	}
	return fmt.Sprintf("%s waits with %s until %s (%s).", id, r.Status.Wanted.Revision.Short(),
		r.Status.Until.UTC().Format("15:04 MST on 2 January"), r.Status.Reason), nil
}

// behind reports whether Crohns' development runs something newer.
func behind(r state.Record, seen records) bool {
	return r.Journal.Running.Revision != seen[crohns().automatic[0]].Journal.Running.Revision
}
