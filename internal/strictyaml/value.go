package strictyaml

import (
	"fmt"
	"strconv"

	yaml "go.yaml.in/yaml/v3"
)

// Value is what stands at one place of the file, or would.
type Value struct {
	doc          *Document
	path         string
	node         *yaml.Node // nil: absent
	line, column int        // of its key, or of the mapping that lacks it
}

// Present reports whether there is a value that is not null.
func (v Value) Present() bool { return v.node != nil }

// Line is where the value stands.
func (v Value) Line() int {
	line, _ := v.position()
	return line
}

// position is the value's own, but for a mapping or a list that of its key: a
// person looks for the name, not for its first field.
func (v Value) position() (line, column int) {
	if v.node != nil && (v.line == 0 || len(v.node.Content) == 0) {
		return v.node.Line, v.node.Column
	}
	return v.line, v.column
}

// Problem reports the value. The text says what is wrong and what would be
// right.
func (v Value) Problem(format string, args ...any) {
	v.doc.problems = append(v.doc.problems, v.At(format, args...))
}

// At is a Problem of this value that is not the document's, for what only
// shows once other files are known.
func (v Value) At(format string, args ...any) Problem {
	line, column := v.position()
	return Problem{File: v.doc.file, Line: line, Column: column, Field: v.path, Text: fmt.Sprintf(format, args...)}
}

// IsList reports whether the value is a list.
func (v Value) IsList() bool { return v.Present() && v.resolved().Kind == yaml.SequenceNode }

// IsEmpty reports whether the value is absent, "", [] or {}.
func (v Value) IsEmpty() bool {
	if !v.Present() {
		return true
	}
	n := v.resolved()
	return len(n.Content) == 0 && n.Value == ""
}

// List is the values of a list.
func (v Value) List() []Value {
	if !v.Present() {
		return nil
	}
	n := v.resolved()
	if n.Kind != yaml.SequenceNode || n.Tag != "!!seq" {
		v.Problem("want a list, not %s", describe(n))
		return nil
	}
	values := make([]Value, 0, len(n.Content))
	for i, item := range n.Content {
		values = append(values, Value{doc: v.doc, path: fmt.Sprintf("%s[%d]", v.path, i), node: item, line: item.Line, column: item.Column})
	}
	return values
}

// Scalar is the value as it is written, whatever YAML takes it for: forty
// hexadecimal digits may happen to look like a number.
func (v Value) Scalar() (string, bool) {
	if !v.Present() {
		return "", false
	}
	n := v.resolved()
	if n.Kind != yaml.ScalarNode {
		v.Problem("want one value, not %s", describe(n))
		return "", false
	}
	return n.Value, true
}

// Int is a whole number within bounds.
func (v Value) Int(fallback, low, high int) int {
	if !v.Present() {
		return fallback
	}
	n := v.resolved()
	number, err := strconv.Atoi(n.Value)
	if n.Kind != yaml.ScalarNode || n.Tag != "!!int" || err != nil {
		v.Problem("want a whole number, not %s", v.shown())
		return fallback
	}
	if number < low || number > high {
		v.Problem("want between %d and %d, not %d", low, high, number)
		return fallback
	}
	return number
}

func (v Value) text(fallback string, checks []func(string) error) string {
	if !v.Present() {
		return fallback
	}
	text, ok := v.stringNode()
	if !ok {
		v.Problem("want a text, not %s", v.shown())
		return fallback
	}
	for _, check := range checks {
		if err := check(text); err != nil {
			v.Problem("%v", err)
			return fallback
		}
	}
	return text
}

func (v Value) stringNode() (string, bool) {
	if !v.Present() {
		return "", true
	}
	n := v.resolved()
	return n.Value, n.Kind == yaml.ScalarNode && n.Tag == "!!str"
}

func (v Value) resolved() *yaml.Node { return resolve(v.node) }

// shown describes what was found, with the text where there is one.
func (v Value) shown() string {
	n := v.resolved()
	if n.Kind != yaml.ScalarNode || isNull(n) {
		return describe(n)
	}
	if n.Tag == "!!str" {
		return "the text " + quote(n.Value)
	}
	return fmt.Sprintf("%s (%s)", describe(n), clip(n.Value))
}

// resolve follows an alias; bounded has made sure that this ends.
func resolve(n *yaml.Node) *yaml.Node {
	for n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	return n
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.Tag == "!!null" }

func parseBool(n *yaml.Node) (truth, ok bool) {
	if n.Kind != yaml.ScalarNode || n.Tag != "!!bool" {
		return false, false
	}
	truth, err := strconv.ParseBool(n.Value)
	return truth, err == nil
}

func describe(n *yaml.Node) string {
	switch {
	case n.Kind == yaml.MappingNode && n.Tag == "!!map":
		return "a mapping"
	case n.Kind == yaml.SequenceNode && n.Tag == "!!seq":
		return "a list"
	}
	switch n.Tag {
	case "!!str":
		return "a text"
	case "!!int", "!!float":
		return "a number"
	case "!!bool":
		return "true or false"
	case "!!null":
		return "nothing"
	case "!!timestamp":
		return "a date"
	}
	return "a value tagged " + clip(n.Tag)
}

const maxShown = 80

func clip(s string) string {
	runes := []rune(s)
	if len(runes) > maxShown {
		return string(runes[:maxShown]) + "…"
	}
	return s
}

func quote(s string) string { return strconv.Quote(clip(s)) }

func join(path, name string) string {
	switch {
	case path == "":
		return name
	case name == "":
		return path
	}
	return path + "." + name
}
