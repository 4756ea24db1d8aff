package bench

import (
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"k8s.io/client-go/kubernetes"

	"chaperone.dev/chaperone/internal/state"
	"chaperone.dev/chaperone/internal/testkit/gitserver"
	"chaperone.dev/chaperone/internal/testkit/localcluster"
)

// ground is a cluster of a benchmark's own, and what watches it. To see only that
// everything runs, all share the one of the tests.
type ground struct {
	*testing.B
	cluster *localcluster.Cluster
	client  kubernetes.Interface
	watch   *watcher
}

func newGround(b *testing.B) *ground {
	b.Helper()
	start := localcluster.StartOwn
	if smoke() {
		start = localcluster.Start
	}
	g := &ground{B: b, cluster: start(b)}
	g.client = g.cluster.Client()
	if err := state.InstallCRDs(b.Context(), g.cluster.Config()); err != nil {
		b.Fatal(err)
	}
	g.watch = watchObjects(b, g.cluster.Config())
	return g
}

func (g *ground) namespaces(n int) []string {
	g.Helper()
	var all []string
	for range n {
		all = append(all, g.cluster.Namespace(g))
	}
	return all
}

// end stops the cluster before the benchmark is over: what comes next has the
// machine for itself.
func (g *ground) end() {
	g.Helper()
	g.watch.stop()
	if !smoke() {
		g.cluster.Stop(g)
	}
}

// calm waits until the cluster has nothing left to do from what went before.
func (g *ground) calm() { g.Helper(); quiet(g, g.cluster.PID) }

// world is a source, and a daemon that follows it.
type world struct {
	*ground
	repo     *gitserver.Repo
	door     *door
	settings map[string]string
	daemon   *daemon
	// One environment for each namespace, with size objects each.
	spaces []string
	size   int
}

// newWorld starts a daemon on a source without environments, and waits until
// it has nothing to do.
func (g *ground) newWorld() *world {
	g.Helper()
	w := &world{ground: g, repo: gitserver.NewRepo(g)}
	policies, err := filepath.Abs(filepath.Join("..", "..", "policies"))
	if err != nil {
		g.Fatal(err)
	}
	token := filepath.Join(g.TempDir(), "token")
	if err := os.WriteFile(token, []byte("token\n"), 0o600); err != nil {
		g.Fatal(err)
	}
	w.door = newDoor(g, gitserver.ServeHTTP(g, w.repo, "token").URL)
	w.settings = map[string]string{
		"source-url": w.door.url, "source-branch": "main", "source-token-file": token, "source-cache-dir": g.TempDir(),
		"source-poll-interval": "1s", "source-jitter": "0%", "policies-directory": policies, "namespace": g.cluster.Namespace(g),
		"listen": "127.0.0.1:0", "kubeconfig": g.cluster.Kubeconfig, "verify-proxy": g.cluster.Proxy,
		"log-level": "info", "log-format": "json",
	}
	first := w.push("first", map[string]string{"environments/idle/none.yaml": fmt.Sprintf(idleFile, g.cluster.Namespace(g))})
	w.start()
	w.daemon.followed(first)
	return w
}

func (w *world) start() {
	w.Helper()
	d := startDaemon(w, w.settings)
	w.daemon = d
	w.Cleanup(func() {
		if w.Failed() {
			w.Logf("the daemon said:\n%s", d.said())
		}
	})
}

func (w *world) push(message string, files map[string]string) string {
	w.Helper()
	return w.repo.Commit(w, gitserver.Commit{Message: message, Files: files})
}

// environment is the name of the i-th; path is where it is rendered.
func environment(i int) string { return fmt.Sprintf("e%02d", i) }

func overlayPath(i int) string { return "overlays/bench/" + environment(i) }

const environmentFile = `apiVersion: chaperone.dev/v1alpha1
kind: Environment
metadata:
  name: %s
spec:
  data: none
  target: {namespace: %s}
  verify: {timeout: 5m, settle: %s}
`

// idleFile is an environment that waits for a promotion, and has none before
// it that could give one: a source has to have an environment.
const idleFile = `apiVersion: chaperone.dev/v1alpha1
kind: Environment
metadata:
  name: none
spec:
  data: none
  target: {namespace: %s}
  promotion: {mode: pull-request}
`

// settle is how long an environment has to stay ready. It is part of every
// time to finish.
const settle = time.Second

// fill are the files of environments of n objects each, one in each namespace.
func (w *world) fill(spaces []string, n int, stamp string) map[string]string {
	w.spaces, w.size = spaces, n/perApp*perApp
	files := map[string]string{}
	for i, namespace := range spaces {
		files["environments/bench/"+environment(i)+".yaml"] = fmt.Sprintf(environmentFile, environment(i), namespace, settle)
		maps.Copy(files, overlay(overlayPath(i), namespace, n, stamp))
	}
	return files
}

func (w *world) objects() int { return w.size * len(w.spaces) }

// door stands before the Git server and knows when it was asked: how long a
// commit waits for the next poll is a setting, and no speed.
type door struct {
	url string

	mu    sync.Mutex
	since time.Time
	first time.Time
}

func newDoor(tb testing.TB, server string) *door {
	tb.Helper()
	to, err := url.Parse(server)
	if err != nil {
		tb.Fatal(err)
	}
	d := &door{}
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: to.Scheme, Host: to.Host})
	front := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		d.knock()
		proxy.ServeHTTP(rw, r)
	}))
	tb.Cleanup(front.Close)
	d.url = front.URL + to.Path
	return d
}

func (d *door) knock() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.since.IsZero() && d.first.IsZero() {
		d.first = time.Now()
	}
}

// expect begins to wait for the next request.
func (d *door) expect() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.since, d.first = time.Now(), time.Time{}
}

// asked is when that came.
func (d *door) asked() time.Time {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.first
}
