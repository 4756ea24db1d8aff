package render

import (
	"fmt"
	"io/fs"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	"chaperone.dev/chaperone/internal/manifest"
)

// Pitfall 3 (CVE-2022-24877): links and paths that leave the tree.
func TestPitfall03_PathsThatLeaveTheTree(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		change files
		want   string
	}{
		{"absolute link", files{"base/service.yaml": "link:/etc/passwd"}, `base/service.yaml: read: symbolic link to "/etc/passwd" leaves the tree`},
		{"link up and out", files{"base/service.yaml": "link:../../outside.yaml"}, "base/service.yaml: read: symbolic link"},
		{"link to a link", files{"base/service.yaml": "link:l", "base/l": "link:../../../x"}, "base/l: read: symbolic link"},
		{"directory link", files{"base/kustomization.yaml": "resources: [l]\n", "base/l": "link:../.."}, "base/l: read: symbolic link"},
		{"out behind a link", files{"base/service.yaml": "link:d/../../x", "base/d": "link:.."}, "leave the tree"},
		{"link as kustomization", files{"base/kustomization.yml": "link:/proc/self/environ"}, "base/kustomization.yml: read: symbolic link"},
		{"link of a generator", files{"base/settings.env": "link:/proc/self/environ"}, "base/settings.env: read: symbolic link"},
		{"circle", files{"base/service.yaml": "link:a", "base/a": "link:b", "base/b": "link:a"}, "symbolic links lead in a circle"},
		{"link to itself", files{"base/service.yaml": "link:service.yaml"}, "symbolic links lead in a circle"},
		{"relative path", files{"base/kustomization.yaml": "resources:\n- ../../outside\n"}, `base/kustomization.yaml:2: render: resources: "../../outside": leaves the tree`},
		{"out and back in", files{"base/kustomization.yaml": "resources:\n- ../../snapshot/base\n"}, "leaves the tree"},
		{"absolute path", files{"base/kustomization.yaml": "resources:\n- /etc\n"}, `resources: "/etc": leaves the tree`},
		{"absolute file", files{"base/kustomization.yaml": "configMapGenerator:\n- name: x\n  files: [/etc/passwd]\n"}, "/etc/passwd: read: path leaves the tree"},
		{"relative file", files{"base/kustomization.yaml": "configMapGenerator:\n- name: x\n  files: [../../../../etc/passwd]\n"}, "/etc/passwd: read: path leaves the tree"},
		{"patch", files{"base/kustomization.yaml": "patches:\n- path: ../../../etc/passwd\n"}, "/etc/passwd: read: path leaves the tree"},
		{"file beside the base", files{"base/kustomization.yaml": "configMapGenerator:\n- name: x\n  files: [../README.md]\n"}, "is not in or below"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			repo := sample()
			for name, content := range test.change {
				repo = repo.with(name, content)
			}
			_, err := render(t, repo, "overlays/prod")
			wantTerminal(t, test.name, err, test.want)
		})
	}
}

// Pitfall 7: what a submodule holds is not in this repository.
func TestPitfall07_Submodule(t *testing.T) {
	t.Parallel()
	snap := sample().with("base/kustomization.yaml", "resources: [module/base]\n").snapshot()
	snap.MapFS["base/module"] = &fstest.MapFile{Mode: fs.ModeIrregular}
	_, err := New(patient).Render(t.Context(), snap, "overlays/prod")
	wantTerminal(t, "submodule", err, "base/module: read: is neither file nor directory, perhaps a submodule")
}

// Pitfall 3: links inside the tree are followed as on disk, and both ends are
// in the closure.
func TestPitfall03_LinksInsideTheTree(t *testing.T) {
	t.Parallel()
	repo := sample().
		with("base/service.yaml", "link:other/../service-2.yaml").with("base/other/x", "").with("base/service-2.yaml", service).
		with("shared", "link:base").
		with("overlays/prod/kustomization.yaml", "resources: [../../shared]\n").
		with("overlays/alias", "link:prod")
	want, err := kustomizeBuild(repo.onDisk(t) + "/overlays/alias")
	if err != nil {
		t.Fatal(err)
	}
	r := New(patient)
	got := mustRender(t, r, repo, "overlays/alias")
	if printed(t, got) != string(want) {
		t.Errorf("got:\n%s\nwant:\n%s", printed(t, got), want)
	}
	for _, name := range []string{"base/service.yaml", "base/service-2.yaml", "shared", "overlays/alias", "overlays/prod/kustomization.yaml"} {
		if got.Closure[name] == "" {
			t.Errorf("%s is not in the closure", name)
		}
	}
	mustRender(t, r, repo.with("base/service-2.yaml", service+"# changed\n"), "overlays/alias")
	mustRender(t, r, repo.with("shared", "link:./base"), "overlays/alias")
	if builds := r.Stats().Builds; builds != 3 {
		t.Errorf("%d builds; want one more for a link's target changed, and one for the link", builds)
	}
}

// Pitfall 3: what never ends, fills the memory or takes the process down.
// Kustomize itself overflows the stack on "itself", "crds" and the like.
func TestPitfall03_Bombs(t *testing.T) {
	t.Parallel()
	laughs := "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: bomb}\nl0: &l0 [x]\n"
	for i := range 9 {
		laughs += fmt.Sprintf("l%d: &l%d [%s]\n", i+1, i+1, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*l%d, ", i), 10), ", "))
	}
	itself := "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: bomb}\ndata: &a\n  x: *a\n"
	inline := "|\n    " + strings.ReplaceAll(strings.TrimSpace(itself), "\n", "\n    ") + "\n"
	for _, test := range []struct {
		name   string
		change files
		want   string
	}{
		{"itself", files{"base/service.yaml": itself}, "base/service.yaml:4: render: anchor contains an alias of itself"},
		{"laughs", files{"base/service.yaml": laughs}, "aliases stand for more than"},
		{"inline patch", files{"base/kustomization.yaml": "patches:\n- patch: " + inline}, "anchor contains an alias of itself"},
		{"patch file", files{"overlays/prod/patch.yaml": itself}, "overlays/prod/patch.yaml:4: render: anchor"},
		{"legacy patch", files{"base/kustomization.yaml": "patchesStrategicMerge:\n- service.yaml\n", "base/service.yaml": itself}, "base/service.yaml:4: render: anchor"},
		{"legacy inline patch", files{"base/kustomization.yaml": "patchesStrategicMerge:\n- " + inline}, "anchor contains"},
		{"inline transformer", files{"base/kustomization.yaml": "transformers:\n- " + inline}, "anchor contains"},
		{"transformer file", files{"base/kustomization.yaml": "transformers: [service.yaml]\n", "base/service.yaml": itself}, "base/service.yaml:4: render: anchor"},
		{"patch in a transformer", files{"base/kustomization.yaml": "transformers: [t.yaml]\n",
			"base/t.yaml": "apiVersion: builtin\nkind: PatchTransformer\nmetadata: {name: t}\npatch: " + inline}, "base/t.yaml: render: PatchTransformer: anchor contains"},
		{"patch file of a transformer", files{"base/kustomization.yaml": "transformers: [t/t.yaml]\n", "base/bomb.yaml": itself,
			"base/t/t.yaml": "apiVersion: builtin\nkind: PatchTransformer\nmetadata: {name: t}\nPath: bomb.yaml\n"}, "PatchTransformer: base/bomb.yaml:4: render: anchor contains"},
		{"crds", files{"base/kustomization.yaml": "crds: [crd.json]\n", "base/crd.json": `{"x.Foo":{"Schema":{"properties":{"kind":{},"apiVersion":{},"metadata":{},"x":{"$ref":"x.Foo"}}}}}`},
			`base/crd.json: render: crds: type "x.Foo" contains itself`},
		{"openapi", files{"base/kustomization.yaml": "resources: [service.yaml]\nopenapi: {path: schema.json}\n",
			"base/schema.json": `{"definitions":{"a":{"$ref":"#/definitions/b"},"b":{"$ref":"#/definitions/a"}}}`}, "$ref leads in a circle"},
		{"openapi panics", files{"base/kustomization.yaml": "resources: [service.yaml]\nopenapi: {path: schema.json}\npatches:\n- patch: '{kind: Service, metadata: {name: api}, spec: {ports: [{port: 1}]}}'\n",
			"base/schema.json": `{"definitions": 3}`}, "kustomize: invalid schema file"},
		{"doubling bases", doublingBases(20), "loads more than 20000 kustomizations"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			repo := sample()
			for name, content := range test.change {
				repo = repo.with(name, content)
			}
			_, err := render(t, repo, "overlays/prod")
			wantTerminal(t, test.name, err, test.want)
		})
	}
}

// doublingBases has base load d0 twice, which loads d1 twice, and so on.
func doublingBases(depth int) files {
	f := files{"base/kustomization.yaml": "resources: [../d0/l, ../d0/r]\n"}
	for i := range depth {
		at, next := "d"+string(rune('a'+i)), "d"+string(rune('a'+i+1))
		if i == 0 {
			at = "d0"
		}
		for _, side := range []string{"l", "r"} {
			f[at+"/"+side+"/kustomization.yaml"] = "namePrefix: " + side + "\nresources: [../../" + next + "/l, ../../" + next + "/r]\n"
			f[next+"/"+side+"/kustomization.yaml"] = "resources: [s.yaml]\n"
			f[next+"/"+side+"/s.yaml"] = service
		}
	}
	return f
}

// Pitfall 4 (Flux 1.9): a variable that is missing is rendered as "". There is
// no substitution from the outside at all, and what looks like one stays.
func TestPitfall04_NothingIsSubstituted(t *testing.T) {
	t.Parallel()
	got := printed(t, mustRender(t, New(patient), sample(), "overlays/prod"))
	for _, literal := range []string{"--name=${NAME}", "$(HOST)"} {
		if !strings.Contains(got, literal) {
			t.Errorf("%s did not stay as it is:\n%s", literal, got)
		}
	}
	missing := "resources: [../../base]\nreplacements:\n- source: {kind: ConfigMap, name: gone, fieldPath: data.X}\n" +
		"  targets: [{select: {kind: Deployment}, fieldPaths: [spec.template.spec.containers.0.image]}]\n"
	_, err := render(t, sample().with("overlays/prod/kustomization.yaml", missing), "overlays/prod")
	wantTerminal(t, "replacement without a source", err, "gone")
	unset := "resources: [../../base]\nvars:\n- name: HOST\n  objref: {apiVersion: v1, kind: Service, name: gone}\n"
	_, err = render(t, sample().with("overlays/prod/kustomization.yaml", unset), "overlays/prod")
	wantTerminal(t, "variable without a source", err, "HOST")
}

// Pitfall 5 (flux2#3949): the namespace transformer renames a Namespace
// object. So kustomize has it, and so it comes out; that the daemon's own
// namespace is never pruned is decided where pruning is.
func TestPitfall05_NamespaceTransformerRenamesNamespaces(t *testing.T) {
	t.Parallel()
	got := mustRender(t, New(patient), files{
		"o/kustomization.yaml": "namespace: other\nresources: [ns.yaml]\n",
		"o/ns.yaml":            "apiVersion: v1\nkind: Namespace\nmetadata: {name: chaperone-system}\n",
	}, "o")
	if _, renamed := got.Set.Get(manifest.ID{Kind: "Namespace", Name: "other"}); !renamed || got.Set.Len() != 1 {
		t.Errorf("want only Namespace/other:\n%s", printed(t, got))
	}
}

// customSchema gives a list of an unknown kind a merge key.
const customSchema = `{"definitions":{"v1.Menu":{"properties":{"dishes":{"type":"array","items":{"type":"object"},
"x-kubernetes-patch-merge-key":"name","x-kubernetes-patch-strategy":"merge"}},
"x-kubernetes-group-version-kind":[{"group":"example.com","kind":"Menu","version":"v1"}]}}}`

// menus has two overlays that differ in nothing but the schema: with it, the
// patch adds to a list; without, it replaces the list.
func menus() files {
	overlay := "resources: [menu.yaml]\npatches:\n- patch: |\n    apiVersion: example.com/v1\n    kind: Menu\n    metadata: {name: m}\n    dishes: [{name: b}]\n"
	menu := "apiVersion: example.com/v1\nkind: Menu\nmetadata: {name: m}\ndishes: [{name: a}]\n"
	return files{
		"own/kustomization.yaml": overlay + "openapi: {path: schema.json}\n", "own/menu.yaml": menu, "own/schema.json": customSchema,
		"plain/kustomization.yaml": overlay, "plain/menu.yaml": menu,
		"nested/kustomization.yaml":  "resources: [../own]\n",
		"version/kustomization.yaml": overlay + "openapi: {version: v1.21.2}\n", "version/menu.yaml": menu,
		"broken/kustomization.yaml": overlay + "openapi: {path: schema.json}\n", "broken/menu.yaml": menu, "broken/schema.json": `{"definitions": 3}`,
	}
}

// Pitfall 6: kustomize keeps its OpenAPI schema in variables of the process,
// and leaves a custom one there for the builds that follow.
func TestPitfall06_SchemasDoNotLeakOrRace(t *testing.T) {
	t.Parallel()
	repo := sample()
	for name, content := range menus() {
		repo[name] = content
	}
	root := repo.onDisk(t)
	dirs := []string{"plain", "own", "overlays/prod", "plain", "nested", "version", "broken"}
	want := map[string]string{}
	for _, dir := range dirs {
		out, err := kustomizeProcess(root + "/" + dir)
		if (err != nil) != (dir == "broken") {
			t.Logf("%s: %v", dir, err)
		}
		want[dir] = string(out)
	}
	if want["own"] == want["plain"] || want["nested"] != want["own"] {
		t.Fatal("the schemas make no difference, so this test shows nothing")
	}
	snap := repo.snapshot()
	var all sync.WaitGroup
	for range 4 {
		for _, dir := range dirs {
			all.Go(func() {
				got, err := New(patient).Render(t.Context(), snap, dir)
				if err != nil && dir != "broken" {
					t.Errorf("%s: %v", dir, err)
				}
				if printed(t, got) != want[dir] {
					t.Errorf("%s: another schema was used:\n%s", dir, printed(t, got))
				}
			})
		}
	}
	all.Wait()
}
