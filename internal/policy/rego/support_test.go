package rego

import (
	"maps"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/policy"
	"chaperone.dev/chaperone/internal/promotion"
)

// header is the metadata of a rule for tests, asked about each ConfigMap.
func header(id string) string {
	return `# METADATA
# title: Title of ` + id + `
# description: For a test.
# scope: package
# custom:
#   id: ` + id + `
#   severity: critical
#   data: [synthetic, anonymized, phi]
#   kinds: [ConfigMap]
#   remediation: None.
#   controls: {pss: baseline}
`
}

func releaseHeader(id string) string {
	return strings.Replace(header(id), "#   kinds: [ConfigMap]\n", "", 1)
}

// denyBad is a rule that denies what is named bad, and whatever body says.
func denyBad(pkg, body string) string {
	return "package " + pkg + "\n\ndeny contains \"bad name\" if input.object.metadata.name == \"bad\"\n\n" + body + "\n"
}

type textFiles map[string]string

// withExamples adds the examples that every rule needs.
func withExamples(files textFiles) textFiles {
	out := maps.Clone(files)
	for name := range files {
		dir, ok := strings.CutSuffix(name, "/rule.rego")
		if !ok {
			continue
		}
		out[dir+"/testdata/pass/good.yaml"] = configMap("good")
		out[dir+"/testdata/fail/bad.yaml"] = configMap("bad")
	}
	return out
}

// oneRule is a bundle whose only rule denies what is named bad, and has body.
func oneRule(body string) textFiles {
	return withExamples(textFiles{"test/one/rule.rego": header("test/one") + denyBad("test.one", body)})
}

func configMap(name string) string {
	return "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: " + name + "}\ndata: {key: value}\n"
}

func mapFS(files textFiles) fstest.MapFS {
	fsys := fstest.MapFS{}
	for name, content := range files {
		fsys[name] = &fstest.MapFile{Data: []byte(content)}
	}
	return fsys
}

func loadFiles(t testing.TB, files textFiles) *Bundle {
	t.Helper()
	bundle, err := Load(t.Context(), mapFS(files), Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return bundle
}

// refusal is the text of the error that refuses the bundle.
func refusal(t *testing.T, files textFiles) string {
	t.Helper()
	_, err := Load(t.Context(), mapFS(files), Limits{})
	if err == nil {
		t.Fatal("accepted; want it refused")
	}
	return err.Error()
}

var testNow = time.Date(2026, 5, 20, 12, 0, 0, 0, time.UTC)

func inputOf(t testing.TB, data promotion.Data, manifests ...string) policy.Input {
	t.Helper()
	objects, err := manifest.Decode("release.yaml", []byte(strings.Join(manifests, "---\n")))
	if err != nil {
		t.Fatal(err)
	}
	set, err := manifest.NewSet(objects)
	if err != nil {
		t.Fatal(err)
	}
	env := promotion.Environment{ID: promotion.ID{Pipeline: "novamind", Name: "production"}, Data: data}
	env.Target.Namespace = "novamind"
	return policy.NewInput(env, set, policy.Release{Revision: "4f2c", Digest: "sha256:1"}, nil, testNow,
		manifest.NewRedactor([]byte("0123456789abcdef")))
}

func evaluate(t testing.TB, bundle *Bundle, in policy.Input) policy.Report {
	t.Helper()
	report, err := bundle.Evaluate(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	return report
}
