package lint

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Module is the root module; everything below internal/ is imported under it.
const Module = "chaperone.dev/chaperone"

// nested are the directories of modules of their own.
var nested = []string{"cmd/localcluster/", "cmd/localforge/", "cmd/localprometheus/"}

// File is one Go file.
type File struct {
	Path      string // from the root of the repository
	Source    []byte
	Syntax    *ast.File
	Test      bool
	Generated bool
	set       *token.FileSet
}

// Tree is every Go file of the repository.
type Tree struct{ Files []*File }

var generated = regexp.MustCompile(`(?m)^// Code generated .* DO NOT EDIT\.$`)

// Read parses the Go files of fsys. What no build looks at (testdata, hidden
// directories) is passed over.
func Read(fsys fs.FS) (*Tree, error) {
	tree := &Tree{}
	err := fs.WalkDir(fsys, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		base := path.Base(name)
		if entry.IsDir() && name != "." && (strings.HasPrefix(base, ".") || strings.HasPrefix(base, "_") ||
			slices.Contains([]string{"testdata", "vendor", "bin", "dist", "node_modules"}, base)) {
			return fs.SkipDir
		}
		if entry.IsDir() || path.Ext(name) != ".go" {
			return nil
		}
		content, err := fs.ReadFile(fsys, name)
		if err != nil {
			return err
		}
		return tree.add(name, content)
	})
	if err != nil {
		return nil, fmt.Errorf("read Go files: %w", err)
	}
	return tree, nil
}

func (t *Tree) add(name string, content []byte) error {
	set := token.NewFileSet()
	syntax, err := parser.ParseFile(set, name, content, parser.ParseComments)
	if err != nil {
		return err
	}
	head := content[:int(syntax.Package)-1]
	t.Files = append(t.Files, &File{
		Path: name, Source: content, Syntax: syntax, Test: strings.HasSuffix(name, "_test.go"),
		Generated: generated.Match(head), set: set,
	})
	return nil
}

// Package is the file's directory below internal/, such as "policy/rego", or
// the directory itself elsewhere, such as "cmd/chaperone".
func (f *File) Package() string { return strings.TrimPrefix(path.Dir(f.Path), "internal/") }

func (f *File) inNested() bool {
	return slices.ContainsFunc(nested, func(dir string) bool { return strings.HasPrefix(f.Path, dir) })
}

func (f *File) line(n ast.Node) int { return f.set.Position(n.Pos()).Line }

func (f *File) find(n ast.Node, format string, args ...any) Finding {
	return Finding{File: f.Path, Line: f.line(n), Text: fmt.Sprintf(format, args...)}
}

func (f *File) lines() int { return bytes.Count(f.Source, []byte("\n")) }

// imports are the paths by the name that the file uses for them.
func (f *File) imports() map[string]string {
	byName := map[string]string{}
	for _, spec := range f.Syntax.Imports {
		target := importPath(spec)
		name := path.Base(target)
		if version.MatchString(name) {
			name = path.Base(path.Dir(target))
		}
		if spec.Name != nil {
			name = spec.Name.Name
		}
		byName[name] = target
	}
	return byName
}

var version = regexp.MustCompile(`^v[0-9]+$`)

func importPath(spec *ast.ImportSpec) string {
	target, err := strconv.Unquote(spec.Path.Value)
	if err != nil {
		return spec.Path.Value
	}
	return target
}

// called is the import path and the name of a function that is called by its
// package's name.
func called(call *ast.CallExpr, imports map[string]string) (target, name string) {
	selector, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return "", ""
	}
	target, name = selected(selector, imports)
	return target, name
}

func selected(selector *ast.SelectorExpr, imports map[string]string) (target, name string) {
	ident, ok := selector.X.(*ast.Ident)
	if !ok || ident.Obj != nil { // a variable that is called as a package is
		return "", ""
	}
	return imports[ident.Name], selector.Sel.Name
}

func (t *Tree) each(keep func(*File) bool, visit func(*File) []Finding) []Finding {
	var findings []Finding
	for _, f := range t.Files {
		if keep(f) {
			findings = append(findings, visit(f)...)
		}
	}
	return findings
}

func anyFile(*File) bool { return true }

func noTest(f *File) bool { return !f.Test }
