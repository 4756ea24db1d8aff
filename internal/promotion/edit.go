package promotion

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	yaml "go.yaml.in/yaml/v3"

	"chaperone.dev/chaperone/internal/source"
	"chaperone.dev/chaperone/internal/strictyaml"
)

// SetRevision moves the pin of an environment file: it changes the value of
// spec.revision, or inserts that one line where there is none, and keeps every
// other byte. The result is read back before it is returned; a file whose
// layout does not allow the change is an error that says what to do by hand.
func SetRevision(file []byte, revision source.Revision) ([]byte, error) {
	if _, err := source.ParseRevision(string(revision)); err != nil {
		return nil, fmt.Errorf("set revision: %w", err)
	}
	edited, err := setRevision(file, string(revision))
	if err != nil {
		return nil, fmt.Errorf("set revision: %w", err)
	}
	return edited, nil
}

func setRevision(file []byte, revision string) ([]byte, error) {
	before, err := readPin(file)
	if err != nil {
		return nil, err
	}
	change := before.insert
	if before.key != nil {
		change = before.replace
	}
	edited, err := change(file, revision)
	if err != nil {
		return nil, err
	}
	after, err := readPin(edited)
	if err != nil || after.value == nil || after.value.Value != revision || !same(before.without, after.without) {
		return nil, errors.New("the layout of spec does not allow it; write `revision: " + revision + "` into spec by hand")
	}
	return edited, nil
}

// pin is where a file has its revision.
type pin struct {
	specKey, spec *yaml.Node
	key, value    *yaml.Node // nil: none
	without       *yaml.Node // the whole document but for the revision
}

func readPin(file []byte) (pin, error) {
	document := strictyaml.Parse("file", file)
	var problems strictyaml.Problems
	if err := document.Err(); errors.As(err, &problems) {
		return pin{}, fmt.Errorf("line %d: %s", problems[0].Line, problems[0].Text)
	}
	root := document.Node()
	if root == nil {
		return pin{}, errors.New("want one mapping with a spec, not an empty file")
	}
	specKey, spec, err := find(root, "spec")
	if err != nil {
		return pin{}, err
	}
	if spec == nil || spec.Kind != yaml.MappingNode {
		return pin{}, errors.New("want one mapping with a spec, itself a mapping with at least one field")
	}
	key, value, err := find(spec, "revision")
	if err != nil {
		return pin{}, err
	}
	p := pin{specKey: specKey, spec: spec, key: key, value: value}
	p.without = copyWithout(root, spec, key)
	return p, nil
}

func find(mapping *yaml.Node, name string) (key, value *yaml.Node, err error) {
	if mapping.Kind != yaml.MappingNode {
		return nil, nil, nil
	}
	for i := 0; i+1 < len(mapping.Content); i += 2 {
		if mapping.Content[i].Value != name || mapping.Content[i].Kind != yaml.ScalarNode {
			continue
		}
		if key != nil {
			return nil, nil, fmt.Errorf("line %d: %s is written twice; keep one", mapping.Content[i].Line, name)
		}
		key, value = mapping.Content[i], mapping.Content[i+1]
	}
	return key, value, nil
}

// copyWithout is root without one key of one mapping, so that two of them
// compare equal when nothing else changed.
func copyWithout(root, mapping, key *yaml.Node) *yaml.Node {
	if root.Kind == yaml.AliasNode {
		return root
	}
	c := *root
	c.Content = nil
	for i := 0; i < len(root.Content); i++ {
		if root == mapping && i%2 == 0 && root.Content[i] == key {
			i++
			continue
		}
		c.Content = append(c.Content, copyWithout(root.Content[i], mapping, key))
	}
	return &c
}

func same(a, b *yaml.Node) bool {
	if a.Kind != b.Kind || a.Tag != b.Tag || a.Value != b.Value || a.Anchor != b.Anchor || a.Style != b.Style ||
		len(a.Content) != len(b.Content) {
		return false
	}
	for i := range a.Content {
		if !same(a.Content[i], b.Content[i]) {
			return false
		}
	}
	return true
}

var errByHand = errors.New("spec.revision is written in a way that cannot be changed safely; write it on one line, as `revision: <40 digits>`")

// replace changes the value in place, in the quotes that it has.
func (p pin) replace(file []byte, revision string) ([]byte, error) {
	value := p.value
	if value.Kind != yaml.ScalarNode || value.Anchor != "" || value.Style&yaml.TaggedStyle != 0 {
		return nil, errByHand
	}
	mark := ""
	switch {
	case value.Style&yaml.DoubleQuotedStyle != 0:
		mark = `"`
	case value.Style&yaml.SingleQuotedStyle != 0:
		mark = `'`
	case value.Style != 0:
		return nil, errByHand
	}
	at, err := offset(file, value.Line, value.Column)
	if err != nil {
		return nil, err
	}
	old := []byte(mark + value.Value + mark)
	if !bytes.HasPrefix(file[at:], old) {
		return nil, errByHand
	}
	if value.Value == "" && mark == "" {
		return splice(file, at, 0, " "+plain(revision)), nil // `revision:`, the parser points behind the colon
	}
	if mark == "" {
		return splice(file, at, len(old), plain(revision)), nil
	}
	return splice(file, at, len(old), mark+revision+mark), nil
}

// insert writes the line right below `spec:`, above any comment that belongs to
// the first field.
func (p pin) insert(file []byte, revision string) ([]byte, error) {
	if len(p.spec.Content) == 0 {
		return nil, errors.New("want a spec with at least one field")
	}
	if p.spec.Style&yaml.FlowStyle != 0 {
		at, err := offset(file, p.spec.Line, p.spec.Column)
		if err != nil {
			return nil, err
		}
		brace := bytes.IndexByte(file[at:], '{')
		if brace < 0 {
			return nil, errByHand
		}
		return splice(file, at+brace+1, 0, "revision: "+plain(revision)+", "), nil
	}
	start, err := offset(file, p.specKey.Line, 1)
	if err != nil {
		return nil, err
	}
	end := bytes.IndexByte(file[start:], '\n')
	if end < 0 {
		return nil, errByHand
	}
	lineEnd := "\n"
	if end > 0 && file[start+end-1] == '\r' {
		lineEnd = "\r\n"
	}
	indent := strings.Repeat(" ", p.spec.Content[0].Column-1)
	return splice(file, start+end+1, 0, indent+"revision: "+plain(revision)+lineEnd), nil
}

// plain quotes the few hashes that YAML would take for a number.
func plain(revision string) string {
	n := yaml.Node{Kind: yaml.ScalarNode, Value: revision}
	if n.ShortTag() != "!!str" {
		return `"` + revision + `"`
	}
	return revision
}

func splice(file []byte, at, drop int, text string) []byte {
	edited := make([]byte, 0, len(file)+len(text))
	edited = append(edited, file[:at]...)
	edited = append(edited, text...)
	return append(edited, file[at+drop:]...)
}

// offset finds a place as the YAML parser counts it: columns in characters, and
// lines by YAML's own line breaks.
func offset(file []byte, line, column int) (int, error) {
	at := 0
	if bytes.HasPrefix(file, []byte("\ufeff")) {
		at = len("\ufeff")
	}
	for ; line > 1; line-- {
		next := afterBreak(file[at:])
		if next < 0 {
			return 0, io.ErrUnexpectedEOF
		}
		at += next
	}
	for ; column > 1; column-- {
		_, size := utf8.DecodeRune(file[at:])
		if size == 0 {
			return 0, io.ErrUnexpectedEOF
		}
		at += size
	}
	return at, nil
}

// afterBreak is where the next line begins, or -1.
func afterBreak(b []byte) int {
	for i, r := range string(b) {
		switch r {
		case '\r':
			if i+1 < len(b) && b[i+1] == '\n' {
				return i + 2
			}
			return i + 1
		case '\n', '\u0085', '\u2028', '\u2029':
			return i + utf8.RuneLen(r)
		}
	}
	return -1
}
