package controller

import (
	"context"
	"fmt"
	"slices"
	"time"

	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/reconcile"
	"chaperone.dev/chaperone/internal/state"
)

// watchRequests takes in what people ask for, until ctx ends. While it cannot
// be watched, what was asked for last stays.
func (c *Controller) watchRequests(ctx context.Context) {
	const first, longest = time.Second, 30 * time.Second
	wait := first
	for ctx.Err() == nil {
		err := c.Store.WatchRequests(ctx, func(id promotion.ID, requests state.Requests) {
			wait = first
			c.post(ctx, func() { c.requested(id, requests) })
		})
		if err != nil && ctx.Err() == nil {
			c.Log.Warn("watch requests; trying again", "reason", promotion.ClusterUnavailable, "err", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
		wait = min(2*wait, longest)
	}
}

// requested folds requests into the world.
func (c *Controller) requested(id promotion.ID, requests state.Requests) {
	if requests.Equal(c.requests[id]) {
		return // a watch begins with what is known
	}
	if requests.Problem != "" && requests.Problem != c.requests[id].Problem {
		c.Log.Warn("read request", "environment", id.String(), "revision", "", "reason", promotion.Paused, "err", requests.Problem)
	}
	c.asked(id, requests)
	c.change(id, func(e *reconcile.Environment) { e.Requests = c.requestsFor(id) })
	for i := range c.world.Environments { // those that were renamed from it
		world := &c.world.Environments[i]
		if slices.Contains(c.environment(world.ID).file.Formerly, id) {
			world.Requests = c.requestsFor(world.ID)
		}
	}
}

// asked keeps what people ask for, and how it is told.
func (c *Controller) asked(id promotion.ID, requests state.Requests) {
	c.requests[id] = requests
	e := c.environment(id)
	if requests.Pause != nil {
		e.notes[promotion.Paused] = pausedBy(*requests.Pause)
	}
	if requests.Retry != nil {
		e.notes[promotion.Retrying] = fmt.Sprintf("%s asked to try again", requests.Retry.By)
	}
}

// requestsFor are an environment's own, and the pause of one that it was
// renamed from: a rename must not end a pause.
func (c *Controller) requestsFor(id promotion.ID) reconcile.Requests {
	own := c.requests[id]
	for _, former := range c.environment(id).file.Formerly {
		if pause := c.requests[former].Pause; own.Pause == nil && pause != nil {
			own.Pause = pause
			c.environment(id).notes[promotion.Paused] = pausedBy(*pause) + " (as " + former.String() + "; resume that)"
		}
	}
	return requestsOf(own)
}

func pausedBy(p state.Pause) string {
	text := p.Reason
	if p.By != "" {
		text = fmt.Sprintf("paused by %s: %s", p.By, p.Reason)
	}
	if !p.Until.IsZero() {
		text += ", until " + p.Until.UTC().Format(time.RFC3339)
	}
	return text
}

func requestsOf(r state.Requests) reconcile.Requests {
	var requests reconcile.Requests
	if r.Pause != nil {
		requests.Paused, requests.PausedUntil = true, r.Pause.Until
	}
	if r.Retry != nil {
		requests.Retry, requests.RetryDigest = r.Retry.ID, r.Retry.Digest
	}
	return requests
}
