package forge

import (
	"errors"
	"fmt"
	"net/url"
	"time"

	"chaperone.dev/chaperone/internal/fault"
)

// How asking a forge can end. Adapters wrap these with the operation and the
// object, and classify them with package fault: what only a person can mend is
// terminal, and so is asked again at a slow pace, after a rotation of the token
// above all.
var (
	// ErrUnauthorised: there is no token, or it is revoked, expired or mistyped.
	ErrUnauthorised = errors.New("not authorised by the forge")
	// ErrForbidden: the token is known, and may not do this.
	ErrForbidden = errors.New("forbidden by the forge")
	// ErrNotFound: there is no such thing, or the token may not see it.
	ErrNotFound = errors.New("not found by the forge")
	// ErrRejected: the forge understood, and will not: there is nothing between two branches, say.
	ErrRejected = errors.New("rejected by the forge")
	// ErrUnavailable: nobody knows what came of it. It may have been done.
	ErrUnavailable = errors.New("forge unavailable")
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

// Fault names what was done to what, and classifies what came of it. An error
// that nobody put into a class leaves open what was done. Nil stays nil.
func Fault(op, object string, err error) error {
	if err == nil {
		return nil
	}
	var asked *url.Error // names the address again, and the method
	if errors.As(err, &asked) {
		err = asked.Err
	}
	for _, final := range []error{ErrUnauthorised, ErrForbidden, ErrNotFound, ErrRejected} {
		if errors.Is(err, final) {
			return fault.Terminal(op, object, err)
		}
	}
	if !errors.Is(err, ErrUnavailable) {
		err = fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return fault.Retryable(op, object, err)
}

// Answered is the error of an HTTP status, with what the forge said in one line,
// which must be without credentials; nil is success. A forge that limits rates
// may answer 403, which only its headers tell from a plain one.
func Answered(code int, said string) error {
	if said = Line(said, maxWords); said != "" {
		said = ": " + said
	}
	switch {
	case 200 <= code && code < 300:
		return nil
	case code == 401:
		return fmt.Errorf("%w: the token is unknown, revoked or expired%s", ErrUnauthorised, said)
	case code == 403:
		return fmt.Errorf("%w: the token may not do this%s", ErrForbidden, said)
	case code == 404 || code == 410:
		return fmt.Errorf("%w: it is not there, or not to be seen with this token%s", ErrNotFound, said)
	case code == 429:
		return Limited(time.Minute)
	case code == 408 || code >= 500 || code < 400:
		return fmt.Errorf("%w: it answered %d%s", ErrUnavailable, code, said)
	}
	return fmt.Errorf("%w: it answered %d%s", ErrRejected, code, said)
}
