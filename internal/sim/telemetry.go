package sim

import (
	"context"
	"log/slog"
	"time"

	"chaperone.dev/chaperone/internal/controller"
	"chaperone.dev/chaperone/internal/policy"
	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/reconcile"
)

// telemetryPort keeps the last view, as the page does.
type telemetryPort struct{ *life }

// Step implements controller.Telemetry.
func (p telemetryPort) Step(string, time.Duration) {}

// Polled implements controller.Telemetry.
func (p telemetryPort) Polled(string, bool) {}

// Ended implements controller.Telemetry.
func (p telemetryPort) Ended(reconcile.ActionKind, promotion.ID, reconcile.Outcome) {}

// Judged implements controller.Telemetry.
func (p telemetryPort) Judged(promotion.ID, policy.Report) {}

// Published implements controller.Telemetry.
func (p telemetryPort) Published(view controller.View) {
	if p.isDead() {
		return
	}
	p.s.mu.Lock()
	defer p.s.mu.Unlock()
	p.s.published(p.life, view)
}

// listener hears what a life logs, and listens for secrets.
type listener struct{ *life }

func (l listener) Enabled(context.Context, slog.Level) bool { return true }

func (l listener) Handle(_ context.Context, r slog.Record) error {
	l.s.checkSilent(l.life, "log", r.Message)
	r.Attrs(func(a slog.Attr) bool {
		if a.Value.Kind() == slog.KindString || a.Value.Kind() == slog.KindAny {
			l.s.checkSilent(l.life, "log of "+a.Key, a.Value.String())
		}
		return true
	})
	return nil
}

func (l listener) WithAttrs([]slog.Attr) slog.Handler { return l }
func (l listener) WithGroup(string) slog.Handler      { return l }
