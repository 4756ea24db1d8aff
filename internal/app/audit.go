package app

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"chaperone.dev/chaperone/internal/cluster"
	"chaperone.dev/chaperone/internal/controller"
	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/plan"
	"chaperone.dev/chaperone/internal/promotion"
)

const (
	// auditEvery is how long an audit counts while the server stays as it is.
	auditEvery = 24 * time.Hour
	// auditPause between two objects keeps an audit at a twentieth of what an API
	// server can do, or less.
	auditPause = 50 * time.Millisecond
	// auditTold bounds how many objects of a kind of finding are named.
	auditTold = 10
)

// audited is when an environment was looked at last, and how the server was then.
type audited struct {
	fingerprint string
	due         time.Time
}

// Audit implements controller.Cluster.
func (c *clusters) Audit(ctx context.Context, env promotion.Environment, good controller.LastGood) (controller.Audit, error) {
	now := time.Now()
	fingerprint, err := c.fingerprint(ctx, env.Target)
	if err != nil {
		return controller.Audit{}, err
	}
	if !c.auditDue(env.ID, fingerprint, now) {
		return controller.Audit{}, nil
	}
	on, err := c.For(ctx, env.Target)
	if err != nil {
		return controller.Audit{}, err
	}
	set, err := good.Read(ctx)
	if err != nil {
		return controller.Audit{}, err
	}
	owner := cluster.OwnerOf(env)
	owner.Digest = manifest.Digest(good.Digest)
	found, err := on.Audit(ctx, owner, set, auditPause)
	if err != nil {
		return controller.Audit{}, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.audits[env.ID] = audited{fingerprint, now.Add(auditEvery)}
	return controller.Audit{Tried: found.Tried, Differ: texts(found.Differ, manifest.ID.String),
		Altered: texts(found.Altered, manifest.ID.String), Rejected: texts(found.Rejected, func(r plan.Rejection) string { return fmt.Sprintf("%s: %v", r.ID, r.Err) })}, nil
}

// fingerprint asks as the daemon itself: an environment's account need not be
// allowed to read definitions and webhooks.
func (c *clusters) fingerprint(ctx context.Context, t promotion.Target) (string, error) {
	t.ServiceAccount = ""
	on, err := c.For(ctx, t)
	if err != nil {
		return "", err
	}
	return on.Fingerprint(ctx)
}

// auditDue: the server has changed, or it is time. What was there when the
// daemon began is looked at some time in the first day, not all at once.
func (c *clusters) auditDue(id promotion.ID, fingerprint string, now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	last, known := c.audits[id]
	if !known {
		if c.audits == nil {
			c.audits = map[promotion.ID]audited{}
		}
		c.audits[id] = audited{fingerprint, now.Add(time.Duration(rand.Int64N(int64(auditEvery))))}
		return false
	}
	return last.fingerprint != fingerprint || now.After(last.due)
}

func texts[T any](all []T, text func(T) string) []string {
	var told []string
	for _, one := range all[:min(auditTold, len(all))] {
		told = append(told, text(one))
	}
	if more := len(all) - auditTold; more > 0 {
		told = append(told, fmt.Sprintf("and %d more", more))
	}
	return told
}
