package demo

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"chaperone.dev/chaperone/internal/source"
)

// newSource is a demo with its repository, and nothing else.
func newSource(t *testing.T) *demo {
	t.Helper()
	d := &demo{Options: Options{Repo: filepath.Join("..", "..")}, place: layout{t.TempDir()}}
	d.fillIn()
	if err := d.makeSource(t.Context()); err != nil {
		t.Fatal(err)
	}
	return d
}

func appended(text string) func([]byte) ([]byte, error) {
	return func(file []byte) ([]byte, error) { return append(file, text...), nil }
}

func TestRepositoryBeginsWithThePlatform(t *testing.T) {
	t.Parallel()
	d := newSource(t)
	if _, err := d.source.read(t.Context(), "environments/platform/cluster.yaml"); err != nil {
		t.Error(err)
	}
	if _, err := d.source.read(t.Context(), "environments/novamind/production.yaml"); err == nil {
		t.Error("a system is there before the platform is applied")
	}
	first, err := d.source.head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	commit, err := d.commitSystems(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"crohns/staging", "novamind/production"} {
		if _, err := d.source.read(t.Context(), "environments/"+name+".yaml"); err != nil {
			t.Error(err)
		}
	}
	commits, err := d.source.since(t.Context(), first)
	if err != nil || len(commits) != 1 || commits[0].Revision != commit {
		t.Errorf("got %v, %v; want %s", commits, err, commit)
	}
	if author, err := d.source.git(t.Context(), d.source.bare, "log", "-1", "--format=%an", "main"); err != nil || author != "Demo Developer" {
		t.Errorf("author %q, %v", author, err)
	}
}

func TestChangesStandOnWhatOthersPushed(t *testing.T) {
	t.Parallel()
	d := newSource(t)
	first, err := d.source.head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	// Somebody else, such as the daemon, pushes from a clone of its own.
	other := &repository{bare: d.source.bare, clone: filepath.Join(t.TempDir(), "other"), environ: d.source.environ}
	if _, err := other.git(t.Context(), "", "clone", "-q", other.bare, other.clone); err != nil {
		t.Fatal(err)
	}
	theirs, err := other.change(t.Context(), "theirs", edit{"base/README.md", appended("theirs\n")})
	if err != nil {
		t.Fatal(err)
	}
	ours, err := d.source.change(t.Context(), "ours", edit{"base/README.md", appended("ours\n")})
	if err != nil {
		t.Fatal(err)
	}
	back, err := d.source.takeBack(t.Context(), ours)
	if err != nil {
		t.Fatal(err)
	}
	commits, err := d.source.since(t.Context(), first)
	var got []source.Revision
	for _, c := range commits {
		got = append(got, c.Revision)
	}
	if err != nil || len(got) != 3 || got[0] != back || got[1] != ours || got[2] != theirs {
		t.Errorf("since %s: %v, %v; want %v", first, got, err, []source.Revision{back, ours, theirs})
	}
	for _, c := range []struct {
		a, b string
		same bool
	}{{string(back), string(theirs), true}, {string(back), string(ours), false}} {
		if same, err := d.source.sameTree(t.Context(), c.a, c.b); err != nil || same != c.same {
			t.Errorf("%s and %s hold the same: %t, %v; want %t", c.a, c.b, same, err, c.same)
		}
	}
}

func TestEditThatDoesNotFitNamesItsFile(t *testing.T) {
	t.Parallel()
	d := newSource(t)
	_, err := d.source.change(t.Context(), "nothing", edit{"base/README.md", makePrivileged})
	if err == nil || !strings.Contains(err.Error(), "edit base/README.md: want one container image, found 0") {
		t.Errorf("got %v", err)
	}
}

func TestMakeDirectory(t *testing.T) {
	t.Parallel()
	full := t.TempDir()
	if err := os.WriteFile(filepath.Join(full, "thesis.txt"), []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	d := &demo{Options: Options{Dir: full}}
	d.fillIn()
	if err := d.makeDirectory(t.Context()); err == nil || !strings.Contains(err.Error(), "is not empty") {
		t.Errorf("got %v", err)
	}
	if err := d.end(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(full, "thesis.txt")); err != nil {
		t.Errorf("a file of somebody else: %v", err)
	}
	for _, keep := range []bool{false, true} {
		d := &demo{Options: Options{Dir: filepath.Join(t.TempDir(), "new"), Keep: keep}}
		d.fillIn()
		if err := d.makeDirectory(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := d.end(t.Context()); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(d.place.dir); (err == nil) != keep {
			t.Errorf("with keep %t, after the end: %v", keep, err)
		}
	}
}

func TestWrongRepoIsToldBeforeAnythingIsStarted(t *testing.T) {
	t.Parallel()
	result, err := Run(t.Context(), Options{Repo: t.TempDir(), Dir: filepath.Join(t.TempDir(), "demo"), Exit: true})
	if err == nil || !strings.Contains(err.Error(), "has no directory base") {
		t.Errorf("got %v", err)
	}
	if len(result.Steps) != len(script()) || result.OK() || !strings.HasPrefix(result.Steps[6].Detail, "not run: ") {
		t.Errorf("got %+v", result)
	}
}
