package render

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
)

// watch counts connections to a local port, and processes that are started by
// the names that kustomize uses.
type watch struct {
	address   string
	hits      atomic.Int64
	processes string
}

func newWatch(t *testing.T) *watch {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	w := &watch{address: listener.Addr().String(), processes: filepath.Join(t.TempDir(), "processes")}
	go func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			w.hits.Add(1)
			_, _ = connection.Write([]byte("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"))
			_ = connection.Close()
		}
	}()
	bin := t.TempDir()
	for _, name := range []string{"git", "helm", "helmV3", "docker", "ssh"} {
		script := "#!/bin/sh\necho " + name + " \"$@\" >>" + w.processes + "\nexit 1\n"
		if err := os.WriteFile(filepath.Join(bin, name), []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", bin)
	t.Setenv("HTTP_PROXY", "")
	t.Setenv("HTTPS_PROXY", "")
	return w
}

// seen tells what was reached since it was last asked.
func (w *watch) seen() bool {
	_, err := os.Stat(w.processes)
	_ = os.Remove(w.processes)
	return w.hits.Swap(0) > 0 || err == nil
}

// Pitfall 3 (CVE-2022-24878): no address form of any field is fetched. That
// the watch works is shown by kustomize itself, wherever it can be let loose
// without leaving this machine.
func TestPitfall03_NothingIsFetched(t *testing.T) { // not parallel: it sets PATH
	w := newWatch(t)
	type attempt struct {
		name, address string
		kustomizeToo  bool
	}
	bases := []attempt{
		{"http file", "http://ADDRESS/deploy.yaml", true},
		{"http file in capitals", "HTTP://ADDRESS/deploy.yaml", true},
		{"http repository", "http://ADDRESS/org/repo.git//path?ref=v1", true},
		{"https repository", "https://ADDRESS/org/repo//path?ref=v1&timeout=5", true},
		{"https on GitHub", "https://github.com/org/repo//path?ref=v1", false},
		{"no scheme on GitHub", "github.com/org/repo//path?ref=v1", true},
		{"no scheme, capitals", "GitHub.com/org/repo?ref=v1", true},
		{"scp on GitHub", "github.com:org/repo", true},
		{"scp", "git@host.example:org/repo.git//path", true},
		{"scp of another user", "me@host.example:org/repo", true},
		{"user and slash", "git@host.example/org/repo", true},
		{"ssh", "ssh://git@host.example/org/repo.git?ref=v1", true},
		{"ssh with a port", "ssh://git@host.example:2222/org/repo", true},
		{"git::", "git::https://ADDRESS/org/repo", true},
		{"git:: scp", "git::git@host.example:org/repo", true},
		{"file", "file:///etc/repo", true},
		{"file with path", "file:///etc/repo.git//path?ref=v1", true},
		{"git scheme", "git://host.example/org/repo", false},
		{"host without scheme", "host.example/org/repo?ref=v1", false},
		{"Azure", "https://dev.azure.com/org/project/_git/repo/path", false},
		{"metadata address", "http://169.254.169.254/latest/meta-data/", false},
		{"oci", "oci://host.example/org/repo", false},
		{"s3", "s3::https://s3.amazonaws.com/bucket/x", false},
	}
	for _, field := range []string{"resources", "bases", "components", "generators", "transformers", "validators"} {
		for _, a := range bases {
			address := strings.ReplaceAll(a.address, "ADDRESS", w.address)
			t.Run(field+"/"+a.name, func(t *testing.T) {
				repo := sample().with("base/kustomization.yaml", field+":\n- "+address+"\n")
				w.check(t, repo, a.kustomizeToo && field == "resources")
			})
		}
	}
	// A directory of that name in the tree is no protection: kustomize tests for an address first.
	t.Run("shadowed", func(t *testing.T) {
		repo := sample().with("base/kustomization.yaml", "resources:\n- github.com/org/repo\n").
			with("base/github.com/org/repo/kustomization.yaml", "resources: [s.yaml]\n").
			with("base/github.com/org/repo/s.yaml", service)
		w.check(t, repo, true)
	})
	for name, text := range remoteFiles {
		t.Run(name, func(t *testing.T) {
			repo := sample().with("base/t/kustomization.yaml", "resources: [t.yaml]\n").with("base/t/t.yaml", "apiVersion: v1\nkind: X\nmetadata: {name: x}\n")
			for file, content := range text {
				repo = repo.with(file, strings.ReplaceAll(content, "ADDRESS", w.address))
			}
			w.check(t, repo, true)
		})
	}
}

func (w *watch) check(t *testing.T, repo files, kustomizeToo bool) {
	t.Helper()
	if kustomizeToo {
		if _, err := kustomizeBuild(repo.onDisk(t) + "/base"); err == nil {
			t.Error("kustomize built it")
		}
		if !w.seen() {
			t.Error("kustomize reached nothing, so this test shows nothing")
		}
	}
	_, err := render(t, repo, "overlays/prod")
	if w.seen() {
		t.Error("something was reached")
	}
	if err == nil {
		t.Fatal("no error")
	}
	if message := err.Error(); !strings.Contains(message, "refused") && !strings.Contains(message, "no such file") &&
		!strings.Contains(message, "leaves the tree") && !strings.Contains(message, "want nothing but a list") {
		t.Errorf("error %q does not say what is wrong", message)
	}
	wantTerminal(t, "remote", err, "base/")
}

const plugin = "apiVersion: builtin\nkind: "

// remoteFiles are the places where kustomize reads a file that may be an address.
var remoteFiles = map[string]files{
	"patch":                   {"base/kustomization.yaml": "resources: [service.yaml]\npatches:\n- path: http://ADDRESS/p.yaml\n"},
	"legacy patch":            {"base/kustomization.yaml": "resources: [service.yaml]\npatchesStrategicMerge:\n- http://ADDRESS/p.yaml\n"},
	"legacy JSON patch":       {"base/kustomization.yaml": "resources: [service.yaml]\npatchesJson6902:\n- target: {version: v1, kind: Service, name: api}\n  path: http://ADDRESS/p.yaml\n"},
	"config map file":         {"base/kustomization.yaml": "configMapGenerator:\n- name: x\n  files: [http://ADDRESS/f]\n"},
	"config map keyed file":   {"base/kustomization.yaml": "configMapGenerator:\n- name: x\n  files: ['k=http://ADDRESS/f']\n"},
	"config map env":          {"base/kustomization.yaml": "configMapGenerator:\n- name: x\n  env: http://ADDRESS/f\n"},
	"secret envs":             {"base/kustomization.yaml": "secretGenerator:\n- name: x\n  envs: [http://ADDRESS/f]\n"},
	"crds":                    {"base/kustomization.yaml": "resources: [service.yaml]\ncrds: [http://ADDRESS/f]\n"},
	"configurations":          {"base/kustomization.yaml": "resources: [service.yaml]\nconfigurations: [http://ADDRESS/f]\n"},
	"openapi":                 {"base/kustomization.yaml": "resources: [service.yaml]\nopenapi: {path: http://ADDRESS/f}\n"},
	"replacements":            {"base/kustomization.yaml": "resources: [service.yaml]\nreplacements:\n- path: http://ADDRESS/f\n"},
	"field in other case":     {"base/kustomization.yaml": "RESOURCES: [service.yaml]\nPatches:\n- Path: http://ADDRESS/p.yaml\n"},
	"behind an anchor":        {"base/kustomization.yaml": "commonAnnotations: {x: &a http://ADDRESS/p.yaml}\nresources: [*a]\n"},
	"inline transformer":      {"base/kustomization.yaml": "resources: [service.yaml]\ntransformers:\n- |-\n  apiVersion: builtin\n  kind: PatchTransformer\n  metadata: {name: x}\n  path: http://ADDRESS/f\n"},
	"transformer file":        {"base/kustomization.yaml": "transformers: [t/t.yaml]\n", "base/t/t.yaml": plugin + "PatchTransformer\nmetadata: {name: x}\npath: http://ADDRESS/f\n"},
	"transformer, other case": {"base/kustomization.yaml": "transformers: [t/t.yaml]\n", "base/t/t.yaml": plugin + "PatchTransformer\nmetadata: {name: x}\nPATH: http://ADDRESS/f\n"},
	"transformer in a list":   {"base/kustomization.yaml": "transformers: [t/t.yaml]\n", "base/t/t.yaml": "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: builtin, kind: PatchTransformer, metadata: {name: x}, path: 'http://ADDRESS/f'}\n"},
	"transformer directory":   {"base/kustomization.yaml": "transformers: [t]\n", "base/t/t.yaml": plugin + "PatchStrategicMergeTransformer\nmetadata: {name: x}\npaths: [http://ADDRESS/f]\n"},
	"transformer, nested":     {"base/kustomization.yaml": "transformers: [u]\n", "base/u/kustomization.yaml": "resources: [../t]\n", "base/t/t.yaml": plugin + "PatchJson6902Transformer\nmetadata: {name: x}\ntarget: {kind: X, name: x}\npath: http://ADDRESS/f\n"},
	"validator":               {"base/kustomization.yaml": "validators: [t]\n", "base/t/t.yaml": plugin + "ValueAddTransformer\nmetadata: {name: x}\nvalue: v\ntargetFilePath: http://ADDRESS/f\n"},
	"replacement transformer": {"base/kustomization.yaml": "transformers: [t]\n", "base/t/t.yaml": plugin + "ReplacementTransformer\nmetadata: {name: x}\nreplacements: [{path: 'http://ADDRESS/f'}]\n"},
	"generator":               {"base/kustomization.yaml": "generators: [t]\n", "base/t/t.yaml": plugin + "SecretGenerator\nmetadata: {name: x}\nname: x\nfiles: ['k=http://ADDRESS/f']\n"},
	"put together by a patch": {"base/kustomization.yaml": "transformers: [t]\n",
		"base/t/t.yaml":             plugin + "PatchTransformer\nmetadata: {name: x}\npath: 'h:'\n",
		"base/t/kustomization.yaml": "resources: [t.yaml]\nnamePrefix: x\npatches:\n- target: {kind: PatchTransformer}\n  patch: '[{\"op\":\"replace\",\"path\":\"/path\",\"value\":\"http://ADDRESS/f\"}]'\n"},
}

func TestPluginsAreRefused(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ name, kustomization, want string }{
		{"helm", "helmCharts:\n- name: x\n  repo: https://charts.example\n", "helm charts are refused"},
		{"helm globals", "helmGlobals: {chartHome: x}\nresources: [service.yaml]\n", "helm charts are refused"},
		{"helm, old", "helmChartInflationGenerator:\n- chartName: x\n", "helm charts are refused"},
		{"helm generator", "generators:\n- |-\n  apiVersion: builtin\n  kind: HelmChartInflationGenerator\n  metadata: {name: x}\n  name: x\n", "helm charts are refused"},
		{"exec", "transformers:\n- |-\n  apiVersion: example.com/v1\n  kind: Sed\n  metadata: {name: x}\n", "exec, Go and function plugins are refused"},
		{"container function", "generators:\n- |-\n  apiVersion: v1\n  kind: X\n  metadata:\n    name: x\n    annotations:\n      config.kubernetes.io/function: |\n        container: {image: example.com/x}\n", "exec, Go and function plugins are refused"},
		{"exec function", "validators: [t.yaml]\n", "base/t.yaml: render: X: exec, Go and function plugins are refused"},
		{"transformed transformer", "transformers: [p]\n", "base/p/kustomization.yaml: render: is used as generators, transformers or validators; want nothing but"},
	} {
		repo := sample().with("base/kustomization.yaml", test.kustomization).
			with("base/t.yaml", "apiVersion: v1\nkind: X\nmetadata:\n  name: x\n  annotations:\n    config.kubernetes.io/function: |\n      exec: {path: ./x.sh}\n").
			with("base/p/kustomization.yaml", "resources: [../t.yaml]\nnamePrefix: a\n")
		_, err := render(t, repo, "overlays/prod")
		wantTerminal(t, test.name, err, test.want)
		wantTerminal(t, test.name, err, "base/")
	}
}

func TestLocalPathsThatLookRemoteMayBeWritten(t *testing.T) {
	t.Parallel()
	repo := files{
		"o/kustomization.yaml":                       "resources: [./github.com/org/repo, icon@2x.yaml, host.example/org/repo]\n",
		"o/github.com/org/repo/kustomization.yaml":   "resources: [s.yaml]\n",
		"o/github.com/org/repo/s.yaml":               service,
		"o/icon@2x.yaml":                             strings.ReplaceAll(service, "name: api", "name: icon"),
		"o/host.example/org/repo/kustomization.yaml": "resources: [s.yaml]\n",
		"o/host.example/org/repo/s.yaml":             strings.ReplaceAll(service, "name: api", "name: host"),
	}
	want, err := kustomizeBuild(repo.onDisk(t) + "/o")
	if err != nil {
		t.Fatal(err)
	}
	if got := mustRender(t, New(patient), repo, "o"); printed(t, got) != string(want) {
		t.Errorf("got:\n%s\nwant:\n%s", printed(t, got), want)
	}
}
