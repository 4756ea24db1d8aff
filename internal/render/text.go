package render

import (
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"

	yaml "go.yaml.in/yaml/v3"
)

// maxNodes is how many YAML nodes one text may have once its aliases are
// written out.
const maxNodes = 1_000_000

// separator is where kustomize cuts a stream into documents, before it parses.
var separator = regexp.MustCompile(`\n---.*\n`)

// document is one YAML document of a text and the line before its first. Its
// text is what kustomize hands to its parser.
type document struct {
	node *yaml.Node
	line int
	text string
}

// textError is a fault of a text at one of its lines. A malformed text is no
// YAML; kustomize then may take it for something else, such as a path.
type textError struct {
	line      int
	malformed bool
	err       error
}

func (e *textError) Error() string { return e.err.Error() }
func (e *textError) Unwrap() error { return e.err }

// parse reads a text's documents as kustomize divides them.
func parse(text string) ([]document, error) {
	text = strings.ReplaceAll(text, "\r\n", "\n")
	cuts := append(separator.FindAllStringIndex(text, -1), []int{len(text), len(text)})
	var documents []document
	begin, line := 0, 0
	for _, cut := range cuts {
		node := &yaml.Node{}
		err := yaml.NewDecoder(strings.NewReader(text[begin:cut[0]])).Decode(node)
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, malformed(err, line)
		}
		if err == nil {
			documents = append(documents, document{node, line, text[begin:min(cut[0]+1, len(text))]})
		}
		line += strings.Count(text[begin:cut[1]], "\n")
		begin = cut[1]
	}
	return documents, nil
}

var (
	yamlLine   = regexp.MustCompile(`^yaml: line (\d+): `)
	anchorName = regexp.MustCompile(`unknown anchor '[^']*'`)
)

// malformed moves the parser's line to where it is in the whole text. The
// name of an unknown anchor is left out: it may be a password that begins with *.
func malformed(err error, before int) error {
	message, line := err.Error(), before+1
	if found := yamlLine.FindStringSubmatch(message); found != nil {
		within, _ := strconv.Atoi(found[1])
		line = before + within
		message = message[len(found[0]):]
	}
	message = anchorName.ReplaceAllString(strings.TrimPrefix(message, "yaml: "), "unknown anchor")
	return &textError{line: line, malformed: true, err: errors.New(message)}
}

// examine refuses texts that would take kustomize, and with it the daemon,
// down: aliases that contain themselves overflow the stack, aliases of aliases
// fill the memory, and repeated or non-string keys end the process where an
// object is printed into an error.
func examine(documents []document) error {
	total := 0
	for _, d := range documents {
		x := examination{sizes: map[*yaml.Node]int{}, line: d.line}
		size, err := x.size(d.node)
		if err != nil {
			return err
		}
		if total += size; total > maxNodes {
			return &textError{line: d.line + 1, err: fmt.Errorf("aliases stand for more than %d nodes", maxNodes)}
		}
	}
	return nil
}

type examination struct {
	sizes map[*yaml.Node]int // -1 while it is being counted
	line  int
}

func (x *examination) fault(n *yaml.Node, err error) error {
	return &textError{line: x.line + n.Line, err: err}
}

func (x *examination) size(n *yaml.Node) (int, error) {
	if n.Kind == yaml.ScalarNode {
		return 1, nil
	}
	if size, seen := x.sizes[n]; seen {
		if size < 0 {
			return 0, x.fault(n, errors.New("anchor contains an alias of itself"))
		}
		return size, nil
	}
	x.sizes[n] = -1
	if n.Kind == yaml.MappingNode {
		if err := x.keys(n); err != nil {
			return 0, err
		}
	}
	children := n.Content
	if n.Kind == yaml.AliasNode {
		children = []*yaml.Node{n.Alias}
	}
	total := 1
	for _, child := range children {
		size, err := x.size(child)
		if err != nil {
			return 0, err
		}
		total = min(total+size, maxNodes+1)
	}
	x.sizes[n] = total
	return total, nil
}

func (x *examination) keys(mapping *yaml.Node) error {
	seen := make(map[string]bool, len(mapping.Content)/2)
	for i := 0; i+1 < len(mapping.Content); i += 2 {
		key := mapping.Content[i]
		if key.Kind == yaml.AliasNode {
			key = key.Alias
		}
		switch {
		case key.Kind == yaml.ScalarNode && key.ShortTag() == "!!merge":
			continue
		case key.Kind != yaml.ScalarNode || key.ShortTag() != "!!str":
			return x.fault(key, errors.New("key is not a string; want it in quotes"))
		case seen[key.Value]:
			return x.fault(key, fmt.Errorf("key %q is given twice", key.Value))
		}
		seen[key.Value] = true
	}
	return nil
}
