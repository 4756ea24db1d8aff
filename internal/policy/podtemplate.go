package policy

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"chaperone.dev/chaperone/internal/manifest"
)

// PodTemplates says where kinds keep their pod specs: "Kind" or "Kind.group"
// to the paths of fields from the object's root, such as "spec.template.spec".
// A step that ends in [] goes through a list: "spec.jobs[].template.spec". No
// paths at all say that the kind has no pods. OtherKinds stands for every kind
// that is not named; those are searched for what looks like a pod, too, so that
// a workload of a custom resource is judged before anybody has thought of it.
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
		// These hold texts, and schemas or patterns of other objects.
		"ConfigMap": {}, "Secret": {}, "CustomResourceDefinition.apiextensions.k8s.io": {},
		"ClusterPolicy.kyverno.io": {}, "Policy.kyverno.io": {},
	}
}

// ParsePodTemplates reads the table from policy data. Kubernetes' own kinds have
// their pods where they have them, whatever is said: a slip of the pen would take
// them out of judgement.
func ParsePodTemplates(value any) (PodTemplates, error) {
	table, ok := value.(map[string]any)
	if !ok {
		return nil, fmt.Errorf("pod templates: want a mapping of Kind.group to paths, not %T", value)
	}
	templates := PodTemplates{}
	for kind, value := range table {
		list, ok := value.([]any)
		if !ok {
			return nil, fmt.Errorf("pod templates: %s: want a list of paths such as spec.template.spec", kind)
		}
		templates[kind] = []string{}
		for _, entry := range list {
			path, ok := entry.(string)
			if !ok || !podPath.MatchString(path) {
				return nil, fmt.Errorf("pod templates: %s: want a path such as spec.template.spec or spec.jobs[].template.spec, not %v", kind, entry)
			}
			templates[kind] = append(templates[kind], path)
		}
		if err := checkOwnKind(kind, templates[kind]); err != nil {
			return nil, err
		}
	}
	for kind, paths := range StandardPodTemplates() {
		if ownGroup(kind) {
			templates[kind] = paths
		}
	}
	return templates, nil
}

// checkOwnKind refuses what leads nowhere in a kind of Kubernetes' own.
func checkOwnKind(kind string, paths []string) error {
	standard, known := StandardPodTemplates()[kind]
	switch {
	case !ownGroup(kind) || slices.Equal(paths, standard):
		return nil
	case known && len(standard) > 0:
		return fmt.Errorf("pod templates: %s: want %s, where Kubernetes has its pods, not %v", kind, strings.Join(standard, ", "), paths)
	}
	return fmt.Errorf("pod templates: %s: Kubernetes has no pods in such a kind; want [] or another name, not %v", kind, paths)
}

// ownGroup reports whether a kind is of a group in which Kubernetes has all that
// has pods.
func ownGroup(kind string) bool {
	_, group, _ := strings.Cut(kind, ".")
	return kind != OtherKinds && slices.Contains([]string{"", "apps", "batch"}, group)
}

// Rules find the same in Rego (policies/lib/pods.rego), which reads no other
// paths than these, and ends at a field and not in a list.
var podPath = regexp.MustCompile(`^([^.\[\]]+(\[\])?\.)*[^.\[\]]+$`)

// PodSpec is one pod spec inside an object, and where it stands.
type PodSpec struct {
	Path  string
	Spec  map[string]any
	alike bool // found by how it looks, and maybe only a part of one
}

// PodSpecs finds the pod specs of an object. A path of OtherKinds counts only
// where containers stand at its end: other objects have a `template` too. A kind
// whose own paths all lead nowhere is searched as one that is not named.
func (t PodTemplates) PodSpecs(o *manifest.Object) []PodSpec {
	paths, named := t[kindKey(o)]
	specs := specsAt(o, paths)
	if named && (len(paths) == 0 || len(specs) > 0) {
		return specs
	}
	specs = slices.DeleteFunc(specsAt(o, t[OtherKinds]), func(s PodSpec) bool {
		_, containers := s.Spec["containers"]
		return !containers
	})
	eachMapping(o.Object, "", func(path string, mapping map[string]any) {
		known := slices.ContainsFunc(specs, func(s PodSpec) bool { return s.Path == path })
		if !known && looksLikePod(mapping) {
			specs = append(specs, PodSpec{Path: path, Spec: mapping, alike: true})
		}
	})
	return specs
}

func specsAt(o *manifest.Object, paths []string) []PodSpec {
	var specs []PodSpec
	for _, path := range paths {
		specs = append(specs, placesAt(o.Object, strings.Split(path, "."), "")...)
	}
	return specs
}

// placesAt are the mappings at the end of a path.
func placesAt(value any, steps []string, path string) []PodSpec {
	object, ok := value.(map[string]any)
	if !ok {
		return nil
	}
	if len(steps) == 0 {
		return []PodSpec{{Path: path, Spec: object}}
	}
	name, through := strings.CutSuffix(steps[0], "[]")
	below := join(path, name)
	if !through {
		return placesAt(object[name], steps[1:], below)
	}
	var found []PodSpec
	list, _ := object[name].([]any)
	for i, entry := range list {
		found = append(found, placesAt(entry, steps[1:], fmt.Sprintf("%s[%d]", below, i))...)
	}
	return found
}

// Argo's templates call containers by more names than pods do, and so do Tekton's
// tasks: their steps run one after the other in one pod.
var (
	containerLists = append(slices.Clone(containerFields), "sidecars", stepList)
	loneContainers = []string{"container", "script"}
)

// stepList holds many other things, too: containers have an image.
const stepList = "steps"

func looksLikePod(mapping map[string]any) bool {
	for _, field := range containerLists {
		list, _ := mapping[field].([]any)
		if slices.ContainsFunc(list, func(c any) bool {
			container, ok := c.(map[string]any)
			return ok && (field != stepList || textAt(container, "image") != "")
		}) {
			return true
		}
	}
	return slices.ContainsFunc(loneContainers, func(field string) bool { return textAt(mapping, field, "image") != "" })
}

// eachMapping visits all mappings of a value, in the order of their fields.
func eachMapping(value any, path string, visit func(path string, mapping map[string]any)) {
	switch value := value.(type) {
	case map[string]any:
		visit(path, value)
		var deeper []string
		for name, field := range value {
			if leads(field) {
				deeper = append(deeper, name)
			}
		}
		slices.Sort(deeper)
		for _, name := range deeper {
			eachMapping(value[name], join(path, name), visit)
		}
	case []any:
		for i, entry := range value {
			if leads(entry) {
				eachMapping(entry, fmt.Sprintf("%s[%d]", path, i), visit)
			}
		}
	}
}

// leads reports whether a value may hold a mapping. Most hold nothing.
func leads(value any) bool {
	switch value := value.(type) {
	case map[string]any:
		return true
	case []any:
		return len(value) > 0
	}
	return false
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
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
