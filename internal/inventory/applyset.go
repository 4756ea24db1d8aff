package inventory

import (
	"crypto/sha256"
	"encoding/base64"
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"
)

// The parent of an ApplySet (KEP-3659) is marked with these, so that kubectl
// finds its members and keeps its hands off a set that it did not make.
const (
	LabelSetID          = "applyset.kubernetes.io/id"
	AnnotationTooling   = "applyset.kubernetes.io/tooling"
	AnnotationKinds     = "applyset.kubernetes.io/contains-group-kinds"
	AnnotationMoreSpace = "applyset.kubernetes.io/additional-namespaces"
)

// AnnotationRelease is the digest of the release that the whole set is of; see
// Inventory.Release.
const AnnotationRelease = "chaperone.dev/release"

// Tooling names the program that manages a set, and the version of its format.
const Tooling = "chaperone/v1"

// SetID names the set whose parent is the given object. It is the value of the
// parent's id label and of every member's part-of label; the fixed ends make
// any hash a valid label value.
func SetID(name, namespace string, parent schema.GroupKind) string {
	sum := sha256.Sum256([]byte(strings.Join([]string{name, namespace, parent.Kind, parent.Group}, ".")))
	return "applyset-" + base64.RawURLEncoding.EncodeToString(sum[:]) + "-v1"
}

// ParentAnnotations describe the set's extent on its parent. The kinds and
// namespaces are those of every entry, kept and doomed ones included, so that
// nothing that was ever applied falls out of sight.
func (i Inventory) ParentAnnotations(home string) map[string]string {
	kinds := make([]string, 0, len(i.entries))
	for _, gk := range i.GroupKinds() {
		kinds = append(kinds, gk.String())
	}
	var spaces []string
	for _, namespace := range i.Namespaces() {
		if namespace != home {
			spaces = append(spaces, namespace)
		}
	}
	annotations := map[string]string{
		AnnotationTooling:   Tooling,
		AnnotationKinds:     strings.Join(kinds, ","),
		AnnotationMoreSpace: strings.Join(spaces, ","),
	}
	if i.release != "" {
		annotations[AnnotationRelease] = i.release
	}
	return annotations
}

// ParseKinds reads the annotation that ParentAnnotations wrote.
func ParseKinds(annotation string) []schema.GroupKind {
	var kinds []schema.GroupKind
	for _, text := range fields(annotation) {
		kinds = append(kinds, schema.ParseGroupKind(text))
	}
	return kinds
}

// ParseNamespaces reads the annotation that ParentAnnotations wrote.
func ParseNamespaces(annotation string) []string { return fields(annotation) }

func fields(list string) []string {
	return strings.FieldsFunc(list, func(r rune) bool { return r == ',' || r == ' ' })
}
