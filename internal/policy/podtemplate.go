package policy

import (
	"fmt"
	"slices"
	"strings"

	"chaperone.dev/chaperone/internal/manifest"
)

// PodTemplates says where kinds keep their pod specs: "Kind" or "Kind.group"
// to the paths of fields from the object's root, such as "spec.template.spec".
// OtherKinds stands for every kind that is not named, so that a workload of a
// custom resource is judged before anybody has thought of it.
type PodTemplates map[string][]string

// OtherKinds is the key of PodTemplates for all kinds without an entry.
const OtherKinds = "*"

// StandardPodTemplates are Kubernetes' own kinds and the usual places of others.
func StandardPodTemplates() PodTemplates {
	template := []string{"spec.template.spec"}
	return PodTemplates{
		"Pod":                         {"spec"},
		"PodTemplate":                 {"template.spec"},
		"ReplicationController":       template,
		"Deployment.apps":             template,
		"StatefulSet.apps":            template,
		"DaemonSet.apps":              template,
		"ReplicaSet.apps":             template,
		"Job.batch":                   template,
		"CronJob.batch":               {"spec.jobTemplate.spec.template.spec"},
		"Rollout.argoproj.io":         template,
		"Service.serving.knative.dev": template,
		OtherKinds: {"spec.template.spec", "spec.jobTemplate.spec.template.spec",
			"spec.jobTargetRef.template.spec", "template.spec"},
	}
}

// ParsePodTemplates reads the table from policy data.
func ParsePodTemplates(value any) (PodTemplates, error) {
	table, ok := value.(map[string]any)
	if !ok {
		return nil, fmt.Errorf("pod templates: want a mapping of Kind.group to paths, not %T", value)
	}
	templates := PodTemplates{}
	for kind, value := range table {
		list, ok := value.([]any)
		if !ok || len(list) == 0 {
			return nil, fmt.Errorf("pod templates: %s: want a list of paths such as spec.template.spec", kind)
		}
		for _, entry := range list {
			path, ok := entry.(string)
			if !ok || path == "" || slices.Contains(strings.Split(path, "."), "") {
				return nil, fmt.Errorf("pod templates: %s: want a path such as spec.template.spec, not %v", kind, entry)
			}
			templates[kind] = append(templates[kind], path)
		}
	}
	return templates, nil
}

// PodSpec is one pod spec inside an object, and where it stands.
type PodSpec struct {
	Path string
	Spec map[string]any
}

// PodSpecs finds the pod specs of an object. A path of OtherKinds counts only
// where containers stand at its end: other objects have a `template` too.
func (t PodTemplates) PodSpecs(o *manifest.Object) []PodSpec {
	paths, named := t[kindKey(o)]
	if !named {
		paths = t[OtherKinds]
	}
	var specs []PodSpec
	for _, path := range paths {
		spec, found := fieldAt(o.Object, path)
		if _, containers := spec["containers"]; found && (named || containers) {
			specs = append(specs, PodSpec{Path: path, Spec: spec})
		}
	}
	return specs
}

func kindKey(o *manifest.Object) string {
	return o.GroupVersionKind().GroupKind().String()
}

func fieldAt(object map[string]any, path string) (map[string]any, bool) {
	for step := range strings.SplitSeq(path, ".") {
		next, ok := object[step].(map[string]any)
		if !ok {
			return nil, false
		}
		object = next
	}
	return object, true
}
