package main

import (
	"bufio"
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
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"chaperone.dev/chaperone/cmd/localcluster/internal/behavior"
	"chaperone.dev/chaperone/cmd/localcluster/internal/instance"
)

// exitCode of a command; -1 is none.
func exitCode(err error) int {
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		return exit.ExitCode()
	}
	return -1
}

func (c cluster) gone(t *testing.T) {
	t.Helper()
	eventually(t, "the cluster's process ends", func(context.Context) error {
		if err := syscall.Kill(c.info.PID, 0); err != syscall.ESRCH {
			return fmt.Errorf("process %d: %v", c.info.PID, err)
		}
		return nil
	})
}

func TestSecondClusterStopsResumesAndGoesDown(t *testing.T) {
	t.Parallel()
	first := sharedCluster(t)
	dir := filepath.Join(t.TempDir(), strings.Repeat("long", 20)) // longer than a socket's address may be
	info, err := up("--dir", dir, "--nodes", "1", "--no-crds")
	if err != nil {
		t.Fatal(err)
	}
	second := must1[cluster](t)(connect(info))
	if first.config.Host == second.config.Host || first.info.Proxy == second.info.Proxy {
		t.Fatalf("two clusters share an address: %+v, %+v", first.info, second.info)
	}
	create := func(c cluster, name string) {
		must1[*corev1.ConfigMap](t)(c.client.CoreV1().ConfigMaps("default").Create(t.Context(), &corev1.ConfigMap{
			ObjectMeta: metav1.ObjectMeta{Name: name},
		}, metav1.CreateOptions{}))
	}
	create(first, "only-in-first")
	create(second, "only-in-second")
	if _, err := second.client.CoreV1().ConfigMaps("default").Get(t.Context(), "only-in-first", metav1.GetOptions{}); err == nil {
		t.Error("two clusters share their objects")
	}
	if _, err := up("--dir", dir); err == nil {
		t.Error("a directory is served twice")
	}
	must1[[]byte](t)(command("down", "--keep", "--dir", dir).CombinedOutput())
	second.gone(t)
	if code := exitCode(command("status", "--dir", dir).Run()); code != 1 {
		t.Errorf("status of a stopped cluster: exit %d, want 1", code)
	}
	again, err := up("--dir", dir, "--nodes", "1", "--no-crds")
	if err != nil {
		t.Fatal(err)
	}
	if again.PID == info.PID || again.Kubeconfig != info.Kubeconfig {
		t.Errorf("resumed as %+v, was %+v", again, info)
	}
	resumed := must1[cluster](t)(connect(again))
	must1[*corev1.ConfigMap](t)(resumed.client.CoreV1().ConfigMaps("default").Get(t.Context(), "only-in-second", metav1.GetOptions{}))
	resumed.deploy(t, "default", deployment("web", "api:1", 1))
	eventually(t, "logs after a restart", func(context.Context) error {
		if out, err := resumed.kubectl(t, "logs", "deployment/web"); err != nil || out != "main starts as api:1\n" {
			return fmt.Errorf("%q, %w", out, err)
		}
		return nil
	})
	var status instance.Info
	if err := json.Unmarshal(must1[[]byte](t)(command("status", "--dir", dir).Output()), &status); err != nil || status != again {
		t.Errorf("status %+v, %v; up printed %+v", status, err, again)
	}
	must1[[]byte](t)(command("down", "--dir", dir).CombinedOutput())
	resumed.gone(t)
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("down leaves the directory: %v", err)
	}
	if code := exitCode(command("down", "--dir", dir).Run()); code != 1 {
		t.Errorf("down of nothing: exit %d, want 1", code)
	}
}

func TestClusterEndsWithItsOwner(t *testing.T) {
	t.Parallel()
	owner := exec.Command("sleep", "600")
	if err := owner.Start(); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "cluster")
	info, err := up("--dir", dir, "--nodes", "1", "--no-crds", "--owner-pid", strconv.Itoa(owner.Process.Pid))
	if err := errors.Join(err, owner.Process.Kill()); err != nil { // not waited for: a zombie is gone, too
		t.Fatal(err)
	}
	defer func() { _ = owner.Wait() }()
	cluster{info: info}.gone(t)
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("an ownerless cluster leaves its directory: %v", err)
	}
}

func TestClusterEndsAfterItsTime(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "cluster")
	cmd := command("up", "--foreground", "--dir", dir, "--nodes", "1", "--no-crds", "--ttl", "1s", "--owner-pid", strconv.Itoa(os.Getpid()))
	out, err := cmd.CombinedOutput()
	if !bytes.Contains(out, []byte("time to live of 1s is over")) {
		t.Errorf("exit %v:\n%s", err, out)
	}
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("it leaves its directory: %v", err)
	}
}

func TestInterruptedStartLeavesNothing(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "cluster")
	cmd := command("up", "--dir", dir, "--no-crds", "--owner-pid", strconv.Itoa(os.Getpid()))
	progress := must1[io.ReadCloser](t)(cmd.StderrPipe())
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(progress)
	lines.Scan() // the first component starts
	var record struct{ PID int }
	eventually(t, "the process is written down", func(context.Context) error {
		data, err := os.ReadFile(filepath.Join(dir, "localcluster.json"))
		if err != nil {
			return err
		}
		if err := json.Unmarshal(data, &record); err != nil || record.PID == 0 {
			return fmt.Errorf("%s, %v", data, err)
		}
		return nil
	})
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	said := must1[[]byte](t)(io.ReadAll(progress))
	if code := exitCode(cmd.Wait()); code != exitFailed || !bytes.Contains(said, []byte("interrupted")) {
		t.Errorf("exit %d, want %d: %s", code, exitFailed, said)
	}
	cluster{info: instance.Info{PID: record.PID}}.gone(t)
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("it leaves its directory: %v", err)
	}
}

func TestWrongUsage(t *testing.T) {
	t.Parallel()
	full := t.TempDir()
	if err := os.WriteFile(filepath.Join(full, "precious"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"up", "--nodes", "0"}, exitUsage, "--nodes 0: must be 1 to"},
		{[]string{"up", "--ttl", "0s"}, exitUsage, "--ttl"},
		{[]string{"up", "--dir", full}, exitUsage, "neither empty nor a local cluster's"},
		{[]string{"up", "more"}, exitUsage, "unknown command"},
		{[]string{"down"}, exitUsage, `required flag(s) "dir" not set`},
		{[]string{"down", "--dir", full}, exitNo, "no local cluster"},
		{[]string{"status", "--dir", filepath.Join(full, "none")}, exitNo, "no local cluster"},
	} {
		out, err := command(tc.args...).CombinedOutput()
		if got := exitCode(err); got != tc.code || !strings.Contains(string(out), tc.says) {
			t.Errorf("%v: exit %d, want %d saying %q:\n%s", tc.args, got, tc.code, tc.says, out)
		}
	}
	if _, err := os.Stat(filepath.Join(full, "precious")); err != nil {
		t.Errorf("down removed what is not its own: %v", err)
	}
}

func TestHelpNamesWhatThereIs(t *testing.T) {
	t.Parallel()
	out := string(must1[[]byte](t)(command("behaviors").Output()))
	for _, line := range behavior.Help() {
		if !strings.Contains(out, line) {
			t.Errorf("behaviors lacks %q", line)
		}
	}
	for _, name := range []string{"up", "down", "status"} {
		if out := must1[[]byte](t)(command(name, "--help").Output()); !bytes.Contains(out, []byte("Exit codes:")) {
			t.Errorf("%s --help does not tell exit codes", name)
		}
	}
}

func TestKubectlIsOfTheSameRelease(t *testing.T) {
	t.Parallel()
	cmd := command("kubectl", "version", "--client")
	cmd.Env = append(cmd.Env, "KUBERC=off")
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), sharedCluster(t).info.Version) {
		t.Errorf("kubectl version: %s, %v", out, err)
	}
	if out, err := command("kubectl", "no-such-command").CombinedOutput(); err == nil || !strings.Contains(string(out), "unknown command") {
		t.Errorf("an unknown command: %s, %v", out, err)
	}
}
