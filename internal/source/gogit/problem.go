package gogit

import (
	"context"
	"errors"
	"fmt"
	"time"

	"chaperone.dev/chaperone/internal/source"
)

// problem is why a conversation with the server came to nothing. Its text is
// clean; the error it came from is kept back, as there may be a secret in it.
type problem struct {
	text    string
	denied  bool // the server knows us and says no, or does not know us
	large   bool // it would send more than is allowed
	huge    bool // because of one file
	refused bool // the server says within the protocol that it does not do this
}

func (p *problem) Error() string { return p.text }

// Unwrap: each of them may pass by itself, and means the same to what is above.
func (p *problem) Unwrap() error { return source.ErrUnavailable }

var errTimeout = errors.New("no answer in time")

// watch ends a conversation that makes no progress: after idle without a byte,
// or after total in any case.
type watch struct {
	ctx    context.Context
	cancel context.CancelCauseFunc
	timer  *time.Timer
	idle   time.Duration
	end    *time.Timer
}

const maxConversation = 30 * time.Minute

func newWatch(ctx context.Context, idle time.Duration) *watch {
	ctx, cancel := context.WithCancelCause(ctx)
	expire := func() { cancel(errTimeout) }
	return &watch{
		ctx: ctx, cancel: cancel, idle: idle,
		timer: time.AfterFunc(idle, expire), end: time.AfterFunc(max(maxConversation, idle), expire),
	}
}

func (w *watch) progress() { w.timer.Reset(w.idle) }

func (w *watch) stop() {
	w.timer.Stop()
	w.end.Stop()
	w.cancel(nil)
}

// problem turns whatever went wrong into one; a cancelled caller gets its own
// cancellation back.
func (w *watch) problem(parent context.Context, who login, err error) error {
	var known *problem
	switch {
	case err == nil:
		return nil
	case errors.Is(parent.Err(), context.DeadlineExceeded):
		return fmt.Errorf("%w: %w", source.ErrUnavailable, parent.Err())
	case parent.Err() != nil:
		return parent.Err()
	case errors.As(err, &known): // also if looking at what came took as long as the server may be silent
		return &problem{text: who.clean(known.text), denied: known.denied, large: known.large, huge: known.huge, refused: known.refused}
	case errors.Is(context.Cause(w.ctx), errTimeout):
		return &problem{text: fmt.Sprintf("no answer for %v", w.idle)}
	}
	return &problem{text: who.clean(err.Error())}
}
