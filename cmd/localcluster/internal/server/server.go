// Package server puts one local cluster together and keeps it until it is to end.
//
// It ends on its context, after its time to live, with its owner, when its directory is removed
// under it, or when a component ends by itself, whichever comes first.
package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"os"
	"runtime/debug"
	"time"

	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"

	"chaperone.dev/chaperone/cmd/localcluster/internal/controlplane"
	"chaperone.dev/chaperone/cmd/localcluster/internal/crds"
	"chaperone.dev/chaperone/cmd/localcluster/internal/instance"
	"chaperone.dev/chaperone/cmd/localcluster/internal/network"
)

// Options of one cluster.
type Options struct {
	Dir      string
	Nodes    int
	TTL      time.Duration
	OwnerPID int  // 0: none
	CRDs     bool // install the sample's definitions
	// Discard removes the directory at every end; otherwise only where nobody is left to do it.
	Discard bool
	Logs    io.Writer
}

// startTimeout bounds the start; on two busy cores it takes a tenth of it.
const startTimeout = 3 * time.Minute

// ErrEnded is the cause of an end that was planned: time to live, owner, directory.
var ErrEnded = errors.New("local cluster ended")

// Reporter hears how the start goes. An error of it ends the start: nobody waits any more.
type Reporter interface {
	Progress(step string) error
	Ready(instance.Info) error
}

// Run serves a cluster in a prepared directory. It changes the working directory of the process,
// which must end when Run has returned.
func Run(ctx context.Context, o Options, report Reporter) (err error) {
	begun := time.Now()
	held, err := instance.Hold(o.Dir)
	if err != nil {
		return err
	}
	defer func() {
		if o.Discard || errors.Is(err, ErrEnded) {
			err = errors.Join(err, held.Remove())
		} else {
			err = errors.Join(err, held.Release())
		}
	}()
	if err := os.Chdir(o.Dir); err != nil {
		return fmt.Errorf("cluster directory: %w", err)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go watchEnd(ctx, o, cancel)
	debug.SetMemoryLimit(startMemory)
	c := &cluster{Options: o, report: report, cancel: cancel}
	defer c.stop()
	if err := c.start(ctx, held); err != nil {
		return errors.Join(err, context.Cause(ctx))
	}
	info := instance.Info{
		Dir: o.Dir, Kubeconfig: c.plane.Kubeconfig, Proxy: "http://" + c.proxy.Addr().String(),
		PID: os.Getpid(), Version: controlplane.Version(),
		StartSeconds: float64(time.Since(begun).Round(10*time.Millisecond)) / float64(time.Second),
	}
	c.started = true
	if err := held.Publish(info, c.plane.Admin.Host); err != nil {
		return err
	}
	if err := report.Ready(info); err != nil {
		return err
	}
	settle(ctx)
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
		return cause
	}
	return nil // as asked
}

// startMemory is a soft limit while the control plane starts, when it makes much garbage.
const startMemory = 320 << 20

// settle gives back, once the start is over, what it needed, and from then on every now and then
// what bursts of work leave. A limit would cost more and more time as the cluster fills, so that
// none is kept.
func settle(ctx context.Context) {
	for pause := 5 * time.Second; ; pause = 30 * time.Second {
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
			debug.SetMemoryLimit(math.MaxInt64)
			debug.SetGCPercent(75)
			debug.FreeOSMemory()
		}
	}
}

// watchEnd ends the cluster for every reason that is not the caller's.
func watchEnd(ctx context.Context, o Options, cancel context.CancelCauseFunc) {
	if o.OwnerPID > 0 {
		go func() {
			instance.AwaitEnd(ctx, o.OwnerPID, time.Second)
			cancel(fmt.Errorf("%w: its owner, process %d, is gone", ErrEnded, o.OwnerPID))
		}()
	}
	tick := time.NewTicker(2 * time.Second)
	defer tick.Stop()
	life := time.NewTimer(o.TTL)
	defer life.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-life.C:
			cancel(fmt.Errorf("%w: its time to live of %s is over", ErrEnded, o.TTL))
			return
		case <-tick.C:
			if _, err := os.Stat(o.Dir); errors.Is(err, os.ErrNotExist) {
				cancel(fmt.Errorf("%w: its directory is gone", ErrEnded))
				return
			}
		}
	}
}

// cluster is what has been started so far.
type cluster struct {
	Options
	report  Reporter
	started bool
	cancel  context.CancelCauseFunc
	plane   *controlplane.Plane
	proxy   net.Listener
	client  kubernetes.Interface
	factory informers.SharedInformerFactory
	network *network.Network
	crds    chan crds.Set
}

func (c *cluster) progress(step string) {
	if err := c.report.Progress(step); err != nil {
		c.cancel(fmt.Errorf("nobody waits for the start any more: %w", err))
	}
}

func (c *cluster) start(ctx context.Context, held *instance.Held) error {
	starting, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	apiAddress, proxyAddress := held.Addresses()
	api, err := listen(apiAddress)
	if err != nil {
		return fmt.Errorf("kube-apiserver: %w", err)
	}
	if c.proxy, err = listen(proxyAddress); err != nil {
		return fmt.Errorf("proxy: %w", err)
	}
	if c.CRDs {
		c.crds = make(chan crds.Set, 1)
		go func() { c.crds <- crds.Load(starting) }() // while the control plane starts
	}
	c.plane, err = controlplane.Start(starting, controlplane.Config{Dir: c.Dir, Listener: api}, c.progress)
	if err != nil {
		return err
	}
	go func() {
		select {
		case err := <-c.plane.Failed:
			c.cancel(err)
		case <-ctx.Done():
		}
	}()
	if c.client, err = kubernetes.NewForConfig(c.plane.Admin); err != nil {
		return fmt.Errorf("client: %w", err)
	}
	return c.populate(ctx, starting)
}

// stop ends the components, which have two seconds. In the middle of its start a component takes
// the end for a fault and ends the process: it is left alone then, since the process is to end.
func (c *cluster) stop() {
	c.cancel(nil)
	if c.started {
		c.plane.Stop(2 * time.Second)
	}
}

// listen takes the wanted address, or any where that is taken or there is none.
func listen(wanted string) (net.Listener, error) {
	if wanted != "" {
		if l, err := net.Listen("tcp", wanted); err == nil {
			return l, nil
		}
	}
	return net.Listen("tcp", "127.0.0.1:0")
}
