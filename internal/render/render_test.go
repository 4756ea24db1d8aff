package render

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
	"sigs.k8s.io/yaml"

	"chaperone.dev/chaperone/internal/fault"
	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/source"
)

func TestOutputIsKustomizes(t *testing.T) {
	t.Parallel()
	repo := sample()
	want, err := kustomizeProcess(repo.onDisk(t) + "/overlays/prod")
	if err != nil {
		t.Fatal(err)
	}
	got := mustRender(t, New(patient), repo, "overlays/prod")
	if printed(t, got) != string(want) {
		t.Errorf("got:\n%s\nwant:\n%s", printed(t, got), want)
	}
	checkSet(t, got)
	if got.Set.Len() != 3 {
		t.Errorf("%d objects, want 3", got.Set.Len())
	}
}

// checkSet: the set is what a reader of the YAML would get.
func checkSet(t testing.TB, r Result) {
	t.Helper()
	objects, err := manifest.Decode("output", []byte(printed(t, r)))
	if err != nil {
		t.Fatalf("read the output back: %v", err)
	}
	set, err := manifest.NewSet(objects)
	if err != nil {
		t.Fatal(err)
	}
	digest, err := set.Digest()
	if err != nil {
		t.Fatal(err)
	}
	if digest != r.Digest {
		t.Errorf("digest %s, of the YAML read back %s", r.Digest, digest)
	}
}

func TestDirectoryNames(t *testing.T) {
	t.Parallel()
	repo := sample().with("kustomization.yaml", "resources: [base, overlays/prod]\n")
	for _, dir := range []string{"base", "base/", "./base", "overlays/../base", "."} {
		if _, err := render(t, repo, dir); err != nil {
			t.Errorf("%q: %v", dir, err)
		}
	}
	for dir, want := range map[string]string{
		"":                    "want a directory inside the repository",
		"/base":               "want a directory inside the repository",
		"../base":             "want a directory inside the repository",
		"nowhere":             "nowhere: render: no such directory",
		"base/service.yaml":   "is a file; want the directory",
		"base/service.yaml/x": "no such directory",
		"overlays":            "overlays: render: no kustomization in this directory; want one of kustomization.yaml",
		"base\x00":            "no such directory",
	} {
		_, err := render(t, repo, dir)
		wantTerminal(t, dir, err, want)
	}
}

func wantTerminal(t testing.TB, name string, err error, want string) {
	t.Helper()
	switch {
	case err == nil:
		t.Errorf("%s: no error, want %q", name, want)
	case !strings.Contains(err.Error(), want):
		t.Errorf("%s: error %q, want %q", name, err, want)
	case !fault.IsTerminal(err):
		t.Errorf("%s: error %q is not terminal", name, err)
	case strings.Contains(err.Error(), mount+"/") && !strings.Contains(err.Error(), ".."+mount):
		t.Errorf("%s: error %q shows where the snapshot is mounted", name, err)
	}
}

func TestErrorsNameTheFile(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ name, file, content, want string }{
		{"malformed resource", "base/service.yaml", "kind: Service\nmetadata:\n\tname: x\n", "base/service.yaml:3: render: found character"},
		{"second document", "base/service.yaml", service + "---\n# why\nkind: [\n", "base/service.yaml:1"},
		{"key twice", "base/service.yaml", service + "---\na: 1\nb: {c: 1,\n  c: 2}\n", `base/service.yaml:13: render: key "c" is given twice`},
		{"key no string", "base/service.yaml", strings.Replace(service, "{app: api}", "{1: api}", 1), "base/service.yaml:6: render: key is not a string"},
		{"unknown field", "base/kustomization.yaml", "resource: [x]\n", `base/kustomization.yaml: render: invalid Kustomization: json: unknown field "resource"`},
		{"absent resource", "base/kustomization.yaml", "resources:\n- service.yaml\n- servce.yaml\n", `base/kustomization.yaml:3: render: resources: "servce.yaml": no such file`},
		{"absent component", "base/kustomization.yaml", "components:\n- ../nowhere\n", `base/kustomization.yaml:2: render: components: "../nowhere": no such file`},
		{"absent patch", "overlays/prod/kustomization.yaml", "resources: [../../base]\npatches: [{path: gone.yaml}]\n", "gone.yaml"},
		{"no kind", "base/service.yaml", "metadata: {name: x}\n", "service.yaml"},
		{"two kustomizations", "base/Kustomization", "resources: [service.yaml]\n", "base: render: several kustomizations"},
		{"empty kustomization", "base/kustomization.yaml", "\n", "kustomization.yaml is empty"},
		{"cycle", "base/kustomization.yaml", "resources:\n- ../overlays/prod\n", `base/kustomization.yaml:2: render: resources: "../overlays/prod": cycle`},
		{"self", "base/kustomization.yaml", "resources:\n- .\n", `base/kustomization.yaml:2: render: resources: ".": cycle`},
		{"file elsewhere", "base/kustomization.yaml", "resources: [../overlays/prod/patch.yaml]\n", "overlays/prod/patch.yaml"},
		{"merge into nothing", "overlays/prod/patch.yaml", "kind: Deployment\nmetadata: {name: other}\n", "other"},
		{"LFS pointer", "base/service.yaml", lfsPointer + "oid sha256:00\nsize 3\n", "base/service.yaml: read: is a Git LFS pointer"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			repo := sample().with(test.file, test.content)
			_, err := render(t, repo, "overlays/prod")
			wantTerminal(t, test.name, err, test.want)
			if test.name == "LFS pointer" {
				return // kustomize would render the pointer
			}
			if _, err := kustomizeBuild(repo.onDisk(t) + "/overlays/prod"); err == nil {
				t.Error("kustomize has no error")
			}
		})
	}
}

// An order that cannot be had is told with the lines that ask for it, before any
// cluster is asked; what kustomize prints is as it was.
func TestDisorderNamesTheLine(t *testing.T) {
	t.Parallel()
	object := func(name, asks string) string {
		return "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: " + name + "\n  namespace: shop\n  annotations: {" + asks + "}\n"
	}
	after := func(name string) string { return "chaperone.dev/depends-on: /ConfigMap/shop/" + name }
	for _, test := range []struct{ name, first, second, want string }{
		{"a cycle", after("b"), after("a"), "e/all.yaml:1: ConfigMap/shop/a: the objects of the release wait for each other: ConfigMap/shop/a depends on ConfigMap/shop/b, " +
			"which depends on ConfigMap/shop/a; take one of them out of chaperone.dev/depends-on"},
		{"no order", "", "chaperone.dev/depends-on: ConfigMap/a", `e/all.yaml:8: ConfigMap/shop/b: chaperone.dev/depends-on: entry 1 "ConfigMap/a": has 2 parts`},
		{"a hook's order", "", "chaperone.dev/hook-order: first", `e/all.yaml:8: ConfigMap/shop/b: chaperone.dev/hook-order: want a whole number`},
		{"an order", "", after("a"), ""},
	} {
		repo := files{"e/kustomization.yaml": "resources: [all.yaml]\n", "e/all.yaml": object("a", test.first) + "---\n" + object("b", test.second)}
		_, err := render(t, repo, "e")
		if test.want == "" && err != nil {
			t.Errorf("%s: %v", test.name, err)
		}
		if test.want != "" {
			wantTerminal(t, test.name, err, test.want)
		}
	}
}

func TestEmptyResultIsExposed(t *testing.T) {
	t.Parallel()
	got := mustRender(t, New(patient), files{"e/kustomization.yaml": "namespace: nothing\n"}, "e")
	if got.Set.Len() != 0 || len(printed(t, got)) != 0 || got.Digest == "" {
		t.Errorf("set of %d, %d bytes, digest %q; want an empty set with a digest", got.Set.Len(), len(printed(t, got)), got.Digest)
	}
}

func TestLimits(t *testing.T) {
	t.Parallel()
	repo := sample()
	for _, test := range []struct {
		name   string
		limits Limits
		want   string
	}{
		{"files", Limits{Files: 4}, "looks at more than 4 files"},
		{"bytes", Limits{Bytes: 200}, "reads more than 200 bytes"},
		{"objects", Limits{Objects: 2}, "renders 3 objects; want at most 2"},
		{"output", Limits{Output: 100}, "renders more than 100 bytes"},
	} {
		_, err := New(test.limits).Render(t.Context(), repo.snapshot(), "overlays/prod")
		wantTerminal(t, test.name, err, test.want)
	}
	many := repo.with("base/kustomization.yaml", "configMapGenerator:\n- name: big\n  files:\n"+
		repeatLines(50, "  - k%d=big.txt\n")).with("base/big.txt", strings.Repeat("x", 1000))
	_, err := New(Limits{Bytes: 20_000}).Render(t.Context(), many.snapshot(), "base")
	wantTerminal(t, "one file many times", err, "base/big.txt: read: render reads more than 20000 bytes")
}

func repeatLines(n int, format string) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, format, i)
	}
	return b.String()
}

// slow is a snapshot that hangs until it is let go.
type slow struct {
	snapshot
	gate chan struct{}
}

func (s slow) Lstat(name string) (fs.FileInfo, error) {
	if strings.HasPrefix(name, "base") {
		<-s.gate
	}
	return s.snapshot.Lstat(name)
}

func TestTimeAndCancellation(t *testing.T) {
	t.Parallel()
	snap := slow{sample().snapshot(), make(chan struct{})}
	defer close(snap.gate)
	_, err := New(Limits{Time: 20 * time.Millisecond}).Render(t.Context(), snap, "overlays/prod")
	if err == nil || !strings.Contains(err.Error(), "takes longer than 20ms") || fault.IsTerminal(err) {
		t.Errorf("late: %v; want a retryable error that names the limit", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = New(patient).Render(ctx, snap, "overlays/prod")
	if !errors.Is(err, context.Canceled) || fault.IsTerminal(err) {
		t.Errorf("cancelled: %v; want context.Canceled, retryable", err)
	}
	_, err = New(patient).Render(ctx, sample().snapshot(), "overlays/prod")
	if !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled before: %v; want context.Canceled", err)
	}
}

// broken is a snapshot whose store fails at one name, when that is looked up
// or when it is opened.
type broken struct {
	snapshot
	lookup, open string
	err          error
}

var errStore = errors.New("store: input/output error")

func (b broken) Open(name string) (fs.File, error) {
	if name == b.open {
		return nil, b.err
	}
	return b.snapshot.Open(name)
}

func (b broken) Lstat(name string) (fs.FileInfo, error) {
	if name == b.lookup {
		return nil, b.err
	}
	return b.snapshot.Lstat(name)
}

// Unless the source says that nobody can ever read it, as it does of a directory
// that is malformed or a file that is too large.
func TestUnreadableSnapshotIsRetryable(t *testing.T) {
	t.Parallel()
	good := sample().snapshot()
	for _, snap := range []broken{
		{snapshot: good, open: "base/kustomization.yaml"},
		{snapshot: good, lookup: "base/kustomization.yml"}, // kustomize takes it for absent
		{snapshot: good, open: "base/settings.env"},
		{snapshot: good, lookup: "base/service.yaml"},
	} {
		for _, forever := range []bool{false, true} {
			snap.err = errStore
			if forever {
				snap.err = &fs.PathError{Op: "read", Path: "x", Err: fault.Terminal("", "", errStore)}
			}
			_, err := New(patient).Render(t.Context(), snap, "overlays/prod")
			if !errors.Is(err, errStore) || fault.IsTerminal(err) != forever {
				t.Errorf("%s%s: %v; want the store's error, terminal: %t", snap.lookup, snap.open, err, forever)
			}
		}
	}
}

func TestSnapshotIsReadOnly(t *testing.T) {
	t.Parallel()
	fresh := func() *tree { return newTree(t.Context(), sample().snapshot(), DefaultLimits()) }
	for name, call := range map[string]func(*tree) error{
		"create":   func(x *tree) error { _, err := x.Create(mount + "/x"); return err },
		"open":     func(x *tree) error { _, err := x.Open(mount + "/base"); return err },
		"mkdir":    func(x *tree) error { return x.Mkdir(mount + "/x") },
		"mkdirall": func(x *tree) error { return x.MkdirAll(mount + "/x") },
		"remove":   func(x *tree) error { return x.RemoveAll(mount + "/base") },
		"write":    func(x *tree) error { return x.WriteFile(mount+"/x", nil) },
		"list":     func(x *tree) error { _, err := x.ReadDir(mount + "/base"); return err },
		"glob":     func(x *tree) error { _, err := x.Glob(mount + "/*"); return err },
		"walk":     func(x *tree) error { return x.Walk(mount, nil) },
		"outside":  func(x *tree) error { _, err := x.ReadFile("/etc/passwd"); return err },
	} {
		x := fresh()
		if err := call(x); err == nil || !fault.IsTerminal(err) || x.refused == nil {
			t.Errorf("%s: error %v, remembered %v; want a terminal error that is remembered", name, err, x.refused)
		}
	}
	x := fresh()
	if !x.Exists(mount+"/base") || !x.IsDir(mount+"/base") || x.IsDir(mount+"/base/service.yaml") ||
		x.Exists(mount+"/base/gone") || x.refused != nil {
		t.Errorf("Exists or IsDir is wrong, or looking for what is not there is remembered: %v", x.refused)
	}
	if _, err := x.ReadFile(mount + "/base"); err == nil {
		t.Error("a directory was read as a file")
	}
	if x.closure["base/gone"] != "" || x.closure["base"] != source.Dir {
		t.Errorf("closure %v", x.closure)
	}
}

// What is not tried out can be printed; whatever may not is tried.
func TestPrintable(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		key := rapid.StringOfN(rapid.RuneFrom([]rune("ab:\"\\<{\x7f\u0085\ufeff\x01 é")), 0, 2000, -1).Draw(rt, "key")
		value := rapid.SampledFrom([]any{key, []any{key}, map[string]any{key: "x"}, 1e300, true, nil, "<<"}).Draw(rt, "value")
		line, err := json.Marshal(map[string]any{key: value, "<<": value})
		if err != nil {
			rt.Fatal(err)
		}
		if _, err := yaml.JSONToYAML(line); err != nil && printable(line) {
			rt.Fatalf("%s: %v", line, err)
		}
	})
	for text, want := range map[string]bool{
		`{"a":"b\"{","c":[1,{}]}`: true, `{"a":"é"}`: false, "{\"a\":\"\x7f\"}": false, `{"` + strings.Repeat("k", 600) + `":1}`: false,
		`{"a":"` + strings.Repeat("k", 600) + `"}`: true, strings.Repeat("[", 600): false,
	} {
		if got := printable([]byte(text)); got != want {
			t.Errorf("%.40s: %v, want %v", text, got, want)
		}
	}
}
