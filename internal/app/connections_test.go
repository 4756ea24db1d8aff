package app

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/client-go/rest"

	"chaperone.dev/chaperone/internal/fault"
	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/state"
)

// oneSecret is a kubeconfig that somebody may change, or be unable to read.
type oneSecret struct {
	mu      sync.Mutex
	content string
	err     error
	changed func()
}

func (s *oneSecret) Kubeconfig(context.Context, string) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return []byte(s.content), s.err
}

func (s *oneSecret) FollowKubeconfig(ctx context.Context, _ string, changed func()) error {
	s.mu.Lock()
	s.changed = changed
	s.mu.Unlock()
	<-ctx.Done()
	return ctx.Err()
}

// write changes it, and tells who follows it.
func (s *oneSecret) write(content string, err error) {
	s.mu.Lock()
	s.content, s.err = content, err
	changed := s.changed
	s.mu.Unlock()
	changed()
}

func withToken(token string) string {
	return fmt.Sprintf(`{apiVersion: v1, kind: Config, current-context: c, contexts: [{name: c, context: {cluster: c, user: u}}],
  users: [{name: u, user: {token: %s}}], clusters: [{name: c, cluster: {server: "http://127.0.0.1:1"}}]}`, token)
}

var faraway = promotion.Target{Kubeconfig: "far-away", Namespace: "shop"}

func connectionsOf(t *testing.T, secrets kubeconfigs) *connections {
	c := &connections{own: &rest.Config{Host: "http://127.0.0.1:1"}, namespace: "chaperone-system", secrets: secrets, redactor: newRedactor(),
		log: slog.New(slog.DiscardHandler), request: func(string, string, int) {}, open: map[target]*connection{}}
	t.Cleanup(c.Close)
	return c
}

func (c *connections) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.open)
}

// What watches a cluster ends as soon as the kubeconfig is another, and begins
// anew with that; a Secret that is written with the same content changes nothing.
func TestRotatedKubeconfigEndsItsConnection(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		secret := &oneSecret{content: withToken("one")}
		c := connectionsOf(t, secret)
		held, first, release, err := c.hold(t.Context(), faraway)
		if err != nil {
			t.Fatal(err)
		}
		defer release()
		synctest.Wait()
		secret.write(withToken("one"), nil)
		if again, err := c.For(t.Context(), faraway); held.Err() != nil || again != first || err != nil {
			t.Error("the same content ends the connection")
		}
		secret.write(withToken("two"), nil)
		synctest.Wait()
		if held.Err() == nil {
			t.Error("a rotated token leaves the connection alive")
		}
		if second, err := c.For(t.Context(), faraway); err != nil || second == first || c.count() != 1 {
			t.Errorf("after the rotation: the same connection, %v, %d open", err, c.count())
		}
		c.Close()
	})
}

// A Secret that cannot be read for a moment is looked at again: there is no
// other word of what it says by now.
func TestRotationIsNoticedThoughTheSecretCannotBeRead(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		secret := &oneSecret{content: withToken("one")}
		c := connectionsOf(t, secret)
		held, _, release, err := c.hold(t.Context(), faraway)
		if err != nil {
			t.Fatal(err)
		}
		defer release()
		synctest.Wait()
		go secret.write("", fault.Retryable("read", "Secret/far-away", context.DeadlineExceeded))
		time.Sleep(10 * time.Second)
		if held.Err() != nil {
			t.Fatal("ended though nobody knows what the Secret says")
		}
		secret.mu.Lock()
		secret.content, secret.err = withToken("two"), nil
		secret.mu.Unlock()
		time.Sleep(time.Minute)
		if held.Err() == nil {
			t.Error("the rotation is not noticed")
		}
		c.Close()
	})
}

// A connection ends when nothing has used it for a while, and not while
// something watches through it.
func TestUnusedConnectionsEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := connectionsOf(t, &oneSecret{content: withToken("one")})
		own := promotion.Target{Namespace: "shop"}
		if _, err := c.For(t.Context(), own); err != nil {
			t.Fatal(err)
		}
		held, _, release, err := c.hold(t.Context(), faraway)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(unusedFor - time.Minute)
		if _, err := c.For(t.Context(), own); err != nil || c.count() != 2 {
			t.Fatalf("%v, %d open", err, c.count())
		}
		time.Sleep(unusedFor - time.Minute) // it was used in between
		if c.count() != 2 {
			t.Error("a connection ends in use")
		}
		time.Sleep(2 * time.Minute)
		if c.count() != 1 || held.Err() != nil {
			t.Errorf("%d open; want the one that is watched", c.count())
		}
		release()
		time.Sleep(unusedFor + time.Minute)
		if c.count() != 0 {
			t.Error("an unused connection stays open")
		}
		c.Close()
	})
}

// Nothing that is wrong on the way to a cluster is the release's fault, or for
// good; the cluster is named.
func TestConnectErrorsNameTheClusterAndPass(t *testing.T) {
	t.Parallel()
	for name, secret := range map[string]*oneSecret{
		"no Secret":    {err: fault.Retryable("read", "Secret/far-away", state.ErrNotFound)},
		"another key":  {err: fault.Terminal("read kubeconfig", "Secret/far-away", context.Canceled)},
		"broken":       {content: "x: ["},
		"with plugins": {content: strings.Replace(withToken("one"), "token: one", "exec: {command: sh}", 1)},
	} {
		_, err := connectionsOf(t, secret).For(t.Context(), faraway)
		if err == nil || fault.IsTerminal(err) || !strings.Contains(err.Error(), "cluster far-away") {
			t.Errorf("%s: %v; want an error that may pass and names the cluster", name, err)
		}
	}

	_, err := connectionsOf(t, nil).For(t.Context(), promotion.Target{Namespace: "chaperone-system"})
	if err == nil || !strings.Contains(err.Error(), "the daemon's own") {
		t.Errorf("the daemon's namespace: %v", err)
	}
}
