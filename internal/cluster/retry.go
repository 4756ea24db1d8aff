package cluster

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	utilnet "k8s.io/apimachinery/pkg/util/net"
)

const (
	firstPause   = 200 * time.Millisecond
	longestPause = 10 * time.Second
)

// retry does one request until it succeeds, is refused for good, or its time
// is over. Each attempt has its own timeout; pauses grow, so that an API
// server in trouble is not hammered.
func (c *Cluster) retry(ctx context.Context, request func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, c.options.RetryFor)
	defer cancel()
	pause := firstPause
	for {
		err := c.attempt(ctx, request)
		if apierrors.IsForbidden(err) {
			c.grants.forget()
		}
		if err == nil || !passing(err) || ctx.Err() != nil {
			return err
		}
		wait := max(jitter(pause), asked(err))
		if deadline, has := ctx.Deadline(); has && time.Until(deadline) < wait {
			return err
		}
		if sleep(ctx, wait) != nil {
			return err // says more than that the time is over
		}
		pause = min(2*pause, longestPause)
	}
}

func (c *Cluster) attempt(ctx context.Context, request func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, c.options.RequestTimeout)
	defer cancel()
	return request(ctx)
}

// jitter spreads the workers that failed together.
func jitter(pause time.Duration) time.Duration {
	return pause/2 + rand.N(pause)
}

// asked is how long the server asked us to wait.
func asked(err error) time.Duration {
	seconds, _ := apierrors.SuggestsClientDelay(err)
	return min(time.Duration(seconds)*time.Second, time.Minute)
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// passing reports whether the same request may succeed later.
func passing(err error) bool {
	var status apierrors.APIStatus
	if errors.As(err, &status) {
		code := status.Status().Code
		switch {
		case code == http.StatusTooManyRequests || code == http.StatusConflict && !apierrors.IsAlreadyExists(err):
			return true
		case code == http.StatusRequestTimeout: // of a proxy on the way
			return true
		case code == http.StatusGone:
			return true // a list that took too long; it begins anew
		case code >= 500 && code != http.StatusNotImplemented && code != http.StatusHTTPVersionNotSupported:
			return !isMalformed(err)
		}
		return false
	}
	var netErr net.Error
	return errors.Is(err, context.DeadlineExceeded) || errors.As(err, &netErr) || errors.Is(err, io.ErrUnexpectedEOF) ||
		utilnet.IsConnectionRefused(err) || utilnet.IsConnectionReset(err) ||
		utilnet.IsHTTP2ConnectionLost(err) || utilnet.IsProbableEOF(err)
}

// isMalformed: the server answers 500 to an object that does not fit its
// schema, and would do so for ever.
func isMalformed(err error) bool {
	text := err.Error()
	return strings.Contains(text, "failed to create typed patch object") ||
		strings.Contains(text, "failed to convert new object") ||
		strings.Contains(text, "field not declared in schema")
}
