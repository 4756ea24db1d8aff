package gogit_test

import (
	"bytes"
	"compress/zlib"
	"crypto/sha1"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"chaperone.dev/chaperone/internal/fault"
	environments "chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/source"
	"chaperone.dev/chaperone/internal/source/gogit"
	"chaperone.dev/chaperone/internal/testkit/gitserver"
	"chaperone.dev/chaperone/internal/testkit/racing"
)

// forged writes objects as no honest Git does, straight into a repository.
type forged struct{ *gitserver.Repo }

func (f forged) write(t *testing.T, kind string, content io.Reader, size int64) string {
	t.Helper()
	file, err := os.CreateTemp(f.Dir, "object")
	if err != nil {
		t.Fatal(err)
	}
	sum := sha1.New()
	z, _ := zlib.NewWriterLevel(file, zlib.BestSpeed)
	both := io.MultiWriter(sum, z)
	fmt.Fprintf(both, "%s %d\x00", kind, size)
	if _, err := io.Copy(both, content); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(z.Close(), file.Close()); err != nil {
		t.Fatal(err)
	}
	hash := fmt.Sprintf("%x", sum.Sum(nil))
	to := filepath.Join(f.Dir, "objects", hash[:2], hash[2:])
	if err := errors.Join(os.MkdirAll(filepath.Dir(to), 0o755), os.Rename(file.Name(), to)); err != nil {
		t.Fatal(err)
	}
	return hash
}

func (f forged) object(t *testing.T, kind, content string) string {
	return f.write(t, kind, strings.NewReader(content), int64(len(content)))
}

func (f forged) blob(t *testing.T, content string) string { return f.object(t, "blob", content) }

// in is a line of a tree.
type in struct{ mode, name, hash string }

func (f forged) tree(t *testing.T, entries ...in) string {
	t.Helper()
	var b bytes.Buffer
	for _, e := range entries {
		fmt.Fprintf(&b, "%s %s\x00", e.mode, e.name)
		b.Write(raw(t, e.hash))
	}
	return f.object(t, "tree", b.String())
}

func raw(t *testing.T, hash string) []byte {
	t.Helper()
	bytes, err := hex.DecodeString(hash)
	if err != nil {
		t.Fatal(err)
	}
	return bytes
}

// commit moves the branch to a commit of a tree.
func (f forged) commit(t *testing.T, tree string, parents ...string) source.Revision {
	t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, "tree %s\n", tree)
	for _, parent := range parents {
		fmt.Fprintf(&b, "parent %s\n", parent)
	}
	b.WriteString("author Mallory <m@example.org> 1704067200 +0000\ncommitter Mallory <m@example.org> 1704067200 +0000\n\nchange\n")
	hash := f.object(t, "commit", b.String())
	f.Move(t, gitserver.Main, hash)
	return source.Revision(hash)
}

const sampleEnvironment = "apiVersion: chaperone.dev/v1alpha1\nkind: Environment\nmetadata:\n  name: production\nspec:\n" +
	"  path: overlays/a\n  target: {namespace: a}\n  data: none\n"

// tidy is what stands beside the hostile part: a pipeline of two files' worth.
func (f forged) tidy(t *testing.T) []in {
	t.Helper()
	file := in{"100644", "production.yaml", f.blob(t, sampleEnvironment)}
	pipeline := f.tree(t, file)
	return []in{{"40000", "environments", f.tree(t, in{"40000", "good", pipeline})}, {"100644", "ok.yaml", f.blob(t, "fine\n")}}
}

// soon fails a test whose work has no bound.
func soon(t *testing.T, what string, work func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		work()
	}()
	select {
	case <-done:
	case <-time.After(3 * time.Minute):
		t.Fatalf("%s does not end", what)
	}
}

// deep is a directory in a directory, so many times.
func (f forged) deep(t *testing.T, depth int, name, leaf string) string {
	for range depth {
		leaf = f.tree(t, in{"40000", name, leaf})
	}
	return leaf
}

// bomb holds ten directories that are the same one, which holds ten, and so on.
func (f forged) bomb(t *testing.T, levels int, leaf string) string {
	for range levels {
		var ten []in
		for i := range 10 {
			ten = append(ten, in{"40000", fmt.Sprint(i), leaf})
		}
		leaf = f.tree(t, ten...)
	}
	return leaf
}

func (f forged) many(t *testing.T, count int) string {
	t.Helper()
	empty := raw(t, f.blob(t, ""))
	var b bytes.Buffer
	for i := range count {
		fmt.Fprintf(&b, "100644 %08d\x00%s", i, empty)
	}
	return f.write(t, "tree", &b, int64(b.Len()))
}

// TestPitfall03_HostileTrees: what stands beside something hostile is read as
// if it were not there, and the hostile place says what is wrong.
func TestPitfall03_HostileTrees(t *testing.T) {
	t.Parallel()
	racing.Without(t)
	for _, test := range []struct {
		name string
		evil func(t *testing.T, f forged) in // stands at evil
		path string                          // below it, to be read
		want string                          // empty: it can be read
	}{
		{"dot dot", func(t *testing.T, f forged) in {
			return in{"40000", "evil", f.tree(t, in{"40000", "..", f.tree(t, in{"100644", "x", f.blob(t, "x")})})}
		}, "evil/x", `an entry is named ".."`},
		{".git", func(t *testing.T, f forged) in {
			return in{"40000", "evil", f.tree(t, in{"40000", ".git", f.tree(t, in{"100644", "config", f.blob(t, "x")})})}
		}, "evil/.git/config", `an entry is named ".git"`},
		{".GIT", func(t *testing.T, f forged) in {
			return in{"40000", "evil", f.tree(t, in{"100644", ".GIT", f.blob(t, "x")})}
		}, "evil/.GIT", `an entry is named ".GIT"`},
		{"git~1 is a name like any other: nothing is checked out", func(t *testing.T, f forged) in {
			return in{"40000", "evil", f.tree(t, in{"100644", "git~1", f.blob(t, "x")})}
		}, "evil/git~1", ""},
		{"a slash in a name", func(t *testing.T, f forged) in {
			return in{"40000", "evil", f.tree(t, in{"100644", "../ok.yaml", f.blob(t, "x")})}
		}, "evil/x", `an entry is named "../ok.yaml"`},
		{"twice the same name", func(t *testing.T, f forged) in {
			return in{"40000", "evil", f.tree(t, in{"100644", "x", f.blob(t, "1")}, in{"100644", "x", f.blob(t, "2")})}
		}, "evil/x", `"x" stands there twice`},
		{"a file and a directory of one name", func(t *testing.T, f forged) in {
			return in{"40000", "evil", f.tree(t, in{"100644", "x", f.blob(t, "1")}, in{"40000", "x", f.tree(t)})}
		}, "evil/x", `"x" stands there twice`},
		{"names in the wrong order are found", func(t *testing.T, f forged) in {
			return in{"40000", "evil", f.tree(t, in{"100644", "z", f.blob(t, "1")}, in{"100644", "x", f.blob(t, "2")})}
		}, "evil/x", ""},
		{"names that differ in case are two", func(t *testing.T, f forged) in {
			return in{"40000", "evil", f.tree(t, in{"100644", "X", f.blob(t, "1")}, in{"100644", "x", f.blob(t, "2")})}
		}, "evil/x", ""},
		{"control characters", func(t *testing.T, f forged) in {
			return in{"40000", "evil", f.tree(t, in{"100644", "\x1b[2J", f.blob(t, "1")}, in{"100644", "x", f.blob(t, "2")})}
		}, "evil/x", ""},
		{"a million names", func(t *testing.T, f forged) in { return in{"40000", "evil", f.many(t, 1_000_000)} },
			"evil/00000001", "want at most 50000 names in one directory"},
		{"deep", func(t *testing.T, f forged) in {
			return in{"40000", "evil", f.deep(t, 10_000, "d", f.tree(t, in{"100644", "x", f.blob(t, "x")}))}
		}, "evil" + strings.Repeat("/d", 10_000) + "/x", ""},
		{"a bomb", func(t *testing.T, f forged) in {
			return in{"40000", "evil", f.bomb(t, 40, f.tree(t, in{"100644", "x", f.blob(t, "x")}))}
		}, "evil" + strings.Repeat("/0", 40) + "/x", ""},
		{"a bomb of nothing", func(t *testing.T, f forged) in { return in{"40000", "evil", f.bomb(t, 40, f.tree(t))} },
			"evil/x", "file does not exist"},
		{"links in a circle", func(t *testing.T, f forged) in {
			return in{"120000", "evil", f.blob(t, "evil")}
		}, "evil", "is a symbolic link, which is not followed"},
		{"a mode of its own", func(t *testing.T, f forged) in { return in{"20666", "evil", f.blob(t, "x")} },
			"evil", "is neither file nor directory (mode 20666)"},
		{"cut off", func(t *testing.T, f forged) in { return in{"40000", "evil", f.object(t, "tree", "100644 x\x00short")} },
			"evil/x", "an entry is cut off"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			f := forged{gitserver.NewRepo(t)}
			before := f.commit(t, f.tree(t, f.tidy(t)...))
			r := local(t, f.Repo, gogit.Limits{})
			after := f.commit(t, f.tree(t, append(f.tidy(t), test.evil(t, f))...), string(before))
			soon(t, "reading", func() { examine(t, r, before, after, test.path, test.want) })
		})
	}
}

// examine polls what has become hostile, and uses it in every way.
func examine(t *testing.T, r *gogit.Repository, before, after source.Revision, path, want string) {
	t.Helper()
	if _, err := r.Poll(t.Context()); err != nil {
		if want != "" && r.Head() == before {
			t.Logf("not taken: %v", err)
			return
		}
		t.Errorf("poll: %v", err)
		return
	}
	s := snapshot(t, r)
	file, err := s.Open(path)
	switch {
	case err == nil && want != "":
		t.Errorf("%s is opened, want %q", path[:min(len(path), 80)], want)
	case err != nil && (want == "" || !strings.Contains(err.Error(), want)):
		t.Errorf("%.300v, want %q", err, want)
	case err == nil:
		_ = file.Close()
	}
	if content, err := s.ReadFile("ok.yaml"); err != nil || string(content) != "fine\n" {
		t.Errorf("beside it: %q, %v", content, err)
	}
	set, err := environments.Load(s)
	if err != nil || len(set.IDs()) != 1 || len(set.Unreadable) != 0 {
		t.Errorf("environments beside it: %v %v, %v", set.IDs(), set.Unreadable, err)
	}
	paths, err := r.Changed(before, after)
	if err != nil || len(paths) == 0 || len(paths) > 2000 || !strings.HasPrefix(paths[0], "evil") {
		t.Errorf("changed: %d %.200v, %v", len(paths), paths[:min(3, len(paths))], err)
	}
	matches, err := source.Closure{"ok.yaml": mustHash(t, s, "ok.yaml"), "environments": source.Dir}.Matches(s)
	if !matches || err != nil {
		t.Errorf("a closure beside it: %t, %v", matches, err)
	}
	result, err := r.Revert(t.Context(), gogit.RevertRequest{Guilty: after})
	if err != nil || result.Outcome != gogit.Reverted {
		t.Errorf("revert: %+v, %v", result, err)
	}
	if got, err := r.Changed(before, r.Head()); err != nil || len(got) != 0 {
		t.Errorf("after the revert %v differs, %v", got, err)
	}
}

func mustHash(t *testing.T, s *gogit.Snapshot, name string) string {
	t.Helper()
	hash, err := s.Hash(name)
	if err != nil {
		t.Fatal(err)
	}
	return hash
}

// TestPitfall03_HostileMerges: reverts that would have to look into what has no
// end are for a person, or refused for good, and end.
func TestPitfall03_HostileMerges(t *testing.T) {
	t.Parallel()
	racing.Without(t)
	for _, test := range []struct {
		name  string
		evil  func(t *testing.T, f forged, leaf string) string
		other bool // the head has another one; otherwise it has none
		want  string
	}{
		{"two bombs", func(t *testing.T, f forged, leaf string) string {
			return f.bomb(t, 12, f.tree(t, in{"100644", "x", f.blob(t, leaf)}))
		}, true, "one side changed it, the other deleted it"},
		{"a bomb that both sides took away", func(t *testing.T, f forged, leaf string) string {
			return f.bomb(t, 12, f.tree(t, in{"100644", "x", f.blob(t, leaf)}))
		}, false, "too many names to look at"},
		{"two deep ones", func(t *testing.T, f forged, leaf string) string {
			return f.deep(t, 10_000, "d", f.tree(t, in{"100644", "x", f.blob(t, leaf)}))
		}, true, "nest too deep"},
		{"two of a million names", func(t *testing.T, f forged, leaf string) string {
			return f.many(t, 1_000_000+len(leaf))
		}, true, "want at most 50000 names in one directory"},
		{"two malformed ones", func(t *testing.T, f forged, leaf string) string {
			return f.tree(t, in{"40000", "..", f.tree(t, in{"100644", "x", f.blob(t, leaf)})})
		}, true, `an entry is named ".."`},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			f := forged{gitserver.NewRepo(t)}
			first := f.commit(t, f.tree(t, f.tidy(t)...))
			guilty := f.commit(t, f.tree(t, append(f.tidy(t), in{"40000", "evil", test.evil(t, f, "1")})...), string(first))
			moved := in{"100644", "moved", f.blob(t, "unlike any other\n")}
			later := append(f.tidy(t), moved)
			if test.other {
				later = append(f.tidy(t), in{"40000", "evil", test.evil(t, f, "22")})
			}
			f.commit(t, f.tree(t, later...), string(guilty))
			r := local(t, f.Repo, gogit.Limits{})
			soon(t, "the revert", func() {
				result, err := r.Revert(t.Context(), gogit.RevertRequest{Guilty: guilty})
				said := result.Detail
				if err != nil {
					said = err.Error()
				}
				nothing := !test.other && result.Outcome == gogit.NothingToRevert
				if !nothing && (!strings.Contains(said, test.want) || err != nil && !fault.IsTerminal(err)) {
					t.Errorf("%+v, %v; want %q", result, err, test.want)
				}
			})
			if content := read(t, r, r.Head(), "ok.yaml"); content != "fine\n" {
				t.Errorf("beside it: %q", content)
			}
		})
	}
}

// TestHostilePipelines: only the pipeline whose place is hostile is stopped, and
// it says what would be right.
func TestHostilePipelines(t *testing.T) {
	t.Parallel()
	f := forged{gitserver.NewRepo(t)}
	good := f.blob(t, sampleEnvironment)
	one := func(file string) string { return f.tree(t, in{"100644", "production.yaml", file}) }
	large := f.write(t, "blob", io.LimitReader(zeros{}, 64<<20), 64<<20)
	pipelines := f.tree(t,
		in{"40000", "good", one(good)},
		in{"40000", "large", f.tree(t, in{"100644", "production.yaml", large})},
		in{"40000", "linked", f.tree(t, in{"120000", "production.yaml", f.blob(t, "production.yaml")})},
		in{"40000", "malformed", f.tree(t, in{"100644", "..", good}, in{"100644", "production.yaml", good})},
		in{"40000", "many", f.many(t, 60_000)},
		in{"40000", "\x1b[2J", one(good)},
		in{"40000", "\xff", one(good)},
		in{"160000", "module", good},
	)
	f.commit(t, f.tree(t, in{"40000", "environments", pipelines}))
	r := local(t, f.Repo, gogit.Limits{})
	set, err := environments.Load(snapshot(t, r))
	if err != nil {
		t.Fatal(err)
	}
	if _, valid := set.Environments[environments.ID{Pipeline: "good", Name: "production"}]; !valid {
		t.Errorf("good/production: %v", set.Faults)
	}
	for env, want := range map[environments.ID]string{
		{Pipeline: "large", Name: "production"}:     "environments/large/production.yaml: too long: it has 67108864 bytes; want at most 262144",
		{Pipeline: "linked", Name: "production"}:    "want a regular file, not a link",
		{Pipeline: "malformed", Name: "production"}: `malformed: an entry is named ".."`,
		{Pipeline: "many", Name: "production"}:      "more than 50000 names in one directory",
	} {
		if f, found := set.Fault(env); !found || f.Reason != environments.InvalidEnvironment || !strings.Contains(f.Err.Error(), want) {
			t.Errorf("%s: %v, want %q", env, f.Err, want)
		}
	}
	for _, all := range []error{errors.Join(set.Misplaced...), faultsOf(set)} {
		if text := all.Error(); strings.ContainsAny(text, "\x1b\xff") {
			t.Errorf("%q would garble a terminal", text)
		}
	}
}

func faultsOf(set environments.Set) error {
	var all []error
	for _, f := range set.Faults {
		all = append(all, f.Err)
	}
	return errors.Join(all...)
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}
