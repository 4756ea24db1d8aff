package strategy

import (
	"maps"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"chaperone.dev/chaperone/internal/manifest"
)

// elsewhere are annotations that make others act on an object by its name, such
// as a record of DNS, or keep it for ever. A copy must not have them.
var elsewhere = []string{"external-dns.", "kubectl.kubernetes.io/last-applied-configuration", manifest.AnnotationPrune}

// copied is an object under another name, on a track.
func copied(o *manifest.Object, name, track string) *manifest.Object {
	c := o.DeepCopy()
	c.SetName(name)
	unstructured.RemoveNestedField(c.Object, "status")
	for _, field := range []string{"uid", "resourceVersion", "generation", "creationTimestamp", "managedFields", "ownerReferences"} {
		unstructured.RemoveNestedField(c.Object, "metadata", field)
	}
	marks := c.GetLabels()
	if marks == nil {
		marks = map[string]string{}
	}
	marks[LabelTrack] = track
	c.SetLabels(marks)
	annotations := c.GetAnnotations()
	maps.DeleteFunc(annotations, func(key, _ string) bool {
		for _, prefix := range elsewhere {
			if strings.HasPrefix(key, prefix) {
				return true
			}
		}
		return false
	})
	c.SetAnnotations(annotations)
	return c
}

// copyOf is the new version of a workload beside it: its pods have one label
// more, and every other label, as policies go by them.
func (d *designer) copyOf(m *mover, replicas int) *manifest.Object {
	c := copied(m.new, m.copyName, m.track)
	put(c, int64(replicas), "spec", "replicas")
	put(c, m.track, "spec", "selector", "matchLabels", LabelTrack)
	put(c, m.track, "spec", "template", "metadata", "labels", LabelTrack)
	return c
}

// published are the fields by which a Service is known outside of the cluster,
// or has an address that is its own.
var published = []string{"type", "clusterIP", "clusterIPs", "externalIPs", "externalName", "externalTrafficPolicy", "healthCheckNodePort",
	"loadBalancerIP", "loadBalancerClass", "loadBalancerSourceRanges", "allocateLoadBalancerNodePorts"}

// serviceCopy is the Service by which the copy is asked, inside the cluster.
func (d *designer) serviceCopy(m *mover) *manifest.Object {
	original := find(d.After, service, d.Namespace, m.Service)
	c := copied(original, m.copySvc, m.track)
	for _, field := range published {
		unstructured.RemoveNestedField(c.Object, "spec", field)
	}
	if headless(original) {
		put(c, "None", "spec", "clusterIP")
	}
	for _, port := range listAt(c.Object, "spec", "ports") {
		delete(port, "nodePort")
	}
	pick(c, tracked(serviceSelector(original), m.track))
	return c
}

func headless(o *manifest.Object) bool { return textAt(o.Object, "spec", "clusterIP") == "None" }

// scalerCopy keeps a colour that has all requests from being too small for them.
func (m *mover) scalerCopy() *manifest.Object {
	c := copied(m.scaler, copyName(m.scaler.GetName(), m.track, maxObject), m.track)
	put(c, m.copyName, "spec", "scaleTargetRef", "name")
	m.floor(c)
	return c
}

// floor keeps an autoscaler from taking pods away that may get all requests
// within a moment.
func (m *mover) floor(scaler *manifest.Object) {
	put(scaler, int64(max(m.pods, number(at(scaler.Object, "spec", "minReplicas"), 1))), "spec", "minReplicas")
	put(scaler, int64(max(m.pods, number(at(scaler.Object, "spec", "maxReplicas"), 1))), "spec", "maxReplicas")
}

func (d *designer) scale(s *draft, m *mover, now state) {
	if m.scaler == nil || m.BlueGreen == nil {
		return
	}
	s.add(m.scalerCopy())
	for _, o := range s.of(autoscaler, d.Namespace) {
		if target := mapAt(o.Object, "spec", "scaleTargetRef"); target["kind"] == "Deployment" && target["name"] == m.Deployment {
			m.floor(s.edit(o))
		}
	}
}

// shield has a PodDisruptionBudget count the workload's pods without the copy's:
// together they would let all pods go that have the requests. A second budget
// for the copy alone is for when these are the copy's; a pod must not have two.
func (d *designer) shield(s *draft, m *mover, now state) {
	for _, o := range s.of(budget, d.Namespace) {
		if !matches(o, m.copyPods()) || o.GetLabels()[LabelTrack] != "" {
			continue
		}
		if m.BlueGreen != nil {
			s.add(m.budgetCopy(o))
		}
		require(s.edit(o), "NotIn", m.track)
	}
}

func (m *mover) budgetCopy(o *manifest.Object) *manifest.Object {
	c := copied(o, copyName(o.GetName(), m.track, maxObject), m.track)
	require(c, "In", m.track)
	return c
}

// require adds an expression about the track to a label selector.
func require(o *manifest.Object, operator, track string) {
	expressions, _ := at(o.Object, "spec", "selector", "matchExpressions").([]any)
	added := map[string]any{"key": LabelTrack, "operator": operator, "values": []any{track}}
	put(o, append(append([]any{}, expressions...), added), "spec", "selector", "matchExpressions")
}

// copies are all objects that steps bring, for their names.
func (d *designer) copies(m *mover) []*manifest.Object {
	all := []*manifest.Object{d.copyOf(m, 1), d.serviceCopy(m)}
	if m.BlueGreen == nil {
		return all
	}
	if m.scaler != nil {
		all = append(all, m.scalerCopy())
	}
	for _, set := range []manifest.Set{d.Before, d.After} {
		for _, o := range kind(set, budget, d.Namespace) {
			if matches(o, m.copyPods()) {
				all = append(all, m.budgetCopy(o))
			}
		}
	}
	return all
}
