package manifest

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	yaml "go.yaml.in/yaml/v3"
	sigsyaml "sigs.k8s.io/yaml"
)

// maxDocuments bounds one stream of manifests.
const maxDocuments = 20_000

// Decode reads YAML or JSON documents. Duplicate keys are refused. An error
// names the file and the line where the document begins.
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
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		if len(objects) >= maxDocuments {
			return nil, fmt.Errorf("%s:%d: more than %d documents", file, document.Line, maxDocuments)
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

func decodeDocument(document *yaml.Node) (*Object, error) {
	if len(document.Content) == 1 && document.Content[0].Tag == "!!null" {
		return nil, nil // a stray `---` or a document of comments
	}
	if len(document.Content) == 1 && document.Content[0].Kind != yaml.MappingNode {
		return nil, errors.New("want a Kubernetes object, a mapping with apiVersion and kind")
	}
	text, err := yaml.Marshal(document)
	if err != nil {
		return nil, fmt.Errorf("read document: %w", err)
	}
	json, err := sigsyaml.YAMLToJSONStrict(text)
	if err != nil {
		return nil, fmt.Errorf("read document: %w", err)
	}
	o := &Object{}
	if err := o.UnmarshalJSON(json); err != nil {
		return nil, fmt.Errorf("read object: %w", err)
	}
	return o, nil
}
