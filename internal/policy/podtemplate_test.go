package policy

import (
	"fmt"
	"slices"
	"testing"

	"chaperone.dev/chaperone/internal/manifest"
)

func objectOf(t *testing.T, text string) *manifest.Object {
	t.Helper()
	objects, err := manifest.Decode("test.yaml", []byte(text))
	if err != nil || len(objects) != 1 {
		t.Fatalf("parse: %v", err)
	}
	return objects[0]
}

// What nobody has listed is judged by what it looks like.
func TestPodsAndImagesOfUnknownKinds(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, text   string
		pods, images []string
	}{
		{"a list of templates", `{apiVersion: jobset.x-k8s.io/v1alpha2, kind: JobSet, metadata: {name: a},
			spec: {replicatedJobs: [{}, {template: {spec: {template: {spec: {containers: [{image: a}]}}}}}]}}`,
			[]string{"spec.replicatedJobs[1].template.spec.template.spec"},
			[]string{"spec.replicatedJobs[1].template.spec.template.spec.containers[0].image"}},
		{"a container alone", `{apiVersion: argoproj.io/v1alpha1, kind: Workflow, metadata: {name: a},
			spec: {templates: [{container: {image: a}, sidecars: [{image: b}]}, {script: {image: c}}, {steps: []}]}}`,
			[]string{"spec.templates[0]", "spec.templates[1]"},
			[]string{"spec.templates[0].container.image", "spec.templates[0].sidecars[0].image", "spec.templates[1].script.image"}},
		{"steps of a task", `{apiVersion: tekton.dev/v1, kind: TaskRun, metadata: {name: a},
			spec: {taskSpec: {steps: [{image: a}, {ref: {name: b}}]}}}`,
			[]string{"spec.taskSpec"}, []string{"spec.taskSpec.steps[0].image"}},
		{"steps of something else", `{apiVersion: example.org/v1, kind: Canary, metadata: {name: a},
			spec: {steps: [{setWeight: 20}, {image: {name: b}}, [{image: c}], text]}}`, nil, []string{"spec.steps[2][0].image"}},
		{"an image beside containers", `{apiVersion: monitoring.coreos.com/v1, kind: Prometheus, metadata: {name: a},
			spec: {image: "Not One", containers: [{name: patch}]}}`,
			[]string{"spec"}, []string{"spec.image"}},
		{"an image by its name", `{apiVersion: postgresql.cnpg.io/v1, kind: Cluster, metadata: {name: a}, spec: {imageName: a}}`,
			nil, []string{"spec.imageName"}},
		{"a picture", `{apiVersion: example.org/v1, kind: Twin, metadata: {name: a}, spec: {image: "https://example.org/a.png"}}`, nil, nil},
		{"texts", `{apiVersion: v1, kind: ConfigMap, metadata: {name: a}, data: {image: a}}`, nil, nil},
		{"a path that leads nowhere", `{apiVersion: example.org/v1, kind: Lost, metadata: {name: a}, spec: {template: {spec: {containers: [{image: a}]}}}}`,
			[]string{"spec.template.spec"}, []string{"spec.template.spec.containers[0].image"}},
		{"said to have none", `{apiVersion: example.org/v1, kind: None, metadata: {name: a}, spec: {template: {spec: {containers: [{name: a}]}}}}`, nil, nil},
		{"names", `{apiVersion: example.org/v1, kind: Twin, metadata: {name: a}, spec: {containers: [a, b]}}`, nil, nil},
		{"a path through lists", `{apiVersion: example.org/v1, kind: Fleet, metadata: {name: a},
			spec: {groups: [{pods: [{spec: {}}, {spec: {containers: [{image: a}]}}]}, null]}}`,
			[]string{"spec.groups[0].pods[0].spec", "spec.groups[0].pods[1].spec"}, []string{"spec.groups[0].pods[1].spec.containers[0].image"}},
	} {
		templates := StandardPodTemplates()
		templates["Fleet.example.org"] = []string{"spec.groups[].pods[].spec"}
		templates["Lost.example.org"], templates["None.example.org"] = []string{"spec.tmplate.spec"}, []string{}
		o := objectOf(t, test.text)
		var pods, images []string
		for _, pod := range templates.PodSpecs(o) {
			pods = append(pods, pod.Path)
		}
		for _, image := range Images([]*manifest.Object{o}, templates) {
			images = append(images, image.Path)
		}
		if !slices.Equal(pods, test.pods) || !slices.Equal(images, test.images) {
			t.Errorf("%s: %s", test.name, fmt.Sprint(pods, images))
		}
	}
}
