package demo

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"chaperone.dev/chaperone/internal/promotion"
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
	if author, err := d.source.git(t.Context(), d.source.bare, "log", "-1", "--format=%ae", "main"); err != nil || author != developer.email {
		t.Errorf("author %q, %v", author, err)
	}
	if message, err := d.source.git(t.Context(), d.source.bare, "log", "-1", "--format=%B", "main"); err != nil || !(source.Commit{Message: message}).Urgent() {
		t.Errorf("%q, %v; want it urgent, so that the time of the day does not matter", message, err)
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

func TestSeveralChangesArePushedTogether(t *testing.T) {
	t.Parallel()
	d := newSource(t)
	first, err := d.source.head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	note := func(text string) work { return work{text, []edit{{"base/README.md", appended(text + "\n")}}} }
	pushed, err := d.source.changes(t.Context(), note("one"), note("two"), note("three"))
	if err != nil || len(pushed) != 3 {
		t.Fatalf("got %v, %v", pushed, err)
	}
	commits, err := d.source.since(t.Context(), first)
	if err != nil || len(commits) != 3 {
		t.Fatalf("got %v, %v", commits, err)
	}
	for i, want := range []string{"one", "two", "three"} {
		if c := commits[2-i]; c.Revision != pushed[i] || c.Subject() != want {
			t.Errorf("commit %d is %s %q; want %s %q", i, c.Revision, c.Subject(), pushed[i], want)
		}
	}
}

// propose pushes a branch as the daemon does.
func propose(t *testing.T, r *repository, id promotion.ID, message string, changes ...func([]byte) ([]byte, error)) {
	t.Helper()
	file := "environments/" + id.String() + ".yaml"
	clone := filepath.Join(t.TempDir(), "daemon")
	run := func(dir string, args ...string) {
		t.Helper()
		if _, err := r.gitAs(t.Context(), person{"Chaperone", "chaperone@example.org"}, dir, args...); err != nil {
			t.Fatal(err)
		}
	}
	run("", "clone", "-q", r.bare, clone)
	for _, change := range changes {
		apply(t, clone, edit{file, change})
		run(clone, "commit", "-q", "-a", "-m", message)
	}
	run(clone, "push", "-q", "--force", "origin", "HEAD:refs/heads/"+source.PromotionBranch(id.String()))
}

func TestProposalIsMergedByAnotherPerson(t *testing.T) {
	t.Parallel()
	d, id := newSource(t), env("novamind", "staging")
	pin, err := d.commitSystems(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	move := func(file []byte) ([]byte, error) { return promotion.SetRevision(file, pin) }
	propose(t, d.source, id, source.PromoteMessage(source.PromoteNote{Environment: id.String(), To: pin}), move)
	p, err := d.source.proposed(t.Context(), id)
	if err != nil || p.pin != pin {
		t.Fatalf("got %+v, %v; want a pin of %s", p, err, pin)
	}
	// The branch moves on, and the proposal stays where it is.
	if _, err := d.source.change(t.Context(), "more", edit{"base/README.md", appended("more\n")}); err != nil {
		t.Fatal(err)
	}
	merge, err := d.source.merge(t.Context(), releaseManager, p.branch)
	if err != nil {
		t.Fatal(err)
	}
	told, err := d.source.git(t.Context(), d.source.bare, "log", "-1", "--format=%H %P %ae", "main")
	if lines := strings.Fields(told); err != nil || len(lines) != 4 || lines[0] != string(merge) || lines[2] != string(p.commit) || lines[3] != releaseManager.email {
		t.Errorf("%q, %v; want a merge of %s by %s", told, err, p.commit, releaseManager.email)
	}
	if file, err := d.source.read(t.Context(), "environments/novamind/staging.yaml"); err != nil || !strings.Contains(string(file), "\n  revision: "+string(pin)+"\n") {
		t.Errorf("the pin was not moved: %v\n%s", err, file)
	}
}

func TestProposalThatDoesMoreIsTold(t *testing.T) {
	t.Parallel()
	d, id := newSource(t), env("novamind", "staging")
	pin, err := d.commitSystems(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.source.proposed(t.Context(), id); err == nil {
		t.Error("read a branch that is not there")
	}
	message := source.PromoteMessage(source.PromoteNote{Environment: id.String(), To: pin})
	move := func(file []byte) ([]byte, error) { return promotion.SetRevision(file, pin) }
	for name, c := range map[string]struct {
		message string
		changes []func([]byte) ([]byte, error)
		want    string
	}{
		"a commit too many": {message, []func([]byte) ([]byte, error){appended("# one\n"), move}, "is 2 commits ahead"},
		"a line too many":   {message, []func([]byte) ([]byte, error){appended("# one\n# two\n")}, "want one commit that adds one line"},
		"no trailer":        {"Promote it", []func([]byte) ([]byte, error){move}, "has no Chaperone-Promotes trailer"},
	} {
		propose(t, d.source, id, c.message, c.changes...)
		if _, err := d.source.proposed(t.Context(), id); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v; want %q", name, err, c.want)
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
