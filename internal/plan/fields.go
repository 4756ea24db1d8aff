package plan

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
	"sigs.k8s.io/structured-merge-diff/v6/value"

	"chaperone.dev/chaperone/internal/manifest"
)

// managed is the set of fields that a manager applied, as the server recorded
// it, or nil where it applied none.
func managed(o *manifest.Object, manager string) *fieldpath.Set {
	for _, entry := range o.GetManagedFields() {
		if entry.Manager != manager || entry.Operation != metav1.ManagedFieldsOperationApply || entry.Subresource != "" {
			continue
		}
		if entry.FieldsV1 == nil {
			return nil
		}
		set := &fieldpath.Set{}
		if err := set.FromJSON(bytes.NewReader(entry.FieldsV1.GetRawBytes())); err != nil {
			return nil // as good as none: the server will be asked
		}
		return set
	}
	return nil
}

// Same reports whether applying desired would change nothing, without asking
// the server. It errs on one side only: true is certain, false means ask. The
// fields that we own must be the fields that desired has, with equal values;
// a value that the server writes in another form (a quantity, a default) makes
// it false.
func Same(live, desired *manifest.Object, manager string) bool {
	set := managed(live, manager)
	if set == nil || live.GetDeletionTimestamp() != nil {
		return false
	}
	same := true
	walk(set, nil, live.Object, desired.Object, func(fieldpath.Path, any, any) { same = false })
	return same && covered(withoutIdentity(desired.Object), set)
}

// withoutIdentity leaves out what the server does not record as applied.
func withoutIdentity(object map[string]any) map[string]any {
	rest := make(map[string]any, len(object))
	for key, v := range object {
		if key != "apiVersion" && key != "kind" && key != "metadata" {
			rest[key] = v
		}
	}
	metadata, _ := object["metadata"].(map[string]any)
	described := make(map[string]any, len(metadata))
	for key, v := range metadata {
		if key != "name" && key != "namespace" {
			described[key] = v
		}
	}
	if len(described) > 0 {
		rest["metadata"] = described
	}
	return rest
}

// covered reports whether every leaf under node is in the set.
func covered(node any, set *fieldpath.Set) bool {
	switch node := node.(type) {
	case map[string]any:
		for key, child := range node {
			if !coveredBy(child, set, fieldpath.FieldNameElement(key)) {
				return false
			}
		}
		return len(node) > 0
	case []any:
		for _, item := range node {
			element, found := elementOf(item, set)
			if !found || !coveredBy(item, set, element) {
				return false
			}
		}
		return len(node) > 0
	}
	return false
}

func coveredBy(child any, set *fieldpath.Set, element fieldpath.PathElement) bool {
	below := set.WithPrefix(element)
	if below.Empty() {
		return set.Members.Has(element) // a leaf, or an atomic whole
	}
	return covered(child, below)
}

// elementOf finds how the set speaks of a list item: by its keys, or by its
// value.
func elementOf(item any, set *fieldpath.Set) (fieldpath.PathElement, bool) {
	for _, element := range children(set) {
		if element.Key != nil && hasKey(item, *element.Key) {
			return element, true
		}
	}
	for _, element := range members(set) {
		if element.Value != nil && equal(item, (*element.Value).Unstructured()) {
			return element, true
		}
	}
	return fieldpath.PathElement{}, false
}

// children and members collect first: the iterators of the library go on after
// a break, which ends the program.
func children(set *fieldpath.Set) (elements []fieldpath.PathElement) {
	set.Children.Iterate(func(element fieldpath.PathElement) { elements = append(elements, element) })
	return elements
}

func members(set *fieldpath.Set) (elements []fieldpath.PathElement) {
	set.Members.Iterate(func(element fieldpath.PathElement) { elements = append(elements, element) })
	return elements
}

// visitor is told of one field that differs. nil stands for absent.
type visitor func(path fieldpath.Path, old, new any)

// walk compares two objects in the fields of a set.
func walk(set *fieldpath.Set, path fieldpath.Path, old, new any, visit visitor) {
	for _, element := range members(set) {
		if !set.WithPrefix(element).Empty() {
			continue // its fields are compared below
		}
		a, b := descend(old, element), descend(new, element)
		if !equal(a, b) {
			visit(append(path.Copy(), element), a, b)
		}
	}
	for _, element := range children(set) {
		walk(set.WithPrefix(element), append(path.Copy(), element), descend(old, element), descend(new, element), visit)
	}
	if a, b := order(set, old), order(set, new); !slices.Equal(a, b) && len(a) == len(b) {
		visit(append(path.Copy(), fieldpath.FieldNameElement("(order)")), toAny(a), toAny(b))
	}
}

// order lists the items that the set speaks of by key, in the order in which
// the list has them: it decides in which order init containers run.
func order(set *fieldpath.Set, node any) []string {
	items, isList := node.([]any)
	if !isList {
		return nil
	}
	var keys []string
	for _, item := range items {
		for _, element := range children(set) {
			if element.Key != nil && hasKey(item, *element.Key) {
				keys = append(keys, element.String())
				break
			}
		}
	}
	return keys
}

func toAny(texts []string) []any {
	items := make([]any, len(texts))
	for i, text := range texts {
		items[i] = text
	}
	return items
}

// descend follows one path element; nil where it leads nowhere.
func descend(node any, element fieldpath.PathElement) any {
	switch {
	case element.FieldName != nil:
		object, _ := node.(map[string]any)
		return object[*element.FieldName]
	case element.Key != nil:
		return only(node, func(item any) bool { return hasKey(item, *element.Key) })
	case element.Value != nil:
		return only(node, func(item any) bool { return equal(item, (*element.Value).Unstructured()) })
	case element.Index != nil:
		items, _ := node.([]any)
		if *element.Index >= 0 && *element.Index < len(items) {
			return items[*element.Index]
		}
	}
	return nil
}

// only is the one item of a list that matches. Two that do are none: a port
// without its protocol may be meant for either.
func only(node any, matches func(any) bool) any {
	items, _ := node.([]any)
	var match any
	for _, item := range items {
		if !matches(item) {
			continue
		}
		if match != nil {
			return nil
		}
		match = item
	}
	return match
}

// hasKey reports whether a list item is the one that a key means. A manifest
// may leave out a part of the key that has a default, such as a port's
// protocol; it may not leave out all of it.
func hasKey(item any, key value.FieldList) bool {
	object, isMap := item.(map[string]any)
	if !isMap {
		return false
	}
	present := 0
	for _, field := range key {
		v, found := object[field.Name]
		if !found {
			continue
		}
		if !equal(v, field.Value.Unstructured()) {
			return false
		}
		present++
	}
	return present > 0
}

func equal(a, b any) bool {
	return value.Equals(value.NewValueInterface(a), value.NewValueInterface(b))
}

// Compare says what applying changed of what we own: live is what is there,
// tried is what a dry run of the apply answered. Fields of other managers do
// not count, so that a webhook that writes at every request makes no drift.
// changed can be true without fields: when only the ownership changes.
func Compare(live, tried *manifest.Object, manager string, redact manifest.Redactor) (fields []FieldChange, changed bool) {
	was, will := ownedSets(live, tried, manager)
	compare(live, tried, was.Union(will), redact, others(live, manager), func(_ fieldpath.Path, f FieldChange) {
		fields = append(fields, f)
	})
	return fields, len(fields) > 0 || !was.Equals(will)
}

// ownedSets are the fields that a manager owns before and after a try.
func ownedSets(live, tried *manifest.Object, manager string) (was, will *fieldpath.Set) {
	if was = managed(live, manager); was == nil {
		was = &fieldpath.Set{}
	}
	if will = managed(tried, manager); will == nil {
		will = &fieldpath.Set{}
	}
	return was, will
}

// compare tells of the fields of a set that differ, in the order of their paths.
func compare(live, tried *manifest.Object, set *fieldpath.Set, redact manifest.Redactor, writers []writer, tell func(fieldpath.Path, FieldChange)) {
	type found struct {
		path   fieldpath.Path
		change FieldChange
	}
	var all []found
	visit := func(path fieldpath.Path, old, new any) {
		all = append(all, found{path, FieldChange{Path: pathText(path), Old: show(old), New: show(new), By: writtenBy(path, writers)}})
	}
	// Redaction keeps equal values equal and different ones different.
	walk(set, nil, redact.Object(live).Object, redact.Object(tried).Object, visit)
	slices.SortFunc(all, func(a, b found) int { return strings.Compare(a.change.Path, b.change.Path) })
	for _, f := range all {
		tell(f.path, f.change)
	}
}

// maxShown bounds one value in a diff.
const maxShown = 200

func show(v any) string {
	if v == nil {
		return ""
	}
	var buffer bytes.Buffer
	encoder := json.NewEncoder(&buffer)
	encoder.SetEscapeHTML(false) // for people, and a redaction mark has angle brackets
	if err := encoder.Encode(v); err != nil {
		return "(cannot be shown)"
	}
	text := strings.TrimSpace(buffer.String())
	if runes := []rune(text); len(runes) > maxShown {
		return string(runes[:maxShown]) + "…"
	}
	return text
}

// pathText is the path as people write it: spec.template.spec.containers[name=api].image.
func pathText(path fieldpath.Path) string {
	var text bytes.Buffer
	for _, element := range path {
		switch {
		case element.FieldName != nil && strings.ContainsAny(*element.FieldName, "./"):
			text.WriteString("[" + *element.FieldName + "]") // as ignoreDrift takes it
		case element.FieldName != nil:
			if text.Len() > 0 {
				text.WriteByte('.')
			}
			text.WriteString(*element.FieldName)
		case element.Key != nil:
			text.WriteByte('[')
			for i, field := range *element.Key {
				if i > 0 {
					text.WriteByte(',')
				}
				text.WriteString(field.Name + "=" + plain(field.Value.Unstructured()))
			}
			text.WriteByte(']')
		case element.Value != nil:
			text.WriteString("[" + plain((*element.Value).Unstructured()) + "]")
		default:
			text.WriteString(element.String())
		}
	}
	return text.String()
}

func plain(v any) string {
	if text, isText := v.(string); isText {
		return text
	}
	return show(v)
}
