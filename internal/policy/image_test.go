package policy

import (
	"fmt"
	"strings"
	"testing"

	"chaperone.dev/chaperone/internal/manifest"
)

func manifestOf(object map[string]any) *manifest.Object { return &manifest.Object{Object: object} }

const pin = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

func TestParseImage(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ reference, registry, name, tag, digest string }{
		{"nginx", "docker.io", "library/nginx", "", ""},
		{"nginx:1.27", "docker.io", "library/nginx", "1.27", ""},
		{"grafana/grafana:11", "docker.io", "grafana/grafana", "11", ""},
		{"registry.example.org/a/b/c:v1@" + pin, "registry.example.org", "a/b/c", "v1", pin},
		{"registry.example.org:5000/a@" + pin, "registry.example.org:5000", "a", "", pin},
		{"localhost/a", "localhost", "a", "", ""},
		{"a__b/c-d.e_f", "docker.io", "a__b/c-d.e_f", "", ""},
	} {
		got, err := ParseImage(test.reference)
		want := Image{Image: test.reference, Registry: test.registry, Name: test.name, Tag: test.tag, Digest: test.digest}
		if err != nil || got != want {
			t.Errorf("%s: %+v, %v; want %+v", test.reference, got, err, want)
		}
	}
}

// What is not a reference as a whole has neither registry nor digest.
func TestImageThatIsNotUnderstood(t *testing.T) {
	t.Parallel()
	for _, reference := range []string{
		"", " ", "a b", "a@sha256:short", "a@" + pin + "x", "a@" + strings.ToUpper(pin), "a@sha512:" + pin, "a@" + pin + "@" + pin,
		"registry.example.org/A", "registry.example.org//a", "registry.example.org/a:", "registry.example.org/a:-x", "/a", "a/",
		"registry.example.org@evil.example/a", "user@registry.example.org/a@" + pin, "https://registry.example.org/a",
		"registry.example.org/a\n@" + pin, "registry.example.org/a@" + pin + "\n", "registry_.example.org:x/a", strings.Repeat("a", 600),
	} {
		if image, err := ParseImage(reference); err == nil || image.Registry != "" || image.Digest != "" {
			t.Errorf("%.80q: %+v, %v; want it refused", reference, image, err)
		}
	}
}

func TestImagesOfEveryWorkload(t *testing.T) {
	t.Parallel()
	pod := func() map[string]any {
		return map[string]any{
			"initContainers":      []any{map[string]any{"name": "a", "image": "init"}},
			"containers":          []any{map[string]any{"name": "b", "image": "app"}, map[string]any{"name": "c"}},
			"ephemeralContainers": []any{map[string]any{"name": "d", "image": "debug"}},
			"volumes": []any{map[string]any{"name": "t", "emptyDir": map[string]any{}},
				map[string]any{"name": "m", "image": map[string]any{"reference": "model"}}},
		}
	}
	at := func(path string) map[string]any {
		var spec any = pod()
		steps := strings.Split(path, ".")
		for i := len(steps) - 1; i >= 0; i-- {
			spec = map[string]any{steps[i]: spec}
		}
		return spec.(map[string]any)
	}
	for _, test := range []struct{ apiVersion, kind, path string }{
		{"v1", "Pod", "spec"}, {"v1", "PodTemplate", "template.spec"}, {"v1", "ReplicationController", "spec.template.spec"},
		{"apps/v1", "Deployment", "spec.template.spec"}, {"apps/v1", "StatefulSet", "spec.template.spec"},
		{"apps/v1", "DaemonSet", "spec.template.spec"}, {"apps/v1", "ReplicaSet", "spec.template.spec"},
		{"batch/v1", "Job", "spec.template.spec"}, {"batch/v1", "CronJob", "spec.jobTemplate.spec.template.spec"},
		{"argoproj.io/v1alpha1", "Rollout", "spec.template.spec"}, {"serving.knative.dev/v1", "Service", "spec.template.spec"},
		{"keda.sh/v1alpha1", "ScaledJob", "spec.jobTargetRef.template.spec"}, {"example.org/v1", "Unheard", "spec.template.spec"},
	} {
		object := at(test.path)
		object["apiVersion"], object["kind"], object["metadata"] = test.apiVersion, test.kind, map[string]any{"name": "x"}
		images := Images([]*manifest.Object{manifestOf(object)}, StandardPodTemplates())
		var got []string
		for _, image := range images {
			got = append(got, fmt.Sprintf("%s=%s", strings.TrimPrefix(image.Path, test.path), image.Image))
			if image.Object != (ObjectRef{APIVersion: test.apiVersion, Kind: test.kind, Name: "x"}) {
				t.Errorf("%s: object %+v", test.kind, image.Object)
			}
		}
		want := ".initContainers[0].image=init .containers[0].image=app .containers[1].image= " +
			".ephemeralContainers[0].image=debug .volumes[1].image.reference=model"
		if strings.Join(got, " ") != want {
			t.Errorf("%s: %s, want %s", test.kind, got, want)
		}
	}
}

// Malformed manifests are the API server's to refuse; here they must not panic.
func TestImagesOfMalformedObjects(t *testing.T) {
	t.Parallel()
	for _, spec := range []any{
		nil, "text", []any{}, map[string]any{"containers": "text"}, map[string]any{"containers": []any{nil, "text", 3}},
		map[string]any{"containers": []any{map[string]any{"name": 3, "image": []any{}}}, "volumes": []any{nil, map[string]any{"image": "x"}}},
	} {
		object := manifestOf(map[string]any{"apiVersion": "v1", "kind": "Pod", "metadata": map[string]any{"name": "x"}, "spec": spec})
		for _, image := range Images([]*manifest.Object{object}, StandardPodTemplates()) {
			if image.Digest != "" || image.Registry != "" {
				t.Errorf("%v: %+v, want nothing understood", spec, image)
			}
		}
	}
}

func TestParsePodTemplates(t *testing.T) {
	t.Parallel()
	got, err := ParsePodTemplates(map[string]any{"Pod": []any{"spec"}, "Twin.example.org": []any{"spec.a", "spec.b"}})
	if err != nil || len(got["Twin.example.org"]) != 2 || len(got["CronJob.batch"]) != 1 {
		t.Errorf("parsed %v, %v", got, err)
	}
	for _, value := range []any{
		nil, "text", map[string]any{"Pod": "spec"}, map[string]any{"Pod": []any{3}},
		map[string]any{"Pod": []any{"spec.a[]"}}, map[string]any{"Pod": []any{"spec[0].a"}},
		map[string]any{"Pod": []any{""}}, map[string]any{"Pod": []any{"spec..a"}},
		map[string]any{"ReplicaSet.apps": []any{"spec.tmplate.spec"}}, map[string]any{"ReplicaSet.apps": []any{}},
		map[string]any{"Deploymnt.apps": []any{"spec.template.spec"}}, map[string]any{"ConfigMap": []any{"data"}},
	} {
		if _, err := ParsePodTemplates(value); err == nil {
			t.Errorf("%v: accepted", value)
		}
	}
}

func FuzzParseImage(f *testing.F) {
	for _, seed := range []string{"nginx", "a.b:5/c:d@" + pin, "a@b@c", ":", "//"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, reference string) {
		image, err := ParseImage(reference)
		if err != nil {
			if image.Registry != "" || image.Digest != "" {
				t.Errorf("%q refused, but with %+v", reference, image)
			}
			return
		}
		// Written out in full, it must mean the same.
		full := image.Registry + "/" + image.Name
		if image.Tag != "" {
			full += ":" + image.Tag
		}
		if image.Digest != "" {
			full += "@" + image.Digest
		}
		again, err := ParseImage(full)
		if image.Image, again.Image = "", ""; err != nil || again != image {
			t.Errorf("%q is %+v, but %q is %+v, %v", reference, image, full, again, err)
		}
	})
}
