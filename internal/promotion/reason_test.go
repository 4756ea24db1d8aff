package promotion

import (
	"go/ast"
	"go/parser"
	"go/token"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// declared are the constants of type Reason with their doc comments.
func declared(t *testing.T) map[Reason]string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "reason.go", nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	docs := map[Reason]string{}
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if ok && len(spec.Values) == 1 {
			if literal, ok := spec.Values[0].(*ast.BasicLit); ok {
				if literal.Value != `"`+spec.Names[0].Name+`"` {
					t.Errorf("%s has the value %s; want its own name", spec.Names[0].Name, literal.Value)
				}
				docs[Reason(spec.Names[0].Name)] = spec.Doc.Text()
			}
		}
		return true
	})
	return docs
}

func TestEveryReasonIsExplainedAndSaysWhoCanUnblock(t *testing.T) {
	t.Parallel()
	docs := declared(t)
	if len(docs) < 40 || len(docs) != len(Reasons()) {
		t.Fatalf("%d constants, %d texts", len(docs), len(Reasons()))
	}
	camel := regexp.MustCompile(`^([A-Z][a-z]+)+$`)
	who := regexp.MustCompile(`^(A developer|An operator|A reviewer|The security team|Nobody needs to)\b`)
	seen := []string{}
	for reason, doc := range docs {
		explain, unblock := reason.Explain(), reason.Unblock()
		if !camel.MatchString(string(reason)) || !strings.HasPrefix(doc, string(reason)+": ") {
			t.Errorf("%s: want CamelCase and a comment that begins with it, not %q", reason, doc)
		}
		if !strings.HasSuffix(explain, ".") || strings.Contains(explain, ". ") || len(explain) < 20 {
			t.Errorf("%s: want one sentence, not %q", reason, explain)
		}
		if !who.MatchString(unblock) || !strings.HasSuffix(unblock, ".") {
			t.Errorf("%s: want who can unblock it first, not %q", reason, unblock)
		}
		seen = append(seen, explain)
	}
	slices.Sort(seen)
	if len(slices.Compact(seen)) != len(docs) {
		t.Error("two reasons have the same explanation")
	}
}

func TestUnknownReasonHasNoText(t *testing.T) {
	t.Parallel()
	if Reason("Bored").Explain() != "" || Reason("Bored").Unblock() != "" {
		t.Error("want no text for a reason that does not exist")
	}
}
