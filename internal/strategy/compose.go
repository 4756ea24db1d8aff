package strategy

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/plan"
)

// draft is the set of one step in the making. Objects in it are shared with the
// sets that they come from, until edit has made a copy.
type draft struct {
	objects map[manifest.ID]*manifest.Object
	own     map[manifest.ID]bool
}

func (s *draft) add(o *manifest.Object) { s.objects[manifest.IDOf(o)] = o }

// replace puts another version of an object in the place of the one that is
// there, which may spell its namespace otherwise.
func (s *draft) replace(there, by *manifest.Object) {
	delete(s.objects, manifest.IDOf(there))
	s.add(by)
}

func (s *draft) edit(o *manifest.Object) *manifest.Object {
	id := manifest.IDOf(o)
	if !s.own[id] {
		s.objects[id], s.own[id] = o.DeepCopy(), true
	}
	return s.objects[id]
}

func (s *draft) all() []*manifest.Object { return slices.Collect(maps.Values(s.objects)) }

// of are the objects of a kind in a namespace, in order.
func (s *draft) of(gk schema.GroupKind, namespace string) []*manifest.Object {
	var some []*manifest.Object
	for id, o := range s.objects {
		if id.GroupKind() == gk && within(o, namespace) {
			some = append(some, o)
		}
	}
	slices.SortFunc(some, func(a, b *manifest.Object) int { return manifest.IDOf(a).Compare(manifest.IDOf(b)) })
	return some
}

// compose makes the set of a step that is not the last.
func (d *designer) compose(states []state) (manifest.Set, error) {
	s := d.union()
	for i, m := range d.movers {
		d.place(s, m, states[i])
	}
	for i, m := range d.movers {
		d.direct(s, m, states[i])
	}
	d.dropIdle(s)
	d.dependencies(s)
	return manifest.NewSet(s.all())
}

// union is all that the release has and all that last good had, without the
// hooks that are not due: what is no longer wanted goes with the last step, when
// nothing needs it any more.
func (d *designer) union() *draft {
	s := &draft{objects: map[manifest.ID]*manifest.Object{}, own: map[manifest.ID]bool{}}
	for _, o := range d.After.Objects() {
		if manifest.StageOf(o) != manifest.StagePostDeploy {
			s.add(o)
		}
	}
	for _, o := range d.Before.Objects() {
		switch manifest.StageOf(o) {
		case manifest.StagePreDeploy, manifest.StagePostDeploy, manifest.StageRollback:
			continue
		}
		if d.counterpart(d.After, o) == nil {
			s.add(o)
		}
	}
	return s
}

// counterpart is the same object in another set, which may spell the target's
// namespace otherwise.
func (d *designer) counterpart(set manifest.Set, o *manifest.Object) *manifest.Object {
	id := manifest.IDOf(o)
	if found, there := set.Get(id); there {
		return found
	}
	switch id.Namespace {
	case d.Namespace:
		id.Namespace = ""
	case "":
		id.Namespace = d.Namespace
	}
	found, _ := set.Get(id)
	return found
}

// place puts the versions of a workload into a step.
func (d *designer) place(s *draft, m *mover, now state) {
	if !now.fresh {
		s.replace(m.new, m.old)
	}
	if now.replicas == 0 {
		return
	}
	s.add(d.copyOf(m, now.replicas))
	s.add(d.serviceCopy(m))
	d.shield(s, m, now)
	d.scale(s, m, now)
	if now.share > 0 {
		d.weigh(s, m, now.share)
	}
}

// direct points the Services of a workload to whom its requests are for.
func (d *designer) direct(s *draft, m *mover, now state) {
	for _, o := range s.of(service, d.Namespace) {
		if o.GetName() == m.copySvc {
			continue
		}
		before, after := d.counterpart(d.Before, o), d.counterpart(d.After, o)
		now.direct(s, m, o, before, after)
	}
}

func (now state) direct(s *draft, m *mover, o, before, after *manifest.Object) {
	had := before != nil && serves(serviceSelector(before), podLabels(m.old))
	has := after != nil && serves(serviceSelector(after), m.newPods())
	both := had && has && (now.to == toBoth || now.fresh)
	switch {
	case !had && !has:
	case now.to == toCopy:
		if has {
			pick(s.edit(o), tracked(serviceSelector(after), m.track))
		}
	case both && now.fresh:
		pick(s.edit(o), bridge(before, after, podLabels(m.old), m.newPods()))
	case both:
		pick(s.edit(o), bridge(before, after, podLabels(m.old), m.copyPods()))
	case before != nil && !now.fresh && (had || !serves(serviceSelector(after), podLabels(m.old))):
		s.replace(o, before)
	}
}

// pick sets a selector; nil leaves it.
func pick(o *manifest.Object, selector labels.Set) {
	if selector == nil {
		return
	}
	fields := map[string]any{}
	for key, value := range selector {
		fields[key] = value
	}
	put(o, fields, "spec", "selector")
}

// dropIdle leaves Services out for as long as the pods that they are for are not
// there: those that are new, and those that go.
func (d *designer) dropIdle(s *draft) {
	here := podsOf(s.all())
	origins := map[*manifest.Set][]*manifest.Object{&d.Before: podsOf(d.Before.Objects()), &d.After: podsOf(d.After.Objects())}
	for id, o := range s.objects {
		if id.GroupKind() != service || serviceSelector(o) == nil || d.anyServed(here, o) {
			continue
		}
		for set, pods := range origins {
			if origin := d.counterpart(*set, o); origin != nil && d.anyServed(pods, origin) {
				delete(s.objects, id)
			}
		}
	}
}

// podsOf are the objects that make pods.
func podsOf(objects []*manifest.Object) []*manifest.Object {
	var some []*manifest.Object
	for _, o := range objects {
		if len(mapAt(o.Object, "spec", "template", "metadata", "labels")) > 0 {
			some = append(some, o)
		}
	}
	return some
}

func (d *designer) anyServed(workloads []*manifest.Object, by *manifest.Object) bool {
	selector := serviceSelector(by)
	return slices.ContainsFunc(workloads, func(o *manifest.Object) bool {
		return cmp.Or(o.GetNamespace(), d.Namespace) == cmp.Or(by.GetNamespace(), d.Namespace) && serves(selector, podLabels(o))
	})
}

// dependencies takes out of chaperone.dev/depends-on what is not in a step, such
// as last good's hooks, which have run.
func (d *designer) dependencies(s *draft) {
	for _, o := range s.all() {
		text := textAt(o.Object, "metadata", "annotations", manifest.AnnotationDependsOn)
		if text == "" {
			continue
		}
		ids, err := plan.ParseDependsOn(text)
		if err != nil {
			continue // the plan says what is wrong with it
		}
		var kept []string
		for _, id := range ids {
			if _, there := s.objects[id]; there || !d.known(id) {
				kept = append(kept, plan.Dependency(id))
			}
		}
		if len(kept) == len(ids) {
			continue
		}
		edited := s.edit(o)
		annotations := edited.GetAnnotations()
		if annotations[manifest.AnnotationDependsOn] = strings.Join(kept, ","); len(kept) == 0 {
			delete(annotations, manifest.AnnotationDependsOn)
		}
		edited.SetAnnotations(annotations)
	}
}

func (d *designer) known(id manifest.ID) bool {
	_, before := d.Before.Get(id)
	_, after := d.After.Get(id)
	return before || after
}
