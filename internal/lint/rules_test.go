package lint

import (
	"fmt"
	"strings"
	"testing"
	"testing/fstest"
)

// file is a snippet that stands where a rule looks: path, then source.
type file struct{ path, source string }

const head = "// Package x guarantees nothing.\npackage x\n"

func with(imports string, body ...string) string {
	return head + "\nimport (\n\t\"" + strings.ReplaceAll(imports, " ", "\"\n\t\"") + "\"\n)\n\n" + strings.Join(body, "\n") + "\n"
}

func own(names string) string {
	var full []string
	for _, name := range strings.Fields(names) {
		full = append(full, Module+"/internal/"+name)
	}
	return with(strings.Join(full, " "))
}

// snippets break a rule, or just do not. Want is a part of the one finding's
// text; "" is none.
var snippets = []struct {
	rule, name, want string
	file             file
}{
	{"listed", "unknown", "internal/lint/layers.go", file{"internal/guess/a.go", head}},
	{"listed", "unknown, a test alone", "internal/lint/layers.go", file{"internal/guess/a_test.go", head}},
	{"listed", "unknown command", "internal/lint/layers.go", file{"cmd/other/a.go", head}},
	{"listed", "known", "", file{"internal/promotion/a.go", head}},
	{"listed", "below testkit", "", file{"internal/testkit/any/a.go", head}},
	{"listed", "nested module", "", file{"cmd/localcluster/internal/any/a.go", head}},

	{"layers", "upwards", "layer 0 imports only layers below it", file{"internal/promotion/a.go", own("policy")}},
	{"layers", "upwards by two", "layer 1 imports only layers below it", file{"internal/plan/a.go", own("cluster")}},
	{"layers", "adapter to adapter", "adapters know", file{"internal/cluster/a.go", own("verify")}},
	{"layers", "adapter to the child of an adapter", "adapters know", file{"internal/cluster/a.go", own("source/gogit")}},
	{"layers", "adapter to the loop", "layer 2 imports only", file{"internal/cluster/a.go", own("controller")}},
	{"layers", "loop to page", "meet in app", file{"internal/controller/a.go", own("web")}},
	{"layers", "against the order", "listed before it", file{"internal/source/a.go", own("promotion")}},
	{"layers", "test support", "only files named _test.go", file{"internal/app/a.go", own("testkit/localcluster")}},
	{"layers", "simulator", "only files named _test.go", file{"internal/cli/a.go", own("sim")}},
	{"layers", "main to an adapter", "main only exits", file{"cmd/chaperone/a.go", own("cluster")}},
	{"layers", "main to cli", "", file{"cmd/chaperone/a.go", own("cli")}},
	{"layers", "downwards", "", file{"internal/cluster/a.go", own("plan manifest")}},
	{"layers", "in order", "", file{"internal/promotion/a.go", own("source fault strictyaml")}},
	{"layers", "adapter to its rules", "", file{"internal/policy/rego/a.go", own("policy")}},
	{"layers", "wiring", "", file{"internal/cli/a.go", own("app cluster")}},
	{"layers", "a test may", "", file{"internal/cluster/a_test.go", own("testkit/localcluster verify")}},
	{"layers", "test support may", "", file{"internal/testkit/git/a.go", own("cluster")}},

	{"reconcile", "another rule", "reconcile imports", file{"internal/reconcile/a.go", own("policy")}},
	{"reconcile", "a library", "reconcile imports", file{"internal/reconcile/a.go", with("k8s.io/apimachinery/pkg/types")}},
	{"reconcile", "its words", "", file{"internal/reconcile/a.go", with("time slices " + Module + "/internal/promotion " + Module + "/internal/source")}},

	{"purity", "clock", "time.Now", file{"internal/plan/a.go", with("time", "var _ = time.Now")}},
	{"purity", "clock by another name", "time.Since", file{"internal/plan/a.go", head + "import clock \"time\"\n\nvar _ = clock.Since\n"}},
	{"purity", "context", "nothing to cancel", file{"internal/policy/a.go", with("context", "var _ context.Context")}},
	{"purity", "chance", "chance", file{"internal/manifest/a.go", with("math/rand/v2", "var _ = rand.Int")}},
	{"purity", "files", "does I/O", file{"internal/config/a.go", with("os", "var _ = os.Open")}},
	{"purity", "cluster", "does I/O", file{"internal/inventory/a.go", with("k8s.io/client-go/rest", "var _ rest.Config")}},
	{"purity", "types of time", "", file{"internal/plan/a.go", with("time", "var _ time.Duration = time.Second", "var _ time.Time")}},
	{"purity", "a variable called time", "", file{"internal/plan/a.go", head + "\nfunc f(time struct{ Now int }) int { return time.Now }\n"}},
	{"templates", "in the program", "half as large again", file{"internal/web/a.go", with("html/template", "var _ template.HTML")}},
	{"templates", "in a command", "half as large again", file{"internal/cli/a.go", with("text/template", "var _ template.Template")}},
	{"templates", "in a test", "", file{"internal/web/a_test.go", with("html/template", "var _ template.HTML")}},
	{"purity", "adapter", "", file{"internal/cluster/a.go", with("context time", "var _ context.Context", "var _ = time.Now")}},
	{"purity", "test", "", file{"internal/plan/a_test.go", with("time", "var _ = time.Now")}},

	{"package-comment", "none", "has no comment", file{"internal/plan/a.go", "package x\n"}},
	{"package-comment", "other name", `begins with "Package x"`, file{"internal/plan/a.go", "// Package y is.\npackage x\n"}},
	{"package-comment", "a directive is none", "has no comment", file{"internal/plan/a.go", "//go:build linux\npackage x\n"}},
	{"package-comment", "one", "", file{"internal/plan/a.go", head}},
	{"package-comment", "main", "", file{"cmd/localcluster/a.go", "// Localcluster runs.\npackage main\n"}},

	{"package-name", "util", "noun of the field", file{"internal/plan/a.go", "package util\n"}},
	{"package-name", "directory", "noun of the field", file{"internal/helpers/a.go", "package plan\n"}},
	{"package-name", "test of util", "noun of the field", file{"internal/plan/a_test.go", "package common_test\n"}},
	{"package-name", "noun", "", file{"internal/plan/a.go", head}},

	{"file-length", "501 lines", "501 lines", file{"internal/plan/a.go", head + strings.Repeat("//\n", 499)}},
	{"file-length", "501 lines of tests", "501 lines", file{"internal/plan/a_test.go", head + strings.Repeat("//\n", 499)}},
	{"file-length", "without a reason", "505 lines", file{"internal/plan/a.go", "//lint:long because\n\n" + head + strings.Repeat("//\n", 501)}},
	{"file-length", "500 lines", "", file{"internal/plan/a.go", head + strings.Repeat("//\n", 498)}},
	{"file-length", "with a reason", "", file{"internal/plan/a.go", "//lint:long because it is one table\n\n" + head + strings.Repeat("//\n", 501)}},
	{"file-length", "generated", "", file{"internal/plan/a.go", "// Code generated by x. DO NOT EDIT.\n\n" + head + strings.Repeat("//\n", 501)}},

	{"function-length", "71 lines", "f has 71 lines", file{"internal/plan/a.go", head + "\nfunc f() {\n" + strings.Repeat("\t_ = 0\n", 69) + "}\n"}},
	{"function-length", "method in a test", "m has 71 lines", file{"internal/plan/a_test.go", head + "\nfunc (x) m() {\n" + strings.Repeat("\t_ = 0\n", 69) + "}\n"}},
	{"function-length", "the comment does not count", "", file{"internal/plan/a.go", head + "\n// F is\n// long.\nfunc f() {\n" + strings.Repeat("\t_ = 0\n", 68) + "}\n"}},
	{"function-length", "with a reason", "", file{"internal/plan/a.go", head + "\n//lint:long because it is one table\nfunc f() {\n" + strings.Repeat("\t_ = 0\n", 80) + "}\n"}},

	{"error-text", "capital", "begins with a capital", file{"internal/plan/a.go", with("errors", `var _ = errors.New("Bad plan")`)}},
	{"error-text", "capital, formatted", "begins with a capital", file{"internal/plan/a.go", with("fmt", `var _ = fmt.Errorf("Bad plan %d", 1)`)}},
	{"error-text", "failed to", `has "failed to"`, file{"internal/plan/a.go", with("errors", `var _ = errors.New("plan: failed to " + "apply")`)}},
	{"error-text", "failed to, in the rest", `has "failed to"`, file{"internal/plan/a.go", with("errors", "var x string", `var _ = errors.New(x + " Failed to apply")`)}},
	{"error-text", "sentence", "ends like a sentence", file{"internal/plan/a.go", with("errors", `var _ = errors.New("bad plan.")`)}},
	{"error-text", "line end", "ends like a sentence", file{"cmd/localcluster/a.go", with("errors", "var _ = errors.New(`bad plan\n`)")}},
	{"error-text", "another name for fmt", "begins with a capital", file{"internal/plan/a.go", head + "\nimport f \"fmt\"\n\nvar _ = f.Errorf(\"Bad\")\n"}},
	{"error-text", "object first", "", file{"internal/plan/a.go", with("fmt", `var _ = fmt.Errorf("Deployment/%s: apply", "api")`)}},
	{"error-text", "verb first", "", file{"internal/plan/a.go", with("fmt", `var _ = fmt.Errorf("%s: apply", "api")`)}},
	{"error-text", "a name", "", file{"internal/plan/a.go", with("errors", `var _ = errors.New("HTTP check")`, `var _ = errors.New("WorkingTree has no hash")`, `var _ = errors.New("Kubernetes refuses")`)}},
	{"error-text", "not an error", "", file{"internal/plan/a.go", with("fmt", `var _ = fmt.Sprint("Bad plan.")`)}},

	{"panic", "call", "return an error", file{"internal/plan/a.go", head + "\nfunc f() { panic(1) }\n"}},
	{"panic", "nested module", "return an error", file{"cmd/localcluster/a.go", head + "\nfunc f() { panic(1) }\n"}},
	{"panic", "too short a reason", "return an error", file{"internal/plan/a.go", head + "\nfunc f() {\n\t//lint:panic because x\n\tpanic(1)\n}\n"}},
	{"panic", "with a reason", "", file{"internal/plan/a.go", head + "\nfunc f() {\n\t//lint:panic because the two lines above disagree\n\tpanic(1)\n}\n"}},
	{"panic", "test", "", file{"internal/plan/a_test.go", head + "\nfunc f() { panic(1) }\n"}},
	{"panic", "serves tests", "", file{"internal/testkit/git/a.go", head + "\nfunc f() { panic(1) }\n"}},
	{"panic", "recover", "", file{"internal/plan/a.go", head + "\nfunc f() { recover() }\n"}},

	{"skip", "nothing", "without a reason", file{"internal/plan/a_test.go", with("testing", "func TestX(t *testing.T) { t.Skip() }")}},
	{"skip", "empty", "without a reason", file{"internal/plan/a_test.go", with("testing", `func TestX(t *testing.T) { t.Skip("") }`)}},
	{"skip", "now", "without a reason", file{"internal/plan/a_test.go", with("testing", "func BenchmarkX(b *testing.B) { b.SkipNow() }")}},
	{"generator", "bare", "generator.Shared", file{"internal/plan/a_test.go", with("pgregory.net/rapid", "var g = rapid.Int()")}},
	{"generator", "bare, in a group, filtered", "generator.Shared", file{"internal/plan/a_test.go", with("pgregory.net/rapid", "var (\n\ta = 1\n\tg = rapid.SliceOf[int](nil).Filter(nil)\n)")}},
	{"generator", "shared", "", file{"internal/plan/a_test.go", with("pgregory.net/rapid "+Module+"/internal/testkit/generator", "var g = generator.Shared(rapid.Int())")}},
	{"generator", "made for each", "", file{"internal/plan/a_test.go", with("pgregory.net/rapid", "func f() { g := rapid.Int(); _ = g }")}},
	{"racing", "in a helper", "ask in the test itself", file{"internal/plan/a_test.go", with(Module+"/internal/testkit/racing", "func few() bool { return racing.Few() }")}},
	{"racing", "for all", "ask in the test itself", file{"internal/plan/a_test.go", with(Module+"/internal/testkit/racing", "var few = racing.Few()")}},
	{"racing", "in a test", "", file{"internal/plan/a_test.go", with("testing "+Module+"/internal/testkit/racing", "func TestX(t *testing.T) { racing.Without(t) }")}},
	{"skip", "reason", "", file{"internal/plan/a_test.go", with("testing", `func TestX(t *testing.T) { t.Skip("needs a cluster") }`)}},

	{"gofmt", "spaces", "make fmt", file{"internal/plan/a.go", head + "var  x = 1\n"}},
	{"gofmt", "formatted", "", file{"internal/plan/a.go", head + "\nvar x = 1\n"}},
}

func TestRulesFire(t *testing.T) {
	t.Parallel()
	fires, quiet := map[string]bool{}, map[string]bool{}
	for _, s := range snippets {
		checkRule(t, s.rule, s.name, s.want, s.file)
		fires[s.rule] = fires[s.rule] || s.want != ""
		quiet[s.rule] = quiet[s.rule] || s.want == ""
	}
	// A rule that no snippet breaks would be a check that cannot fail.
	for _, rule := range Rules() {
		if !fires[rule.Name] || !quiet[rule.Name] {
			t.Errorf("%s: want a snippet that breaks it, and one that does not", rule.Name)
		}
	}
}

func checkRule(t *testing.T, name, title, want string, files ...file) {
	t.Helper()
	fsys := fstest.MapFS{}
	for _, f := range files {
		fsys[f.path] = &fstest.MapFile{Data: []byte(f.source)}
	}
	tree, err := Read(fsys)
	if err != nil {
		t.Fatalf("%s, %s: %v", name, title, err)
	}
	var got []string
	for _, finding := range Check(tree) {
		if finding.Rule == name {
			got = append(got, fmt.Sprint(finding))
		}
	}
	switch {
	case want == "" && len(got) > 0:
		t.Errorf("%s, %s: got %q, want none", name, title, got)
	case want != "" && (len(got) != 1 || !strings.Contains(got[0], want)):
		t.Errorf("%s, %s: got %q, want one with %q", name, title, got, want)
	}
}

func TestTwoPackageComments(t *testing.T) {
	t.Parallel()
	checkRule(t, "package-comment", "two", "has a second comment, the first is in internal/plan/a.go",
		file{"internal/plan/a.go", head}, file{"internal/plan/b.go", head})
	checkRule(t, "package-comment", "one of two files", "", file{"internal/plan/a.go", head}, file{"internal/plan/b.go", "package x\n"})
	checkRule(t, "package-comment", "the test package needs none", "",
		file{"internal/plan/a.go", head}, file{"internal/plan/b_test.go", "package x_test\n"})
}

func TestReadPassesOverWhatNoBuildLooksAt(t *testing.T) {
	t.Parallel()
	tree, err := Read(fstest.MapFS{"testdata/a.go": {Data: []byte("not Go")}, ".x/a.go": {Data: []byte("not Go")}, "a.txt": {}})
	if err != nil || len(tree.Files) != 0 {
		t.Errorf("got %v, %v, want nothing", tree, err)
	}
	if _, err := Read(fstest.MapFS{"a.go": {Data: []byte("not Go")}}); err == nil || !strings.Contains(err.Error(), "a.go:1:1") {
		t.Errorf("got %v, want the place of the syntax error", err)
	}
}
