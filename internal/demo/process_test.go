package demo

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// program writes a shell script that plays another program.
func program(t *testing.T, script string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "program")
	// Renamed into place: a file that is open for writing somewhere cannot be run.
	if err := os.WriteFile(path+".new", []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
	return path
}

func daemonOf(t *testing.T, script string) *daemon {
	t.Helper()
	d := &daemon{executable: program(t, script), config: "the-config", log: filepath.Join(t.TempDir(), "log"), environ: os.Environ()}
	if err := d.start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.kill(); err != nil {
			t.Error(err)
		}
	})
	return d
}

// eventually asks again for a while.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for range 500 {
		if is() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("not so after 5 s: %s", what)
}

func TestDaemonThatEndsByItself(t *testing.T) {
	t.Parallel()
	d := daemonOf(t, `echo "$@"; echo cannot go on >&2; exit 2`)
	eventually(t, "ended", func() bool { return d.alive() != nil })
	err := d.alive()
	for _, part := range []string{"exit status 2", "run --config the-config", "cannot go on"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%v has no %q", err, part)
		}
	}
	if err := d.stop(); err != nil {
		t.Errorf("stop what has ended: %v", err)
	}
}

func TestDaemonIsKilledStartedAgainAndStopped(t *testing.T) {
	t.Parallel()
	d := daemonOf(t, `trap 'echo asked; exit 0' TERM; echo up; while :; do sleep 0.05; done`)
	up := func(times int) func() bool {
		return func() bool { return strings.Count(d.lastWords(), "up") == times }
	}
	eventually(t, "up", up(1))
	if err := d.alive(); err != nil {
		t.Fatal(err)
	}
	if err := d.kill(); err != nil {
		t.Fatal(err)
	}
	if err := d.alive(); err == nil || strings.Contains(d.lastWords(), "asked") {
		t.Errorf("killed: %v, %s", err, d.lastWords())
	}
	if err := d.start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "up again, in the same log", up(2))
	if err := d.stop(); err != nil {
		t.Fatal(err)
	}
	if err := d.alive(); err == nil || !strings.Contains(d.lastWords(), "asked") {
		t.Errorf("stopped: %v, %s", err, d.lastWords())
	}
}

// withCluster is a demo whose local cluster is a script.
func withCluster(t *testing.T, script string) (*demo, *strings.Builder) {
	t.Helper()
	said := &strings.Builder{}
	d := &demo{Options: Options{Cluster: program(t, script), Progress: said, Exit: true}, place: layout{t.TempDir()}, began: time.Now()}
	d.fillIn()
	return d, said
}

func TestClusterIsStartedForThisProcessAndStopped(t *testing.T) {
	t.Parallel()
	calls := filepath.Join(t.TempDir(), "calls")
	d, said := withCluster(t, `echo "$@" >> `+calls+`
echo "etcd" >&2
echo '{"dir":"D","kubeconfig":"`+calls+`","proxy":"http://127.0.0.1:1","version":"v1.2.3"}'`)
	if err := d.startCluster(t.Context()); err != nil {
		t.Fatal(err)
	}
	if d.cluster.Proxy != "http://127.0.0.1:1" || !strings.Contains(said.String(), "etcd") || !strings.Contains(said.String(), "v1.2.3 is up") {
		t.Errorf("got %+v\n%s", d.cluster, said)
	}
	if err := d.end(t.Context()); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(calls)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(got)), "\n")
	if len(lines) != 2 || !strings.Contains(lines[0], "--owner-pid ") || !strings.HasPrefix(lines[1], "down --dir "+d.place.cluster()) {
		t.Errorf("called with\n%s", got)
	}
}

func TestClusterThatDoesNotStart(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ script, want string }{
		"it says why":        {`echo no ports left >&2; exit 3`, "start the local cluster: exit status 3: no ports left"},
		"it prints nonsense": {`echo hello`, "read what"},
	} {
		d, _ := withCluster(t, c.script)
		if err := d.startCluster(t.Context()); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v; want %q", name, err, c.want)
		}
	}
}

func TestClusterStartIsInterrupted(t *testing.T) {
	t.Parallel()
	asked := filepath.Join(t.TempDir(), "asked")
	d, said := withCluster(t, `trap 'touch `+asked+`; exit 3' TERM; echo starting >&2; while :; do sleep 0.05; done`)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- d.startCluster(ctx) }()
	eventually(t, "starting", func() bool {
		d.report.mu.Lock()
		defer d.report.mu.Unlock()
		return strings.Contains(said.String(), "starting\n")
	})
	cancel()
	if err := <-ended; err == nil {
		t.Error("want an error")
	}
	if _, err := os.Stat(asked); err != nil {
		t.Errorf("it was not asked to end: %v", err)
	}
}

func TestClusterProgramThatIsNotThere(t *testing.T) {
	t.Parallel()
	for _, options := range []Options{
		{Cluster: "/nowhere/localcluster", Environ: []string{}},
		{Environ: []string{EnvCluster + "=/nowhere/localcluster"}},
	} {
		d := &demo{Options: options}
		if _, err := d.clusterProgram(t.Context()); err == nil || !strings.Contains(err.Error(), "/nowhere/localcluster") || !strings.Contains(err.Error(), EnvCluster) {
			t.Errorf("got %v", err)
		}
	}
}

func TestClusterThatCannotBeBuilt(t *testing.T) {
	t.Parallel()
	d := &demo{Options: Options{Repo: t.TempDir()}}
	d.fillIn()
	if err := d.buildCluster(t.Context(), "/nowhere/localcluster"); err == nil || !strings.Contains(err.Error(), "make demo") {
		t.Errorf("got %v", err)
	}
}
