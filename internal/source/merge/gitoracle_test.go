package merge_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"chaperone.dev/chaperone/internal/source/merge"
)

// repository holds histories for Git to look at, as commits without refs.
type repository struct {
	dir   string
	marks int
}

func newRepository(t *testing.T) *repository {
	t.Helper()
	r := &repository{dir: filepath.Join(t.TempDir(), "repo")}
	if out, err := exec.Command("git", "init", "-q", r.dir).CombinedOutput(); err != nil {
		t.Fatalf("git init: %v %s", err, out)
	}
	return r
}

// committed are the commits of one history.
type committed struct {
	guilty []string // the newest last
	undone []string // on top of each guilty one: the tree before it
	head   string
}

// importer writes commits as a stream for git fast-import.
type importer struct {
	bytes.Buffer
	last int
}

// commit writes one and returns its mark.
func (s *importer) commit(tree func(), parents ...string) string {
	s.last++
	fmt.Fprintf(s, "commit refs/heads/histories\nmark :%d\ncommitter A <a@example.org> 1700000000 +0000\ndata 2\nc\n", s.last)
	for n, parent := range parents {
		fmt.Fprintf(s, "%s %s\n", []string{"from", "merge"}[n], parent)
	}
	s.WriteString("deleteall\n")
	tree()
	s.WriteString("\n")
	return fmt.Sprintf(":%d", s.last)
}

func (s *importer) files(f files) func() {
	return func() {
		for _, path := range f.paths() {
			if f[path].mode == merge.Submodule {
				fmt.Fprintf(s, "M 160000 %x %s\n", object("module", []byte(f[path].content)), quoted(path))
				continue
			}
			fmt.Fprintf(s, "M %o inline %s\ndata %d\n%s\n", f[path].mode, quoted(path), len(f[path].content), f[path].content)
		}
	}
}

// quoted is a path as Git quotes it: fast-import would end a plain one at a
// line break.
func quoted(path string) string {
	var b strings.Builder
	for _, c := range []byte(path) {
		if c < ' ' || c > '~' || c == '"' || c == '\\' {
			fmt.Fprintf(&b, `\%03o`, c)
			continue
		}
		b.WriteByte(c)
	}
	return `"` + b.String() + `"`
}

// run imports what was written and turns marks into hashes.
func (r *repository) run(t *testing.T, s *importer) func(mark string) string {
	t.Helper()
	marks := filepath.Join(r.dir, "marks")
	r.git(t, &s.Buffer, "fast-import", "--quiet", "--force", "--export-marks="+marks)
	content, err := os.ReadFile(marks)
	if err != nil {
		t.Fatal(err)
	}
	hashes := map[string]string{}
	for line := range strings.Lines(string(content)) {
		mark, hash, _ := strings.Cut(strings.TrimSpace(line), " ")
		hashes[mark] = hash
	}
	return func(mark string) string { return hashes[mark] }
}

func (r *repository) add(t *testing.T, histories []history) []committed {
	t.Helper()
	s := &importer{}
	all := make([]committed, len(histories))
	for i, h := range histories {
		c := &all[i]
		last := s.commit(s.files(h.states[0]))
		for n, state := range h.states[1:] {
			parents := []string{last}
			if h.merging {
				parents = append(parents, s.commit(s.files(h.head), last))
			}
			last = s.commit(s.files(state), parents...)
			c.guilty = append(c.guilty, last)
			c.undone = append(c.undone, s.commit(s.files(h.states[n]), last))
		}
		c.head = s.commit(s.files(h.head), last)
	}
	hash := r.run(t, s)
	for i := range all {
		c := &all[i]
		c.head = hash(c.head)
		for n := range c.guilty {
			c.guilty[n], c.undone[n] = hash(c.guilty[n]), hash(c.undone[n])
		}
	}
	return all
}

func (r *repository) command(stdin *bytes.Buffer, args ...string) *exec.Cmd {
	cmd := exec.Command("git", append([]string{"-c", "gc.auto=0", "-c", "core.fsync=none", "-c", "core.hooksPath=/dev/null",
		"-c", "advice.detachedHead=false", "-c", "fastimport.unpackLimit=0"}, args...)...)
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

var conflict = merged{strings.Repeat("0", 40), false}

// revert is `git revert` of each guilty commit, the newest first.
func (r *repository) revert(t *testing.T, h history, c committed) merged {
	t.Helper()
	r.git(t, nil, "checkout", "-q", "-f", "--detach", c.head)
	for n := len(c.guilty) - 1; n >= 0; n-- {
		args := []string{"revert", "--no-edit"}
		if h.merging {
			args = append(args, "-m", "1")
		}
		if err := r.command(nil, append(args, c.guilty[n])...).Run(); err == nil {
			continue
		}
		unmerged := r.git(t, nil, "ls-files", "-u")
		r.git(t, nil, "reset", "-q", "--hard")
		r.git(t, nil, "clean", "-ffdxq")
		if unmerged != "" {
			return conflict
		} // otherwise there was nothing left to commit
	}
	return merged{r.git(t, nil, "rev-parse", "HEAD^{tree}"), true}
}

// mergeTrees does what revert does for many histories at once, without files:
// `git merge-tree` is the same merge.
func (r *repository) mergeTrees(t *testing.T, commits []committed) []merged {
	t.Helper()
	results := make([]merged, len(commits))
	heads := map[int]string{}
	for i, c := range commits {
		heads[i] = c.head
	}
	for round := 1; len(heads) > 0; round++ {
		var stdin bytes.Buffer
		var asked []int
		for i := range commits {
			if heads[i] != "" {
				asked = append(asked, i)
				fmt.Fprintf(&stdin, "%s %s\n", heads[i], commits[i].undone[len(commits[i].undone)-round])
			}
		}
		s, next := &importer{}, map[int]string{}
		for n, result := range r.mergeTree(t, &stdin, len(asked)) {
			i := asked[n]
			results[i] = result
			if left := len(commits[i].guilty) - round; result.clean && left > 0 {
				next[i] = s.commit(func() { fmt.Fprintf(s, "M 040000 %s \"\"\n", result.tree) }, commits[i].guilty[left-1])
			}
		}
		hash := r.run(t, s)
		for i, mark := range next {
			next[i] = hash(mark)
		}
		heads = next
	}
	return results
}

func (r *repository) mergeTree(t *testing.T, stdin *bytes.Buffer, count int) []merged {
	t.Helper()
	out, err := r.command(stdin, "merge-tree", "--write-tree", "--stdin", "--no-messages").Output()
	if err != nil {
		t.Fatalf("git merge-tree: %v", err)
	}
	// Each result: status NUL tree NUL (stage entry NUL)* NUL.
	var results []merged
	fields := strings.Split(string(out), "\x00")
	for i := 0; i+1 < len(fields); i++ {
		result := merged{fields[i+1], fields[i] == "1"}
		if !result.clean {
			result = conflict
		}
		results = append(results, result)
		for i++; fields[i] != ""; i++ {
		}
	}
	if len(results) != count {
		t.Fatalf("git merge-tree answered %d of %d", len(results), count)
	}
	return results
}
