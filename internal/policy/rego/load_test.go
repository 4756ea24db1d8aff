package rego

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"

	"chaperone.dev/chaperone/internal/evidence"
	"chaperone.dev/chaperone/internal/fault"
	"chaperone.dev/chaperone/internal/policy"
	"chaperone.dev/chaperone/internal/promotion"
)

const testException = `apiVersion: chaperone.dev/v1alpha1
kind: Exception
metadata: {name: a}
spec:
  rule: test/one
  environments: [novamind/production]
  objects: [{apiVersion: v1, kind: ConfigMap, name: bad}]
  reason: r
  ticket: T-1
  owner: o
  requester: q@example.org
  approvedBy: [p1@example.org, p2@example.org]
  requested: 2026-04-01
  expires: 2026-06-01
`

//lint:long because it is one table
func TestBundleFaults(t *testing.T) {
	t.Parallel()
	good := oneRule("")
	ruleText := good["test/one/rule.rego"]
	for _, test := range []struct {
		name  string
		files textFiles // over the good bundle; "" removes
		want  []string
	}{
		{"no metadata", textFiles{"test/one/rule.rego": denyBad("test.one", "")},
			[]string{"test/one/rule.rego:1: package data.test.one has no METADATA"}},
		{"no id", textFiles{"test/one/rule.rego": strings.Replace(ruleText, "#   id: test/one\n", "", 1)},
			[]string{"test/one/rule.rego:1: metadata: custom.id: want a text"}},
		{"no severity, no data", textFiles{"test/one/rule.rego": strings.NewReplacer("#   severity: critical\n", "", "#   data: [synthetic, anonymized, phi]\n", "").Replace(ruleText)},
			[]string{"test/one/rule.rego:1: metadata: custom.severity", "test/one/rule.rego:1: metadata: custom.data"}},
		{"metadata that is not YAML", textFiles{"test/one/rule.rego": strings.Replace(ruleText, "custom:", "custom: [", 1)},
			[]string{"test/one/rule.rego:", "rego_parse_error"}},
		{"no entry point", textFiles{"test/one/rule.rego": header("test/one") + "package test.one\n\ndney contains \"x\" if input.object.kind == \"x\"\n"},
			[]string{"test/one/rule.rego:12: package data.test.one has none of deny, violation, warn, audit"}},
		{"same id twice", withExamples(textFiles{"test/two/rule.rego": header("test/one") + denyBad("test.two", "")}),
			[]string{"test/two/rule.rego:12: id test/one is also that of test/one/rule.rego"}},
		{"one package in two files", withExamples(textFiles{"test/two/rule.rego": header("test/two") + denyBad("test.one", "")}),
			[]string{"test/two/rule.rego:1: rego_type_error: package annotation redeclared: test/one/rule.rego:1"}},
		{"two rules in one directory", textFiles{"test/one/other.rego": header("test/two") + denyBad("test.two", "")},
			[]string{"directory test/one is also that of"}},
		{"kinds, but no input.object", textFiles{"test/one/rule.rego": header("test/one") + "package test.one\n\ndeny contains \"x\" if input.environment.data == \"phi\"\n"},
			[]string{"has custom.kinds but does not look at input.object"}},
		{"input.object, but no kinds", textFiles{"test/one/rule.rego": releaseHeader("test/one") + denyBad("test.one", "")},
			[]string{"looks at input.object, but custom.kinds does not say of which kinds"}},
		{"no failing example", textFiles{"test/one/testdata/fail/bad.yaml": ""}, []string{"no example in test/one/testdata/fail"}},
		{"no passing example", textFiles{"test/one/testdata/pass/good.yaml": ""}, []string{"no example in test/one/testdata/pass"}},
		{"failing example passes", textFiles{"test/one/testdata/fail/bad.yaml": configMap("fine")},
			[]string{"test/one/testdata/fail/bad.yaml:1: rule test/one does not deny it"}},
		{"passing example is denied", textFiles{"test/one/testdata/pass/good.yaml": configMap("bad")},
			[]string{`test/one/testdata/pass/good.yaml:1: rule test/one finds "bad name" in it`}},
		{"passing example of another kind", textFiles{"test/one/testdata/pass/good.yaml": "apiVersion: v1\nkind: Secret\nmetadata: {name: a}\n"},
			[]string{"rule test/one is not asked about any object in it; want one of ConfigMap"}},
		{"example that is no manifest", textFiles{"test/one/testdata/pass/good.yaml": "text"}, []string{"test/one/testdata/pass/good.yaml:1"}},
		{"example with a misspelled fact", textFiles{"test/one/testdata/pass/good.yaml": configMap("good") +
			"---\napiVersion: chaperone.dev/v1alpha1\nkind: PolicyInput\nenvironment: {nmae: a}\n"}, []string{"good.yaml:1", "nmae"}},
		{"example with a misspelled parameter", textFiles{"test/one/testdata/pass/good.yaml": configMap("good") +
			"---\napiVersion: chaperone.dev/v1alpha1\nkind: PolicyInput\nparams: {pod_template: {}}\n"},
			[]string{`good.yaml:1: params.pod_template: there is no such parameter; did you mean "pod_templates"?`}},
		{"examples of no rule", textFiles{"test/gone/testdata/pass/a.yaml": configMap("a")}, []string{"1 of 3 examples stand in no rule's testdata"}},
		{"failing test", textFiles{"test/one/rule_test.rego": "package test.one_test\n\ntest_a if false\n"},
			[]string{"test/one/rule_test.rego:3: test_a failed"}},
		{"test that errs", textFiles{"test/one/rule_test.rego": "package test.one_test\n\ntest_a if not to_number(\"x\") == 1\n"},
			[]string{"test/one/rule_test.rego:3: test_a", "eval_builtin_error"}},
		{"test that does not compile", textFiles{"test/one/rule_test.rego": "package test.one_test\n\ntest_a if http.send({})\n"},
			[]string{"test/one/rule_test.rego:3", "undefined function http.send"}},
		{"misspelled data file", textFiles{"params/dat.yaml": "a: 1\n"}, []string{"params/dat.yaml:1: not a file of a policy bundle"}},
		{"data that is not YAML", textFiles{"params/data.yaml": "a: [\n"}, []string{"params/data.yaml"}},
		{"data with a key twice", textFiles{"params/data.yaml": "a: 1\na: 2\n"}, []string{"params/data.yaml", `key "a" already set`}},
		{"data in two files", textFiles{"params/data.yaml": "a: 1\n", "params/data.json": `{"a": 2}`}, []string{"a is there already from another data file"}},
		{"data in a rule's place", textFiles{"test/data.yaml": "one: 1\n"}, []string{"test/one/rule.rego", "conflict"}},
		{"pod templates that lead nowhere", textFiles{"params/data.yaml": "pod_templates: {ReplicaSet.apps: [spec.tmplate.spec]}\n"},
			[]string{"pod templates: ReplicaSet.apps: want spec.template.spec"}},
		{"bad pod templates", textFiles{"params/data.yaml": "pod_templates: {Pod: spec}\n"}, []string{"pod templates: Pod"}},
		{"exception for an unknown rule", textFiles{"exceptions/a.yaml": strings.Replace(testException, "test/one", "test/on", 1)},
			[]string{`exceptions/a.yaml:5: spec.rule: no rule "test/on" in this bundle; did you mean "test/one"?`}},
		{"over-broad exception", textFiles{"exceptions/a.yaml": strings.Replace(testException, "name: bad", `name: "*"`, 1)},
			[]string{"exceptions/a.yaml:7", "over-broad"}},
		{"exception for a rule that is not waivable", textFiles{"exceptions/a.yaml": testException,
			"test/one/rule.rego": strings.Replace(ruleText, "#   severity", "#   waivable: false\n#   severity", 1)},
			[]string{"exceptions/a.yaml:5: spec.rule: test/one is not waivable"}},
		{"two faults", textFiles{"test/one/rule.rego": strings.Replace(ruleText, "#   severity: critical\n", "", 1),
			"test/two/rule.rego": denyBad("test.two", "")}, []string{"test/one/rule.rego:1: metadata: custom.severity", "test/two/rule.rego:1: package"}},
	} {
		files := maps.Clone(good)
		for name, content := range test.files {
			if files[name] = content; content == "" {
				delete(files, name)
			}
		}
		_, err := Load(t.Context(), mapFS(files), Limits{})
		if err == nil {
			t.Errorf("%s: accepted", test.name)
			continue
		}
		for _, want := range test.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: refused with %q, want %q", test.name, err, want)
			}
		}
	}
}

// An empty bundle would allow everything.
func TestBundleWithoutRules(t *testing.T) {
	t.Parallel()
	for name, files := range map[string]textFiles{
		"nothing":        {},
		"prose only":     {"README.md": "# Policies\n"},
		"a library only": {"lib/a.rego": "package lib.a\n\nx := 1\n"},
		"data only":      {"params/data.yaml": "a: 1\n"},
		"hidden rules":   {".git/rule.rego": header("test/one") + denyBad("test.one", "")},
	} {
		_, err := Load(t.Context(), mapFS(files), Limits{})
		if err == nil || !strings.Contains(err.Error(), "no rules; an empty bundle would allow everything") || !fault.IsTerminal(err) {
			t.Errorf("%s: %v; want it refused for good", name, err)
		}
	}
}

func TestLimitsOfABundle(t *testing.T) {
	t.Parallel()
	for name, limits := range map[string]Limits{
		"more than 2 files":            {Files: 2},
		"more than 50 bytes":           {FileBytes: 50},
		"more than 300 bytes in all":   {Bytes: 300},
		"tests did not finish within ": {Verify: 1},
	} {
		files := oneRule("")
		files["test/one/rule_test.rego"] = "package test.one_test\n\ntest_a if count(numbers.range(1, 1000)) == 1000\n"
		_, err := Load(t.Context(), mapFS(files), limits)
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

func TestDigestIsOfNamesAndContents(t *testing.T) {
	t.Parallel()
	digests := map[string]string{}
	for name, change := range map[string]func(textFiles){
		"as it is":      func(textFiles) {},
		"prose":         func(f textFiles) { f["README.md"] = "text" },
		"hidden":        func(f textFiles) { f["..2026/test/one/rule.rego"] = "text" },
		"another rule":  func(f textFiles) { f["test/one/rule.rego"] += "\n" },
		"data":          func(f textFiles) { f["params/data.yaml"] = "a: 1\n" },
		"data, renamed": func(f textFiles) { f["param/data.yaml"] = "a: 1\n" },
		"an exception":  func(f textFiles) { f["exceptions/a.yaml"] = testException },
		"an example":    func(f textFiles) { f["test/one/testdata/fail/b.yaml"] = configMap("bad") },
		"a test":        func(f textFiles) { f["test/one/rule_test.rego"] = "package t\n\ntest_a if true\n" },
	} {
		files := oneRule("")
		change(files)
		digests[name] = string(loadFiles(t, files).Digest())
	}
	if digests["as it is"] != digests["prose"] || digests["as it is"] != digests["hidden"] {
		t.Error("what is no policy changes the digest")
	}
	seen := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(digests)) {
		if name == "prose" || name == "hidden" {
			continue
		}
		if other := seen[digests[name]]; other != "" {
			t.Errorf("%s and %s have the same digest", name, other)
		}
		seen[digests[name]] = name
	}
}

func TestCapabilities(t *testing.T) {
	t.Parallel()
	known := map[string]*ast.Builtin{}
	for _, builtin := range ast.CapabilitiesForThisVersion().Builtins {
		known[builtin.Name] = builtin
	}
	for _, name := range allowed {
		builtin := known[name]
		switch {
		case builtin == nil:
			t.Errorf("%s is allowed and does not exist", name)
		case builtin.Nondeterministic:
			t.Errorf("%s is allowed and may answer differently each time", name)
		}
	}
	for _, name := range []string{"http.send", "net.lookup_ip_addr", "opa.runtime", "time.now_ns", "rand.intn", "uuid.rfc4122", "trace",
		"io.jwt.decode_verify", "crypto.x509.parse_and_verify_certificates", "json.match_schema", "rego.parse_module", testOnly} {
		if slices.Contains(allowed, name) {
			t.Errorf("%s is allowed", name)
		}
		if known[name] == nil {
			t.Errorf("%s does not exist; the test is stale", name)
		}
	}
	if caps := capabilities(); caps.AllowNet == nil || len(caps.AllowNet) > 0 || len(caps.Builtins) != len(allowed) ||
		slices.Contains(caps.Features, ast.FeatureRegoV2Import) {
		t.Errorf("capabilities %+v; want no network, no rego.v2 and only what is allowed", caps)
	}
}

// The schema that field names are checked by is that of the input.
func TestSchemaIsThatOfTheInput(t *testing.T) {
	t.Parallel()
	schema := schemaTree()
	definitions, _ := schema["definitions"].(map[string]any)
	var compare func(path string, schema map[string]any, value any)
	compare = func(path string, schema map[string]any, value any) {
		if ref, ok := schema["$ref"].(string); ok {
			schema, _ = definitions[strings.TrimPrefix(ref, "#/definitions/")].(map[string]any)
		}
		if items, ok := value.([]any); ok && len(items) > 0 {
			next, _ := schema["items"].(map[string]any)
			compare(path+"[]", next, items[0])
			return
		}
		fields, ok := value.(map[string]any)
		properties, _ := schema["properties"].(map[string]any)
		if !ok || path == ".objects[]" || path == ".object" {
			return
		}
		if got, want := slices.Sorted(maps.Keys(properties)), slices.Sorted(maps.Keys(fields)); !slices.Equal(got, want) {
			t.Errorf("schema of input%s has %q, the input %q", path, got, want)
		}
		for name, field := range fields {
			next, _ := properties[name].(map[string]any)
			compare(path+"."+name, next, field)
		}
	}
	in := policy.Input{Images: []policy.Image{{}}, Upstream: []policy.Upstream{{}}}
	in.Evidence = &evidence.Facts{Refused: []evidence.Refused{{}}, Images: []evidence.Image{{
		Signatures: []evidence.Signature{{}}, Provenance: []evidence.Provenance{{}}, Scans: []evidence.Scan{{}}, Tests: []evidence.Test{{}},
	}}}
	in.Environment.Promotion.Windows = []policy.Window{{}}
	in.Environment.Promotion.Freezes = []policy.Window{{}}
	in.Environment.Target.Allow = []policy.Allowance{{}}
	document, err := in.Document()
	if err != nil {
		t.Fatal(err)
	}
	document["object"] = map[string]any{}
	compare("", schema, document)
}

func TestArchive(t *testing.T) {
	t.Parallel()
	files := oneRule("")
	want := loadFiles(t, files).Digest()
	bundle, err := Load(t.Context(), fstest.MapFS{"policies.tar.gz": {Data: archiveOf(t, files, "./")}}, Limits{})
	if err != nil || bundle.Digest() != want {
		t.Errorf("archive: %v, %v; want the same bundle as the tree", bundle, err)
	}
	for name, fsys := range map[string]fstest.MapFS{
		"want nothing beside an archive": {"a.rego": {}, "p.tgz": {Data: archiveOf(t, files, "")}},
		"want a path inside the archive": {"p.tgz": {Data: archiveOf(t, files, "../")}},
		"gzip: invalid header":           {"p.tgz": {Data: []byte("this is no archive")}},
		"no rules":                       {"p.tgz": {Data: archiveOf(t, nil, "")}},
		"unexpected EOF":                 {"p.tgz": {Data: archiveOf(t, files, "")[:200]}},
	} {
		if _, err := Load(t.Context(), fsys, Limits{}); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

// An archive that unpacks to more than the limits is not unpacked.
func TestArchiveBomb(t *testing.T) {
	t.Parallel()
	zeros := strings.Repeat("0", 4<<20)
	for name, files := range map[string]textFiles{"of policy": {"data.json": zeros}, "of something else": {"a.txt": zeros, "b.txt": zeros}} {
		fsys := fstest.MapFS{"p.tgz": {Data: archiveOf(t, files, "")}}
		if _, err := Load(t.Context(), fsys, Limits{Bytes: 1 << 20}); err == nil {
			t.Errorf("bomb %s: accepted", name)
		}
	}
}

func archiveOf(t testing.TB, files textFiles, prefix string) []byte {
	t.Helper()
	var packed bytes.Buffer
	zipped := gzip.NewWriter(&packed)
	writer := tar.NewWriter(zipped)
	for name, content := range files {
		header := &tar.Header{Name: prefix + name, Mode: 0o644, Size: int64(len(content)), Typeflag: tar.TypeReg}
		if err := writer.WriteHeader(header); err != nil {
			t.Fatal(err)
		}
		if _, err := writer.Write([]byte(content)); err != nil {
			t.Fatal(err)
		}
	}
	if err := writer.Close(); err != nil {
		t.Fatal(err)
	}
	if err := zipped.Close(); err != nil {
		t.Fatal(err)
	}
	return packed.Bytes()
}

func TestRulesAreWhatTheirMetadataSays(t *testing.T) {
	t.Parallel()
	bundle := loadFiles(t, oneRule(""))
	rules := bundle.Rules()
	if len(rules) != 1 || rules[0].ID != "test/one" || rules[0].File != "test/one/rule.rego" ||
		!rules[0].AppliesTo(promotion.DataPHI) || bundle.PodTemplates()["Pod"] == nil {
		t.Errorf("rules %+v", rules)
	}
}

// Whatever a file holds, loading ends with a bundle or an error.
func FuzzLoad(f *testing.F) {
	f.Add(header("test/one")+denyBad("test.one", ""), testException, "a: 1")
	f.Add("# METADATA\n# custom: {id: [}\npackage test.one\ndeny contains x if not x.y.z", "", "&a [*a]")
	f.Add("package test.one\n\ndeny contains data.a[input.object[i]] if { not f(g(i).x); some i }", "spec: []", "params: {pod_templates: 3}")
	f.Fuzz(func(t *testing.T, rule, exception, data string) {
		files := oneRule("")
		files["test/one/rule.rego"], files["exceptions/a.yaml"], files["data.yaml"] = rule, exception, data
		bundle, err := Load(t.Context(), mapFS(files), Limits{Query: 100 * time.Millisecond, Evaluation: time.Second, Verify: 5 * time.Second})
		if (bundle == nil) == (err == nil) {
			t.Errorf("bundle %v and error %v", bundle, err)
		}
	})
}
