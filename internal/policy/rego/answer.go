package rego

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"chaperone.dev/chaperone/internal/policy"
)

// maxMessage bounds one message, in bytes.
const maxMessage = 2000

// readAnswer reads what an entry point gave: [] when it was undefined, else a
// list with the set of its results, each a message or an object with msg and
// perhaps object and path.
func readAnswer(answer any) ([]policy.Result, error) {
	wrapped, ok := answer.([]any)
	if !ok || len(wrapped) != 1 {
		return nil, errors.New("undefined; want a set of results, which may be empty")
	}
	set, ok := wrapped[0].([]any)
	if !ok {
		return nil, fmt.Errorf("want a set of results, not %s", kindOfJSON(wrapped[0]))
	}
	results := make([]policy.Result, 0, len(set))
	for _, entry := range set {
		result, err := readResult(entry)
		if err != nil {
			return nil, err
		}
		results = append(results, result)
	}
	return results, nil
}

func readResult(entry any) (policy.Result, error) {
	if message, ok := entry.(string); ok {
		entry = map[string]any{"msg": message}
	}
	fields, ok := entry.(map[string]any)
	if !ok {
		return policy.Result{}, fmt.Errorf("a result is %s; want a message or an object with msg", kindOfJSON(entry))
	}
	message, _ := fields["msg"].(string)
	if strings.TrimSpace(message) == "" {
		return policy.Result{}, errors.New("a result has no msg; want a text that says what is wrong")
	}
	object, err := readObject(fields["object"])
	if err != nil {
		return policy.Result{}, err
	}
	path, err := readPath(fields["path"])
	if err != nil {
		return policy.Result{}, err
	}
	return policy.Result{Object: object, Path: path, Message: clip(message)}, nil
}

// readObject takes a reference, or a whole object with metadata.
func readObject(value any) (*policy.ObjectRef, error) {
	if value == nil {
		return nil, nil
	}
	fields, ok := value.(map[string]any)
	if !ok {
		return nil, fmt.Errorf("object is %s; want apiVersion, kind, namespace and name, or a whole object", kindOfJSON(value))
	}
	names := fields
	if metadata, whole := fields["metadata"].(map[string]any); whole {
		names = metadata
	}
	ref := &policy.ObjectRef{}
	ref.APIVersion, _ = fields["apiVersion"].(string)
	ref.Kind, _ = fields["kind"].(string)
	ref.Namespace, _ = names["namespace"].(string)
	ref.Name, _ = names["name"].(string)
	if ref.Kind == "" || ref.Name == "" {
		return nil, errors.New("object has no kind or no name; want apiVersion, kind, namespace and name, or a whole object")
	}
	return ref, nil
}

// readPath takes a text, or a list of fields and indices.
func readPath(value any) (string, error) {
	switch value := value.(type) {
	case nil:
		return "", nil
	case string:
		return clip(value), nil
	case []any:
		var path strings.Builder
		for _, step := range value {
			switch step := step.(type) {
			case json.Number:
				fmt.Fprintf(&path, "[%s]", step)
			case string:
				if path.Len() > 0 {
					path.WriteByte('.')
				}
				path.WriteString(step)
			default:
				return "", fmt.Errorf("path has %s in it; want names and numbers", kindOfJSON(step))
			}
		}
		return clip(path.String()), nil
	}
	return "", fmt.Errorf("path is %s; want a text or a list", kindOfJSON(value))
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

func kindOfJSON(value any) string {
	switch value.(type) {
	case nil:
		return "null"
	case bool:
		return "a boolean"
	case json.Number:
		return "a number"
	case string:
		return "a text"
	case []any:
		return "a list"
	}
	return "an object"
}

// sizeOf is about the number of bytes of a JSON value.
func sizeOf(value any) int {
	switch value := value.(type) {
	case string:
		return len(value) + 2
	case []any:
		size := 2
		for _, entry := range value {
			size += sizeOf(entry) + 1
		}
		return size
	case map[string]any:
		size := 2
		for key, entry := range value {
			size += len(key) + sizeOf(entry) + 4
		}
		return size
	}
	return 8
}
