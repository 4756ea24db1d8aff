package strategy

import (
	"reflect"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"chaperone.dev/chaperone/internal/manifest"
)

var (
	deployment = schema.GroupKind{Group: "apps", Kind: "Deployment"}
	service    = schema.GroupKind{Kind: "Service"}
	httpRoute  = schema.GroupKind{Group: "gateway.networking.k8s.io", Kind: "HTTPRoute"}
	autoscaler = schema.GroupKind{Group: "autoscaling", Kind: "HorizontalPodAutoscaler"}
	budget     = schema.GroupKind{Group: "policy", Kind: "PodDisruptionBudget"}
	claim      = schema.GroupKind{Kind: "PersistentVolumeClaim"}
	flagger    = schema.GroupKind{Group: "flagger.app", Kind: "Canary"}
	rollout    = schema.GroupKind{Group: "argoproj.io", Kind: "Rollout"}
)

// find looks an object of a namespace up, whether it names the namespace or
// leaves that to the target.
func find(set manifest.Set, gk schema.GroupKind, namespace, name string) *manifest.Object {
	for _, in := range []string{namespace, ""} {
		if o, found := set.Get(manifest.ID{Group: gk.Group, Kind: gk.Kind, Namespace: in, Name: name}); found {
			return o
		}
	}
	return nil
}

// kind are the objects of a kind in a namespace, in the order of the set.
func kind(set manifest.Set, gk schema.GroupKind, namespace string) []*manifest.Object {
	var all []*manifest.Object
	for _, o := range set.Objects() {
		if o.GroupVersionKind().GroupKind() == gk && within(o, namespace) {
			all = append(all, o)
		}
	}
	return all
}

func within(o *manifest.Object, namespace string) bool {
	return o.GetNamespace() == "" || o.GetNamespace() == namespace
}

func at(o map[string]any, path ...string) any {
	value, _, err := unstructured.NestedFieldNoCopy(o, path...)
	if err != nil {
		return nil
	}
	return value
}

func mapAt(o map[string]any, path ...string) map[string]any {
	m, _ := at(o, path...).(map[string]any)
	return m
}

func textAt(o map[string]any, path ...string) string {
	text, _ := at(o, path...).(string)
	return text
}

// listAt reads a list of mappings, and leaves out what is not one. The mappings
// are the object's own.
func listAt(o map[string]any, path ...string) []map[string]any {
	items, _ := at(o, path...).([]any)
	var maps []map[string]any
	for _, item := range items {
		if m, isMap := item.(map[string]any); isMap {
			maps = append(maps, m)
		}
	}
	return maps
}

// number reads a whole number, as JSON or YAML have left it.
func number(value any, otherwise int) int {
	switch n := value.(type) {
	case int64:
		return int(n)
	case int:
		return n
	case float64:
		return int(n)
	}
	return otherwise
}

// put sets a field of an object that is ours to change. A parent that is no
// mapping is the server's to refuse.
func put(o *manifest.Object, value any, path ...string) {
	if err := unstructured.SetNestedField(o.Object, value, path...); err != nil {
		return
	}
}

func same(a, b any) bool { return reflect.DeepEqual(a, b) }

func podLabels(workload *manifest.Object) labels.Set {
	set := labels.Set{}
	for key, value := range mapAt(workload.Object, "spec", "template", "metadata", "labels") {
		if text, isText := value.(string); isText {
			set[key] = text
		}
	}
	return set
}

// tracked are the labels with another track.
func tracked(pod labels.Set, track string) labels.Set {
	return labels.Merge(pod, labels.Set{LabelTrack: track})
}

// serviceSelector is nil for a Service that selects nothing.
func serviceSelector(o *manifest.Object) labels.Set {
	fields := mapAt(o.Object, "spec", "selector")
	if len(fields) == 0 {
		return nil
	}
	set := labels.Set{}
	for key, value := range fields {
		set[key], _ = value.(string)
	}
	return set
}

func serves(selector, pod labels.Set) bool {
	return len(selector) > 0 && labels.SelectorFromSet(selector).Matches(pod)
}

// selectorOf reads a label selector; nil is none, or one that cannot be read.
func selectorOf(fields map[string]any) labels.Selector {
	if fields == nil {
		return nil
	}
	var read metav1.LabelSelector
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(fields, &read); err != nil {
		return nil
	}
	selector, err := metav1.LabelSelectorAsSelector(&read)
	if err != nil {
		return nil
	}
	return selector
}

func matches(o *manifest.Object, pod labels.Set) bool {
	selector := selectorOf(mapAt(o.Object, "spec", "selector"))
	return selector != nil && selector.Matches(pod)
}
