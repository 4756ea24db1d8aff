package controller

import (
	"context"
	"time"

	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/reconcile"
)

// auditLook is how often is asked whether an audit is due. That costs the
// cluster a few small requests.
const auditLook = 10 * time.Minute

// audit looks now and then whether the cluster would still take what it has as
// it is. Watches do not tell: nothing happens to an object when a webhook or a
// definition changes. It stops for a change, and begins anew after it.
func (d *drift) audit(ctx context.Context) {
	for {
		select {
		case <-time.After(d.c.jittered(auditLook, 0, 0.1)):
		case <-ctx.Done():
			return
		}
		file, digest, rests := d.atRest(ctx)
		if !rests {
			continue
		}
		run, stop := context.WithCancel(ctx)
		good := d.c.lastGood(file, digest)
		read := good.Read
		good.Read = func(ctx context.Context) (manifest.Set, error) { // so it is due
			d.c.spawn(func() { d.whileResting(run, stop, digest) })
			return read(ctx)
		}
		began := d.c.Now()
		report, err := d.c.Cluster.Audit(run, file, good)
		stop()
		switch {
		case err != nil:
			d.log(ctx, "audit", promotion.Drifted, err)
		case report.Tried > 0:
			d.c.Telemetry.Step("audit", d.c.Now().Sub(began))
			d.c.Log.Info("audited", "environment", file.ID.String(), "revision", "", "reason", promotion.UpToDate, "objects", report.Tried,
				"took", d.c.Now().Sub(began), "differ", report.Differ, "altered", report.Altered, "rejected", report.Rejected)
		}
	}
}

// whileResting stops an audit as soon as there is something else to do.
func (d *drift) whileResting(ctx context.Context, stop context.CancelFunc, digest reconcile.Digest) {
	const look = time.Second
	for {
		select {
		case <-time.After(look):
		case <-ctx.Done():
			return
		}
		if _, now, rests := d.atRest(ctx); !rests || now != digest {
			stop()
			return
		}
	}
}
