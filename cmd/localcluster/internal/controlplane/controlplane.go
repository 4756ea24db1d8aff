// Package controlplane runs the real etcd, kube-apiserver, kube-controller-manager and
// kube-scheduler of one Kubernetes release inside this process.
//
// Only one control plane fits into a process: Kubernetes keeps feature gates, metrics and its
// capabilities in globals. The API server listens on the listener it is given, so that no
// other process can take the port first; controller manager and scheduler do not listen at all.
package controlplane

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"chaperone.dev/chaperone/cmd/localcluster/internal/pki"
)

// Config says where the control plane lives.
type Config struct {
	Dir      string       // the process must have it as its working directory
	Listener net.Listener // TCP, for the API server
}

// Plane is a running control plane.
type Plane struct {
	Kubeconfig string         // the administrator's
	Admin      *rest.Config   // the same, unthrottled
	FrontProxy *pki.Authority // vouches for the API server towards aggregated APIs
	Serving    *pki.Authority // issued the API server's certificate
	Failed     <-chan error   // a component that ended while it should run
	stop       context.CancelFunc
	done       []<-chan struct{}
	closeStore func()
}

// Start brings the API server up and returns when it is ready to serve; controllers and
// scheduler have been started by then, not necessarily finished their first work. After an error
// the process must end: a half-started component cannot be stopped.
func Start(ctx context.Context, cfg Config, progress func(string)) (*Plane, error) {
	certs, err := newCertificates(filepath.Join(cfg.Dir, "pki"))
	if err != nil {
		return nil, err
	}
	url := "https://" + cfg.Listener.Addr().String()
	p := &Plane{
		Kubeconfig: filepath.Join(cfg.Dir, "kubeconfig"),
		FrontProxy: certs.frontProxy,
		Serving:    certs.cluster,
	}
	if err := certs.writeKubeconfigs(cfg.Dir, url); err != nil {
		return nil, err
	}
	progress("etcd")
	store, err := startEtcd(ctx, cfg.Dir)
	if err != nil {
		return nil, err
	}
	p.closeStore = store.Close
	if p.Admin, err = clientcmd.BuildConfigFromFlags("", p.Kubeconfig); err != nil {
		return nil, fmt.Errorf("read kubeconfig: %w", err)
	}
	p.Admin.QPS = -1
	progress("kube-apiserver")
	runCtx, stop := context.WithCancel(context.WithoutCancel(ctx))
	p.stop = stop
	failed := make(chan error, 3)
	p.Failed = failed
	p.run(runCtx, "kube-apiserver", failed, func(ctx context.Context) error {
		return runAPIServer(ctx, cfg, certs)
	})
	if err := p.awaitAPI(ctx); err != nil {
		return nil, err
	}
	progress("kube-controller-manager, kube-scheduler")
	p.run(runCtx, "kube-controller-manager", failed, func(ctx context.Context) error {
		return runControllerManager(ctx, cfg.Dir, certs)
	})
	p.run(runCtx, "kube-scheduler", failed, func(ctx context.Context) error {
		return runScheduler(ctx, cfg.Dir)
	})
	return p, nil
}

// run starts one component; its end, unless asked for, is reported on failed.
func (p *Plane) run(ctx context.Context, name string, failed chan<- error, component func(context.Context) error) {
	done := make(chan struct{})
	p.done = append(p.done, done)
	go func() {
		defer close(done)
		err := component(ctx)
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			err = errors.New("ended")
		}
		failed <- fmt.Errorf("%s: %w", name, err)
	}()
}

// awaitAPI polls the readiness endpoint, which turns ready only after the bootstrap of RBAC.
func (p *Plane) awaitAPI(ctx context.Context) error {
	client, err := kubernetes.NewForConfig(p.Admin)
	if err != nil {
		return fmt.Errorf("kube-apiserver: %w", err)
	}
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		_, last := client.Discovery().RESTClient().Get().AbsPath("/readyz").DoRaw(ctx)
		if last == nil {
			return nil
		}
		select {
		case err := <-p.Failed:
			return err
		case <-ctx.Done():
			return fmt.Errorf("kube-apiserver: not ready: %w", errors.Join(ctx.Err(), last))
		case <-tick.C:
		}
	}
}

// Stop ends everything, waiting at most grace for open requests.
func (p *Plane) Stop(grace time.Duration) {
	p.stop()
	deadline := time.After(grace)
	for _, done := range p.done {
		select {
		case <-done:
		case <-deadline:
			deadline = closed
		}
	}
	p.closeStore()
}

// closed makes every wait after the first missed deadline return at once.
var closed = func() <-chan time.Time {
	c := make(chan time.Time)
	close(c)
	return c
}()
