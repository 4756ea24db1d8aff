package lint

import (
	"bytes"
	"go/ast"
	"go/format"
	"maps"
	"path"
	"slices"
	"strings"
)

const (
	maxFileLines     = 500
	maxFunctionLines = 70
	long             = "//lint:long because "
	minReason        = 10
)

// checkPackageComments wants one place that says what a package guarantees.
func checkPackageComments(t *Tree) []Finding {
	byPackage := map[string][]*File{}
	for _, f := range t.Files {
		if name := f.Syntax.Name.Name; !strings.HasSuffix(name, "_test") {
			key := path.Dir(f.Path)
			byPackage[key] = append(byPackage[key], f)
		}
	}
	var findings []Finding
	for _, key := range slices.Sorted(maps.Keys(byPackage)) {
		findings = append(findings, checkPackageComment(byPackage[key])...)
	}
	return findings
}

func checkPackageComment(files []*File) []Finding {
	var findings []Finding
	var first *File
	for _, f := range files {
		text := f.Syntax.Doc.Text()
		if text == "" {
			continue
		}
		name := f.Syntax.Name.Name
		if first != nil {
			findings = append(findings, f.find(f.Syntax.Doc, "package %s has a second comment, the first is in %s; keep one, so that they "+
				"cannot disagree", name, first.Path))
			continue
		}
		first = f
		if name != "main" && !strings.HasPrefix(text, "Package "+name+" ") {
			findings = append(findings, f.find(f.Syntax.Doc, "want a comment that begins with %q and says what the package guarantees", "Package "+name))
		}
	}
	if first == nil {
		f := files[0]
		findings = append(findings, f.find(f.Syntax.Name, "package %s has no comment; want one that says what it guarantees", f.Syntax.Name.Name))
	}
	return findings
}

// excused reports whether a comment gives a reason to be long.
func excused(groups ...*ast.CommentGroup) bool {
	for _, group := range groups {
		if group == nil {
			continue
		}
		for _, comment := range group.List {
			if reason, is := strings.CutPrefix(comment.Text, long); is && len(strings.TrimSpace(reason)) >= minReason {
				return true
			}
		}
	}
	return false
}

func checkFileLength(t *Tree) []Finding {
	return t.each(func(f *File) bool { return !f.Generated }, func(f *File) []Finding {
		var head []*ast.CommentGroup
		for _, group := range f.Syntax.Comments {
			if group.Pos() < f.Syntax.Package {
				head = append(head, group)
			}
		}
		if f.lines() <= maxFileLines || excused(head...) {
			return nil
		}
		return []Finding{f.find(f.Syntax.Name, "%d lines; want at most %d, or above the package clause `%s…`", f.lines(), maxFileLines, long)}
	})
}

func checkFunctionLength(t *Tree) []Finding {
	return t.each(func(f *File) bool { return !f.Generated }, func(f *File) []Finding {
		var findings []Finding
		for _, declaration := range f.Syntax.Decls {
			function, ok := declaration.(*ast.FuncDecl)
			if !ok {
				continue
			}
			lines := f.set.Position(function.End()).Line - f.line(function) + 1
			if function.Doc != nil {
				lines = f.set.Position(function.End()).Line - f.set.Position(function.Type.Func).Line + 1
			}
			if lines > maxFunctionLines && !excused(function.Doc) {
				findings = append(findings, f.find(function.Name, "%s has %d lines; want at most %d, or above it `%s…`",
					function.Name.Name, lines, maxFunctionLines, long))
			}
		}
		return findings
	})
}

// checkPanics: bad input is an error. Whoever can commit a file must not be able
// to stop the daemon.
func checkPanics(t *Tree) []Finding {
	return t.each(func(f *File) bool { return noTest(f) && !servesTests(f) }, func(f *File) []Finding {
		excuses := f.reasons("//lint:panic because ")
		var findings []Finding
		ast.Inspect(f.Syntax, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			ident, ok := call.Fun.(*ast.Ident)
			if ok && ident.Name == "panic" && ident.Obj == nil && !excuses[f.line(call)] && !excuses[f.line(call)-1] {
				findings = append(findings, f.find(call, "panic stops the program for every environment; return an error, or where only a "+
					"change of the code itself can reach it, write above it `//lint:panic because …`"))
			}
			return true
		})
		return findings
	})
}

// reasons are the lines of the comments that give one.
func (f *File) reasons(prefix string) map[int]bool {
	lines := map[int]bool{}
	for _, group := range f.Syntax.Comments {
		for _, comment := range group.List {
			if reason, is := strings.CutPrefix(comment.Text, prefix); is && len(strings.TrimSpace(reason)) >= minReason {
				lines[f.line(comment)] = true
			}
		}
	}
	return lines
}

// checkSkips: a test that is silently left out looks like one that passed.
func checkSkips(t *Tree) []Finding {
	return t.each(func(f *File) bool { return f.Test }, func(f *File) []Finding {
		var findings []Finding
		ast.Inspect(f.Syntax, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			selector, ok := call.Fun.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			name := selector.Sel.Name
			if name == "SkipNow" || (name == "Skip" || name == "Skipf") && (len(call.Args) == 0 || isEmptyText(call.Args[0])) {
				findings = append(findings, f.find(call, "%s without a reason looks like a test that passed; say why", name))
			}
			return true
		})
		return findings
	})
}

// checkRacing: `make test` runs without the race detector what asks whether that is
// on, and finds it by the function that asks.
func checkRacing(t *Tree) []Finding {
	return t.each(func(f *File) bool { return f.Test }, func(f *File) []Finding {
		var findings []Finding
		for _, declaration := range f.Syntax.Decls {
			function, isFunction := declaration.(*ast.FuncDecl)
			if isFunction && strings.HasPrefix(function.Name.Name, "Test") {
				continue
			}
			ast.Inspect(declaration, func(n ast.Node) bool {
				if selector, ok := n.(*ast.SelectorExpr); ok && rootOf(selector) == "racing" {
					findings = append(findings, f.find(n, "no run of `make test` does the rest of this; ask in the test itself"))
				}
				return true
			})
		}
		return findings
	})
}

// checkGenerators: tests run side by side, and rapid's generators do not unless
// they are made for it.
func checkGenerators(t *Tree) []Finding {
	return t.each(func(f *File) bool { return f.Test }, func(f *File) []Finding {
		var findings []Finding
		for _, declaration := range f.Syntax.Decls {
			variables, ok := declaration.(*ast.GenDecl)
			if !ok {
				continue
			}
			for _, spec := range variables.Specs {
				findings = append(findings, bareGenerators(f, spec)...)
			}
		}
		return findings
	})
}

func bareGenerators(f *File, spec ast.Spec) []Finding {
	values, ok := spec.(*ast.ValueSpec)
	if !ok {
		return nil
	}
	var findings []Finding
	for _, value := range values.Values {
		call, ok := value.(*ast.CallExpr)
		if !ok {
			continue
		}
		if root := rootOf(call.Fun); root == "rapid" {
			findings = append(findings, f.find(call, "tests that run side by side would write to this generator at the same time; wrap it in generator.Shared"))
		}
	}
	return findings
}

// rootOf is what a chain of calls and selections begins with.
func rootOf(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.SelectorExpr:
		return rootOf(e.X)
	case *ast.CallExpr:
		return rootOf(e.Fun)
	case *ast.IndexExpr:
		return rootOf(e.X)
	case *ast.IndexListExpr:
		return rootOf(e.X)
	}
	return ""
}

func isEmptyText(e ast.Expr) bool {
	literal, ok := e.(*ast.BasicLit)
	return ok && strings.Trim(literal.Value, "\"` ") == ""
}

func checkFormat(t *Tree) []Finding {
	return t.each(func(f *File) bool { return !f.Generated }, func(f *File) []Finding {
		formatted, err := format.Source(f.Source)
		if err != nil || bytes.Equal(formatted, f.Source) {
			return nil
		}
		finding := f.find(f.Syntax.Name, "gofmt would change it; run `make fmt`")
		finding.Line = firstDifference(f.Source, formatted)
		return []Finding{finding}
	})
}

func firstDifference(a, b []byte) int {
	at := 0
	for at < min(len(a), len(b)) && a[at] == b[at] {
		at++
	}
	return 1 + bytes.Count(a[:at], []byte("\n"))
}
