package health

import (
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"chaperone.dev/chaperone/internal/manifest"
)

// condition is what every Kubernetes condition has in common.
type condition struct {
	kind, status, reason, message string
	generation                    int64
}

// because is the condition's own explanation, to be appended to a sentence.
func (c condition) because() string {
	switch {
	case c.reason == "" && c.message == "":
		return ""
	case c.message == "":
		return ": " + clip(c.reason)
	case c.reason == "":
		return ": " + clip(c.message)
	}
	return ": " + clip(c.reason+": "+c.message)
}

// conditions skips what has not the shape of a condition: custom resources may
// keep anything there.
func conditions(o *manifest.Object) []condition {
	return conditionsIn(list(o.Object, "status", "conditions"))
}

func conditionsIn(entries []map[string]any) []condition {
	found := make([]condition, 0, 4)
	for _, entry := range entries {
		c := condition{
			kind: text(entry, "type"), status: text(entry, "status"),
			reason: text(entry, "reason"), message: text(entry, "message"),
		}
		c.generation, _ = entry["observedGeneration"].(int64)
		found = append(found, c)
	}
	return found
}

func conditionIs(o *manifest.Object, kind, status string) bool {
	for _, c := range conditions(o) {
		if c.kind == kind {
			return c.status == status
		}
	}
	return false
}

// list reads a list of mappings without copying it, and leaves out what is not one.
func list(object map[string]any, path ...string) []map[string]any {
	value, _, err := unstructured.NestedFieldNoCopy(object, path...)
	items, isList := value.([]any)
	if err != nil || !isList {
		return nil
	}
	entries := make([]map[string]any, 0, len(items))
	for _, item := range items {
		if entry, isMap := item.(map[string]any); isMap {
			entries = append(entries, entry)
		}
	}
	return entries
}

func text(entry map[string]any, key string) string {
	s, _ := entry[key].(string)
	return s
}

func number(o *manifest.Object, otherwise int64, path ...string) int64 {
	if n, found, err := unstructured.NestedInt64(o.Object, path...); found && err == nil {
		return n
	}
	return otherwise
}

func orElse(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}
