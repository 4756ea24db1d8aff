package plan

import (
	"fmt"
	"maps"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/promotion"
)

// Applying removes only fields that the same manager applied before. What
// another tool left would stay for ever (kubernetes#99003), so its fields are
// made the owner's first: the next apply then keeps what is rendered, and
// removes the rest.

// applying are the managers of kubectl that write whole objects. On one that is
// the owner's already the others (kubectl edit, kubectl label) are a person's
// work on a field, which is drift or is meant to be. kubectl-rollout is never
// taken over: it writes when pods were restarted, and dropping that restarts
// them again.
var applying = []string{"kubectl", "kubectl-client-side-apply", "kubectl-last-applied", "kubectl-create", "kubectl-replace"}

const restarting = "kubectl-rollout"

// inherits reports whether the fields of an entry become the owner's.
func (w Owner) inherits(one writer, owned bool) bool {
	switch {
	case one.opaque || !one.hasOwn() || one.entry.Subresource != "" || one.entry.Manager == restarting:
		return false
	case one.entry.Manager == beforeFirstApply:
		return !owned && len(w.Adopt) > 0
	case one.tool == "" || !slices.Contains(w.Adopt, one.tool):
		return false
	case !owned:
		return true
	case one.tool == promotion.ToolKubectl:
		return slices.Contains(applying, one.entry.Manager)
	}
	// Whoever else writes to an owner's object may well be meant to.
	return one.tool != promotion.ToolOther
}

// Inherit is an object as it will be when the owner has taken over the managed
// fields that tools left on it, of those tools that it adopts. heir is false
// where nothing is to be taken over; the object is then the same.
func (w Owner) Inherit(live *manifest.Object) (inherited *manifest.Object, heir bool, err error) {
	if len(w.Adopt) == 0 {
		return live, false, nil
	}
	version, owned := live.GetAPIVersion(), w.Owns(live)
	ours := metav1.ManagedFieldsEntry{Manager: FieldManager, Operation: metav1.ManagedFieldsOperationApply, FieldsType: "FieldsV1"}
	before, left, others := &fieldpath.Set{}, &fieldpath.Set{}, &fieldpath.Set{}
	var kept []metav1.ManagedFieldsEntry
	for _, one := range writersOf(live) {
		switch {
		case one.entry.Manager == FieldManager && one.entry.Operation == metav1.ManagedFieldsOperationApply && one.entry.Subresource == "":
			ours, before = one.entry, one.in(version, live)
		case w.inherits(one, owned):
			rest, taken, err := one.split()
			if err != nil {
				return live, false, fmt.Errorf("%s: take over managed fields: %w", manifest.IDOf(live), err)
			}
			if rest != nil {
				kept, others = append(kept, rest.entry), others.Union(rest.fields)
			}
			left, heir = left.Union(taken.in(version, live)), true
			if ours.Time == nil {
				ours.Time = one.entry.Time
			}
		default:
			kept, others = append(kept, one.entry), others.Union(one.fields)
		}
	}
	// A scale that nobody renders is left as it is: taken over and dropped, it
	// would fall back to 1 (mimir#7367).
	left = left.Difference(fieldpath.NewSet(fieldpath.MakePathOrDie("spec", "replicas")))
	left = left.Union(w.toolMarks(live).Difference(others))
	after := before.Union(left)
	if !heir && after.Equals(before) {
		return live, false, nil
	}
	text, err := after.ToJSON()
	if err != nil {
		return live, false, fmt.Errorf("%s: take over managed fields: %w", manifest.IDOf(live), err)
	}
	ours.APIVersion, ours.FieldsV1 = version, metav1.NewFieldsV1(string(text))
	return withManagers(live, append(kept, ours)), true, nil
}

// split parts an entry into what a controller writes (what it waits with, whose
// the object is, and its status), which stays with its manager, and the rest.
// Taken over, that would be dropped by the next apply, and the clean-up that a
// finalizer stands for with it. stays is nil where there is nothing of it.
func (w writer) split() (stays *writer, taken writer, err error) {
	controllers, own := fieldpath.NewSet(), fieldpath.NewSet()
	w.fields.Iterate(func(path fieldpath.Path) {
		if isControllers(path) {
			controllers.Insert(path.Copy())
			return
		}
		own.Insert(path.Copy())
	})
	if controllers.Empty() {
		return nil, w, nil
	}
	text, err := controllers.ToJSON()
	if err != nil {
		return nil, w, err
	}
	rest := w
	rest.fields, rest.entry.FieldsV1 = controllers, metav1.NewFieldsV1(string(text))
	w.fields = own
	return &rest, w, nil
}

// in are the fields of an entry that an object has in a version. Of an entry
// that was written in another version, those that lead nowhere are left out.
func (w writer) in(version string, live *manifest.Object) *fieldpath.Set {
	if w.entry.APIVersion == version {
		return w.fields
	}
	set := fieldpath.NewSet()
	w.fields.Iterate(func(path fieldpath.Path) {
		var node any = live.Object
		for _, element := range path {
			node = descend(node, element)
		}
		if node != nil {
			set.Insert(path.Copy())
		}
	})
	return set
}

// toolMarks are the labels and annotations by which adopted tools know an object.
func (w Owner) toolMarks(live *manifest.Object) *fieldpath.Set {
	set := fieldpath.NewSet()
	add := func(field, key string, texts map[string]string) {
		if _, found := texts[key]; found {
			set.Insert(fieldpath.MakePathOrDie("metadata", field, key))
		}
	}
	labels, annotations := live.GetLabels(), live.GetAnnotations()
	for _, m := range marks {
		if !slices.Contains(w.Adopt, m.tool) && (m.tool != promotion.ToolHelm || !slices.Contains(w.Adopt, promotion.ToolFlux)) {
			continue
		}
		texts := labels
		if m.field == "annotations" {
			texts = annotations
		}
		add(m.field, m.key, texts)
		add(m.field, m.home, texts)
	}
	if slices.Contains(w.Adopt, promotion.ToolKubectl) || slices.Contains(w.Adopt, promotion.ToolArgoCD) {
		add("annotations", lastApplied, annotations)
	}
	return set
}

// withManagers is the object with other managed fields; the rest is shared.
func withManagers(o *manifest.Object, entries []metav1.ManagedFieldsEntry) *manifest.Object {
	metadata, isMap := o.Object["metadata"].(map[string]any)
	if !isMap {
		return o
	}
	changed := &manifest.Object{Object: maps.Clone(o.Object)}
	changed.Object["metadata"] = maps.Clone(metadata)
	changed.SetManagedFields(entries)
	return changed
}
