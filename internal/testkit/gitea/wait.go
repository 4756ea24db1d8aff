package gitea

import (
	"testing"
	"time"
)

func must(t testing.TB, what string, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("gitea: %s: %v", what, err)
	}
}

// eventually is for what Gitea does a moment later, in queues of its own.
func eventually(t testing.TB, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if done() {
			return
		}
	}
	t.Fatalf("gitea: %s: it does not come true", what)
}
