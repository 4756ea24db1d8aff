package render

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/fstest"
	"time"

	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"

	"chaperone.dev/chaperone/internal/source"
)

// files are a repository: name to content. A content that begins with
// "link:" is a symbolic link.
type files map[string]string

func (f files) with(name, content string) files {
	copied := maps.Clone(f)
	copied[name] = content
	return copied
}

func (f files) without(name string) files {
	copied := maps.Clone(f)
	delete(copied, name)
	return copied
}

func (f files) names() []string { return slices.Sorted(maps.Keys(f)) }

func linkTarget(content string) (string, bool) {
	if len(content) > 5 && content[:5] == "link:" {
		return content[5:], true
	}
	return "", false
}

// snapshot is a source.Snapshot in memory.
type snapshot struct {
	fstest.MapFS
	revision source.Revision
}

var _ source.Snapshot = snapshot{}

func (f files) snapshot() snapshot {
	tree, sum := fstest.MapFS{}, sha256.New()
	for _, name := range f.names() {
		fmt.Fprintf(sum, "%q %q\n", name, f[name])
		tree[name] = &fstest.MapFile{Data: []byte(f[name]), Mode: 0o644}
		if target, isLink := linkTarget(f[name]); isLink {
			tree[name] = &fstest.MapFile{Data: []byte(target), Mode: fs.ModeSymlink | 0o777}
		}
	}
	return snapshot{MapFS: tree, revision: source.FromHash([20]byte(sum.Sum(nil)[:20]))}
}

func (s snapshot) Revision() source.Revision { return s.revision }

// Hash looks at the name itself, as Git does: nothing stands behind a link.
func (s snapshot) Hash(name string) (string, error) {
	if file, found := s.MapFS[name]; found {
		return fmt.Sprintf("%v %x", file.Mode, sha256.Sum256(file.Data)), nil
	}
	for other := range s.MapFS {
		if name == "." || within(other, name) {
			return source.Dir, nil
		}
	}
	return "", nil
}

// onDisk writes the repository where kustomize itself can read it.
func (f files) onDisk(t testing.TB) string {
	t.Helper()
	root, err := os.MkdirTemp("", "render")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(root) })
	if root, err = filepath.EvalSymlinks(root); err != nil {
		t.Fatal(err)
	}
	for name, content := range f {
		name = filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if target, isLink := linkTarget(content); isLink {
			err = os.Symlink(target, name)
		} else {
			err = os.WriteFile(name, []byte(content), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// commandOptions are those of `kustomize build` without flags.
func commandOptions() *krusty.Options {
	options := krusty.MakeDefaultOptions()
	options.Reorder = krusty.ReorderOptionUnspecified
	return options
}

// kustomizeBuild is the oracle: the library as the command calls it, on disk.
// It is for directories that bring no schema of their own.
func kustomizeBuild(dir string) ([]byte, error) {
	var out []byte
	err := guard.share(context.Background(), func() (err error) {
		out, err = runCommand(dir)
		return err
	})
	return out, err
}

// kustomizeProcess is the oracle alone and from a fresh schema, as the command
// is in a process of its own.
func kustomizeProcess(dir string) ([]byte, error) {
	var out []byte
	err := guard.alone(context.Background(), nil, func() (err error) {
		out, err = runCommand(dir)
		return err
	})
	return out, err
}

func runCommand(dir string) (out []byte, err error) {
	defer func() {
		if panicked := recover(); panicked != nil {
			err = fmt.Errorf("panic: %v", panicked)
		}
	}()
	built, err := krusty.MakeKustomizer(commandOptions()).Run(filesys.MakeFsOnDisk(), dir)
	if err != nil {
		return nil, err
	}
	return built.AsYaml()
}

func render(t testing.TB, f files, dir string) (Result, error) {
	t.Helper()
	return New(patient).Render(t.Context(), f.snapshot(), dir)
}

func mustRender(t testing.TB, r *Renderer, f files, dir string) Result {
	t.Helper()
	result, err := r.Render(t.Context(), f.snapshot(), dir)
	if err != nil {
		t.Fatalf("render %s: %v", dir, err)
	}
	return result
}

// printed is what `kustomize build` would print.
func printed(t interface {
	Helper()
	Fatal(...any)
}, r Result) string {
	t.Helper()
	text, err := r.YAML()
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// patient is for tests that are not about time, on a machine with other work.
var patient = Limits{Time: 10 * time.Minute}

const deployment = `apiVersion: apps/v1
kind: Deployment
metadata:
  name: api
  labels: {app: api}
spec:
  replicas: 2
  selector:
    matchLabels: {app: api}
  template:
    metadata:
      labels: {app: api}
    spec:
      containers:
      - name: api
        image: registry.example/api:1.0
        args: ["--name=${NAME}", "$(HOST)"]
        env:
        - name: LEVEL
          value: info
        envFrom:
        - configMapRef: {name: settings}
        - secretRef: {name: token}
`

const service = `apiVersion: v1
kind: Service
metadata:
  name: api
spec:
  selector: {app: api}
  ports:
  - port: 80
    targetPort: 8080
`

// sample is a base and an overlay with the usual means.
func sample() files {
	return files{
		"README.md":                 "nothing that is rendered\n",
		"base/kustomization.yaml":   "resources: [deployment.yaml, service.yaml]\nconfigMapGenerator:\n- name: settings\n  envs: [settings.env]\n",
		"base/deployment.yaml":      deployment,
		"base/service.yaml":         service,
		"base/settings.env":         "LEVEL=info\nMODE=fast\n",
		"overlays/prod/patch.yaml":  "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: api}\nspec: {replicas: 5}\n",
		"overlays/prod/unused.yaml": "not: [yaml\n",
		"overlays/prod/kustomization.yaml": "namespace: prod\nnamePrefix: p-\nresources:\n- ../../base\npatches:\n- path: patch.yaml\n" +
			"labels:\n- pairs: {tier: backend}\n",
	}
}
