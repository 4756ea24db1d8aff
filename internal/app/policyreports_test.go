package app

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"chaperone.dev/chaperone/internal/policy"
	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/state"
)

// reportBook is a cluster that reports are written to.
type reportBook struct {
	mu      sync.Mutex
	err     error
	tries   int
	written []policy.Verdict
}

func (b *reportBook) write(_ context.Context, r policy.Report) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.tries++; b.err == nil {
		b.written = append(b.written, r.Verdict)
	}
	return b.err
}

func TestPolicyReportsAreWrittenWhenTheyChange(t *testing.T) {
	t.Parallel()
	for name, failure := range map[string]error{"": nil, "not installed": state.ErrNoReports, "refused": errors.New("forbidden")} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				book := &reportBook{err: failure}
				p := newPolicyReports(book.write, reportPause, slog.New(slog.DiscardHandler))
				ctx, cancel := context.WithCancel(t.Context())
				defer synctest.Wait()
				defer cancel()
				go p.run(ctx)
				id := promotion.ID{Pipeline: "shop", Name: "production"}
				for range 5 {
					p.offer(id, policy.Report{Verdict: policy.VerdictAllow})
					synctest.Wait()
				}
				if book.tries != 1 {
					t.Errorf("%d tries of the same within a moment, want one", book.tries)
				}
				p.offer(id, policy.Report{Verdict: policy.VerdictDeny})
				synctest.Wait()
				if failure != nil {
					if book.tries != 1 {
						t.Errorf("%d tries while nothing can be written, want a pause after the first", book.tries)
					}
					book.mu.Lock()
					book.err = nil
					book.mu.Unlock()
					time.Sleep(reportPause + time.Second)
					synctest.Wait()
				}
				if last := len(book.written) - 1; last < 0 || book.written[last] != policy.VerdictDeny {
					t.Errorf("written %v, want the newest last", book.written)
				}
			})
		})
	}
}
