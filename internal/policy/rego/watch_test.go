package rego

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"chaperone.dev/chaperone/internal/fault"
	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/policy"
	"chaperone.dev/chaperone/internal/promotion"
)

// volume plays the kubelet: it publishes versions of a ConfigMap in a directory
// the way Kubernetes' atomic writer does.
type volume struct {
	t   *testing.T
	dir string
}

// publish writes the files into a new timestamped directory, links ..data_tmp
// to it, renames that over ..data, removes the version before, and links what
// users see through ..data.
func (v volume) publish(version string, files textFiles) {
	v.t.Helper()
	before, err := os.Readlink(filepath.Join(v.dir, "..data"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		v.t.Fatal(err)
	}
	v.must(os.Mkdir(filepath.Join(v.dir, version), 0o755))
	writeFiles(v.t, filepath.Join(v.dir, version), files)
	v.must(os.Symlink(version, filepath.Join(v.dir, "..data_tmp")))
	v.must(os.Rename(filepath.Join(v.dir, "..data_tmp"), filepath.Join(v.dir, "..data")))
	for name := range files {
		top, _, _ := strings.Cut(name, "/")
		err := os.Symlink(filepath.Join("..data", top), filepath.Join(v.dir, top))
		if err != nil && !errors.Is(err, fs.ErrExist) {
			v.t.Fatal(err)
		}
	}
	if before != "" {
		v.must(os.RemoveAll(filepath.Join(v.dir, before)))
	}
}

func (v volume) must(err error) {
	v.t.Helper()
	if err != nil {
		v.t.Fatal(err)
	}
}

func writeFiles(t *testing.T, dir string, files textFiles) {
	t.Helper()
	for name, content := range files {
		name = filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// watched is a store that is watched until the test ends, and what it told.
type watched struct {
	*Store
	t    *testing.T
	told chan Status
}

// never is a poll interval at which no test polls.
const never = time.Hour

func watch(t *testing.T, dir string, poll time.Duration) watched {
	t.Helper()
	w := watched{Store: NewStore(dir, Limits{}), t: t, told: make(chan Status, 100)}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		w.Watch(ctx, poll, func(s Status) { w.told <- s })
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	return w
}

// await waits until the store tells a status that fits.
func (w watched) await(what string, fits func(Status) bool) Status {
	w.t.Helper()
	patience := time.After(30 * time.Second)
	for {
		select {
		case s := <-w.told:
			if fits(s) {
				return s
			}
		case <-patience:
			w.t.Fatalf("waited in vain for %s; status %+v", what, w.Status())
		}
	}
}

func inForce(digest manifest.Digest) func(Status) bool {
	return func(s Status) bool { return s.Digest == digest && s.Err == nil }
}

// versions of a bundle, and the digest of each.
func version(t *testing.T, message string) (textFiles, manifest.Digest) {
	t.Helper()
	files := oneRule(`audit contains "` + message + `" if input.object.metadata.name == "odd"`)
	return files, loadFiles(t, files).Digest()
}

// Kubernetes publishes a new version of a mounted ConfigMap by renaming a
// symbolic link. The new bundle must come into force by that event alone.
func TestKubeletSwapsTheVolume(t *testing.T) {
	t.Parallel()
	v := volume{t, t.TempDir()}
	first, firstDigest := version(t, "first")
	second, secondDigest := version(t, "second")
	v.publish("..2026_05_20_12_00_00.1", first)
	w := watch(t, v.dir, never)
	w.await("the first version", inForce(firstDigest))
	v.publish("..2026_05_20_12_01_00.2", second)
	w.await("the second version", inForce(secondDigest))
	// Watches must have moved on from the directory that is gone.
	v.publish("..2026_05_20_12_02_00.3", first)
	w.await("the first version again", inForce(firstDigest))
	if w.Current().Digest() != firstDigest {
		t.Errorf("in force is %s, want %s", w.Current().Digest(), firstDigest)
	}
}

func TestBrokenBundleLeavesTheOldOneInForce(t *testing.T) {
	t.Parallel()
	v := volume{t, t.TempDir()}
	good, digest := version(t, "good")
	v.publish("..1", good)
	w := watch(t, v.dir, never)
	w.await("the good version", inForce(digest))

	for i, broken := range []textFiles{
		withExamples(textFiles{"test/one/rule.rego": header("test/one") + "package test.one\n\ndeny contains {\n"}),
		withExamples(textFiles{"test/one/rule.rego": header("test/one") + denyBad("test.one", `deny contains "all" if input.object.kind`)}),
		{"README.md": "everything was deleted"},
	} {
		v.publish("..broken"+string(rune('a'+i)), broken)
		s := w.await("the refusal", func(s Status) bool { return s.Err != nil && s.Digest == digest })
		if !fault.IsTerminal(s.Err) || s.Refused == "" || s.Refused == digest {
			t.Errorf("status %+v; want the broken version refused for good", s)
		}
		if report := evaluate(t, w.Current(), inputOf(t, promotion.DataPHI, configMap("bad"))); report.PolicyDigest != digest ||
			report.Verdict != policy.VerdictDeny {
			t.Errorf("judged by %s: %s; want the old bundle to deny", report.PolicyDigest, report.Verdict)
		}
		v.publish("..good"+string(rune('a'+i)), good)
		w.await("the good version again", inForce(digest))
	}
}

// A checkout is a plain tree: files change one by one, directories come and go.
func TestPlainDirectoryIsWatchedToItsLeaves(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first, firstDigest := version(t, "first")
	second, secondDigest := version(t, "second")
	writeFiles(t, dir, first)
	w := watch(t, dir, never)
	w.await("the first version", inForce(firstDigest))
	writeFiles(t, dir, textFiles{"test/one/rule.rego": second["test/one/rule.rego"]})
	w.await("the changed file", inForce(secondDigest))
	other := withExamples(textFiles{"more/deep/rule.rego": header("more/deep") + denyBad("more.deep", "")})
	writeFiles(t, dir, other)
	w.await("the new directory", func(s Status) bool { return s.Err == nil && len(w.Current().Rules()) == 2 })
	if err := os.RemoveAll(filepath.Join(dir, "more")); err != nil {
		t.Fatal(err)
	}
	w.await("the directory gone", inForce(secondDigest))
}

// git-sync and others publish by swapping a link that is the directory itself.
func TestDirectoryThatIsALink(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	first, firstDigest := version(t, "first")
	second, secondDigest := version(t, "second")
	writeFiles(t, filepath.Join(root, "a"), first)
	writeFiles(t, filepath.Join(root, "b"), second)
	link := filepath.Join(root, "policies")
	if err := os.Symlink("a", link); err != nil {
		t.Fatal(err)
	}
	w := watch(t, link, never)
	w.await("the first version", inForce(firstDigest))
	if err := os.Symlink("b", link+".tmp"); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(link+".tmp", link); err != nil {
		t.Fatal(err)
	}
	w.await("the second version", inForce(secondDigest))
	writeFiles(t, filepath.Join(root, "b"), first)
	w.await("a change behind the link", inForce(firstDigest))
}

func TestDirectoryThatAppearsLater(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "policies")
	files, digest := version(t, "late")
	w := watch(t, dir, never)
	s := w.await("the missing directory", func(s Status) bool { return s.Err != nil })
	if w.Current() != nil || s.Digest != "" || !errors.Is(s.Err, fs.ErrNotExist) || fault.IsTerminal(s.Err) {
		t.Errorf("status %+v; want no bundle, and that it may come", s)
	}
	writeFiles(t, dir, files)
	w.await("the directory", inForce(digest))
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	s = w.await("the directory gone", func(s Status) bool { return s.Err != nil && s.Digest == digest })
	if w.Current() == nil {
		t.Errorf("status %+v; want the bundle still in force", s)
	}
}

// Where no event comes, polling finds the change.
func TestPollingIsEnough(t *testing.T) {
	t.Parallel()
	parent := t.TempDir()
	root := filepath.Join(parent, "a", "b")
	first, firstDigest := version(t, "first")
	writeFiles(t, filepath.Join(root, "policies"), first)
	second, secondDigest := version(t, "second")
	writeFiles(t, filepath.Join(parent, "other", "policies"), second)
	// The watched directory's grandparent is a link: nobody watches that.
	link := filepath.Join(parent, "link")
	if err := os.Symlink(root, link); err != nil {
		t.Fatal(err)
	}
	w := watch(t, filepath.Join(link, "policies"), 50*time.Millisecond)
	w.await("the first version", inForce(firstDigest))
	if err := os.Symlink(filepath.Join(parent, "other"), link+".tmp"); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(link+".tmp", link); err != nil {
		t.Fatal(err)
	}
	w.await("the second version", inForce(secondDigest))
}

// A version is read as a whole, however often the volume is swapped meanwhile.
func TestVersionsNeverMix(t *testing.T) {
	t.Parallel()
	v := volume{t, t.TempDir()}
	a, aDigest := version(t, "a")
	b, bDigest := version(t, "b")
	v.publish("..0", a)
	stop := make(chan struct{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := 1; ; i++ {
			select {
			case <-stop:
				return
			case <-time.After(2 * time.Millisecond):
			}
			files := a
			if i%2 == 1 {
				files = b
			}
			v.publish(".."+strings.Repeat("i", i%200+1)+string(rune('a'+i/200)), files)
		}
	}()
	whole := 0
	for range 100 {
		files, err := readDir(v.dir, DefaultLimits())
		if err != nil && !strings.Contains(err.Error(), "changed 5 times while being read") {
			t.Errorf("read: %v", err)
		}
		if digest := files.digest(); err == nil && digest != aDigest && digest != bDigest {
			t.Errorf("read %s, which is neither version", digest)
		}
		if err == nil {
			whole++
		}
	}
	close(stop)
	<-done
	if whole == 0 {
		t.Error("no version could be read at all")
	}
}

func TestReloadTriesContentOnce(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	files, digest := version(t, "good")
	writeFiles(t, dir, files)
	store := NewStore(dir, Limits{})
	for i, want := range []bool{true, false} {
		if changed, err := store.Reload(t.Context()); changed != want || err != nil {
			t.Errorf("reload %d: %v, %v; want %v", i+1, changed, err, want)
		}
	}
	bundle := store.Current()
	writeFiles(t, dir, textFiles{"test/one/rule.rego": "package test.one\n"})
	for i, want := range []bool{true, false} {
		if changed, err := store.Reload(t.Context()); changed != want || err == nil {
			t.Errorf("broken, reload %d: %v, %v; want %v and why", i+1, changed, err, want)
		}
	}
	if store.Current() != bundle || store.Status().Digest != digest {
		t.Errorf("status %+v; want the bundle from before", store.Status())
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	other, otherDigest := version(t, "other")
	writeFiles(t, dir, other)
	if changed, err := store.Reload(ctx); changed || !errors.Is(err, context.Canceled) || store.Status().Refused == otherDigest {
		t.Errorf("cancelled: %v, %v, %+v; want nothing held against the content", changed, err, store.Status())
	}
	if changed, err := store.Reload(t.Context()); !changed || err != nil || store.Status().Digest != otherDigest {
		t.Errorf("again: %v, %v, %+v", changed, err, store.Status())
	}
}

// Policies that come with the source are offered, by the same rules.
func TestOffer(t *testing.T) {
	t.Parallel()
	good, digest := version(t, "good")
	store := NewStore(t.TempDir(), Limits{})
	if changed, err := store.Offer(t.Context(), mapFS(good), "source"); !changed || err != nil {
		t.Errorf("offered: %v, %v; want it taken", changed, err)
	}
	changed, err := store.Offer(t.Context(), mapFS(textFiles{"README.md": "gone"}), "source")
	if !changed || err == nil || !strings.HasPrefix(err.Error(), "source: compile policies: no rules") || store.Current().Digest() != digest {
		t.Errorf("offered nothing: %v, %v; want the bundle from before in force", changed, err)
	}
}

func TestLinksOutOfTheDirectory(t *testing.T) {
	t.Parallel()
	outside := t.TempDir()
	files, _ := version(t, "x")
	writeFiles(t, outside, files)
	for name, link := range map[string]func(dir string) error{
		"escapes": func(dir string) error {
			return os.Symlink(filepath.Join(outside, "test/one/rule.rego"), filepath.Join(dir, "rule.rego"))
		},
		"want a regular file": func(dir string) error {
			return errors.Join(os.Mkdir(filepath.Join(dir, "real"), 0o755), os.Symlink("real", filepath.Join(dir, "linked")))
		},
		"want a directory beside it": func(dir string) error { return os.Symlink(outside, filepath.Join(dir, "..data")) },
	} {
		dir := t.TempDir()
		writeFiles(t, dir, files)
		if err := link(dir); err != nil {
			t.Fatal(err)
		}
		if _, err := LoadDir(t.Context(), dir, Limits{}); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: error %v", name, err)
		}
	}
}
