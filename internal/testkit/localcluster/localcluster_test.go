package localcluster

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestClusterIsShared(t *testing.T) {
	t.Parallel()
	first, second := Start(t), Start(t)
	if first != second {
		t.Errorf("two clusters in one process: %s and %s", first.Dir, second.Dir)
	}
	joined, _, err := join(t) // as another process would
	if err != nil {
		t.Fatal(err)
	}
	if joined.PID != first.PID {
		t.Errorf("another process got cluster %d, want %d", joined.PID, first.PID)
	}
}

func TestNamespacesAreApart(t *testing.T) {
	t.Parallel()
	c := Start(t)
	a, b := c.Namespace(t), c.Namespace(t)
	if a == b {
		t.Fatalf("twice the namespace %s", a)
	}
	for _, name := range []string{a, b} {
		if _, err := c.Client().CoreV1().Namespaces().Get(t.Context(), name, metav1.GetOptions{}); err != nil {
			t.Error(err)
		}
	}
}

func TestOwnClusterStopsAndComesBack(t *testing.T) {
	t.Parallel()
	c := StartOwn(t)
	name := c.Namespace(t)
	c.Stop(t)
	if c.ready() {
		t.Fatal("a stopped cluster answers")
	}
	c.Restart(t)
	if _, err := c.Client().CoreV1().Namespaces().Get(t.Context(), name, metav1.GetOptions{}); err != nil {
		t.Errorf("namespace is gone after a restart: %v", err)
	}
}
