package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	// EnvCluster names a built program of the local cluster.
	EnvCluster = "CHAPERONE_LOCALCLUSTER"

	upWait    = 3 * time.Minute
	downWait  = 20 * time.Second
	buildWait = 30 * time.Minute // of the local cluster, cold and on a small machine
	exitTTL   = 30 * time.Minute // life of the cluster, should its owner hang
	stayTTL   = 12 * time.Hour
)

// controlPlane is a running local cluster, as its program tells.
type controlPlane struct {
	Dir        string  `json:"dir"`
	Kubeconfig string  `json:"kubeconfig"`
	Proxy      string  `json:"proxy"`
	Version    string  `json:"version"`
	Seconds    float64 `json:"start_seconds"`

	program string
}

// startCluster starts a cluster that ends with this process, however this
// process ends.
func (d *demo) startCluster(ctx context.Context) error {
	program, err := d.clusterProgram(ctx)
	if err != nil {
		return err
	}
	d.report.say("starting a Kubernetes control plane")
	ttl := stayTTL
	if d.Exit {
		ttl = exitTTL
	}
	up, cancel := context.WithTimeout(ctx, upWait)
	defer cancel()
	cmd := exec.CommandContext(up, program, "up", "--dir", d.place.cluster(),
		"--owner-pid", strconv.Itoa(os.Getpid()), "--ttl", ttl.String())
	cmd.Env = without(d.Environ, "CHAPERONE_")
	// Asked politely it takes back what it began.
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = downWait
	var out, problem bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, io.MultiWriter(&problem, d.report.lines("  "))
	if err := cmd.Run(); err != nil && !errors.Is(err, exec.ErrWaitDelay) {
		return fmt.Errorf("start the local cluster: %w: %s", err, tail(problem.String(), 5))
	}
	d.later(func(ctx context.Context) error { return clusterDown(ctx, program, d.place.cluster()) })
	cluster := &controlPlane{program: program}
	if err := json.Unmarshal(out.Bytes(), cluster); err != nil || cluster.Kubeconfig == "" {
		return fmt.Errorf("start the local cluster: read what %s printed: %.200q", program, out.String())
	}
	d.cluster = cluster
	d.report.say("Kubernetes %s is up", cluster.Version)
	if err := os.Symlink(cluster.Kubeconfig, d.place.kubeconfig()); err != nil {
		return fmt.Errorf("link the kubeconfig: %w", err)
	}
	return nil
}

func clusterDown(ctx context.Context, program, dir string) error {
	ctx, cancel := context.WithTimeout(ctx, downWait)
	defer cancel()
	out, err := exec.CommandContext(ctx, program, "down", "--dir", dir).CombinedOutput()
	if err != nil {
		return fmt.Errorf("demo: stop the local cluster: %w: %s", err, tail(string(out), 3))
	}
	return nil
}

// clusterProgram is the one given, or the one that `make demo` built, or built
// now.
func (d *demo) clusterProgram(ctx context.Context) (string, error) {
	given := d.Cluster
	if given == "" {
		given = variable(d.Environ, EnvCluster)
	}
	if given != "" {
		if _, err := os.Stat(given); err != nil {
			return "", fmt.Errorf("find the local cluster: %w; want its program in --localcluster or %s", err, EnvCluster)
		}
		return given, nil
	}
	out, err := exec.CommandContext(ctx, "go", "env", "GOCACHE").Output()
	if err != nil {
		return "", fmt.Errorf("find the local cluster: go env GOCACHE: %w; want Go installed, or the program in --localcluster or %s",
			err, EnvCluster)
	}
	program := filepath.Join(strings.TrimSpace(string(out)), "chaperone", "localcluster")
	_, err = os.Stat(program)
	if errors.Is(err, fs.ErrNotExist) {
		err = d.buildCluster(ctx, program)
	}
	if err != nil {
		return "", fmt.Errorf("find the local cluster: %w", err)
	}
	return program, nil
}

// buildCluster compiles Kubernetes, which takes minutes the first time.
func (d *demo) buildCluster(ctx context.Context, program string) error {
	module := filepath.Join(d.Repo, "cmd", "localcluster")
	if _, err := os.Stat(filepath.Join(module, "go.mod")); err != nil {
		return fmt.Errorf("%s is not built, and %s is not its source; run `make demo`, or name the program in --localcluster", program, module)
	}
	d.report.say("building the local cluster; the first time, this takes minutes")
	ctx, cancel := context.WithTimeout(ctx, buildWait)
	defer cancel()
	cmd := exec.CommandContext(ctx, "go", "build", "-v", "-o", program, ".")
	cmd.Dir, cmd.Env = module, append(without(d.Environ, "GOFLAGS="), "GOWORK=off", "GOFLAGS=-buildvcs=false")
	cmd.WaitDelay = time.Second
	var problem bytes.Buffer
	cmd.Stderr = io.MultiWriter(&problem, &counter{report: d.report})
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("go build in %s: %w: %s", module, err, tail(problem.String(), 10))
	}
	return nil
}

// counter turns the names of compiled packages into a line for each hundred.
type counter struct {
	report *progress
	n      int
}

func (c *counter) Write(p []byte) (int, error) {
	for range bytes.Count(p, []byte("\n")) {
		if c.n++; c.n%100 == 0 {
			c.report.say("  %d packages compiled", c.n)
		}
	}
	return len(p), nil
}

func variable(environ []string, name string) string {
	value := ""
	for _, entry := range environ {
		if rest, found := strings.CutPrefix(entry, name+"="); found {
			value = rest
		}
	}
	return value
}

// tail is the end of a text, a few lines.
func tail(text string, lines int) string {
	all := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}
