// Package manifest holds rendered Kubernetes objects: their identity, a set
// without duplicates in apply order, the digest that names a release, and the
// redaction that every object passes on its way to a person.
package manifest

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Object is one Kubernetes object as rendered.
type Object = unstructured.Unstructured

// ID identifies an object on a cluster across versions of its API. Its key is
// the group and the kind: another group's Namespace is not the core one.
type ID struct {
	Group     string `json:"group,omitempty"`
	Kind      string `json:"kind"`
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name"`
}

// IDOf is the identity of an object.
func IDOf(o *Object) ID {
	gvk := o.GroupVersionKind()
	return ID{Group: gvk.Group, Kind: gvk.Kind, Namespace: o.GetNamespace(), Name: o.GetName()}
}

// String is Kind.group/namespace/name without the parts that are empty.
func (id ID) String() string {
	parts := []string{id.GroupKind().String()}
	if id.Namespace != "" {
		parts = append(parts, id.Namespace)
	}
	return strings.Join(append(parts, id.Name), "/")
}

// GroupKind is the key that ordering, scope and protection go by.
func (id ID) GroupKind() schema.GroupKind { return schema.GroupKind{Group: id.Group, Kind: id.Kind} }

// Compare orders identities for stable output.
func (id ID) Compare(other ID) int {
	return slices.Compare(
		[]string{id.Group, id.Kind, id.Namespace, id.Name},
		[]string{other.Group, other.Kind, other.Namespace, other.Name})
}

// Digest is "sha256:" and 64 hexadecimal digits over the canonical objects of
// a set. The empty Digest means none.
type Digest string

// Short is for people: the first 12 hexadecimal digits.
func (d Digest) Short() string {
	hexadecimal := strings.TrimPrefix(string(d), "sha256:")
	return hexadecimal[:min(12, len(hexadecimal))]
}

// DigestBytes names any bytes the way a Set is named.
func DigestBytes(b []byte) Digest {
	sum := sha256.Sum256(b)
	return Digest("sha256:" + hex.EncodeToString(sum[:]))
}

// Set is a complete render: objects without duplicates, in apply order. It and
// its objects are not to be changed.
type Set struct {
	objects []*Object
	index   map[ID]*Object
}

// NewSet orders the objects and refuses one without kind or name, and two that
// would be one object on the cluster. List objects are taken apart.
func NewSet(objects []*Object) (Set, error) {
	flat, err := flatten(objects)
	if err != nil {
		return Set{}, err
	}
	set := Set{objects: flat, index: make(map[ID]*Object, len(flat))}
	for i, o := range flat {
		id := IDOf(o)
		if o.GetAPIVersion() == "" || o.GetKind() == "" || id.Name == "" {
			return Set{}, fmt.Errorf("object %d (%s): want apiVersion, kind and metadata.name", i+1, id)
		}
		if err := checkType(o); err != nil {
			return Set{}, fmt.Errorf("object %d (%s): %w", i+1, id, err)
		}
		if _, twice := set.index[id]; twice {
			return Set{}, fmt.Errorf("%s: rendered twice; want one object of a kind and name in a namespace", id)
		}
		set.index[id] = o
	}
	slices.SortStableFunc(set.objects, func(a, b *Object) int {
		if byStage := StageOf(a) - StageOf(b); byStage != 0 {
			return int(byStage)
		}
		if byRank := rank(a) - rank(b); byRank != 0 {
			return byRank
		}
		return IDOf(a).Compare(IDOf(b))
	})
	return set, nil
}

var (
	apiVersion = regexp.MustCompile(`^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9]*[A-Za-z0-9])?$`)
	kindName   = regexp.MustCompile(`^[A-Za-z]([-A-Za-z0-9]*[A-Za-z0-9])?$`)
)

// checkType refuses what readers take for different kinds: the API server reads
// "/v1" as v1, and a rule that splits it at the slash does not.
func checkType(o *Object) error {
	if text := o.GetAPIVersion(); len(text) > 320 || !apiVersion.MatchString(text) {
		return fmt.Errorf("apiVersion is %.60q; want a version such as v1, or group/version such as apps/v1", text)
	}
	if text := o.GetKind(); len(text) > 63 || !kindName.MatchString(text) {
		return fmt.Errorf("kind is %.60q; want one word such as Deployment", text)
	}
	return nil
}

// flatten takes lists apart, and lists in lists. Only a kind that says so is a
// list: any custom object may have a field `items`.
func flatten(objects []*Object) ([]*Object, error) {
	flat := make([]*Object, 0, len(objects))
	for _, o := range objects {
		if !isList(o) {
			flat = append(flat, o)
			continue
		}
		var items []*Object
		err := o.EachListItem(func(item runtimeObject) error {
			items = append(items, item.(*Object))
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("%s: read list items: %w", o.GetKind(), err)
		}
		if items, err = flatten(items); err != nil {
			return nil, err
		}
		flat = append(flat, items...)
	}
	return flat, nil
}

func isList(o *Object) bool { return o.IsList() && strings.HasSuffix(o.GetKind(), "List") }

// Objects are in apply order.
func (s Set) Objects() []*Object { return s.objects }

// Len is the number of objects.
func (s Set) Len() int { return len(s.objects) }

// Get finds an object by identity.
func (s Set) Get(id ID) (*Object, bool) {
	o, ok := s.index[id]
	return o, ok
}

// Digest is the same for the same objects however they were ordered or
// formatted: sha256 over one line of JSON per object with sorted keys.
func (s Set) Digest() (Digest, error) {
	b, err := s.Canonical()
	if err != nil {
		return "", err
	}
	return DigestBytes(b), nil
}

// Canonical is one line of JSON per object, keys sorted, objects by identity.
func (s Set) Canonical() ([]byte, error) {
	sorted := slices.Clone(s.objects)
	slices.SortFunc(sorted, func(a, b *Object) int { return IDOf(a).Compare(IDOf(b)) })
	var out []byte
	for _, o := range sorted {
		line, err := json.Marshal(o.Object)
		if err != nil {
			return nil, fmt.Errorf("%s: encode: %w", IDOf(o), err)
		}
		out = append(append(out, line...), '\n')
	}
	return out, nil
}
