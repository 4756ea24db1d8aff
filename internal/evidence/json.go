package evidence

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"
	"unicode/utf8"
)

// Bounds of one JSON document. A report of a scanner has tens of thousands of
// values, and is less than ten deep.
const (
	maxDepth  = 64
	maxValues = 200_000
)

// tree reads one JSON document after the other. It is stricter than
// encoding/json: a name that stands twice in an object, or in other letters, is
// how two readers of one signed text come to see different things.
type tree struct {
	decoder *json.Decoder
	values  int
}

func newTree(content []byte) (*tree, error) {
	if !utf8.Valid(content) {
		return nil, errors.New("want JSON in UTF-8")
	}
	decoder := json.NewDecoder(bytes.NewReader(content))
	decoder.UseNumber()
	return &tree{decoder: decoder}, nil
}

// next is io.EOF after the last document.
func (t *tree) next() (any, error) {
	value, err := t.value(0)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, errors.New("the JSON ends in the middle")
	}
	return value, err
}

func (t *tree) value(depth int) (any, error) {
	token, err := t.decoder.Token()
	if errors.Is(err, io.EOF) && depth > 0 {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return nil, err
	}
	if t.values++; t.values > maxValues || depth > maxDepth {
		return nil, fmt.Errorf("more than %d values, or more than %d deep", maxValues, maxDepth)
	}
	switch token {
	case json.Delim('{'):
		return t.object(depth)
	case json.Delim('['):
		list := []any{}
		for t.decoder.More() {
			value, err := t.value(depth + 1)
			if err != nil {
				return nil, err
			}
			list = append(list, value)
		}
		return list, t.end()
	}
	return token, nil
}

func (t *tree) object(depth int) (any, error) {
	object := map[string]any{}
	for t.decoder.More() {
		token, err := t.decoder.Token()
		if err != nil {
			return nil, err
		}
		name, ok := token.(string)
		if !ok {
			return nil, fmt.Errorf("want the name of a field, not %v", token)
		}
		if _, twice := object[name]; twice {
			return nil, fmt.Errorf("the field %.40q stands there twice", name)
		}
		if object[name], err = t.value(depth + 1); err != nil {
			return nil, err
		}
	}
	return object, t.end()
}

// end takes the closing bracket.
func (t *tree) end() error {
	_, err := t.decoder.Token()
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// single is the only document in content.
func single(content []byte) (any, error) {
	t, err := newTree(content)
	if err != nil {
		return nil, err
	}
	value, err := t.next()
	if err != nil {
		return nil, err
	}
	if _, err := t.next(); !errors.Is(err, io.EOF) {
		return nil, errors.New("want one JSON document, and nothing after it")
	}
	return value, nil
}

// reader takes values out of a document. The first that is not as wanted is the
// error; what is read after it is empty. Unknown fields are allowed: in-toto and
// DSSE both have them for what comes later.
type reader struct{ err error }

// node is a value, and the path to it.
type node struct {
	path  string
	value any // nil: missing, or null
}

func (n node) missing() bool { return n.value == nil }

func (r *reader) refuse(n node, want string) {
	if r.err == nil {
		r.err = fmt.Errorf("%s: want %s", n.path, want)
	}
}

// field is one of an object, missing where the object is.
func (r *reader) field(n node, name string) node {
	below := node{path: name}
	if n.path != "" {
		below.path = n.path + "." + name
	}
	switch object := n.value.(type) {
	case map[string]any:
		below.value = object[name]
	case nil:
	default:
		r.refuse(n, "an object")
	}
	return below
}

func (r *reader) at(n node, names ...string) node {
	for _, name := range names {
		n = r.field(n, name)
	}
	return n
}

// text is "" where it is missing; required says that it must not be.
func (r *reader) text(n node) string {
	text, ok := n.value.(string)
	if !ok && !n.missing() || len(text) > maxText {
		r.refuse(n, fmt.Sprintf("a text of at most %d bytes", maxText))
		return ""
	}
	return text
}

func (r *reader) required(n node) string {
	text := r.text(n)
	if text == "" {
		r.refuse(n, "a text")
	}
	return text
}

func (r *reader) list(n node) []node {
	values, ok := n.value.([]any)
	if !ok && !n.missing() {
		r.refuse(n, "a list")
	}
	nodes := make([]node, 0, len(values))
	for i, value := range values {
		nodes = append(nodes, node{n.path + "[" + strconv.Itoa(i) + "]", value})
	}
	return nodes
}

func (r *reader) texts(n node) []string {
	texts := []string{}
	for _, entry := range r.list(n) {
		texts = append(texts, r.required(entry))
	}
	return texts
}

// moment is "" where it is missing. What policies can reckon with ends in 2262.
func (r *reader) moment(n node) string {
	text := r.text(n)
	if text == "" {
		return ""
	}
	moment, err := time.Parse(time.RFC3339, text)
	if err != nil || moment.UTC().Year() < 1970 || moment.UTC().Year() > 2200 {
		r.refuse(n, "a time such as 2026-04-05T06:07:08Z, and not "+strconv.Quote(text[:min(len(text), 40)]))
		return ""
	}
	return moment.UTC().Format(time.RFC3339)
}

// maxText bounds a text that rules see. Payloads are read apart.
const maxText = 2048
