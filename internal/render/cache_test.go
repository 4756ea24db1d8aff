package render

import (
	"fmt"
	"maps"
	"strings"
	"testing"
	"unsafe"

	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/source"
)

func TestRenderedAgainOnlyWhenTheClosureChanged(t *testing.T) {
	t.Parallel()
	repo, r := sample(), New(patient)
	first := mustRender(t, r, repo, "overlays/prod")
	steps := []struct {
		name   string
		change files
		builds uint64
	}{
		{"same tree", repo, 1},
		{"unrelated file", repo.with("README.md", "changed"), 1},
		{"unused file beside", repo.with("overlays/prod/unused.yaml", "changed: true"), 1},
		{"new file", repo.with("base/extra.yaml", service), 1},
		{"file gone that nobody read", repo.without("README.md"), 1},
		{"resource", repo.with("base/service.yaml", service+"# changed\n"), 2},
		{"resource back", repo, 2},
		{"generator input", repo.with("base/settings.env", "LEVEL=debug\n"), 3},
		{"patch", repo.with("overlays/prod/patch.yaml", repo["overlays/prod/patch.yaml"]+"# changed\n"), 4},
		{"file where kustomize looked in vain", repo.with("base/kustomization.yml", "resources: []\n"), 5},
	}
	for _, step := range steps {
		result, err := r.Render(t.Context(), step.change.snapshot(), "overlays/prod")
		if (err != nil) != (step.name == "file where kustomize looked in vain") {
			t.Fatalf("%s: %v", step.name, err)
		}
		if got := r.Stats().Builds; got != step.builds {
			t.Errorf("%s: %d builds, want %d", step.name, got, step.builds)
		}
		if step.builds == 1 && result.Digest != first.Digest {
			t.Errorf("%s: digest changed", step.name)
		}
	}
	if got, want := r.Stats().Hits, uint64(6); got != want {
		t.Errorf("%d hits, want %d", got, want)
	}
}

func TestDirectoriesAreCachedApart(t *testing.T) {
	t.Parallel()
	repo, r := sample(), New(patient)
	prod, base := mustRender(t, r, repo, "overlays/prod"), mustRender(t, r, repo, "base")
	if prod.Digest == base.Digest {
		t.Fatal("one directory got the other's result")
	}
	mustRender(t, r, repo, "./base/")
	if got := r.Stats(); got != (Stats{Builds: 2, Hits: 1}) {
		t.Errorf("stats %+v", got)
	}
}

func TestCacheIsBounded(t *testing.T) {
	t.Parallel()
	c := cache{budget: 100}
	result := func(dir string, i, size int) entry {
		return entry{dir: dir, digest: manifest.Digest(fmt.Sprint(i)), packed: &packed{deflated: make([]byte, size)}}
	}
	for i := range 20 {
		c.add(result("a", i, 1))
	}
	c.add(result("b", 100, 1))
	if got := c.of("a"); len(got) != cachedPerDir || got[0].digest != "19" {
		t.Errorf("%d results of a, newest %s; want %d, newest 19", len(got), got[0].digest, cachedPerDir)
	}
	c.add(result("c", 101, 97))
	if got := len(c.entries); got != 4 {
		t.Errorf("%d entries within the budget, want 4", got)
	}
	c.add(result("d", 102, 1000))
	if len(c.entries) != 1 || len(c.of("d")) != 1 {
		t.Errorf("%d entries; want the newest alone, even over the budget", len(c.entries))
	}
}

// What comes out of the cache is what went in, whether it is still decoded or
// not, and a digest is answered without either.
func TestCachedResultIsTheBuiltOne(t *testing.T) {
	t.Parallel()
	repo, r := sample(), New(patient)
	built := mustRender(t, r, repo, "overlays/prod")
	digest, err := r.Digest(t.Context(), repo.snapshot(), "overlays/prod")
	if err != nil || digest != built.Digest {
		t.Fatalf("digest %s, %v; want %s", digest, err, built.Digest)
	}
	for _, state := range []string{"decoded", "packed"} {
		got := mustRender(t, r, repo, "overlays/prod")
		if got.Digest != built.Digest || printed(t, got) != printed(t, built) {
			t.Errorf("%s: not what was built", state)
		}
		if again, err := got.Set.Digest(); err != nil || again != built.Digest {
			t.Errorf("%s: objects of digest %s, %v; want %s", state, again, err, built.Digest)
		}
		if shared := &got.Set.Objects()[0].Object == &built.Set.Objects()[0].Object; shared != (state == "decoded") {
			t.Errorf("%s: objects shared: %v", state, shared)
		}
		checkSet(t, got)
		r.fresh.forget(r.cache.entries[0].packed)
	}
	if got := r.Stats(); got != (Stats{Builds: 1, Hits: 3}) {
		t.Errorf("stats %+v", got)
	}
}

// Results of one directory share the names and hashes of their files.
func TestClosuresShareTheirStrings(t *testing.T) {
	t.Parallel()
	earlier := source.Closure{"same": "1", "gone": "1", "changed": "1"}
	closure := source.Closure{"same": strings.Clone("1"), "changed": "2", "new": ""}
	share(closure, earlier)
	if want := (source.Closure{"same": "1", "changed": "2", "new": ""}); !maps.Equal(closure, want) {
		t.Errorf("closure %v, want %v", closure, want)
	}
	if unsafe.StringData(closure["same"]) != unsafe.StringData(earlier["same"]) {
		t.Error("the hash is a copy")
	}
}

func TestClosureNamesEverythingThatWasLookedAt(t *testing.T) {
	t.Parallel()
	repo := sample()
	got := mustRender(t, New(patient), repo, "overlays/prod").Closure
	snap := repo.snapshot()
	for _, name := range []string{
		"base/kustomization.yaml", "base/deployment.yaml", "base/service.yaml", "base/settings.env",
		"overlays/prod/kustomization.yaml", "overlays/prod/patch.yaml",
	} {
		if want, _ := snap.Hash(name); want == "" || got[name] != want {
			t.Errorf("%s: %q, want %q", name, got[name], want)
		}
	}
	for name, want := range map[string]string{
		"base": source.Dir, "overlays": source.Dir, "overlays/prod": source.Dir,
		"base/kustomization.yml": "", "base/Kustomization": "",
	} {
		if hash, found := got[name]; !found || hash != want {
			t.Errorf("%s: %q, %v; want %q", name, hash, found, want)
		}
	}
	for name := range got {
		if strings.Contains(name, "unused") || strings.Contains(name, "README") || strings.ContainsAny(name, "\n{") {
			t.Errorf("%q is in the closure though it was not looked at", name)
		}
	}
}
