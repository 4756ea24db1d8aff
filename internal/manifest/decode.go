package manifest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"

	yaml "go.yaml.in/yaml/v3"
)

// maxDocuments bounds one stream of manifests.
const maxDocuments = 20_000

// Decode reads YAML or JSON documents. Duplicate keys are refused. An error
// names the file and the line, and never quotes a value: it may be a Secret's.
func Decode(file string, content []byte) ([]*Object, error) {
	decoder := yaml.NewDecoder(bytes.NewReader(content))
	var objects []*Object
	for {
		var document yaml.Node
		err := decoder.Decode(&document)
		if errors.Is(err, io.EOF) {
			return objects, nil
		}
		if err != nil {
			return nil, malformed(file, err)
		}
		if len(objects) >= maxDocuments {
			return nil, fmt.Errorf("%s:%d: more than %d documents", file, document.Line, maxDocuments)
		}
		if line, err := duplicateKey(&document); err != nil {
			return nil, fmt.Errorf("%s:%d: %w", file, line, err)
		}
		o, err := decodeDocument(&document)
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %w", file, document.Line, err)
		}
		if o != nil {
			objects = append(objects, o)
		}
	}
}

var (
	yamlError  = regexp.MustCompile(`^yaml: line (\d+): (.*)$`)
	anchorName = regexp.MustCompile(`'[^']*'`)
)

// malformed passes on what the parser found, without the names of anchors: a
// password that begins with * is read as one.
func malformed(file string, err error) error {
	if at := yamlError.FindStringSubmatch(err.Error()); at != nil {
		return fmt.Errorf("%s:%s: %s", file, at[1], anchorName.ReplaceAllString(at[2], "'…'"))
	}
	return fmt.Errorf("%s: %s", file, anchorName.ReplaceAllString(err.Error(), "'…'"))
}

// duplicateKey finds a key that is given twice. Aliases are not followed: what
// they stand for is part of the document anyway.
func duplicateKey(n *yaml.Node) (int, error) {
	if n.Kind == yaml.MappingNode {
		seen := make(map[string]bool, len(n.Content)/2)
		for i := 0; i+1 < len(n.Content); i += 2 {
			key := n.Content[i]
			if key.Kind != yaml.ScalarNode {
				return key.Line, errors.New("a key is no plain value; want a string")
			}
			if seen[key.Value] {
				return key.Line, fmt.Errorf("key %q is given twice", key.Value)
			}
			seen[key.Value] = true
		}
	}
	for _, child := range n.Content {
		if line, err := duplicateKey(child); err != nil {
			return line, err
		}
	}
	return 0, nil
}

func decodeDocument(document *yaml.Node) (*Object, error) {
	if len(document.Content) == 1 && document.Content[0].Tag == "!!null" {
		return nil, nil // a stray `---` or a document of comments
	}
	if len(document.Content) == 1 && document.Content[0].Kind != yaml.MappingNode {
		return nil, errors.New("want a Kubernetes object, a mapping with apiVersion and kind")
	}
	// The way of kustomize: what is `yes` to YAML 1.1 is a string. Errors of
	// the decoders quote what they stumble over, so they are not passed on.
	fields := map[string]any{}
	if err := document.Decode(&fields); err != nil {
		return nil, errors.New("is YAML that cannot be decoded; want values that fit their tags, and few aliases")
	}
	text, err := json.Marshal(fields)
	if err != nil {
		return nil, errors.New("is YAML that cannot be written as JSON; want string keys and finite numbers")
	}
	o := &Object{}
	if err := o.UnmarshalJSON(text); err != nil {
		return nil, errors.New("want a Kubernetes object with apiVersion and kind")
	}
	if o.GetAPIVersion() == "" {
		return o, nil // a Set says it
	}
	if err := checkType(o); err != nil {
		return nil, err
	}
	return o, nil
}
