package forge

import (
	"errors"
	"fmt"
	"time"

	"chaperone.dev/chaperone/internal/fault"
)

// How asking a forge can end. Adapters wrap these with the operation and the
// object, and classify them with package fault: what only a person can mend is
// terminal, and so is asked again at a slow pace, after a rotation of the token
// above all.
var (
	// ErrUnauthorised: the forge does not know the token; it is revoked, expired or mistyped.
	ErrUnauthorised = errors.New("the forge does not know this token")
	// ErrForbidden: the token is known, and may not do this.
	ErrForbidden = errors.New("the token may not do this")
	// ErrNotFound: there is no such thing, or the token may not see it.
	ErrNotFound = errors.New("not found, or not to be seen with this token")
	// ErrRejected: the forge understood, and will not: there is nothing between two branches, say.
	ErrRejected = errors.New("rejected")
	// ErrUnavailable: nobody knows what came of it. It may have been done.
	ErrUnavailable = errors.New("the forge is unavailable")
)

// RateLimited says when it makes sense to ask again. It is ErrUnavailable, too.
type RateLimited struct{ Wait time.Duration }

func (r *RateLimited) Error() string {
	return fmt.Sprintf("the forge asks to wait for %v", r.Wait.Round(time.Second))
}

func (*RateLimited) Is(target error) bool { return target == ErrUnavailable }

// Waits returns how long a forge asked to be left alone; 0 is that it did not.
func Waits(err error) time.Duration {
	var limited *RateLimited
	if errors.As(err, &limited) {
		return limited.Wait
	}
	return 0
}

// MaxWait bounds what a forge may ask for: a clock may be wrong on its side, too.
const MaxWait = time.Hour

// Limited is the RateLimited for a time to wait as a forge gave it.
func Limited(wait time.Duration) *RateLimited {
	return &RateLimited{Wait: min(max(wait, time.Second), MaxWait)}
}

// Fault names what was done to what, says what the forge said in one line, and
// classifies it. What it said must be without credentials. A nil cause is nil.
func Fault(op, object string, cause error, said string) error {
	if cause == nil {
		return nil
	}
	if said = Line(said, maxWords); said != "" {
		cause = fmt.Errorf("%w: %s", cause, said)
	}
	for _, final := range []error{ErrUnauthorised, ErrForbidden, ErrNotFound, ErrRejected} {
		if errors.Is(cause, final) {
			return fault.Terminal(op, object, cause)
		}
	}
	return fault.Retryable(op, object, cause)
}

// ByStatus is the cause that an HTTP status stands for; nil is success. A forge
// that limits rates may answer 403, which only it can tell from a plain one.
func ByStatus(code int) error {
	switch {
	case 200 <= code && code < 300:
		return nil
	case code == 401:
		return ErrUnauthorised
	case code == 403:
		return ErrForbidden
	case code == 404 || code == 410:
		return ErrNotFound
	case code == 429:
		return Limited(time.Minute)
	case code == 408 || code >= 500 || code < 400:
		return fmt.Errorf("%w: it answered %d", ErrUnavailable, code)
	}
	return fmt.Errorf("%w: it answered %d", ErrRejected, code)
}
