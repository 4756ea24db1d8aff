package between_test

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"

	"chaperone.dev/chaperone/internal/fault"
	"chaperone.dev/chaperone/internal/source"
	"chaperone.dev/chaperone/internal/testkit/gitserver"
)

// A tree that holds itself a million times over weighs nothing, and is not read
// to its end.
func TestTreeWithoutEnd(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	file := strings.Repeat("x", 10)
	names := map[string]string{}
	for i := range 300 {
		names[fmt.Sprintf("environments/%d.md", i)] = file
	}
	leaf := w.commit(t, "leaf", "main", names)
	pipeline := gitserver.Git(t, w.repo.Dir, "rev-parse", string(leaf)+":environments")
	var tree strings.Builder
	for i := range 20_000 {
		fmt.Fprintf(&tree, "040000 tree %s\tp%d\n", pipeline, i)
	}
	many := feed(t, w.repo.Dir, tree.String(), "mktree")
	root := feed(t, w.repo.Dir, "040000 tree "+many+"\tenvironments\n", "mktree")
	head := source.Revision(gitserver.Git(t, w.repo.Dir, "commit-tree", root, "-p", string(w.first), "-m", "bomb"))
	began := time.Now()
	_, err := w.Of(t.Context(), w.first, head)
	if !fault.IsTerminal(err) || !strings.Contains(err.Error(), "too many files") {
		t.Errorf("%v, after %v", err, time.Since(began))
	}
}

func feed(t *testing.T, dir, input string, args ...string) string {
	t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir, cmd.Stdin = dir, strings.NewReader(input)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("git %v: %v", args, err)
	}
	return strings.TrimSpace(string(out))
}
