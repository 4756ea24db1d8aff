package plan

import (
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"chaperone.dev/chaperone/internal/manifest"
)

// podTemplates is where the kinds that make pods keep what they make.
var podTemplates = map[schema.GroupKind][]string{
	{Kind: "Pod"}:                           {},
	{Kind: "ReplicationController"}:         {"spec", "template"},
	{Group: "apps", Kind: "Deployment"}:     {"spec", "template"},
	{Group: "apps", Kind: "StatefulSet"}:    {"spec", "template"},
	{Group: "apps", Kind: "DaemonSet"}:      {"spec", "template"},
	{Group: "apps", Kind: "ReplicaSet"}:     {"spec", "template"},
	{Group: "batch", Kind: "Job"}:           {"spec", "template"},
	{Group: "batch", Kind: "CronJob"}:       {"spec", "jobTemplate", "spec", "template"},
	{Group: "argoproj.io", Kind: "Rollout"}: {"spec", "template"},
}

// podTemplate is an object with labels and the spec of the pods that an object
// makes; found is false where it makes none.
func podTemplate(o *manifest.Object) (template map[string]any, found bool) {
	path, makes := podTemplates[o.GroupVersionKind().GroupKind()]
	if !makes {
		return nil, false
	}
	return mapAt(o.Object, path...)
}

func mapAt(o map[string]any, path ...string) (map[string]any, bool) {
	value, found, err := unstructured.NestedFieldNoCopy(o, path...)
	m, isMap := value.(map[string]any)
	return m, found && err == nil && isMap
}

// listAt reads a list of mappings, and leaves out what is not one.
func listAt(o map[string]any, path ...string) []map[string]any {
	value, _, err := unstructured.NestedFieldNoCopy(o, path...)
	items, isList := value.([]any)
	if err != nil || !isList {
		return nil
	}
	var maps []map[string]any
	for _, item := range items {
		if m, isMap := item.(map[string]any); isMap {
			maps = append(maps, m)
		}
	}
	return maps
}

func textAt(o map[string]any, path ...string) string {
	text, _, err := unstructured.NestedString(o, path...)
	if err != nil {
		return ""
	}
	return text
}

// refers are the objects without which an object's pods do not start: what may
// be absent is left out.
func refers(o *manifest.Object) []manifest.ID {
	template, found := podTemplate(o)
	if !found {
		return nil
	}
	r := references{namespace: o.GetNamespace()}
	spec, _ := mapAt(template, "spec")
	r.add("", "ServiceAccount", textAt(spec, "serviceAccountName"), spec)
	for _, secret := range listAt(spec, "imagePullSecrets") {
		r.add("", "Secret", textAt(secret, "name"), secret)
	}
	r.cluster("scheduling.k8s.io", "PriorityClass", textAt(spec, "priorityClassName"))
	r.cluster("node.k8s.io", "RuntimeClass", textAt(spec, "runtimeClassName"))
	for _, volume := range listAt(spec, "volumes") {
		r.volume(volume)
	}
	for _, field := range []string{"initContainers", "containers"} {
		for _, container := range listAt(spec, field) {
			r.container(container)
		}
	}
	return r.ids
}

type references struct {
	namespace string
	ids       []manifest.ID
}

func (r *references) add(group, kind, name string, from map[string]any) {
	if optional, _ := from["optional"].(bool); name != "" && !optional {
		r.ids = append(r.ids, manifest.ID{Group: group, Kind: kind, Namespace: r.namespace, Name: name})
	}
}

func (r *references) cluster(group, kind, name string) {
	if name != "" {
		r.ids = append(r.ids, manifest.ID{Group: group, Kind: kind, Name: name})
	}
}

func (r *references) volume(volume map[string]any) {
	if source, found := mapAt(volume, "configMap"); found {
		r.add("", "ConfigMap", textAt(source, "name"), source)
	}
	if source, found := mapAt(volume, "secret"); found {
		r.add("", "Secret", textAt(source, "secretName"), source)
	}
	if source, found := mapAt(volume, "persistentVolumeClaim"); found {
		r.add("", "PersistentVolumeClaim", textAt(source, "claimName"), source)
	}
	for _, source := range listAt(volume, "projected", "sources") {
		r.either(source, "configMap", "secret")
	}
}

// either reads a source that is a ConfigMap or a Secret, under the names that
// the fields have in this place.
func (r *references) either(source map[string]any, configMap, secret string) {
	if from, found := mapAt(source, configMap); found {
		r.add("", "ConfigMap", textAt(from, "name"), from)
	}
	if from, found := mapAt(source, secret); found {
		r.add("", "Secret", textAt(from, "name"), from)
	}
}

func (r *references) container(container map[string]any) {
	for _, from := range listAt(container, "envFrom") {
		r.either(from, "configMapRef", "secretRef")
	}
	for _, env := range listAt(container, "env") {
		if from, found := mapAt(env, "valueFrom"); found {
			r.either(from, "configMapKeyRef", "secretKeyRef")
		}
	}
}
