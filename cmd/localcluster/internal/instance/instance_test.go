package instance

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

func TestDirectory(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "cluster")
	if _, _, _, err := Status(dir); !errors.Is(err, ErrNone) {
		t.Errorf("status of nothing: %v", err)
	}
	fresh, err := Prepare(dir)
	if err != nil || !fresh {
		t.Fatalf("fresh %v, %v", fresh, err)
	}
	held, err := Hold(dir)
	if err != nil {
		t.Fatal(err)
	}
	if api, proxy := held.Addresses(); api != "" || proxy != "" {
		t.Errorf("a new directory has addresses: %q %q", api, proxy)
	}
	if _, running, ready, err := Status(dir); !running || ready || err != nil {
		t.Errorf("while it starts: running %v, ready %v, %v", running, ready, err)
	}
	if _, err := Prepare(dir); err == nil {
		t.Error("a served directory was prepared again")
	}
	info := Info{Kubeconfig: "k", Proxy: "http://127.0.0.1:2", Version: "v1", StartSeconds: 3}
	if err := held.Publish(info, "https://127.0.0.1:1"); err != nil {
		t.Fatal(err)
	}
	got, running, ready, err := Status(dir)
	if info.Dir, info.PID = dir, os.Getpid(); got != info || !running || !ready || err != nil {
		t.Errorf("%+v, running %v, ready %v, %v; want %+v", got, running, ready, err, info)
	}
	if err := held.Release(); err != nil {
		t.Fatal(err)
	}
	if fresh, err := Prepare(dir); err != nil || fresh {
		t.Errorf("a stopped cluster's directory: fresh %v, %v", fresh, err)
	}
	again, err := Hold(dir)
	if err != nil {
		t.Fatal(err)
	}
	if api, proxy := again.Addresses(); api != "127.0.0.1:1" || proxy != "127.0.0.1:2" {
		t.Errorf("addresses %q %q", api, proxy)
	}
	if err := again.Release(); err != nil {
		t.Fatal(err)
	}
	if err := Stop(dir, time.Second, true); err != nil {
		t.Errorf("stop what is stopped, keep: %v", err)
	}
	if err := Stop(dir, time.Second, false); err != nil {
		t.Errorf("stop what is stopped: %v", err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the directory is there: %v", err)
	}
}

func TestForeignDirectories(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "precious"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Prepare(dir); err == nil {
		t.Error("a directory with something in it was taken")
	}
	if err := Stop(dir, time.Second, false); !errors.Is(err, ErrNone) {
		t.Errorf("stop: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, recordFile), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Stop(dir, time.Second, false); err == nil {
		t.Error("a broken record was acted upon")
	}
	if _, err := os.Stat(filepath.Join(dir, "precious")); err != nil {
		t.Error(err)
	}
}

func TestAwaitEnd(t *testing.T) {
	t.Parallel()
	child := exec.Command("sleep", "600")
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		AwaitEnd(context.Background(), child.Process.Pid, time.Millisecond)
		close(ended)
	}()
	select {
	case <-ended:
		t.Error("a living process is taken for gone")
	case <-time.After(50 * time.Millisecond):
	}
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-ended // though nobody has waited for the child yet
	_ = child.Wait()
	AwaitEnd(context.Background(), child.Process.Pid, time.Millisecond) // gone from the start
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	AwaitEnd(ctx, os.Getpid(), time.Hour)
}
