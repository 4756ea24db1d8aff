package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"chaperone.dev/chaperone/cmd/localcluster/internal/instance"
)

// asCommand makes the test binary the command itself, so that what is tested is what is built.
const asCommand = "LOCALCLUSTER_TEST_COMMAND"

func TestMain(m *testing.M) {
	if os.Getenv(asCommand) != "" {
		main()
		return
	}
	code := m.Run()
	if shared.info.Dir != "" {
		if out, err := command("down", "--dir", shared.info.Dir).CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "down: %v\n%s", err, out)
			code = max(code, 1)
		}
	}
	os.Exit(code)
}

func command(args ...string) *exec.Cmd {
	self, err := os.Executable()
	if err != nil {
		panic(err)
	}
	cmd := exec.Command(self, args...)
	cmd.Env = append(os.Environ(), asCommand+"=1")
	return cmd
}

// up starts a cluster that cannot outlive the tests.
func up(args ...string) (instance.Info, error) {
	args = append([]string{"up", "--ttl", "10m", "--owner-pid", strconv.Itoa(os.Getpid())}, args...)
	cmd := command(args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	var info instance.Info
	out, err := cmd.Output()
	if err != nil {
		return info, fmt.Errorf("up: %w\n%s", err, stderr.Bytes())
	}
	if lines := strings.Count(string(out), "\n"); lines != 1 {
		return info, fmt.Errorf("up printed %d lines, want 1: %s", lines, out)
	}
	return info, json.Unmarshal(out, &info)
}

// cluster is a running one, and clients for it.
type cluster struct {
	info   instance.Info
	config *rest.Config
	client kubernetes.Interface
	dyn    dynamic.Interface
}

var shared struct {
	once sync.Once
	cluster
	err error
}

// sharedCluster is started by the first test that needs it.
func sharedCluster(t *testing.T) cluster {
	t.Helper()
	shared.once.Do(func() {
		if shared.info, shared.err = up(); shared.err == nil {
			shared.cluster, shared.err = connect(shared.info)
		}
	})
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	return shared.cluster
}

func connect(info instance.Info) (c cluster, err error) {
	c.info = info
	if c.config, err = clientcmd.BuildConfigFromFlags("", info.Kubeconfig); err != nil {
		return c, err
	}
	c.config.QPS = -1
	if c.client, err = kubernetes.NewForConfig(c.config); err != nil {
		return c, err
	}
	c.dyn, err = dynamic.NewForConfig(c.config)
	return c, err
}

// namespace makes one of the test's own.
func (c cluster) namespace(t *testing.T) string {
	t.Helper()
	ns, err := c.client.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "test-"},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the default service account", func(ctx context.Context) error {
		_, err := c.client.CoreV1().ServiceAccounts(ns.Name).Get(ctx, "default", metav1.GetOptions{})
		return err
	})
	return ns.Name
}

// patience is only how long a broken cluster may take to fail a test.
const patience = 60 * time.Second

func eventually(t *testing.T, what string, check func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for {
		err := check(ctx)
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("%s: not within %s: %v", what, patience, err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func must1[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}
