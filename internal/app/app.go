// Package app puts the daemon together: it makes the adapters that a
// configuration asks for, hands them to the controller, and takes them down in
// the reverse order. It guarantees that two daemons fit in one process, and
// that Run returns only once everything it started has ended.
package app

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"chaperone.dev/chaperone/internal/config"
	"chaperone.dev/chaperone/internal/controller"
	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/metrics"
	"chaperone.dev/chaperone/internal/render"
	"chaperone.dev/chaperone/internal/source"
	"chaperone.dev/chaperone/internal/state"
	"chaperone.dev/chaperone/internal/verify"
	"chaperone.dev/chaperone/internal/web"
	"chaperone.dev/chaperone/internal/webhook"
)

// Build is what the binary knows of itself.
type Build struct{ Version, Revision string }

// App is one daemon.
type App struct {
	config  config.Config
	build   Build
	alone   bool // the process is this daemon and nothing else
	log     *slog.Logger
	started atomic.Pointer[web.Server]
	marks   markStore                            // of policies; nil: none outlasts the process
	hooks   func(webhook.Forge, web.HookOutcome) // told of webhooks
	refused func(error)                          // told why the newest policies are, nil once they are in force
	teardown
}

// New takes a configuration; Run does the work.
func New(c config.Config, build Build, log *slog.Logger) *App {
	return &App{config: c, build: build, log: log, refused: func(error) {}, teardown: teardown{log: log}}
}

// Addr is where the page is served, or "" before it is.
func (a *App) Addr() string {
	if server := a.started.Load(); server != nil {
		return server.Addr().String()
	}
	return ""
}

// Run reconciles until ctx ends.
func (a *App) Run(ctx context.Context) (err error) {
	defer func() { err = errors.Join(err, a.takeDown()) }()
	if err := proxies(http.ProxyFromEnvironment); err != nil {
		return err
	}
	own, err := KubeConfig(a.config.Kubeconfig, a.config.Context)
	if err != nil {
		return err
	}
	store, err := state.New(own, a.config.Namespace, time.Now)
	if err != nil {
		return err
	}
	a.marks = store
	shown, err := a.serve()
	if err != nil {
		return err
	}
	a.refused = shown.policiesRefused
	a.hooks = func(f webhook.Forge, o web.HookOutcome) { shown.Webhook(string(f), string(o)) }
	shown.reports = newPolicyReports(store.WritePolicyReport, reportPause, a.log)
	a.follow(ctx, shown.reports)
	repository, err := a.openSource(ctx)
	if err != nil {
		return err
	}
	ports, err := a.ports(own, store, shown)
	if err != nil {
		return err
	}
	if ports.Forge, err = openForge(a.config.Forge, a.config.Source.GitHubApp); err != nil {
		return err
	}
	work := func(ctx context.Context) error { return a.reconcile(ctx, ports, repository) }
	if !a.config.LeaderElection {
		return work(ctx)
	}
	standby := func() {
		a.log.Info("another replica leads; standing by")
		// Ready to take over is ready: a rolling update waits for it before it
		// stops the replica that leads.
		shown.page.Publish(web.View{At: time.Now(), Polled: true, Notice: "Another replica leads; this one stands by."})
	}
	return lead(ctx, own, a.config.Namespace, standby, work)
}

// KubeConfig is how to reach the daemon's own cluster: the kubeconfig given,
// or the account of the pod that this runs in.
func KubeConfig(path, contextName string) (*rest.Config, error) {
	if path == "" {
		in, err := rest.InClusterConfig()
		if errors.Is(err, rest.ErrNotInCluster) {
			return nil, errors.New("not in a cluster, and no kubeconfig given; set --kubeconfig or CHAPERONE_KUBECONFIG")
		}
		return in, err
	}
	rules := &clientcmd.ClientConfigLoadingRules{ExplicitPath: path}
	if several := filepath.SplitList(path); len(several) > 1 { // as $KUBECONFIG may hold
		rules = &clientcmd.ClientConfigLoadingRules{Precedence: several}
	}
	overrides := &clientcmd.ConfigOverrides{CurrentContext: contextName}
	read, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, overrides).ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("kubeconfig %s: %w", path, err)
	}
	return read, nil
}

// serve starts the page, the probes and the metrics.
func (a *App) serve() (telemetry, error) {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	counted, err := metrics.New(registry, metrics.Build{
		Version: a.build.Version, Revision: a.build.Revision, GoVersion: runtime.Version(),
	}, time.Now)
	if err != nil {
		return telemetry{}, err
	}
	server := web.New(web.Options{
		Address: a.config.Listen, Metrics: metrics.Handler(registry), Version: a.build.Version, Now: time.Now, Log: a.log,
	})
	if err := server.Start(); err != nil {
		return telemetry{}, err
	}
	a.started.Store(server)
	a.log.Info("serving", "address", server.Addr().String())
	a.later("page", func() error {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		return server.Shutdown(ctx)
	})
	return telemetry{Metrics: counted, page: server, branch: a.config.Source.Branch, refused: new(atomic.Pointer[string])}, nil
}

// ports are the controller's, but for the source.
func (a *App) ports(own *rest.Config, store *state.Store, shown telemetry) (controller.Ports, error) {
	client, err := proxied(a.config.Verify.Proxy.Reveal())
	if err != nil {
		return controller.Ports{}, err
	}
	on := &clusters{
		connections: &connections{own: own, namespace: a.config.Namespace, secrets: store, redactor: newRedactor(), log: a.log,
			request: shown.APIRequest, open: map[target]*connection{}},
		verifier: verify.New(client, verify.SystemClock(), time.Second).WithPrometheus(verify.Prometheus(a.config.Verify.Prometheus)),
	}
	a.later("clusters", func() error { on.Close(); return nil })
	return controller.Ports{
		Renderer: renderer{render.New(render.DefaultLimits())}, Cluster: on, Store: store, Telemetry: shown,
	}, nil
}

func newRedactor() manifest.Redactor {
	salt := make([]byte, 32)
	rand.Read(salt) // never fails: it ends the program instead
	return manifest.NewRedactor(salt)
}

// reconcile runs the loop, and beside it what nudges it.
func (a *App) reconcile(ctx context.Context, ports controller.Ports, repository *repository) error {
	ctx, cancel := context.WithCancel(ctx)
	ports.Source, ports.Reverts = repository, repository
	loop := controllerConfig(a.config, a.log)
	memory := newTidy(a.alone)
	defer memory.close()
	loop.Decided = memory.decided
	run, err := a.policies(ctx, &ports, repository)
	if err != nil {
		cancel()
		return err
	}
	previews, err := a.previews(ports, repository)
	if err != nil {
		cancel()
		return err
	}
	defer previews.close()
	ports.Previews = previews.port()
	c := controller.New(ports, loop)
	hooked, err := a.webhooks(ctx, c.Poll)
	if err != nil {
		cancel()
		return err
	}
	defer hooked()
	followed := make(chan struct{})
	go func() {
		defer close(followed)
		run(ctx, c.Nudge)
	}()
	defer func() { <-followed }()
	defer cancel()
	err = c.Run(ctx)
	if errors.Is(err, state.ErrNotFound) {
		return fmt.Errorf("the cluster does not know Chaperone's custom resources; install base/chaperone first: %w", err)
	}
	return err
}

func controllerConfig(c config.Config, log *slog.Logger) controller.Config {
	return controller.Config{
		PollInterval: c.Source.PollInterval, Jitter: c.Source.Jitter, Workers: c.Workers, Redactor: newRedactor(),
		Branch: c.Source.URL + " " + c.Source.Branch, Base: c.Source.Branch, Previewed: c.Forge.Previews, Self: c.Author.Email, Groups: c.Groups, People: c.People, Now: time.Now, Log: log,
	}
}

func parseURL(text string) (*url.URL, error) {
	parsed, err := url.Parse(text)
	if err != nil || parsed.Host == "" {
		// The text may hold a password, and url.Parse would quote it.
		return nil, errors.New("not a URL; want such as http://127.0.0.1:3128")
	}
	return parsed, nil
}

// renderer adapts package render to the controller's port.
type renderer struct{ *render.Renderer }

// Render implements controller.Renderer.
func (r renderer) Render(ctx context.Context, snap source.Snapshot, dir string) (manifest.Set, manifest.Digest, error) {
	result, err := r.Renderer.Render(ctx, snap, dir)
	return result.Set, result.Digest, err
}
