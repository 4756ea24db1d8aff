package merge_test

import (
	"bytes"
	"fmt"
	"math/rand"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"chaperone.dev/chaperone/internal/source/merge"
)

// How many random histories are compared with Git itself in a normal run;
// CHAPERONE_MERGE_CASES multiplies it, CHAPERONE_MERGE_SEED repeats a failure.
const (
	revertCases = 300
	mergeCases  = 2000
)

func scaled(t *testing.T, cases int) int {
	t.Helper()
	factor, err := strconv.Atoi(os.Getenv("CHAPERONE_MERGE_CASES"))
	if err == nil && factor > 0 {
		return cases * factor
	}
	return cases
}

func seed(t *testing.T) int64 {
	t.Helper()
	if s, err := strconv.ParseInt(os.Getenv("CHAPERONE_MERGE_SEED"), 10, 64); err == nil {
		return s
	}
	return 20240131
}

// merged is what came of one history.
type merged struct {
	tree  string
	clean bool
}

func ours(t *testing.T, h history) (merged, merge.Result) {
	t.Helper()
	m := newMemory()
	result, err := merge.Trees(m, m.add(h.guilty), m.add(h.head), m.add(h.parent))
	if err != nil {
		t.Fatal(err)
	}
	return merged{fmt.Sprintf("%x", result.Tree), len(result.Conflicts) == 0}, result
}

// couldRename: a side both lost a path and gained one, so that Git may take it
// for a rename.
func (h history) couldRename() bool {
	for _, side := range []files{h.head, h.parent} {
		var lost, gained bool
		for path := range h.guilty {
			_, found := side[path]
			lost = lost || !found
		}
		for path := range side {
			_, found := h.guilty[path]
			gained = gained || !found
		}
		if lost && gained {
			return true
		}
	}
	return false
}

// TestRevertIsGits: the daemon's revert of a commit and `git revert` by hand,
// of plain commits and of merges along their first parent, end in the same
// tree, or both in a conflict. Only where Git saw a rename may they differ, and
// then not both be clean.
func TestRevertIsGits(t *testing.T) {
	t.Parallel()
	histories := randomHistories(scaled(t, revertCases), seed(t))
	repo := newRepository(t, histories)
	var n tally
	for i, h := range histories {
		got, result := ours(t, h)
		n.check(t, i, h, got, repo.revert(t, i), result)
	}
	n.report(t)
}

// TestTreesIsGitMergeTree compares many more, through one process.
func TestTreesIsGitMergeTree(t *testing.T) {
	t.Parallel()
	histories := randomHistories(scaled(t, mergeCases), seed(t)+1)
	repo := newRepository(t, histories)
	var n tally
	for i, want := range repo.mergeTrees(t, len(histories)) {
		got, result := ours(t, histories[i])
		n.check(t, i, histories[i], got, want, result)
	}
	n.report(t)
}

func randomHistories(count int, seed int64) []history {
	r := rand.New(rand.NewSource(seed))
	histories := make([]history, count)
	for i := range histories {
		histories[i] = randomHistory(r)
	}
	return histories
}

// tally counts how the comparisons came out, so that a test in which all
// histories are alike fails.
type tally struct{ clean, conflicts, renames, total int }

func (n *tally) check(t *testing.T, i int, h history, got, want merged, result merge.Result) {
	t.Helper()
	n.total++
	switch {
	case got.clean && got == want:
		n.clean++
	case !got.clean && !want.clean:
		n.conflicts++
	case got.clean != want.clean && h.couldRename():
		n.renames++
	default:
		t.Errorf("history %d (seed %d): ours %v %v, git %v\n%s", i, seed(t), got, result.Conflicts, want, describe(h))
	}
}

func (n *tally) report(t *testing.T) {
	t.Logf("%+v", *n)
	if n.clean < n.total/5 || n.conflicts < n.total/20 || n.renames > n.total/4 {
		t.Errorf("the histories are too much alike to tell: %+v", *n)
	}
}

func describe(h history) string {
	var b strings.Builder
	for _, side := range []struct {
		name  string
		files files
	}{{"guilty", h.guilty}, {"head", h.head}, {"parent", h.parent}} {
		fmt.Fprintf(&b, "== %s\n", side.name)
		for _, path := range side.files.paths() {
			fmt.Fprintf(&b, "-- %s %o\n%s\n", path, side.files[path].mode, side.files[path].content)
		}
	}
	return b.String()
}

// repository holds all histories: refs p<i>, g<i>, h<i>, every third guilty
// one being a merge; and m<i>, the parent's tree on top of the guilty commit.
type repository struct{ dir string }

func newRepository(t *testing.T, histories []history) *repository {
	t.Helper()
	r := &repository{dir: filepath.Join(t.TempDir(), "repo")}
	if out, err := exec.Command("git", "init", "-q", r.dir).CombinedOutput(); err != nil {
		t.Fatalf("git init: %v %s", err, out)
	}
	var stream bytes.Buffer
	write := func(ref string, i int, f files, parents ...string) {
		fmt.Fprintf(&stream, "reset refs/heads/%s%d\ncommit refs/heads/%s%d\ncommitter A <a@example.org> 1700000000 +0000\ndata 2\nc\n", ref, i, ref, i)
		for n, parent := range parents {
			fmt.Fprintf(&stream, "%s refs/heads/%s%d\n", []string{"from", "merge"}[n], parent, i)
		}
		stream.WriteString("deleteall\n")
		for _, path := range f.paths() {
			if f[path].mode == merge.Submodule {
				fmt.Fprintf(&stream, "M 160000 %x %s\n", object("module", []byte(f[path].content)), path)
				continue
			}
			fmt.Fprintf(&stream, "M %o inline %s\ndata %d\n%s\n", f[path].mode, path, len(f[path].content), f[path].content)
		}
		stream.WriteString("\n")
	}
	for i, h := range histories {
		write("p", i, h.parent)
		if i%3 == 0 {
			write("q", i, h.head)
			write("g", i, h.guilty, "p", "q")
		} else {
			write("g", i, h.guilty, "p")
		}
		write("h", i, h.head, "g")
		write("m", i, h.parent, "g")
	}
	r.git(t, &stream, "fast-import", "--quiet")
	r.git(t, nil, "checkout", "-q", "--detach", "h0")
	return r
}

func (r *repository) command(stdin *bytes.Buffer, args ...string) *exec.Cmd {
	cmd := exec.Command("git", append([]string{"-c", "gc.auto=0", "-c", "core.hooksPath=/dev/null", "-c", "advice.detachedHead=false"}, args...)...)
	cmd.Dir = r.dir
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1", "LC_ALL=C",
		"GIT_AUTHOR_NAME=A", "GIT_AUTHOR_EMAIL=a@example.org", "GIT_COMMITTER_NAME=A", "GIT_COMMITTER_EMAIL=a@example.org")
	if stdin != nil {
		cmd.Stdin = stdin
	}
	return cmd
}

func (r *repository) git(t *testing.T, stdin *bytes.Buffer, args ...string) string {
	t.Helper()
	cmd := r.command(stdin, args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, stderr.String())
	}
	return strings.TrimSpace(string(out))
}

func (r *repository) revert(t *testing.T, i int) merged {
	t.Helper()
	r.git(t, nil, "reset", "-q", "--hard", fmt.Sprint("h", i))
	args := []string{"revert", "--no-edit"}
	if i%3 == 0 {
		args = append(args, "-m", "1")
	}
	if err := r.command(nil, append(args, fmt.Sprint("g", i))...).Run(); err == nil {
		return merged{r.git(t, nil, "rev-parse", "HEAD^{tree}"), true}
	}
	unmerged := r.git(t, nil, "ls-files", "-u")
	r.git(t, nil, "reset", "-q", "--hard")
	r.git(t, nil, "clean", "-ffdxq")
	if unmerged == "" { // nothing left to commit
		return merged{r.git(t, nil, "rev-parse", "HEAD^{tree}"), true}
	}
	return merged{strings.Repeat("0", 40), false}
}

func (r *repository) mergeTrees(t *testing.T, count int) []merged {
	t.Helper()
	var stdin bytes.Buffer
	for i := range count {
		fmt.Fprintf(&stdin, "h%d m%d\n", i, i)
	}
	cmd := r.command(&stdin, "merge-tree", "--write-tree", "--stdin", "--no-messages")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("git merge-tree: %v", err)
	}
	// Each result: status NUL tree NUL (stage entry NUL)* NUL.
	var results []merged
	fields := strings.Split(string(out), "\x00")
	for i := 0; i+1 < len(fields); i++ {
		results = append(results, merged{fields[i+1], fields[i] == "1"})
		for i++; fields[i] != ""; i++ {
		}
	}
	if len(results) != count {
		t.Fatalf("git merge-tree answered %d of %d", len(results), count)
	}
	return results
}
