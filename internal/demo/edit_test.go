package demo

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/policy"
	"chaperone.dev/chaperone/internal/policy/rego"
	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/render"
	"chaperone.dev/chaperone/internal/source/worktree"
	"chaperone.dev/chaperone/internal/testkit/racing"
)

const digest = "sha256:9488d7de57655df757ec6d2c88c0232480eed09e776d13f40931b65d33b625e0"

const kustomization = `images:
  - name: api
    newName: registry.example.org/novamind/api
    newTag: 1.4.2
    digest: ` + digest + `
labels:
  - pairs:
      app.kubernetes.io/name: api
      app.kubernetes.io/version: 1.4.2
    includeTemplates: true
`

func TestSetVersion(t *testing.T) {
	t.Parallel()
	v, err := versionIn([]byte(kustomization))
	if err != nil || v != (version{"1.4.2", digest}) {
		t.Fatalf("versionIn: %v, %v", v, err)
	}
	next, err := v.next("novamind/api")
	if err != nil || next.tag != "1.4.3" || next.digest == digest || len(next.digest) != len(digest) {
		t.Fatalf("next: %v, %v", next, err)
	}
	edited, err := setVersion([]byte(kustomization), next.that("errors-100"))
	if err != nil {
		t.Fatal(err)
	}
	want := strings.NewReplacer("1.4.2", "1.4.3-errors-100", digest, next.digest).Replace(kustomization)
	if string(edited) != want {
		t.Errorf("got\n%s\nwant\n%s", edited, want)
	}
	edited, err = setVersion(edited, version{tag: "1.5.0"})
	if err != nil || strings.Contains(string(edited), "digest:") || strings.Count(string(edited), "1.5.0") != 2 {
		t.Errorf("without a digest: %v\n%s", err, edited)
	}
}

func TestEditsRefuseWhatTheyDoNotKnow(t *testing.T) {
	t.Parallel()
	set := func(file []byte) ([]byte, error) { return setVersion(file, version{"2.0.0", digest}) }
	timeout := func(file []byte) ([]byte, error) { return setVerifyTimeout(file, "20s") }
	drop := func(file []byte) ([]byte, error) { return dropResource(file, "model-training") }
	label := func(file []byte) ([]byte, error) { return setLabel(file, train, "1") }
	for name, c := range map[string]struct {
		edit func([]byte) ([]byte, error)
		file string
		want string
	}{
		"no image":            {set, "labels: []\n", "want one newTag, found 0"},
		"two images":          {set, kustomization + kustomization, "want one newTag, found 2"},
		"no digest":           {set, strings.Replace(kustomization, "    digest: "+digest+"\n", "", 1), "want one digest, found 0"},
		"no version label":    {set, strings.Replace(kustomization, "      app.kubernetes.io/version: 1.4.2\n", "", 1), "want one version label, found 0"},
		"no verify timeout":   {timeout, "spec:\n  path: x\n", "want one verify.timeout, found 0"},
		"no such resource":    {drop, "resources:\n  - api\n", "want one resource model-training, found 0"},
		"labels of their own": {label, "kind: Kustomization\nlabels:\n  - pairs:\n      team: a\n", "want no labels"},
		"no container":        {makePrivileged, "kind: Deployment\n", "want one container image, found 0"},
	} {
		if got, err := c.edit([]byte(c.file)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %q, %v; want %q", name, got, err, c.want)
		}
	}
	for _, tag := range []string{"latest", "", "1.4.x", "7"} {
		if next, err := (version{tag: tag}).next("x"); err == nil {
			t.Errorf("next of %q is %v; want a fault", tag, next)
		}
	}
}

func TestSetLabelTwice(t *testing.T) {
	t.Parallel()
	file := []byte("kind: Kustomization\n")
	for _, value := range []string{"1", "2"} {
		var err error
		if file, err = setLabel(file, train, value); err != nil {
			t.Fatal(err)
		}
	}
	if want := "kind: Kustomization\nlabels:\n  - pairs:\n      release-train: \"2\"\n"; string(file) != want {
		t.Errorf("got\n%s\nwant\n%s", file, want)
	}
}

// copyOf is the sample in a directory of its own.
func copyOf(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range sample {
		if err := copyTree(filepath.Join("..", "..", name), filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func apply(t *testing.T, dir string, edits ...edit) {
	t.Helper()
	for _, e := range edits {
		if err := e.apply(dir); err != nil {
			t.Fatal(err)
		}
	}
}

func rendered(t *testing.T, dir string, id promotion.ID) manifest.Set {
	t.Helper()
	tree, err := worktree.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer tree.Close()
	result, err := render.New(render.DefaultLimits()).Render(t.Context(), tree, "overlays/"+id.String())
	if err != nil {
		t.Fatal(err)
	}
	return result.Set
}

func environmentOf(t *testing.T, dir string, id promotion.ID) promotion.Environment {
	t.Helper()
	set, err := promotion.Load(os.DirFS(dir))
	if err != nil {
		t.Fatal(err)
	}
	found, known := set.Environments[id]
	if !known {
		t.Fatalf("no environment %s", id)
	}
	return found
}

func judged(t *testing.T, dir string, id promotion.ID) policy.Report {
	t.Helper()
	rules, err := fs.Sub(os.DirFS(dir), "policies")
	if err != nil {
		t.Fatal(err)
	}
	bundle, err := rego.Load(t.Context(), rules, rego.DefaultLimits())
	if err != nil {
		t.Fatal(err)
	}
	set := rendered(t, dir, id)
	sum, err := set.Digest()
	if err != nil {
		t.Fatal(err)
	}
	in := policy.NewInput(environmentOf(t, dir, id), set, policy.Release{Digest: sum}, nil, time.Now(), manifest.NewRedactor([]byte("salt")))
	report, err := bundle.Evaluate(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	return report
}

// What the demo commits must do to the sample what the demo tells of it.

func TestSampleBadVersionsPassThePolicies(t *testing.T) {
	t.Parallel()
	racing.Without(t)
	for _, c := range []struct {
		s       service
		id      promotion.ID
		behaves string
	}{
		{service{"novamind", "api"}, novamind().automatic[0], "never-ready"},
		{service{"crohns", "core"}, crohns().automatic[0], "errors-100"},
	} {
		dir := copyOf(t)
		apply(t, dir, edit{c.s.kustomization(), func(file []byte) ([]byte, error) {
			now, err := versionIn(file)
			if err != nil {
				return nil, err
			}
			next, err := bad(c.s, c.behaves)(now)
			if err != nil {
				return nil, err
			}
			return setVersion(file, next)
		}})
		id := manifest.ID{Group: "apps", Kind: "Deployment", Namespace: c.id.Pipeline + "-" + c.id.Name, Name: c.s.name}
		o, found := rendered(t, dir, c.id).Get(id)
		if !found {
			t.Fatalf("no %s", id)
		}
		containers, _, err := unstructured.NestedSlice(o.Object, "spec", "template", "spec", "containers")
		if err != nil {
			t.Fatal(err)
		}
		image, _ := containers[0].(map[string]any)["image"].(string)
		if name, sum, pinned := strings.Cut(image, "@"); !pinned || !strings.HasSuffix(name, "-"+c.behaves) || !strings.HasPrefix(sum, "sha256:") {
			t.Errorf("%s runs %s; want the behaviour at the end of its tag, and a digest", id, image)
		}
		if report := judged(t, dir, c.id); report.Verdict != policy.VerdictAllow {
			t.Errorf("%s: %s %v; want only verification to stop it", c.id, report.Verdict, report.Stopping())
		}
	}
}

func TestSamplePrivilegedContainerIsDenied(t *testing.T) {
	t.Parallel()
	racing.Without(t)
	dir := copyOf(t)
	apply(t, dir, edit{"base/novamind/api/deployment.yaml", makePrivileged})
	report := judged(t, dir, novamind().automatic[0])
	stopping := report.Stopping()
	if report.Verdict != policy.VerdictDeny || len(stopping) != 1 || stopping[0].Rule != "pod/privileged" ||
		stopping[0].Path != "spec.template.spec.containers[0].securityContext.privileged" {
		t.Errorf("%s %+v; want a deny of the one privileged container", report.Verdict, stopping)
	}
}

func TestSampleRetiredService(t *testing.T) {
	t.Parallel()
	dir, id := copyOf(t), novamind().automatic[0]
	before := rendered(t, dir, id)
	apply(t, dir, edit{"base/novamind/kustomization.yaml", func(file []byte) ([]byte, error) { return dropResource(file, "model-training") }})
	after := rendered(t, dir, id)
	gone := manifest.ID{Group: "batch", Kind: "CronJob", Namespace: "novamind-development", Name: "model-training"}
	if _, was := before.Get(gone); !was {
		t.Errorf("%s is not in the sample", gone)
	}
	if _, is := after.Get(gone); is {
		t.Errorf("%s is still rendered", gone)
	}
	for _, o := range after.Objects() {
		if was, found := before.Get(manifest.IDOf(o)); !found || !same(was, o) {
			t.Errorf("%s: changed with the service that was dropped", manifest.IDOf(o))
		}
	}
}

func same(a, b *manifest.Object) bool {
	first, errA := a.MarshalJSON()
	second, errB := b.MarshalJSON()
	return errA == nil && errB == nil && string(first) == string(second)
}

func TestSampleLabelOnEveryObject(t *testing.T) {
	t.Parallel()
	dir, id := copyOf(t), crohns().automatic[0]
	apply(t, dir, edit{"overlays/crohns/development/kustomization.yaml", func(file []byte) ([]byte, error) { return setLabel(file, train, "7") }})
	set := rendered(t, dir, id)
	policies := 0
	for _, o := range set.Objects() {
		if o.GetLabels()[train] != "7" {
			t.Errorf("%s does not carry the label", manifest.IDOf(o))
		}
		if o.GetKind() == "NetworkPolicy" {
			policies++
		}
		labels, _, _ := unstructured.NestedStringMap(o.Object, "spec", "template", "metadata", "labels")
		if labels[train] != "" {
			t.Errorf("%s: its pods carry the label, and would be rolled out", manifest.IDOf(o))
		}
	}
	if policies == 0 || policies > set.Len()/2 {
		t.Errorf("%d of %d objects are network policies; want some, by which an apply is noticed, and most of them not", policies, set.Len())
	}
}

func TestSampleVerifyTimeout(t *testing.T) {
	t.Parallel()
	dir, id := copyOf(t), novamind().automatic[0]
	before := environmentOf(t, dir, id)
	apply(t, dir, edit{"environments/novamind/development.yaml", func(file []byte) ([]byte, error) { return setVerifyTimeout(file, "20s") }})
	after := environmentOf(t, dir, id)
	if after.Verify.Timeout != 20*time.Second || before.Verify.Timeout == after.Verify.Timeout {
		t.Errorf("verify.timeout was %s, is %s; want 20s", before.Verify.Timeout, after.Verify.Timeout)
	}
	if len(after.Verify.HTTP) == 0 || after.Verify.HTTP[0].Timeout != before.Verify.HTTP[0].Timeout {
		t.Errorf("the checks' own timeouts changed: %+v", after.Verify.HTTP)
	}
}

// The environments that the script names are the sample's, in its order and
// with its modes; whoever merges in the demo may approve, and no time of the
// day or year keeps a change away.
func TestSampleHasTheEnvironmentsOfTheScript(t *testing.T) {
	t.Parallel()
	set, err := promotion.Load(os.DirFS(filepath.Join("..", "..")))
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []system{crohns(), novamind()} {
		order := append(append([]promotion.ID(nil), s.automatic...), s.pinned...)
		if got := set.Order(s.name); list(got) != list(order) {
			t.Errorf("%s: the order is %s; want %s", s.name, list(got), list(order))
		}
		for i, id := range order {
			file := set.Environments[id]
			want := promotion.ModeAutomatic
			if id == scheduled() {
				want = promotion.ModeSchedule
			}
			if i >= len(s.automatic) {
				want = promotion.ModePullRequest
				if a := file.Promotion.Approval; a.Required != 1 || !a.NotAuthor || len(a.From) != 1 || a.From[0] != approvers {
					t.Errorf("%s: approval %+v; want one of %s, who is not the author", id, a, approvers)
				}
			}
			if file.Promotion.Mode != want || file.Pinned() != (want == promotion.ModePullRequest) {
				t.Errorf("%s: mode %s; want %s", id, file.Promotion.Mode, want)
			}
			if p := file.Promotion; len(p.Windows) > 0 || p.Soak > 10*time.Second {
				t.Errorf("%s: windows %v, soak %s; want none that the demo would have to wait for", id, p.Windows, p.Soak)
			}
			for _, freeze := range file.Promotion.Freezes {
				if freeze.Cron != "" || freeze.To.After(time.Now()) {
					t.Errorf("%s: freeze %+v; want one that is over", id, freeze)
				}
			}
		}
	}
}

func TestSampleDaemonKnowsWhoMayApprove(t *testing.T) {
	t.Parallel()
	content, err := os.ReadFile(filepath.Join("..", "..", "base", "chaperone", "config.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var settings struct {
		Groups map[string][]string `json:"groups"`
	}
	if err := yaml.Unmarshal(content, &settings); err != nil || len(settings.Groups[approvers]) == 0 {
		t.Errorf("groups %v, %v; want somebody in %s", settings.Groups, err, approvers)
	}
}
