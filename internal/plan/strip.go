package plan

import (
	"maps"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	"chaperone.dev/chaperone/internal/manifest"
)

// Stripped is what a dry run of an apply answered, without what the apply will
// take away as well once the fields of adopted tools are the owner's: those of
// the inherited object that are neither sent nor anybody else's. Defaults that
// the server puts in their place are not in it yet.
func Stripped(inherited, tried *manifest.Object) *manifest.Object {
	had, stay := &fieldpath.Set{}, managed(tried, FieldManager)
	if stay == nil {
		stay = &fieldpath.Set{}
	}
	for _, one := range writersOf(inherited) {
		if one.entry.Manager == FieldManager && one.entry.Operation == metav1.ManagedFieldsOperationApply && one.entry.Subresource == "" {
			had = one.fields
		} else {
			stay = stay.Union(one.fields)
		}
	}
	stripped, isMap := strip(tried.Object, had.Difference(stay), stay).(map[string]any)
	if !isMap {
		return tried
	}
	return &manifest.Object{Object: stripped}
}

// strip is a node without the fields in gone. What holds a field that stays is
// left, without the others.
func strip(node any, gone, stay *fieldpath.Set) any {
	switch node := node.(type) {
	case map[string]any:
		node = maps.Clone(node)
		for _, element := range both(gone) {
			if element.FieldName == nil {
				continue
			}
			name := *element.FieldName
			if child, found := node[name]; found && goes(element, gone, stay) {
				delete(node, name)
			} else if found {
				node[name] = strip(child, gone.WithPrefix(element), stay.WithPrefix(element))
			}
		}
		return node
	case []any:
		return stripItems(slices.Clone(node), gone, stay)
	}
	return node
}

func stripItems(items []any, gone, stay *fieldpath.Set) []any {
	for _, element := range both(gone) {
		i := slices.IndexFunc(items, func(item any) bool { return isItem(item, element) })
		switch {
		case i < 0:
		case goes(element, gone, stay):
			items = slices.Delete(items, i, i+1)
		case element.Key != nil:
			before, _ := items[i].(map[string]any)
			after, _ := strip(items[i], gone.WithPrefix(element), stay.WithPrefix(element)).(map[string]any)
			for _, field := range *element.Key {
				if v, found := before[field.Name]; found {
					after[field.Name] = v // an item keeps what it is known by
				}
			}
			items[i] = after
		}
	}
	return items
}

func isItem(item any, element fieldpath.PathElement) bool {
	return element.Key != nil && hasKey(item, *element.Key) ||
		element.Value != nil && equal(item, (*element.Value).Unstructured())
}

// goes reports whether all of an element goes.
func goes(element fieldpath.PathElement, gone, stay *fieldpath.Set) bool {
	return gone.Members.Has(element) && !stay.Members.Has(element) && stay.WithPrefix(element).Empty()
}

// both are the elements of a set that are fields, or hold any.
func both(set *fieldpath.Set) []fieldpath.PathElement {
	elements := members(set)
	for _, element := range children(set) {
		if !set.Members.Has(element) {
			elements = append(elements, element)
		}
	}
	return elements
}
