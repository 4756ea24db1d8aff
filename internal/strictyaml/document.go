// Package strictyaml reads YAML files that people write by hand. It guarantees
// that every fault of a file is reported at once, each with file, line and
// column, the field, and what would be right; that a field nobody asked for is
// a fault which names the nearest one that exists; and that no content, however
// hostile, makes it panic or take more than a bounded time.
package strictyaml

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	yaml "go.yaml.in/yaml/v3"
)

const (
	// MaxBytes bounds one file.
	MaxBytes = 256 << 10
	maxNodes = 20_000 // once aliases are written out
	maxDepth = 64
)

// Document is one YAML document being read. Its readers collect problems and
// return defaults in their place; Err reports them all.
type Document struct {
	file     string
	root     *yaml.Node // nil: empty, or not readable at all
	problems Problems
	objects  []*Object
}

// Parse never fails by itself: ask Err when everything is read. File is only
// for messages.
func Parse(file string, content []byte) *Document {
	d := &Document{file: file}
	if len(content) > MaxBytes {
		d.add(0, 0, "", fmt.Sprintf("%d bytes; want at most %d", len(content), MaxBytes))
		return d
	}
	if line := invalidUTF8(content); line > 0 {
		d.add(line, 0, "", "not UTF-8; save the file in UTF-8")
		return d
	}
	documents, err := parse(content)
	switch {
	case err != nil:
		d.addSyntax(content, err)
	case len(documents) > 1:
		d.add(documents[1].Line, 0, "", "a second document begins; want one per file")
	case len(documents) == 1 && len(documents[0].Content) == 1:
		if root := documents[0].Content[0]; d.bounded(root) {
			d.root = root
		}
	}
	return d
}

// Root is the document's mapping.
func (d *Document) Root() *Object {
	v := Value{doc: d, node: d.root, line: 1, column: 1}
	if d.root != nil && isNull(d.root) {
		v.node = nil
	}
	o := v.object()
	o.broken = o.broken || d.root == nil && len(d.problems) > 0
	return o
}

// Node is the document as the parser sees it, nil when there is none; for
// editing a file in place.
func (d *Document) Node() *yaml.Node { return d.root }

// Err is nil or Problems, in the order of the file. It is to be asked last:
// a field that no reader asked for until then is a problem.
func (d *Document) Err() error {
	for _, o := range d.objects {
		o.reportUnknown()
	}
	d.objects = nil
	if len(d.problems) == 0 {
		return nil
	}
	return d.problems.sorted()
}

func (d *Document) add(line, column int, field, text string) {
	d.problems = append(d.problems, Problem{File: d.file, Line: line, Column: column, Field: field, Text: text})
}

// parse reads every document of content. The parser is a port of C, and has
// panicked on hostile input before (CVE-2022-28948); a file that anybody may
// commit must not stop the daemon.
func parse(content []byte) (documents []*yaml.Node, err error) {
	defer func() {
		if fault := recover(); fault != nil {
			err = fmt.Errorf("the parser cannot read this: %v", fault)
		}
	}()
	decoder := yaml.NewDecoder(bytes.NewReader(content))
	for len(documents) < 2 {
		var document yaml.Node
		err := decoder.Decode(&document)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		documents = append(documents, &document)
	}
	return documents, nil
}

// maxSearch bounds the bytes parsed again to find the line of a syntax error.
const maxSearch = 16 << 20

// addSyntax finds the line by itself: the parser's own is that of whatever
// collection was open, counted from 0 or from 1, or missing. The fault begins
// on the line after the longest part that still parses.
func (d *Document) addSyntax(content []byte, err error) {
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	line, stated := 0, 0
	if n, scanErr := fmt.Sscanf(text, "line %d:", &stated); n == 1 && scanErr == nil {
		_, text, _ = strings.Cut(text, ": ")
		line = stated
	}
	lines := bytes.SplitAfter(content, []byte("\n"))
	if len(lines)*len(content)/2 <= maxSearch {
		line = faultLine(lines, content)
	}
	d.add(line, 0, "", "not YAML: "+text+syntaxAdvice(text))
}

func faultLine(lines [][]byte, content []byte) int {
	end := len(content)
	for good := len(lines) - 1; good > 0; good-- {
		end -= len(lines[good])
		if _, err := parse(content[:end]); err == nil {
			return good + 1
		}
	}
	return 1
}

func syntaxAdvice(text string) string {
	for _, advice := range [][2]string{
		{"tab character", "; indent with spaces"},
		{"mapping values are not allowed", "; quote a text that contains \": \", or mend the indentation"},
		{"did not find expected key", "; mend the indentation or the quotes"},
		{"could not find expected ':'", "; want \"field: value\""},
		{"cannot start any token", "; indent with spaces only, and quote a text that begins with @, ` or %"},
		{"control characters", "; remove it, or write it as an escape in double quotes"},
		{"unexpected end of stream", "; close the quote"},
		{"expected ',' or", "; close the bracket"},
		{"unknown anchor", "; write the value out"},
	} {
		if strings.Contains(text, advice[0]) {
			return advice[1]
		}
	}
	return ""
}

func invalidUTF8(content []byte) int {
	if utf8.Valid(content) {
		return 0
	}
	at := 0
	for at < len(content) {
		r, size := utf8.DecodeRune(content[at:])
		if r == utf8.RuneError && size == 1 {
			break
		}
		at += size
	}
	return 1 + bytes.Count(content[:at], []byte("\n"))
}

// bounded refuses aliases that contain themselves, that multiply to more than
// maxNodes, and nesting beyond maxDepth.
func (d *Document) bounded(root *yaml.Node) bool {
	m := measure{sizes: map[*yaml.Node]int{}}
	m.size(root, 0)
	if m.problem != "" {
		d.add(m.at.Line, m.at.Column, "", m.problem)
		return false
	}
	return true
}

type measure struct {
	sizes   map[*yaml.Node]int // -1 while inside
	at      *yaml.Node
	problem string
}

func (m *measure) size(n *yaml.Node, depth int) int {
	if m.problem != "" {
		return 0
	}
	if size, known := m.sizes[n]; known && size >= 0 && depth <= maxDepth {
		return size
	}
	switch {
	case m.sizes[n] < 0:
		return m.refuse(n, "the alias contains itself; write the value out")
	case depth > maxDepth:
		return m.refuse(n, fmt.Sprintf("nested deeper than %d; want a flatter file", maxDepth))
	}
	m.sizes[n] = -1
	size := 1
	if n.Kind == yaml.AliasNode {
		size = m.size(n.Alias, depth+1)
	}
	for _, child := range n.Content {
		size = min(size+m.size(child, depth+1), maxNodes+1)
	}
	if size > maxNodes && m.problem == "" {
		m.refuse(n, fmt.Sprintf("more than %d values once aliases are written out; want fewer", maxNodes))
	}
	m.sizes[n] = size
	return size
}

func (m *measure) refuse(n *yaml.Node, problem string) int {
	m.at, m.problem = n, problem
	return 0
}
