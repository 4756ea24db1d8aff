// Package localcluster gives tests a real Kubernetes API server. It guarantees
// that the program is built once however many test packages ask at the same
// time, that they share one running cluster, each test in namespaces of its
// own, and that a cluster ends by itself even when the tests are killed.
package localcluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

const (
	// sharedTTL is the life of the shared cluster. It outlives the tests that
	// started it, for those that come after.
	sharedTTL = 30 * time.Minute
	// enoughTTL is how much of it must be left for a test to begin with it:
	// more than the ten minutes that `go test` gives a package.
	enoughTTL = 12 * time.Minute
	startWait = 3 * time.Minute
)

// Cluster is a running local cluster.
type Cluster struct {
	Info
	config *rest.Config
	client kubernetes.Interface
	binary string
}

// Info is what the program prints when a cluster is ready.
type Info struct {
	Dir          string  `json:"dir"`
	Kubeconfig   string  `json:"kubeconfig"`
	Proxy        string  `json:"proxy"` // http://127.0.0.1:PORT, the pods' network
	PID          int     `json:"pid"`
	Version      string  `json:"version"`
	StartSeconds float64 `json:"start_seconds"`
}

// state is how test processes tell each other of the shared cluster.
type state struct {
	Info
	Expires time.Time `json:"expires"`
}

var shared struct {
	sync.Mutex
	cluster *Cluster
	expires time.Time
}

// Start returns the cluster that all test packages share, and starts it where
// there is none. Keep to namespaces from Namespace, and cluster-scoped objects
// to names that no other test uses.
func Start(t testing.TB) *Cluster {
	t.Helper()
	shared.Lock()
	defer shared.Unlock()
	if shared.cluster == nil || time.Until(shared.expires) < time.Minute {
		c, expires, err := join(t)
		if err != nil {
			t.Fatalf("local cluster: %v", err)
		}
		shared.cluster, shared.expires = c, expires
	}
	return shared.cluster
}

func join(t testing.TB) (*Cluster, time.Time, error) {
	b, err := Program.Build(t.Context(), t.Logf)
	if err != nil {
		return nil, time.Time{}, err
	}
	unlock, err := b.Lock(starting)
	if err != nil {
		return nil, time.Time{}, err
	}
	defer unlock()
	file := filepath.Join(b.Dir, "shared-"+b.Key+".json")
	if c, expires, ok := reuse(b.Path, file); ok {
		return c, expires, nil
	}
	forget(b.Dir)
	expires := time.Now().Add(sharedTTL)
	c, err := up(t.Context(), b.Path, "--ttl", sharedTTL.String())
	if err != nil {
		return nil, expires, err
	}
	text, err := json.Marshal(state{Info: c.Info, Expires: expires})
	if err == nil {
		err = os.WriteFile(file, text, 0o600)
	}
	return c, expires, err
}

// forget removes what is known of clusters that have ended by now.
func forget(cache string) {
	files, err := filepath.Glob(filepath.Join(cache, "shared-*.json"))
	if err != nil {
		return // only of a malformed pattern
	}
	for _, file := range files {
		var s state
		text, err := os.ReadFile(file)
		if err == nil && json.Unmarshal(text, &s) == nil && time.Now().After(s.Expires) {
			_ = os.Remove(file) // the next one to start a cluster tries again
		}
	}
}

func reuse(binary, file string) (*Cluster, time.Time, bool) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, time.Time{}, false
	}
	var s state
	if json.Unmarshal(text, &s) != nil || time.Until(s.Expires) < enoughTTL || syscall.Kill(s.PID, 0) != nil {
		return nil, time.Time{}, false
	}
	c, err := connect(binary, s.Info)
	if err != nil || !c.ready() {
		return nil, time.Time{}, false
	}
	return c, s.Expires, true
}

// ready tells a live cluster from another process that got its number.
func (c *Cluster) ready() bool {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	code := 0
	c.client.Discovery().RESTClient().Get().AbsPath("/readyz").Do(ctx).StatusCode(&code)
	return code == http.StatusOK
}

// StartOwn starts a cluster for one test that stops or breaks it. It ends with
// the test.
func StartOwn(t testing.TB) *Cluster {
	t.Helper()
	b, err := Program.Build(t.Context(), t.Logf)
	if err != nil {
		t.Fatalf("local cluster: %v", err)
	}
	dir := filepath.Join(t.TempDir(), "cluster")
	c, err := up(t.Context(), b.Path, ownFlags(dir)...)
	if err != nil {
		t.Fatalf("local cluster: %v", err)
	}
	t.Cleanup(func() {
		c.Resume(t)
		if err := c.down(); err != nil {
			t.Errorf("local cluster: %v", err)
		}
	})
	return c
}

func ownFlags(dir string) []string {
	return []string{"--dir", dir, "--ttl", "15m", "--owner-pid", strconv.Itoa(os.Getpid())}
}

func up(ctx context.Context, binary string, flags ...string) (*Cluster, error) {
	ctx, cancel := context.WithTimeout(ctx, startWait)
	defer cancel()
	var out, progress strings.Builder
	cmd := exec.CommandContext(ctx, binary, append([]string{"up"}, flags...)...)
	cmd.Stdout, cmd.Stderr = &out, &progress
	cmd.WaitDelay = time.Second
	if err := cmd.Run(); err != nil && !errors.Is(err, exec.ErrWaitDelay) {
		return nil, fmt.Errorf("start: %w\n%s", err, progress.String())
	}
	var info Info
	if err := json.Unmarshal([]byte(out.String()), &info); err != nil {
		return nil, fmt.Errorf("start: read %q: %w", out.String(), err)
	}
	return connect(binary, info)
}

func connect(binary string, info Info) (*Cluster, error) {
	config, err := clientcmd.BuildConfigFromFlags("", info.Kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", info.Kubeconfig, err)
	}
	config.QPS = -1
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", info.Kubeconfig, err)
	}
	return &Cluster{Info: info, config: config, client: client, binary: binary}, nil
}

func (c *Cluster) down(flags ...string) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, c.binary, append([]string{"down", "--dir", c.Dir}, flags...)...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("stop: %w\n%s", err, out)
	}
	return nil
}

// Config is a copy of how to reach the API server, as its administrator.
func (c *Cluster) Config() *rest.Config { return rest.CopyConfig(c.config) }

// Client is a typed client, as administrator.
func (c *Cluster) Client() kubernetes.Interface { return c.client }

// Namespace creates a namespace for one test and deletes it at its end.
func (c *Cluster) Namespace(t testing.TB) string {
	t.Helper()
	o := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "test-"}}
	created, err := c.client.CoreV1().Namespaces().Create(t.Context(), o, metav1.CreateOptions{})
	if err != nil {
		t.Fatalf("create namespace: %v", err)
	}
	t.Cleanup(func() { c.dropNamespace(created.Name) })
	return created.Name
}

// dropNamespace does its best: the cluster ends soon anyway, and a test may
// have stopped it.
func (c *Cluster) dropNamespace(name string) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	_ = c.client.CoreV1().Namespaces().Delete(ctx, name, metav1.DeleteOptions{})
}

// Pause freezes the whole cluster, as a network that swallows packets would.
// Only for clusters from StartOwn.
func (c *Cluster) Pause(t testing.TB) { c.signal(t, syscall.SIGSTOP) }

// Resume ends a Pause; it does nothing where there is none.
func (c *Cluster) Resume(t testing.TB) { c.signal(t, syscall.SIGCONT) }

func (c *Cluster) signal(t testing.TB, signal syscall.Signal) {
	t.Helper()
	if err := syscall.Kill(c.PID, signal); err != nil && !errors.Is(err, syscall.ESRCH) {
		t.Errorf("signal local cluster: %v", err)
	}
}

// Stop ends the cluster and keeps its state, so that connections are refused
// until Restart. Only for clusters from StartOwn.
func (c *Cluster) Stop(t testing.TB) {
	t.Helper()
	if err := c.down("--keep"); err != nil {
		t.Fatalf("local cluster: %v", err)
	}
}

// Restart starts a stopped cluster again, with all that was in it and on the
// same port.
func (c *Cluster) Restart(t testing.TB) {
	t.Helper()
	again, err := up(t.Context(), c.binary, ownFlags(c.Dir)...)
	if err != nil {
		t.Fatalf("local cluster: %v", err)
	}
	if again.config.Host != c.config.Host {
		t.Fatalf("local cluster: came back at %s, was at %s", again.config.Host, c.config.Host)
	}
	c.Info = again.Info
}
