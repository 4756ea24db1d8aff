package plan

import (
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	"chaperone.dev/chaperone/internal/manifest"
)

// others are all who wrote fields of an object, apart from what a manager
// applied.
func others(live *manifest.Object, manager string) []writer {
	return slices.DeleteFunc(writersOf(live), func(w writer) bool {
		ours := w.entry.Manager == manager && w.entry.Operation == metav1.ManagedFieldsOperationApply && w.entry.Subresource == ""
		return ours || w.opaque
	})
}

// writtenBy names those who wrote a field, or something in it.
func writtenBy(path fieldpath.Path, writers []writer) string {
	var names []string
	for _, w := range writers {
		if touches(w.fields, path) && !slices.Contains(names, w.entry.Manager) {
			names = append(names, w.entry.Manager)
		}
	}
	return strings.Join(names, " and ")
}

// touches reports whether a set has a path, or a part of it.
func touches(set *fieldpath.Set, path fieldpath.Path) bool {
	for i, element := range path {
		if i == len(path)-1 && set.Members.Has(element) {
			return true
		}
		if set = set.WithPrefix(element); set.Empty() {
			return false
		}
	}
	return true
}

// Drifted is Compare for a release that is applied already: what the correction
// would undo. It leaves out what no correction can: where we own a field alone
// and a try shows another value than is sent, a webhook or a default makes that
// of whatever we write.
func Drifted(live, sent, tried *manifest.Object, manager string, redact manifest.Redactor) (fields []FieldChange, changed bool) {
	was, will := ownedSets(live, tried, manager)
	writers := others(live, manager)
	hopeless := func(path fieldpath.Path) bool {
		return was.Has(path) && writtenBy(path, writers) == "" && !equal(at(sent.Object, path), at(tried.Object, path))
	}
	compare(live, tried, was.Union(will), redact, writers, func(path fieldpath.Path, f FieldChange) {
		if !hopeless(path) {
			fields = append(fields, f)
		}
	})
	return fields, len(fields) > 0 || !was.Equals(will)
}

func at(node any, path fieldpath.Path) any {
	for _, element := range path {
		node = descend(node, element)
	}
	return node
}

// maxToldFields and maxTold bound what is told of one object.
const (
	maxToldFields = 5
	maxTold       = 600
)

// Drift says in one line how an object differs from what was applied. Nothing in
// it is secret.
func (c Change) Drift() string {
	switch {
	case c.Action == Create:
		return c.ID.String() + " is gone"
	case c.Action == Replace && c.Reason == ReasonTerminating:
		return c.ID.String() + " is being deleted"
	case c.Action == Replace && len(c.Immutable) > 0:
		return fmt.Sprintf("%s differs in %s", c.ID, strings.Join(c.Immutable, ", "))
	case len(c.Fields) == 0:
		return fmt.Sprintf("%s differs (%s)", c.ID, c.Action)
	}
	var parts []string
	for _, f := range c.Fields[:min(maxToldFields, len(c.Fields))] {
		part := fmt.Sprintf("%s is %s, not %s", f.Path, orNone(f.Old), orNone(f.New))
		if f.By != "" {
			part += " (by " + f.By + ")"
		}
		parts = append(parts, part)
	}
	if more := len(c.Fields) - maxToldFields; more > 0 {
		parts = append(parts, fmt.Sprintf("and %d more fields", more))
	}
	return shorten(c.ID.String() + ": " + strings.Join(parts, ", "))
}

// Contention is Drift of an object that is fought over, with both who do.
func (c Change) Contention(manager string) string {
	var rivals []string
	for _, f := range c.Fields {
		for _, by := range strings.Split(f.By, " and ") {
			if by != "" && !slices.Contains(rivals, by) {
				rivals = append(rivals, by)
			}
		}
	}
	rival := strings.Join(rivals, " and ")
	if rival == "" {
		rival = "somebody who leaves no name, such as a webhook or who deletes it"
	}
	return fmt.Sprintf("%s; %s and %s keep changing it", c.Drift(), manager, shorten(rival))
}

func shorten(text string) string {
	if runes := []rune(text); len(runes) > maxTold {
		return string(runes[:maxTold]) + "…"
	}
	return text
}
