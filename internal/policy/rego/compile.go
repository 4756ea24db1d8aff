package rego

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"

	"chaperone.dev/chaperone/internal/policy"
	"chaperone.dev/chaperone/internal/strictyaml"
)

//go:embed input.schema.json
var inputSchema []byte

// maxErrors bounds what one compilation complains about.
const maxErrors = 100

// compile makes a bundle that has not proved itself yet, and all its modules as
// parsed, the tests that it is to pass among them.
func compile(ctx context.Context, files fileSet, limits Limits) (*Bundle, map[string]*ast.Module, error) {
	if err := ctx.Err(); err != nil {
		return nil, nil, err
	}
	all := files
	files, foreigners := takeForeign(files)
	modules, moduleErr := parseModules(files.of(moduleFile))
	tests, testErr := parseModules(files.of(testFile))
	data, dataErr := parseData(files.of(dataFile))
	if err := errors.Join(moduleErr, testErr, dataErr, rulesAmongTests(tests)); err != nil {
		return nil, nil, err
	}
	templates, err := podTemplates(data)
	if err != nil {
		return nil, nil, err
	}
	recorded, err := evidenceKeys(data)
	if err != nil {
		return nil, nil, err
	}
	compiler := newCompiler(data, capabilities())
	if compiler.Compile(modules); compiler.Failed() {
		return nil, nil, explain(compiler.Errors)
	}
	others, foreignErr := foreignRules(foreigners, data)
	rules, ruleErr := findRules(compiler, others)
	var frameworks []policy.Framework
	var exceptions []policy.Exception
	var frameworkErr, exceptionErr error
	if ruleErr == nil && foreignErr == nil { // otherwise every exception would be for an unknown rule
		frameworks, frameworkErr = applyFrameworks(files.of(frameworkFile), rules)
		exceptions, exceptionErr = parseExceptions(files.of(exceptionFile), rules)
		exceptionErr = errors.Join(exceptionErr, checkExcepting(rules))
	}
	if err := errors.Join(foreignErr, ruleErr, frameworkErr, exceptionErr, checkReferences(compiler, data), checkNegations(compiler, data)); err != nil {
		return nil, nil, err
	}
	b := &Bundle{
		limits: limits, digest: all.digest(), rules: rules, frameworks: frameworks, exceptions: exceptions, templates: templates,
		compiler: compiler, data: data,
		store: storeOf(data), queries: map[string]*prepared{},
		byContent: byContent(compiler.Modules), recorded: recorded,
	}
	for i, r := range rules {
		r.index = i
		r.nameAnswers()
		if r.foreign == nil {
			r.sees = footprintOf(compiler, r.module)
		}
		b.sees |= r.sees
	}
	b.documents = documentsOf(compiler)
	maps.Copy(modules, tests)
	return b, modules, nil
}

func newCompiler(data map[string]any, caps *ast.Capabilities) *ast.Compiler {
	schemas := ast.NewSchemaSet()
	var schema any
	if err := json.Unmarshal(inputSchema, &schema); err == nil { // embedded; a test reads it
		schemas.Put(ast.SchemaRootRef, schema)
	}
	return ast.NewCompiler().
		WithCapabilities(caps).
		WithStrict(true).
		WithSchemas(schemas).
		WithUseTypeCheckAnnotations(true).
		WithDefaultRegoVersion(ast.RegoV1).
		SetErrorLimit(maxErrors).
		WithPathConflictsCheck(func(path []string) (bool, error) {
			return occupied(data, path), nil
		})
}

func parseModules(files fileSet) (map[string]*ast.Module, error) {
	modules := make(map[string]*ast.Module, len(files))
	var problems []error
	for _, f := range files {
		module, err := ast.ParseModuleWithOpts(f.name, string(f.content), ast.ParserOptions{
			Capabilities: capabilities(), ProcessAnnotation: true, RegoVersion: ast.RegoV1,
		})
		switch {
		case err != nil:
			problems = append(problems, explain(err))
		case module == nil:
			problems = append(problems, fmt.Errorf("%s:1: empty; want a package", f.name))
		default:
			modules[f.name] = module
		}
	}
	return modules, errors.Join(problems...)
}

// rulesAmongTests refuses a rule whose file is named as tests are: it would take
// part in no judgement.
func rulesAmongTests(tests map[string]*ast.Module) error {
	var problems []error
	for _, name := range slices.Sorted(maps.Keys(tests)) {
		for _, r := range tests[name].Rules {
			called, _, _ := strings.Cut(r.Head.Ref()[0].String(), "_")
			if slices.ContainsFunc(entrypoints, func(e entrypoint) bool { return e.name == called }) {
				problems = append(problems, fmt.Errorf("%s: %s in a file of tests would deny nothing; want another name for the file, such as rule.rego",
					at(r.Location), r.Head.Ref()[0]))
				break
			}
		}
	}
	return errors.Join(problems...)
}

// explain takes OPA's errors apart, and adds what a person coming from older
// policies needs.
func explain(err error) error {
	var several ast.Errors
	if !errors.As(err, &several) {
		return err
	}
	var parts []error
	for _, part := range several {
		parts = append(parts, fmt.Errorf("%w%s", part, advice(part.Message)))
	}
	return errors.Join(parts...)
}

func advice(message string) string {
	switch {
	case strings.Contains(message, "keyword is required before"), strings.Contains(message, "keyword must be used"):
		return "\n\tthis is Rego of before OPA 1.0; `opa fmt --write --v0-v1` rewrites it"
	case strings.Contains(message, "undefined function"):
		return "\n\tpolicies may not use the network, the clock (use input.now), chance, or the process environment"
	}
	return ""
}

// findRules takes every package outside `lib` for a rule, reads its metadata,
// and refuses one that could not deny anything.
func findRules(compiler *ast.Compiler, others []*rule) ([]*rule, error) {
	rules := others
	var problems []error
	for _, name := range slices.Sorted(maps.Keys(compiler.Modules)) {
		module := compiler.Modules[name]
		if isLibrary(module) {
			continue
		}
		r, err := newRule(compiler, name, module)
		if err != nil {
			problems = append(problems, err)
		}
		if r != nil {
			rules = append(rules, r)
		}
	}
	if problems = append(problems, unique(rules)...); len(problems) > 0 {
		return nil, errors.Join(problems...)
	}
	if len(rules) == 0 {
		return nil, errors.New("no rules; an empty bundle would allow everything, so it is refused")
	}
	slices.SortFunc(rules, func(a, b *rule) int { return strings.Compare(a.ID, b.ID) })
	return rules, nil
}

// unique wants packages, ids and directories of one rule each. Packages of rules
// written for others are each in a world of their own.
func unique(rules []*rule) (problems []error) {
	seen := map[string]*rule{}
	for _, r := range rules {
		keys := []string{"id " + r.ID, "directory " + r.dir}
		if r.foreign == nil {
			keys = append(keys, "package "+r.module.Package.Path.String())
		}
		for _, key := range keys {
			if other := seen[key]; other != nil && key != "id " {
				problems = append(problems, fmt.Errorf("%s: %s is also that of %s; want one of its own for each rule",
					at(r.module.Package.Location), key, other.File))
			}
			seen[key] = r
		}
	}
	return problems
}

// isLibrary reports whether a module is in package lib or below: shared
// helpers, not a rule.
func isLibrary(module *ast.Module) bool {
	return len(module.Package.Path) > 1 && module.Package.Path[1].Value.Compare(ast.String("lib")) == 0
}

func newRule(compiler *ast.Compiler, name string, module *ast.Module) (*rule, error) {
	where := at(module.Package.Location)
	annotation := packageAnnotation(module)
	if annotation == nil {
		return nil, fmt.Errorf("%s: package %s has no METADATA with `scope: package`; want one with custom.id, "+
			"or the package below lib if it is no rule", where, module.Package.Path)
	}
	parsed, err := policy.ParseRule(annotation.Title, annotation.Description, annotation.Custom)
	parsed.File = name
	var problems []error
	if err != nil {
		problems = append(problems, prefixed(at(annotation.Location)+": metadata: ", err))
	}
	r := &rule{Rule: parsed, dir: path.Dir(name), module: module}
	for _, entry := range entrypoints {
		found, err := hasEntrypoint(module, entry.name)
		if err != nil {
			problems = append(problems, err)
		}
		if found {
			r.entrypoints = append(r.entrypoints, entry)
		}
	}
	if len(r.entrypoints) == 0 {
		problems = append(problems, fmt.Errorf("%s: package %s has none of deny, violation, warn, audit; want at least one, such as "+
			"`deny contains msg if { … }`", where, module.Package.Path))
	}
	if err := checkScope(compiler, r, where); err != nil {
		problems = append(problems, err)
	}
	return r, errors.Join(problems...)
}

func packageAnnotation(module *ast.Module) *ast.Annotations {
	for _, annotation := range module.Annotations {
		if annotation.Scope == "package" {
			return annotation
		}
	}
	return nil
}

// hasEntrypoint reports whether the module has a rule of this name, and refuses
// forms that do not give a set of results.
func hasEntrypoint(module *ast.Module, name string) (bool, error) {
	found := false
	for _, r := range module.Rules {
		head := r.Head.Ref()
		if len(head) == 0 || head[0].Value.Compare(ast.Var(name)) != 0 {
			continue
		}
		found = true
		if len(r.Head.Args) > 0 || len(head) > 1 && r.Head.Key == nil {
			return true, fmt.Errorf("%s: %s is not a set of results; want `%s contains msg if { … }`", at(r.Location), name, name)
		}
	}
	return found, nil
}

func parseExceptions(files fileSet, rules []*rule) ([]policy.Exception, error) {
	var exceptions []policy.Exception
	var problems []error
	for _, f := range files {
		e, err := policy.ParseException(f.name, f.content)
		if err != nil {
			problems = append(problems, err)
			continue
		}
		i := slices.IndexFunc(rules, func(r *rule) bool { return r.ID == e.Rule })
		if i < 0 {
			problems = append(problems, fmt.Errorf("%s:%d: spec.rule: no rule %q in this bundle; %s",
				e.File, e.Line, e.Rule, strictyaml.DidYouMean(e.Rule, idsOf(rules))))
		} else if err := rules[i].CheckWaiver(e); err != nil {
			problems = append(problems, fmt.Errorf("%s:%d: spec.rule: %w", e.File, e.Line, err))
		}
		exceptions = append(exceptions, e)
	}
	return exceptions, errors.Join(problems...)
}

func idsOf(rules []*rule) []string {
	ids := make([]string, 0, len(rules))
	for _, r := range rules {
		ids = append(ids, r.ID)
	}
	return ids
}

// at prints where something stands.
func at(location *ast.Location) string {
	if location == nil {
		return "policy bundle"
	}
	return fmt.Sprintf("%s:%d", location.File, location.Row)
}

// prefixed puts a place in front of every part of a joined error.
func prefixed(place string, err error) error {
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return fmt.Errorf("%s%w", place, err)
	}
	var parts []error
	for _, part := range joined.Unwrap() {
		parts = append(parts, fmt.Errorf("%s%w", place, part))
	}
	return errors.Join(parts...)
}
