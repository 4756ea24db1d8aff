package rego

import (
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
	sigsyaml "sigs.k8s.io/yaml"

	"chaperone.dev/chaperone/internal/policy"
)

// sidecarName is the file that says of the Rego beside it that it was written
// for another tool, and what its METADATA would have said.
const sidecarName = "rule.yaml"

// The tools whose rules run here as they are.
const (
	gatekeeper = "gatekeeper" // violation over input.review and input.parameters
	conftest   = "conftest"   // deny, deny_…, violation_…, warn_… and exception over one document
)

// foreign is what is different about a rule that was written for another tool:
// it is compiled alone, as it is, and sees the input that it was written for.
type foreign struct {
	style      string
	version    ast.RegoVersion
	parameters *ast.Term
	compiler   *ast.Compiler
	modules    map[string]*ast.Module // its tests among them
	inventory  bool                   // looks at data.inventory
	excepts    bool                   // has Conftest's exception
}

// folder is the files of one such rule.
type folder struct {
	sidecar file
	dir     string
	rego    fileSet
	tests   fileSet
}

// takeForeign takes the Rego beside and below each sidecar out of the bundle.
func takeForeign(files fileSet) (own fileSet, folders []folder) {
	for _, f := range files.of(sidecarFile) {
		folders = append(folders, folder{sidecar: f, dir: path.Dir(f.name)})
	}
	for _, f := range files {
		i := slices.IndexFunc(folders, func(d folder) bool { return strings.HasPrefix(f.name, d.dir+"/") })
		switch {
		case f.kind == sidecarFile:
		case i >= 0 && f.kind == moduleFile:
			folders[i].rego = append(folders[i].rego, f)
		case i >= 0 && f.kind == testFile:
			folders[i].tests = append(folders[i].tests, f)
		default:
			own = append(own, f)
		}
	}
	return own, folders
}

func foreignRules(folders []folder, data map[string]any) ([]*rule, error) {
	var rules []*rule
	var problems []error
	for _, d := range folders {
		r, err := newForeign(d, data)
		if err != nil {
			problems = append(problems, err)
			continue
		}
		rules = append(rules, r)
	}
	return rules, errors.Join(problems...)
}

func newForeign(d folder, data map[string]any) (*rule, error) {
	r, err := readSidecar(d.sidecar)
	if err != nil {
		return nil, err
	}
	f := r.foreign
	modules, err := parseForeign(d.rego, f.version)
	if err != nil {
		return nil, err
	}
	tests, err := parseForeign(d.tests, f.version)
	if err = errors.Join(err, rulesAmongTests(tests)); err != nil {
		return nil, err
	}
	if err := r.enter(modules); err != nil {
		return nil, fmt.Errorf("%s:1: %w", d.sidecar.name, err)
	}
	if err := f.compile(modules, data); err != nil {
		return nil, err
	}
	f.modules = maps.Clone(modules)
	maps.Copy(f.modules, tests)
	r.sees = partOf(ast.InputRootRef.Append(ast.StringTerm("object")))
	if f.inventory {
		r.sees |= partOf(ast.InputRootRef.Append(ast.StringTerm("objects")))
	}
	return r, nil
}

// readSidecar reads what METADATA says elsewhere, and for which tool, in which
// version of the language and with which parameters the rule was written.
func readSidecar(f file) (*rule, error) {
	var fields map[string]any
	if err := sigsyaml.UnmarshalStrict(f.content, &fields); err != nil {
		return nil, fmt.Errorf("%s:1: want a mapping: %w", f.name, err)
	}
	take := func(name string) any {
		value := fields[name]
		delete(fields, name)
		return value
	}
	text := func(name string) string {
		text, _ := take(name).(string)
		return text
	}
	style, version, parameters := text("style"), text("rego"), take("parameters")
	if _, given := fields["kinds"]; !given {
		fields["kinds"] = policy.OtherKinds
	}
	parsed, err := policy.ParseRule(text("title"), text("description"), fields)
	problems := []error{err}
	if style != gatekeeper && style != conftest {
		problems = append(problems, fmt.Errorf("style: want %s or %s", gatekeeper, conftest))
	}
	versions := map[string]ast.RegoVersion{"v0": ast.RegoV0, "v1": ast.RegoV1, "": ast.RegoV1}
	if _, known := versions[version]; !known {
		problems = append(problems, errors.New("rego: want v1, or v0 for the syntax of before OPA 1.0"))
	}
	if _, mapping := parameters.(map[string]any); parameters != nil && !mapping {
		problems = append(problems, errors.New("parameters: want a mapping"))
	}
	if err := errors.Join(problems...); err != nil {
		return nil, sidecarFaults(f, err)
	}
	value, err := ast.InterfaceToValue(parameters)
	if err != nil {
		return nil, fmt.Errorf("%s:1: parameters: %w", f.name, err)
	}
	if parameters == nil {
		value = ast.NewObject()
	}
	parsed.File = f.name
	return &rule{Rule: parsed, dir: path.Dir(f.name),
		foreign: &foreign{style: style, version: versions[version], parameters: ast.NewTerm(value)}}, nil
}

// sidecarFaults gives each fault the line of its field.
func sidecarFaults(f file, err error) error {
	var faults []error
	for _, part := range flattened(err) {
		text := strings.TrimPrefix(part.Error(), "custom.")
		field, _, _ := strings.Cut(text, ":")
		field, _, _ = strings.Cut(field, ".")
		line := 1
		for i, content := range strings.Split(string(f.content), "\n") {
			if strings.HasPrefix(content, field+":") {
				line = i + 1
			}
		}
		faults = append(faults, fmt.Errorf("%s:%d: %s", f.name, line, text))
	}
	return errors.Join(faults...)
}

func flattened(err error) []error {
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return []error{err}
	}
	var parts []error
	for _, part := range joined.Unwrap() {
		parts = append(parts, flattened(part)...)
	}
	return parts
}

func parseForeign(files fileSet, version ast.RegoVersion) (map[string]*ast.Module, error) {
	modules := map[string]*ast.Module{}
	var problems []error
	for _, f := range files {
		module, err := ast.ParseModuleWithOpts(f.name, string(f.content), ast.ParserOptions{
			Capabilities: foreignCapabilities(version), RegoVersion: version,
		})
		switch {
		case err != nil && version == ast.RegoV1:
			problems = append(problems, fmt.Errorf("%w\n\tor say `rego: v0` in %s beside it, and it runs as it is", explain(err), sidecarName))
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

// deprecated are functions that rules of before OPA 1.0 use.
var deprecated = []string{"all", "any", "re_match", "set_diff", "net.cidr_overlap", "cast_array", "cast_set", "cast_string",
	"cast_boolean", "cast_null", "cast_object"}

func foreignCapabilities(version ast.RegoVersion, extra ...string) *ast.Capabilities {
	if version != ast.RegoV0 {
		return capabilities(extra...)
	}
	known := ast.CapabilitiesForThisVersion(ast.CapabilitiesRegoVersion(ast.RegoV0))
	caps := &ast.Capabilities{Features: known.Features, FutureKeywords: known.FutureKeywords, AllowNet: []string{}}
	for _, builtin := range known.Builtins {
		if slices.Contains(allowed, builtin.Name) || slices.Contains(deprecated, builtin.Name) || slices.Contains(extra, builtin.Name) {
			caps.Builtins = append(caps.Builtins, builtin)
		}
	}
	return caps
}

// enter finds the package that the tool would ask, and what it would ask it.
func (r *rule) enter(modules map[string]*ast.Module) error {
	for _, name := range slices.Sorted(maps.Keys(modules)) {
		module := modules[name]
		for _, compiled := range module.Rules {
			head := compiled.Head.Ref()[0].Value.String()
			entry, ok := r.foreign.entrypoint(head)
			r.foreign.excepts = r.foreign.excepts || head == "exception" && r.foreign.style == conftest
			if !ok {
				continue
			}
			if r.module != nil && !r.module.Package.Equal(module.Package) {
				return fmt.Errorf("%s and %s both have rules of %s; want one of them in a folder of its own",
					at(r.module.Package.Location), at(module.Package.Location), r.foreign.style)
			}
			if r.module = module; !slices.Contains(r.entrypoints, entry) {
				r.entrypoints = append(r.entrypoints, entry)
			}
		}
	}
	if r.module == nil {
		return fmt.Errorf("no Rego beside it has a rule that %s asks; want %s", r.foreign.style, r.foreign.wanted())
	}
	return nil
}

// checkExcepting refuses Conftest's exception where nothing may be excepted: it
// has no approver and no end.
func checkExcepting(rules []*rule) error {
	var problems []error
	for _, r := range rules {
		if r.foreign != nil && r.foreign.excepts && !r.Waivable {
			problems = append(problems, fmt.Errorf("%s: has a rule `exception`, and %s cannot be waived; take it out", at(r.module.Package.Location), r.ID))
		}
	}
	return errors.Join(problems...)
}

func (f *foreign) wanted() string {
	if f.style == gatekeeper {
		return "violation"
	}
	return "deny, violation or warn, alone or with _ and a name"
}

// entrypoint is what the tool makes of a rule of this name.
func (f *foreign) entrypoint(name string) (entrypoint, bool) {
	base := name
	if f.style == conftest {
		base, _, _ = strings.Cut(name, "_")
	}
	for _, known := range entrypoints {
		if known.name == base && known.action != policy.ActionAudit && (f.style == conftest || base == "violation") {
			return entrypoint{name, known.action}, true
		}
	}
	return entrypoint{}, false
}

// suffix is the name by which Conftest's exceptions call an entry point.
func (e entrypoint) suffix() string {
	_, suffix, _ := strings.Cut(e.name, "_")
	return suffix
}

func (e entrypoint) isCalled(name *ast.Term) bool {
	text, ok := name.Value.(ast.String)
	return ok && string(text) == e.suffix()
}

// inventoryModule is Gatekeeper's data.inventory, made of the release.
const inventoryModule = `package inventory

namespace[ns][o.apiVersion][o.kind][o.metadata.name] := o if {
	some o in input.chaperone_objects
	ns := o.metadata.namespace
}

cluster[o.apiVersion][o.kind][o.metadata.name] := o if {
	some o in input.chaperone_objects
	not o.metadata.namespace
}
`

// newCompiler is not strict and knows no schema: the rule is taken as it is.
func (f *foreign) newCompiler(extra ...string) *ast.Compiler {
	return ast.NewCompiler().WithCapabilities(foreignCapabilities(f.version, append(extra, "internal.member_2")...)).
		WithDefaultRegoVersion(f.version).SetErrorLimit(maxErrors)
}

func (f *foreign) compile(modules map[string]*ast.Module, data map[string]any) error {
	for _, module := range modules {
		ast.WalkRefs(module, func(ref ast.Ref) bool {
			f.inventory = f.inventory || len(ref) > 1 && ref[0].Equal(ast.DefaultRootDocument) && part(ref, 1) == "inventory"
			return false
		})
	}
	if f.inventory && f.style == gatekeeper {
		// It cannot fail: it is the same for every bundle, and a test has it.
		modules["inventory.rego"] = ast.MustParseModuleWithOpts(inventoryModule, ast.ParserOptions{RegoVersion: ast.RegoV1})
	}
	f.compiler = f.newCompiler().WithPathConflictsCheck(func(path []string) (bool, error) { return occupied(data, path), nil })
	if f.compiler.Compile(modules); f.compiler.Failed() {
		return explain(f.compiler.Errors)
	}
	return checkReferences(f.compiler, data)
}

// input makes of Chaperone's input the one that the rule was written for.
func (f *foreign) input(value ast.Value) (ast.Value, error) {
	in, _ := value.(ast.Object)
	object := in.Get(ast.StringTerm("object"))
	if object == nil {
		return nil, errors.New("there is no object to ask about")
	}
	if f.style == conftest {
		return object.Value, nil
	}
	items := [][2]*ast.Term{
		ast.Item(ast.StringTerm("review"), ast.NewTerm(review(object))),
		ast.Item(ast.StringTerm("parameters"), f.parameters),
	}
	if objects := in.Get(ast.StringTerm("objects")); objects != nil {
		items = append(items, ast.Item(ast.StringTerm("chaperone_objects"), objects))
	}
	return ast.NewObject(items...), nil
}

// review is what Gatekeeper would have been sent for an object that is created.
func review(object *ast.Term) ast.Value {
	text := func(path ...string) string {
		var at ast.Value = object.Value
		for _, step := range path {
			fields, ok := at.(ast.Object)
			if !ok {
				return ""
			}
			next := fields.Get(ast.StringTerm(step))
			if next == nil {
				return ""
			}
			at = next.Value
		}
		value, _ := at.(ast.String)
		return string(value)
	}
	group, version, found := strings.Cut(text("apiVersion"), "/")
	if !found {
		group, version = "", group
	}
	item := func(key, value string) [2]*ast.Term { return ast.Item(ast.StringTerm(key), ast.StringTerm(value)) }
	return ast.NewObject(
		ast.Item(ast.StringTerm("kind"), ast.NewTerm(ast.NewObject(item("group", group), item("version", version), item("kind", text("kind"))))),
		item("name", text("metadata", "name")), item("namespace", text("metadata", "namespace")), item("operation", "CREATE"),
		ast.Item(ast.StringTerm("object"), object),
		ast.Item(ast.StringTerm("userInfo"), ast.NewTerm(ast.NewObject(item("username", "")))),
	)
}
