package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/rest"

	"chaperone.dev/chaperone/internal/cluster"
	"chaperone.dev/chaperone/internal/fault"
	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/state"
)

// unusedFor is how long a connection is kept that nothing uses any more: that of
// an environment whose file is gone, or has another target.
const unusedFor = 15 * time.Minute

// kubeconfigs are the Secrets that say how to reach other clusters.
type kubeconfigs interface {
	Kubeconfig(ctx context.Context, name string) ([]byte, error)
	// FollowKubeconfig calls changed whenever a Secret may be another one, until
	// ctx ends.
	FollowKubeconfig(ctx context.Context, name string, changed func()) error
}

// connections are one for each target, as the account that the target names.
type connections struct {
	own       *rest.Config
	namespace string // the daemon's
	secrets   kubeconfigs
	redactor  manifest.Redactor
	log       *slog.Logger
	request   func(cluster, verb string, code int)

	mu        sync.Mutex
	open      map[target]*connection
	following sync.WaitGroup
}

// target is what makes two environments share a connection.
type target struct{ kubeconfig, account string }

// name is the cluster's, for people and metrics.
func (t target) name() string {
	if t.kubeconfig == "" {
		return "own"
	}
	return t.kubeconfig
}

// connection is a cluster as long as it is reached in one way. Its life ends when
// the kubeconfig is another, or nothing has used it for long; then what watches
// the cluster begins anew, on the connection that takes its place.
type connection struct {
	*cluster.Cluster
	content string // of the kubeconfig Secret: another one is another connection
	life    context.Context
	end     context.CancelFunc
	users   int         // that have it for as long as they like
	unused  *time.Timer // ends it
}

// account is the user name of the service account that a target names.
func account(t promotion.Target) string {
	if t.ServiceAccount == "" {
		return ""
	}
	return "system:serviceaccount:" + t.Namespace + ":" + t.ServiceAccount
}

// For connects to an environment's target. A kubeconfig Secret is read each
// time, so that a rotated one is used from the next request on. What is wrong
// with it may be put right any moment: nothing was touched, so it is tried again.
func (c *connections) For(ctx context.Context, t promotion.Target) (*cluster.Cluster, error) {
	_, connected, err := c.connect(ctx, t)
	if err != nil {
		return nil, err
	}
	return connected.Cluster, nil
}

func (c *connections) connect(ctx context.Context, t promotion.Target) (target, *connection, error) {
	key := target{t.Kubeconfig, account(t)}
	if t.Kubeconfig == "" && t.Namespace == c.namespace {
		return key, nil, untouched(fault.Terminal("connect", "namespace "+t.Namespace,
			errors.New("is the daemon's own; an environment there could rewrite its journal")))
	}
	var content []byte
	if t.Kubeconfig != "" {
		var err error
		if content, err = c.secrets.Kubeconfig(ctx, t.Kubeconfig); err != nil {
			return key, nil, fault.Retryable("connect", "cluster "+key.name(), err)
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	known, found := c.open[key]
	if found && known.content == string(content) {
		c.touch(key, known)
		return key, known, nil
	}
	if found {
		c.changed(key, known)
	}
	opened, err := c.dial(key, content)
	if err != nil {
		return key, nil, fault.Retryable("connect", "cluster "+key.name(), err)
	}
	return key, opened, nil
}

// dial makes a connection and has its Secret followed; by the lock.
func (c *connections) dial(key target, kubeconfig []byte) (*connection, error) {
	redactor := c.redactor
	options := cluster.Options{
		Impersonate: key.account, DaemonNamespace: c.namespace, Redactor: &redactor, Logger: c.log,
		OnRequest: func(verb, _ string, code int) { c.request(key.name(), verb, code) },
	}
	var on *cluster.Cluster
	var err error
	if key.kubeconfig == "" {
		on, err = cluster.Connect(c.own, options)
	} else {
		on, err = cluster.ConnectKubeconfig(kubeconfig, options)
	}
	if err != nil {
		return nil, err
	}
	opened := &connection{Cluster: on, content: string(kubeconfig)}
	opened.life, opened.end = context.WithCancel(context.Background())
	opened.unused = time.AfterFunc(unusedFor, func() { c.leave(key, opened) })
	c.open[key] = opened
	if key.kubeconfig != "" {
		c.following.Go(func() { c.follow(key, opened) })
	}
	return opened, nil
}

// touch has a connection live on; by the lock.
func (c *connections) touch(key target, known *connection) {
	if known.users == 0 && known.life.Err() == nil {
		known.unused.Reset(unusedFor)
	}
}

// leave ends a connection that nothing uses any more.
func (c *connections) leave(key target, unused *connection) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if unused.users == 0 && c.open[key] == unused {
		c.drop(key, unused)
	}
}

// drop ends a connection; by the lock. What is under way on it is finished.
func (c *connections) drop(key target, old *connection) {
	delete(c.open, key)
	old.unused.Stop()
	old.end()
	old.Close()
}

// follow ends a connection as soon as its Secret says something else, so that
// nothing goes on with a token that may be revoked.
func (c *connections) follow(key target, opened *connection) {
	err := c.secrets.FollowKubeconfig(opened.life, key.kubeconfig, func() {
		if !c.differs(key, opened) {
			return
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.open[key] == opened {
			c.changed(key, opened)
		}
	})
	if err != nil && opened.life.Err() == nil {
		c.log.Warn("follow kubeconfig", "cluster", key.name(), "err", err)
	}
}

// changed ends a connection that its Secret no longer speaks of; by the lock.
// Whoever looks first finds out: the watch, or the next request.
func (c *connections) changed(key target, old *connection) {
	c.log.Info("kubeconfig changed; connecting anew", "cluster", key.name())
	c.drop(key, old)
}

// differs looks until it knows: there may be no other word of the change.
func (c *connections) differs(key target, opened *connection) bool {
	const longest = 30 * time.Second
	for pause := time.Second; ; pause = min(2*pause, longest) {
		content, err := c.secrets.Kubeconfig(opened.life, key.kubeconfig)
		if err == nil || errors.Is(err, state.ErrNotFound) {
			return string(content) != opened.content
		}
		select {
		case <-opened.life.Done():
			return false
		case <-time.After(pause):
		}
	}
}

// hold gives a connection for as long as the caller likes. The context ends with
// the connection; release has to be called.
func (c *connections) hold(ctx context.Context, t promotion.Target) (held context.Context, on *cluster.Cluster, release func(), err error) {
	key, connected, err := c.connect(ctx, t)
	if err != nil {
		return ctx, nil, nil, err
	}
	c.mu.Lock()
	connected.users++
	connected.unused.Stop()
	c.mu.Unlock()
	held, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(connected.life, cancel)
	return held, connected.Cluster, func() {
		stop()
		cancel()
		c.mu.Lock()
		defer c.mu.Unlock()
		connected.users--
		c.touch(key, connected)
	}, nil
}

// about names the cluster that an error is from, unless it is the daemon's own.
func about(t promotion.Target, err error) error {
	switch {
	case err == nil || t.Kubeconfig == "":
		return err
	case apierrors.IsUnauthorized(err):
		return fmt.Errorf("cluster %s: it refuses the credentials of the kubeconfig; want new ones in the Secret: %w", t.Kubeconfig, err)
	}
	return fmt.Errorf("cluster %s: %w", t.Kubeconfig, err)
}

// Close ends every connection.
func (c *connections) Close() {
	c.mu.Lock()
	for key, open := range c.open {
		c.drop(key, open)
	}
	c.mu.Unlock()
	c.following.Wait()
}
