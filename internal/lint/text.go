package lint

import (
	"go/ast"
	"go/token"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// proper are words that keep their capital at the head of an error: kinds, and
// names of programs.
var proper = []string{
	"Deployment", "Environment", "Event", "Git", "Go", "Ingress", "Job", "Kubernetes", "Lease", "Namespace", "Node", "Package", "Pod",
	"Prometheus", "Rego", "Release", "Role", "Secret", "Service",
}

// checkErrorTexts: errors are wrapped, so a text stands in the middle of others.
func checkErrorTexts(t *Tree) []Finding {
	return t.each(noTest, func(f *File) []Finding {
		var findings []Finding
		imports := f.imports()
		ast.Inspect(f.Syntax, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok || len(call.Args) == 0 {
				return true
			}
			target, name := called(call, imports)
			if target == "errors" && name == "New" || target == "fmt" && name == "Errorf" {
				for _, why := range faultsOfText(literals(call.Args[0])) {
					findings = append(findings, f.find(call, "%s", why))
				}
			}
			return true
		})
		return findings
	})
}

// literals are the parts of a text as far as it is written out: a + "b" is two,
// of which the first is not known.
func literals(e ast.Expr) []*string {
	switch e := e.(type) {
	case *ast.BasicLit:
		if text, err := strconv.Unquote(e.Value); err == nil && e.Kind == token.STRING {
			return []*string{&text}
		}
	case *ast.BinaryExpr:
		if e.Op == token.ADD {
			return append(literals(e.X), literals(e.Y)...)
		}
	case *ast.ParenExpr:
		return literals(e.X)
	}
	return []*string{nil}
}

func faultsOfText(parts []*string) []string {
	var faults []string
	if first := parts[0]; first != nil && startsWithCapital(*first) {
		faults = append(faults, "error text "+strconv.Quote(*first)+" begins with a capital; it will stand in the middle of others")
	}
	if last := parts[len(parts)-1]; last != nil && strings.ContainsRune(".!\n", lastRune(*last)) {
		faults = append(faults, "error text "+strconv.Quote(*last)+" ends like a sentence; it will stand in the middle of others")
	}
	for _, part := range parts {
		if part != nil && strings.Contains(strings.ToLower(*part), "failed to") {
			faults = append(faults, "error text "+strconv.Quote(*part)+` has "failed to", which every error could have; want the operation alone`)
		}
	}
	return faults
}

func lastRune(s string) rune {
	r, _ := utf8.DecodeLastRuneInString(s)
	return r
}

func startsWithCapital(text string) bool {
	first, size := utf8.DecodeRuneInString(text)
	if !unicode.IsUpper(first) {
		return false
	}
	word := text
	if end := strings.IndexFunc(text, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) }); end >= 0 {
		word = text[:end]
		if text[end] == '/' || text[end] == '(' { // Deployment/novamind/api, SetRevision(…)
			return false
		}
	}
	// HTTP, apiVersion's like, WorkingTree and PEM2 are names too.
	inside := strings.ContainsFunc(word[size:], func(r rune) bool { return unicode.IsUpper(r) || unicode.IsDigit(r) })
	return !inside && !slices.Contains(proper, word)
}
