package cluster

import (
	"context"
	"errors"
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"chaperone.dev/chaperone/internal/fault"
	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/plan"
)

// release is a render as this cluster understands it.
type release struct {
	set      manifest.Set // prepared: marked, in their namespaces
	kinds    map[manifest.ID]kind
	later    map[manifest.ID]bool  // its kind comes with the release
	rejected map[manifest.ID]error // its kind is nowhere
}

func (r release) holds(id manifest.ID) bool {
	_, found := r.set.Get(id)
	return found
}

// resolve finds the kind of every object, and with it whether it lives in a
// namespace. A kind that is not served yet may be defined by the release
// itself.
func (c *Cluster) resolve(ctx context.Context, w Owner, desired manifest.Set) (release, error) {
	r := release{kinds: map[manifest.ID]kind{}, later: map[manifest.ID]bool{}, rejected: map[manifest.ID]error{}}
	crds := plan.Definitions(desired.Objects())
	prepared := make([]*manifest.Object, 0, desired.Len())
	owner := w.plan()
	for _, o := range desired.Objects() {
		at, err := c.reach(ctx, crds, o)
		if err != nil {
			return r, err
		}
		sent, err := plan.Prepare(o, owner, namespaceFor(o, w, at.namespaced()))
		if err != nil {
			return r, fault.Terminal("prepare", manifest.IDOf(o).String(), err)
		}
		prepared = append(prepared, sent)
		id, gvk := manifest.IDOf(sent), o.GroupVersionKind()
		switch {
		case at.defined:
			r.later[id] = true
		case at.unknown:
			r.rejected[id] = fmt.Errorf("%s is not a kind of this cluster; install its definition first, or render it in this release", describeKind(gvk.GroupKind(), gvk.Version))
		default:
			r.kinds[id] = at.kind
		}
	}
	set, err := manifest.NewSet(prepared)
	if err != nil {
		return r, fault.Terminal("prepare", "", err)
	}
	r.set = set
	return r, nil
}

// reached is how an object's kind is reached, and where that is known from.
type reached struct {
	kind
	unknown bool // the cluster does not serve it
	defined bool // it will, as the release says
}

// namespaced: of a kind that nothing tells of it is taken for one that is.
func (r reached) namespaced() bool { return r.kind.namespaced || r.unknown && !r.defined }

func (c *Cluster) reach(ctx context.Context, crds map[schema.GroupKind]*manifest.Object, o *manifest.Object) (at reached, err error) {
	gvk := o.GroupVersionKind()
	at.kind, err = c.kinds.find(ctx, gvk.GroupKind(), gvk.Version)
	if at.unknown = errors.Is(err, errUnknownKind); !at.unknown {
		return at, err
	}
	at.kind, at.defined = definedBy(crds[gvk.GroupKind()], gvk.Version)
	return at, nil
}

// identities are those of a release's objects as they stand on this cluster, in
// apply order.
func (c *Cluster) identities(ctx context.Context, w Owner, set manifest.Set) ([]manifest.ID, error) {
	crds := plan.Definitions(set.Objects())
	ids := make([]manifest.ID, 0, set.Len())
	for _, o := range set.Objects() {
		at, err := c.reach(ctx, crds, o)
		if err != nil {
			return nil, err
		}
		id := manifest.IDOf(o)
		id.Namespace = namespaceFor(o, w, at.namespaced())
		ids = append(ids, id)
	}
	return ids, nil
}

func namespaceFor(o *manifest.Object, w Owner, namespaced bool) string {
	switch {
	case !namespaced:
		return "" // kustomize gives a namespace to kinds that it does not know
	case o.GetNamespace() == "":
		return w.Namespace
	}
	return o.GetNamespace()
}

// definedBy reads scope and version off a CRD that is not applied yet.
func definedBy(crd *manifest.Object, version string) (kind, bool) {
	if crd == nil {
		return kind{}, false
	}
	scope, _, _ := unstructured.NestedString(crd.Object, "spec", "scope")
	for _, served := range servedVersions(crd) {
		if served == version {
			return kind{namespaced: scope == "Namespaced"}, true
		}
	}
	return kind{}, false
}

func servedVersions(crd *manifest.Object) []string {
	versions, _, err := unstructured.NestedSlice(crd.Object, "spec", "versions")
	if err != nil {
		return nil
	}
	var names []string
	for _, v := range versions {
		version, _ := v.(map[string]any)
		name, _ := version["name"].(string)
		if served, _ := version["served"].(bool); served && name != "" {
			names = append(names, name)
		}
	}
	return names
}

func definedKind(crd *manifest.Object) schema.GroupKind {
	group, _, _ := unstructured.NestedString(crd.Object, "spec", "group")
	name, _, _ := unstructured.NestedString(crd.Object, "spec", "names", "kind")
	return schema.GroupKind{Group: group, Kind: name}
}
