package strictyaml

import (
	"fmt"
	"slices"
	"time"

	yaml "go.yaml.in/yaml/v3"
)

// Object is a mapping. Asking it for a field makes the field known; a field
// without a value, or with null, is as good as absent.
type Object struct {
	value   Value
	names   []string
	keys    map[string]*yaml.Node
	fields  map[string]*yaml.Node
	known   []string
	broken  bool // it is something else: its fields are not missed
	present bool
}

func (v Value) object() *Object {
	o := &Object{value: v, keys: map[string]*yaml.Node{}, fields: map[string]*yaml.Node{}, present: v.Present()}
	v.doc.objects = append(v.doc.objects, o)
	if !v.Present() {
		return o
	}
	n := resolve(v.node)
	if n.Kind != yaml.MappingNode || n.Tag != "!!map" {
		v.Problem("want a mapping of fields, not %s", describe(n))
		o.broken = true
		return o
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		o.addField(n.Content[i], n.Content[i+1])
	}
	return o
}

func (o *Object) addField(key, value *yaml.Node) {
	name := resolve(key)
	first, twice := o.keys[name.Value]
	switch {
	case name.Kind != yaml.ScalarNode:
		o.problemAt(key, "", "want a plain field name, not %s", describe(name))
	case name.Tag == "!!merge":
		o.problemAt(key, "", "merge keys are not read; write the fields out")
	case twice:
		o.problemAt(key, name.Value, "written twice, first in line %d; keep one", first.Line)
	default:
		o.names = append(o.names, name.Value)
		o.keys[name.Value] = key
		if !isNull(resolve(value)) {
			o.fields[name.Value] = value
		}
	}
}

func (o *Object) problemAt(n *yaml.Node, name, format string, args ...any) {
	o.value.doc.add(n.Line, n.Column, join(o.value.path, name), fmt.Sprintf(format, args...))
}

func (o *Object) reportUnknown() {
	for _, name := range o.names {
		if !slices.Contains(o.known, name) {
			o.problemAt(o.keys[name], clip(name), "unknown field; %s", DidYouMean(name, o.known))
		}
	}
}

// Present reports whether the mapping itself was written.
func (o *Object) Present() bool { return o.present }

// Path is the object's place in the file, such as "spec.verify".
func (o *Object) Path() string { return o.value.path }

// Names are the fields that were written, in their order, for a mapping whose
// names are the writer's own.
func (o *Object) Names() []string { return slices.Clone(o.names) }

// Problem reports the object as a whole.
func (o *Object) Problem(format string, args ...any) { o.value.Problem(format, args...) }

// Value is a field's value, for readers that the methods below do not serve.
func (o *Object) Value(name string) Value {
	if !slices.Contains(o.known, name) {
		o.known = append(o.known, name)
	}
	v := Value{doc: o.value.doc, path: join(o.value.path, name), line: o.value.line, column: o.value.column}
	if key, written := o.keys[name]; written {
		v.line, v.column, v.node = key.Line, key.Column, o.fields[name]
	}
	return v
}

// Require reports the field when it is absent. Hint ends the message and says
// what to write.
func (o *Object) Require(name, hint string) {
	if v := o.Value(name); !v.Present() && !o.broken {
		v.Problem("missing; %s", hint)
	}
}

// Object is a field that is a mapping.
func (o *Object) Object(name string) *Object {
	nested := o.Value(name).object()
	nested.broken = nested.broken || o.broken
	return nested
}

// Objects is a field that is a list of mappings.
func (o *Object) Objects(name string) []*Object {
	var objects []*Object
	for _, v := range o.Value(name).List() {
		objects = append(objects, v.object())
	}
	return objects
}

// String is a field that is a text. The first check that fails is reported.
func (o *Object) String(name, fallback string, checks ...func(string) error) string {
	return o.Value(name).text(fallback, checks)
}

// Strings is a field that is a list of texts without repetition.
func (o *Object) Strings(name string, checks ...func(string) error) []string {
	var texts []string
	for _, v := range o.Value(name).List() {
		text := v.text("", checks)
		if slices.Contains(texts, text) && text != "" {
			v.Problem("%s is listed twice; keep one", quote(text))
			continue
		}
		texts = append(texts, text)
	}
	return texts
}

// StringMap is a field that maps names to texts. Its values never stand in a
// message: some are secret.
func (o *Object) StringMap(name string, checks ...func(key, value string) error) map[string]string {
	nested := o.Object(name)
	if !nested.present || nested.broken {
		return nil
	}
	texts := make(map[string]string, len(nested.names))
	for _, key := range nested.names {
		v := nested.Value(key)
		text, ok := v.stringNode()
		if !ok {
			v.Problem("want a text, not %s; quote it", describe(v.resolved()))
			continue
		}
		texts[key] = text
		for _, check := range checks {
			if err := check(key, text); err != nil {
				v.Problem("%v", err)
				break
			}
		}
	}
	return texts
}

// Bool is a field that is true or false.
func (o *Object) Bool(name string, fallback bool) bool {
	v := o.Value(name)
	if !v.Present() {
		return fallback
	}
	truth, ok := parseBool(v.resolved())
	if !ok {
		v.Problem("want true or false, not %s", v.shown())
		return fallback
	}
	return truth
}

// Int is a field that is a whole number within bounds.
func (o *Object) Int(name string, fallback, low, high int) int {
	return o.Value(name).Int(fallback, low, high)
}

// Duration is a field that is a time span within bounds, as ParseDuration
// reads it.
func (o *Object) Duration(name string, fallback, low, high time.Duration) time.Duration {
	v := o.Value(name)
	text, ok := v.Scalar()
	if !ok {
		return fallback
	}
	d, err := ParseDuration(text)
	if err != nil {
		v.Problem("%v", err)
		return fallback
	}
	if d < low || d > high {
		v.Problem("want between %s and %s, not %s", FormatDuration(low), FormatDuration(high), quote(text))
		return fallback
	}
	return d
}

// Enum is a field whose text is one of a few.
func Enum[T ~string](o *Object, name string, fallback T, allowed ...T) T {
	v := o.Value(name)
	text, ok := v.Scalar()
	if !ok || slices.Contains(allowed, T(text)) {
		if ok {
			return T(text)
		}
		return fallback
	}
	words := make([]string, 0, len(allowed))
	for _, word := range allowed {
		words = append(words, string(word))
	}
	v.Problem("%s is not known; %s", quote(text), OneOf(words))
	return fallback
}
