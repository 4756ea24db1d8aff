package rego

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/open-policy-agent/opa/v1/ast"

	"chaperone.dev/chaperone/internal/policy"
)

// maxMessage bounds one message, in bytes.
const maxMessage = 2000

// readAnswer reads what an entry point gave: [] when it was undefined, else a
// list with the set of its results, each a message or an object with msg and
// perhaps object and path.
func readAnswer(answer ast.Value) ([]policy.Result, error) {
	wrapped := entriesOf(answer)
	if len(wrapped) != 1 {
		return nil, errors.New("undefined; want a set of results, which may be empty")
	}
	switch wrapped[0].Value.(type) {
	case ast.Set, *ast.Array:
	default:
		return nil, fmt.Errorf("want a set of results, not %s", typeOf(wrapped[0].Value))
	}
	set := entriesOf(wrapped[0].Value)
	results := make([]policy.Result, 0, len(set))
	for _, entry := range set {
		result, err := readResult(entry.Value)
		if err != nil {
			return nil, err
		}
		results = append(results, result)
	}
	return results, nil
}

// entriesOf a list or set, in order.
func entriesOf(value ast.Value) []*ast.Term {
	switch value := value.(type) {
	case ast.Set:
		return value.Slice()
	case *ast.Array:
		entries := make([]*ast.Term, 0, value.Len())
		value.Foreach(func(entry *ast.Term) { entries = append(entries, entry) })
		return entries
	}
	return nil
}

func readResult(entry ast.Value) (policy.Result, error) {
	if message, ok := entry.(ast.String); ok {
		return withMessage(policy.Result{}, string(message))
	}
	fields, ok := entry.(ast.Object)
	if !ok {
		return policy.Result{}, fmt.Errorf("a result is %s; want a message or an object with msg", typeOf(entry))
	}
	object, err := readObject(field(fields, objectField))
	if err != nil {
		return policy.Result{}, err
	}
	path, err := readPath(field(fields, pathField))
	if err != nil {
		return policy.Result{}, err
	}
	return withMessage(policy.Result{Object: object, Path: path}, text(fields, msgField))
}

func withMessage(result policy.Result, message string) (policy.Result, error) {
	if strings.TrimSpace(message) == "" {
		return policy.Result{}, errors.New("a result has no msg; want a text that says what is wrong")
	}
	result.Message = clip(message)
	return result, nil
}

// readObject takes a reference, or a whole object with metadata.
func readObject(value ast.Value) (*policy.ObjectRef, error) {
	if value == nil || value.Compare(ast.NullValue) == 0 {
		return nil, nil
	}
	fields, ok := value.(ast.Object)
	if !ok {
		return nil, fmt.Errorf("object is %s; want apiVersion, kind, namespace and name, or a whole object", typeOf(value))
	}
	names := fields
	if metadata, whole := field(fields, metadataField).(ast.Object); whole {
		names = metadata
	}
	ref := &policy.ObjectRef{
		APIVersion: text(fields, apiVersionField), Kind: text(fields, kindField),
		Namespace: text(names, namespaceField), Name: text(names, nameField),
	}
	if ref.Kind == "" || ref.Name == "" {
		return nil, errors.New("object has no kind or no name; want apiVersion, kind, namespace and name, or a whole object")
	}
	return ref, nil
}

// What results and references are made of.
var (
	msgField        = ast.StringTerm("msg")
	pathField       = ast.StringTerm("path")
	objectField     = ast.StringTerm("object")
	apiVersionField = ast.StringTerm("apiVersion")
	kindField       = ast.StringTerm("kind")
	metadataField   = ast.StringTerm("metadata")
	namespaceField  = ast.StringTerm("namespace")
	nameField       = ast.StringTerm("name")
)

func field(fields ast.Object, name *ast.Term) ast.Value {
	if term := fields.Get(name); term != nil {
		return term.Value
	}
	return nil
}

func text(fields ast.Object, name *ast.Term) string {
	text, _ := field(fields, name).(ast.String)
	return string(text)
}

// readPath takes a text, or a list of fields and indices.
func readPath(value ast.Value) (string, error) {
	switch value := value.(type) {
	case nil, ast.Null:
		return "", nil
	case ast.String:
		return clip(string(value)), nil
	case ast.Set, *ast.Array:
		return joinPath(entriesOf(value))
	}
	return "", fmt.Errorf("path is %s; want a text or a list", typeOf(value))
}

func joinPath(steps []*ast.Term) (string, error) {
	var path strings.Builder
	for _, step := range steps {
		switch step := step.Value.(type) {
		case ast.Number:
			fmt.Fprintf(&path, "[%s]", step)
		case ast.String:
			if path.Len() > 0 {
				path.WriteByte('.')
			}
			path.WriteString(string(step))
		default:
			return "", fmt.Errorf("path has %s in it; want names and numbers", typeOf(step))
		}
	}
	return clip(path.String()), nil
}

func clip(text string) string {
	if len(text) <= maxMessage {
		return text
	}
	end := maxMessage
	for end > 0 && !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end] + "…"
}

func typeOf(value ast.Value) string {
	switch value.(type) {
	case ast.Null:
		return "null"
	case ast.Boolean:
		return "a boolean"
	case ast.Number:
		return "a number"
	case ast.String:
		return "a text"
	case ast.Set, *ast.Array:
		return "a list"
	}
	return "an object"
}
