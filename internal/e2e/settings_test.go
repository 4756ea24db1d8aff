package e2e

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/source"
	"chaperone.dev/chaperone/internal/testkit/gitserver"
)

// mount is a directory as Kubernetes mounts a ConfigMap: the files are links
// into a directory that is exchanged by a rename.
type mount struct {
	testing.TB
	dir   string
	times int
}

func (m *mount) put(files map[string]string) {
	m.Helper()
	m.times++
	version := fmt.Sprintf("..v%d", m.times)
	for name, content := range files {
		write(m, filepath.Join(m.dir, version, name), content)
	}
	link := func(target, name string) {
		if err := os.Symlink(target, filepath.Join(m.dir, name)); err != nil && !os.IsExist(err) {
			m.Fatal(err)
		}
	}
	link(version, "..data_tmp")
	if err := os.Rename(filepath.Join(m.dir, "..data_tmp"), filepath.Join(m.dir, "..data")); err != nil {
		m.Fatal(err)
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		top, _, _ := strings.Cut(name, "/")
		link(filepath.Join("..data", top), top)
	}
	if m.times > 1 {
		if err := os.RemoveAll(filepath.Join(m.dir, fmt.Sprintf("..v%d", m.times-1))); err != nil {
			m.Fatal(err)
		}
	}
}

// A mounted configuration file that changes is taken up; one that is wrong is
// not, and the one before stays in force.
func TestConfigurationIsReloaded(t *testing.T) {
	quick(t)
	w := newWorld(t, alone())
	config := &mount{TB: t, dir: t.TempDir()}
	file := func(branch string) map[string]string {
		return map[string]string{"config.yaml": fmt.Sprintf("source:\n  branch: %s\n", branch)}
	}
	config.put(file("main"))
	settings := w.settings(map[string]string{"config": filepath.Join(config.dir, "config.yaml")})
	delete(settings, "source-branch")
	daemon := w.spawn(settings)
	w.awaitRuns(development, w.first)
	release := w.repo.Commit(t, gitserver.Commit{Branch: "release", Parent: string(w.first), Files: version("2.0.0"), Message: "on a branch"})

	config.put(map[string]string{"config.yaml": "source:\n  brunch: release\n"})
	w.await("the wrong one to be refused", func() bool { return contains(daemon.log, "configuration refused") })
	if !contains(daemon.log, "brunch") {
		t.Error("the log does not say what is wrong")
	}
	still := w.push("say good day", greeting("good day"))
	w.awaitRuns(development, still)

	config.put(file("release"))
	w.await("the other branch to run", func() bool { return w.runs(development) == "2.0.0" })
	w.awaitRuns(development, source.Revision(release))
	if daemon.over() {
		t.Error("the process ended")
	}
}

// Mounted policies that change are taken up; ones that do not compile are not,
// and those before stay in force.
func TestPoliciesAreReloaded(t *testing.T) {
	quick(t)
	w := newWorld(t, alone())
	policies := &mount{TB: t, dir: t.TempDir()}
	bundle := func(word string) map[string]string {
		return map[string]string{
			"image/allowed/rule.rego":              strings.ReplaceAll(rule, "WORD", word),
			"image/allowed/testdata/pass/one.yaml": deployment("1.0.0"),
			"image/allowed/testdata/fail/one.yaml": deployment(word),
		}
	}
	policies.put(bundle("forbidden"))
	w.start(map[string]string{"policies-directory": policies.dir})
	w.awaitRuns(development, w.first)

	broken := bundle("forbidden")
	broken["image/allowed/rule.rego"] = strings.Replace(broken["image/allowed/rule.rego"], "deny contains", "deny contians", 1)
	policies.put(broken)
	w.await("the broken ones to be refused", func() bool { return contains(w.log, "policies refused") })
	denied := w.push("forbidden", version("2.0.0-forbidden"))
	if r := w.awaitReason(development, promotion.PolicyDenied); r.Status.Wanted.Revision != denied {
		t.Errorf("denied is %s, want %s", r.Status.Wanted.Revision, denied)
	}

	policies.put(bundle("unwelcome"))
	w.awaitRuns(development, denied) // allowed by now
	w.push("unwelcome", version("2.0.1-unwelcome"))
	if r := w.awaitReason(development, promotion.PolicyDenied); !strings.Contains(r.Message, "2.0.1-unwelcome") {
		t.Errorf("status says %q", r.Message)
	}
	w.wantApp(development, "2.0.0-forbidden")
}

// Where an operator chose so, the policies are those of the source.
func TestPoliciesFromTheSource(t *testing.T) {
	quick(t)
	bundle := func(word string) map[string]string {
		return prefixed("policies/image/allowed/", map[string]string{
			"rule.rego": strings.ReplaceAll(rule, "WORD", word), "testdata/pass/one.yaml": deployment("1.0.0"),
			"testdata/fail/one.yaml": deployment(word)})
	}
	w := newWorld(t, alone(), bundle("forbidden"))
	w.start(map[string]string{"policies-directory": "", "policies-from-source": "true"})
	w.awaitRuns(development, w.first)
	denied := w.push("forbidden", version("2.0.0-forbidden"))
	w.awaitReason(development, promotion.PolicyDenied)
	w.push("break the policies", map[string]string{"policies/image/allowed/rule.rego": "package image.allowed\n\ndeny contians 1\n"})
	w.await("them to be refused", func() bool { return contains(w.log, "policies refused") })
	if r := w.awaitReason(development, promotion.PolicyDenied); r.Journal.LastGood.Revision != w.first {
		t.Errorf("runs %s, want %s; %s is denied", r.Journal.LastGood.Revision, w.first, denied)
	}
	allowed := w.push("allow it", bundle("unwelcome"))
	w.awaitRuns(development, allowed)
	w.wantApp(development, "2.0.0-forbidden")
}

// A file that is wrong stops its own environment, also one that was never
// right, and also for a daemon that starts anew.
func TestInvalidFileStopsItselfAlone(t *testing.T) {
	quick(t)
	other, never := promotion.ID{Pipeline: "other", Name: "development"}, promotion.ID{Pipeline: "never", Name: "development"}
	stops := append(alone(), stop{pipeline: "other", name: "development"})
	w := newWorld(t, stops)
	daemon := w.start()
	w.awaitRuns(development, w.first)
	w.awaitRuns(other, w.first)
	broken := strings.Replace(stops[0].file(w.namespaces[development.String()], ""), "  verify:", "  verifi:", 1)
	next := w.push("a slip", version("2.0.0"), map[string]string{
		stops[0].path():                       broken,
		"environments/never/development.yaml": "kind: Environment\n",
		"base/other/deployment.yaml":          deployment("2.0.0"),
	})
	w.awaitRuns(other, next)
	r := w.awaitReason(development, promotion.InvalidEnvironment)
	for _, part := range []string{stops[0].path() + ":", "verifi", "verify"} {
		if !strings.Contains(r.Message, part) {
			t.Errorf("status says %q; want %q in it", r.Message, part)
		}
	}
	w.awaitReason(never, promotion.InvalidEnvironment)
	w.wantApp(development, "1.0.0")

	daemon.stop()
	w.start()
	further := w.push("go on", map[string]string{"base/other/deployment.yaml": deployment("2.0.1")})
	w.awaitRuns(other, further)
	w.awaitReason(development, promotion.InvalidEnvironment)
	w.wantApp(development, "1.0.0")

	fixed := w.push("correct it", map[string]string{stops[0].path(): stops[0].file(w.namespaces[development.String()], "")})
	w.awaitRuns(development, fixed)
	w.wantApp(development, "2.0.0")
}

// The same over SSH, with a key and a host that is known.
func TestSourceOverSSH(t *testing.T) {
	quick(t)
	w := newWorld(t, alone())
	server := gitserver.ServeSSH(t, w.repo)
	w.start(map[string]string{
		"source-url": server.URL, "source-token-file": "", "source-ssh-key-file": server.KeyFile,
		"source-known-hosts-file": server.KnownHosts,
	})
	w.awaitRuns(development, w.first)
	bad := badStory.begin(w)
	badStory.end(w, bad)

	server.ChangeHostKey(t)
	r := w.awaitReason(development, promotion.SourceUnavailable)
	if !strings.Contains(r.Message, "key") {
		t.Errorf("status says %q; want it to tell of the host's key", r.Message)
	}
	w.wantApp(development, "1.0.0")
}
