package app

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"sync"
	"time"

	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/policy"
	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/state"
)

// Bounds on writing findings for others to read.
const (
	reportTimeout = 10 * time.Second
	// reportPause is how long nothing is tried after a write that failed, or while
	// the cluster has no such custom resources.
	reportPause = 10 * time.Minute
)

// policyReports writes the newest findings on each environment as PolicyReport
// objects, beside the loop: nothing waits for it. What has not changed is not
// written again.
type policyReports struct {
	write func(context.Context, policy.Report) error
	pause time.Duration
	log   *slog.Logger
	wake  chan struct{}

	mu      sync.Mutex
	pending map[promotion.ID]policy.Report
	written map[promotion.ID]manifest.Digest
}

func newPolicyReports(write func(context.Context, policy.Report) error, pause time.Duration, log *slog.Logger) *policyReports {
	return &policyReports{write: write, pause: pause, log: log, wake: make(chan struct{}, 1),
		pending: map[promotion.ID]policy.Report{}, written: map[promotion.ID]manifest.Digest{}}
}

// offer takes the newest report on an environment. It does not block.
func (p *policyReports) offer(id promotion.ID, report policy.Report) {
	report.Environment = id
	p.mu.Lock()
	p.pending[id] = report
	p.mu.Unlock()
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// run writes until ctx ends.
func (p *policyReports) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.wake:
		}
		if p.writeAll(ctx) {
			continue
		}
		pause := time.NewTimer(p.pause)
		select {
		case <-ctx.Done():
			pause.Stop()
			return
		case <-pause.C:
		}
		p.again()
	}
}

// again looks at what is pending once more.
func (p *policyReports) again() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// writeAll reports whether all that is pending was written. What was not stays
// pending, unless something newer has come.
func (p *policyReports) writeAll(ctx context.Context) bool {
	p.mu.Lock()
	pending := p.pending
	p.pending = map[promotion.ID]policy.Report{}
	p.mu.Unlock()
	all := true
	for id, report := range pending {
		content, err := json.Marshal(report)
		digest := manifest.DigestBytes(content)
		if err != nil || p.written[id] == digest {
			continue
		}
		if all {
			all = p.writeOne(ctx, report)
		}
		if all {
			p.written[id] = digest
			continue
		}
		p.mu.Lock()
		if _, newer := p.pending[id]; !newer {
			p.pending[id] = report
		}
		p.mu.Unlock()
	}
	return all
}

func (p *policyReports) writeOne(ctx context.Context, report policy.Report) bool {
	ctx, cancel := context.WithTimeout(ctx, reportTimeout)
	defer cancel()
	err := p.write(ctx, report)
	switch {
	case errors.Is(err, state.ErrNoReports):
		p.log.Debug("no policy reports on this cluster", "err", err)
	case err != nil && ctx.Err() == nil:
		p.log.Warn("write policy report; trying again later", "environment", report.Environment.String(), "err", err)
	}
	return err == nil
}

// follow writes policy reports until the daemon is taken down.
func (a *App) follow(ctx context.Context, p *policyReports) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		p.run(ctx)
	}()
	a.later("policy reports", func() error { cancel(); <-done; return nil })
}
