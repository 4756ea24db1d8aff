package origin_test

import (
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"

	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/origin"
)

// shop is a repository with something of everything.
var shop = map[string]string{
	"base/kustomization.yaml": `resources: [deployment.yaml, ../shared]
configMapGenerator:
  - name: settings
    literals: [a=1]
    envs: [settings.env]
    files: [conf=app.conf]
`,
	"base/settings.env": "# comment\nb=2\n",
	"base/app.conf":     "x\n",
	"base/deployment.yaml": `# a comment
apiVersion: apps/v1
kind: Deployment
metadata:
  name: app
spec:
  replicas: 1
  template:
    spec:
      hostNetwork: true
      securityContext: {runAsNonRoot: true}
      containers:
        - name: app
          image: shop/app:1
          securityContext:
            privileged: false
        - name: sidecar
          image: shop/sidecar:1
`,
	"shared/kustomization.yaml": "resources: [list.yaml]\n",
	"shared/list.yaml": `apiVersion: v1
kind: List
items:
  - apiVersion: v1
    kind: Service
    metadata: {name: web}
    spec: {type: ClusterIP}
`,
	"component/kustomization.yaml": `kind: Component
patches:
  - path: workload.yaml
    target: {kind: Deployment|StatefulSet}
replicas: [{name: app, count: 3}]
`,
	"component/workload.yaml": `apiVersion: apps/v1
kind: Deployment
metadata: {name: any}
spec:
  template:
    spec:
      containers:
        - name: app
          securityContext:
            privileged: true
`,
	"overlay/kustomization.yaml": `namespace: prod
namePrefix: my-
resources: [../base]
components: [../component]
labels:
  - pairs: {team: shop}
    includeTemplates: true
images:
  - name: shop/app
    newTag: latest
configMapGenerator:
  - {name: settings, behavior: merge, literals: [a=3]}
patches:
  - target: {kind: Deployment, name: app}
    patch: |-
      - op: remove
        path: /spec/template/spec/hostNetwork
      - op: add
        path: /spec/template/spec/containers/-
        value:
          name: extra
          image: shop/extra:1
  - patch: |-
      apiVersion: v1
      kind: Service
      metadata: {name: web}
      spec:
        type: NodePort
        clusterIP: null
  - patch: '{"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "app"}, "spec": {"paused": true}}'
`,
}

const renderedShop = `apiVersion: apps/v1
kind: Deployment
metadata: {name: my-app, namespace: prod, labels: {team: shop}}
spec:
  replicas: 3
  paused: true
  template:
    metadata: {labels: {team: shop}}
    spec:
      securityContext: {runAsNonRoot: true}
      containers:
        - {name: app, image: "shop/app:latest", securityContext: {privileged: true}}
        - {name: sidecar, image: "shop/sidecar:1"}
        - {name: extra, image: "shop/extra:1"}
---
apiVersion: v1
kind: Service
metadata: {name: my-web, namespace: prod}
spec: {type: NodePort}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: my-settings-8f2kg9c5hh, namespace: prod}
data: {a: "3", b: "2", conf: "x\n"}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: unknown, namespace: prod}
`

func treeOf(files map[string]string) fstest.MapFS {
	tree := fstest.MapFS{}
	for name, content := range files {
		tree[name] = &fstest.MapFile{Data: []byte(content)}
	}
	return tree
}

func TestField(t *testing.T) {
	t.Parallel()
	objects, err := manifest.Decode("rendered", []byte(renderedShop))
	if err != nil {
		t.Fatal(err)
	}
	byKind := map[string]*manifest.Object{}
	for _, o := range objects {
		byKind[o.GetKind()+o.GetName()[:2]] = o
	}
	trace := origin.Of(treeOf(shop), "overlay/")
	for _, test := range []struct {
		name, object, field, file string
		says                      string // what the line holds
		exact                     bool
	}{
		{"a base's own field", "Deploymentmy", "spec.template.spec.securityContext.runAsNonRoot", "base/deployment.yaml", "runAsNonRoot", true},
		{"an entry of a list, by its name", "Deploymentmy", "spec.template.spec.containers[1].image", "base/deployment.yaml", "shop/sidecar:1", true},
		{"a component's patch", "Deploymentmy", "spec.template.spec.containers[0].securityContext.privileged", "component/workload.yaml", "privileged: true", true},
		{"an image directive", "Deploymentmy", "spec.template.spec.containers[0].image", "overlay/kustomization.yaml", "newTag: latest", true},
		{"a replica directive", "Deploymentmy", "spec.replicas", "component/kustomization.yaml", "count: 3", true},
		{"an entry that an operation adds", "Deploymentmy", "spec.template.spec.containers[2].image", "overlay/kustomization.yaml", "image: shop/extra:1", true},
		{"the entry itself", "Deploymentmy", "spec.template.spec.containers[2]", "overlay/kustomization.yaml", "value:", true},
		{"what an operation removed", "Deploymentmy", "spec.template.spec.hostNetwork", "overlay/kustomization.yaml", "op: remove", true},
		{"what null removed", "Servicemy", "spec.clusterIP", "overlay/kustomization.yaml", "clusterIP: null", true},
		{"a patch in text", "Servicemy", "spec.type", "overlay/kustomization.yaml", "type: NodePort", true},
		{"a patch in quotes", "Deploymentmy", "spec.paused", "overlay/kustomization.yaml", "paused", true},
		{"the name's prefix", "Deploymentmy", "metadata.name", "overlay/kustomization.yaml", "namePrefix", true},
		{"the namespace", "Deploymentmy", "metadata.namespace", "overlay/kustomization.yaml", "namespace: prod", true},
		{"a label in a template", "Deploymentmy", "spec.template.metadata.labels.team", "overlay/kustomization.yaml", "team: shop", true},
		{"an absent field", "Deploymentmy", "spec.template.spec.containers[1].securityContext.privileged", "base/deployment.yaml", "name: sidecar", false},
		{"an absent label", "Servicemy", "metadata.labels.app.kubernetes.io/name", "shared/list.yaml", "metadata:", false},
		{"a field that holds others", "Deploymentmy", "spec.template.spec.containers[0].securityContext", "base/deployment.yaml", "securityContext:", true},
		{"no field", "Deploymentmy", "", "base/deployment.yaml", "apiVersion: apps/v1", true},
		{"an index beyond the list", "Deploymentmy", "spec.template.spec.containers[9].image", "base/deployment.yaml", "containers:", false},
		{"a broken path", "Deploymentmy", "spec[.template", "base/deployment.yaml", "spec:", false},
		{"a literal of a generator", "ConfigMapmy", "data.a", "overlay/kustomization.yaml", "a=3", true},
		{"a line of a generator's file", "ConfigMapmy", "data.b", "base/settings.env", "b=2", true},
		{"a generator's file", "ConfigMapmy", "data.conf", "base/app.conf", "x", true},
		{"nobody knows it", "ConfigMapun", "data.a", "overlay/kustomization.yaml", "namespace: prod", false},
	} {
		place := trace.Field(byKind[test.object], test.field)
		line := lines{}.of(t, treeOf(shop), place)
		if place.File != test.file || !strings.Contains(line, test.says) || place.Exact != test.exact {
			t.Errorf("%s: %+v says %q; want %s, %q, exact %v", test.name, place, line, test.file, test.says, test.exact)
		}
	}
}

func TestOfFile(t *testing.T) {
	t.Parallel()
	objects, err := manifest.Decode("x.yaml", []byte(renderedShop))
	if err != nil {
		t.Fatal(err)
	}
	trace := origin.OfFile("x.yaml", []byte(renderedShop))
	for _, o := range objects {
		place, known := trace.Object(o)
		if !known || place.File != "x.yaml" {
			t.Errorf("%s: %+v, %v", manifest.IDOf(o), place, known)
		}
	}
	if got := trace.Field(objects[0], "spec.replicas"); got != (origin.Place{"x.yaml", 5, true}) {
		t.Errorf("replicas at %+v, want line 5", got)
	}
}

// Whatever stands in the files, there is an answer that names one of them.
func FuzzField(f *testing.F) {
	f.Add(shop["overlay/kustomization.yaml"], shop["base/deployment.yaml"], "spec.template.spec.containers[0].image")
	f.Add("resources: [., ../base]\ncomponents: [../overlay]", "a: &a [*a]", "a")
	f.Add("patches: [{patch: '- {op: add, path: /spec/-, value: 1}'}]\n<<: {labels: [{pairs: {a: b}}]}", "&a {<<: *a, kind: X}", "[0]['a']")
	f.Fuzz(func(t *testing.T, overlay, base, field string) {
		tree := treeOf(map[string]string{"overlay/kustomization.yaml": overlay, "base/kustomization.yaml": "resources: [a.yaml]", "base/a.yaml": base})
		objects, err := manifest.Decode("rendered", []byte(renderedShop))
		if err != nil {
			t.Fatal(err)
		}
		trace := origin.Of(tree, "overlay")
		for _, o := range objects {
			place := trace.Field(o, field)
			if _, err := fs.Stat(tree, place.File); err != nil || place.Line < 1 {
				t.Errorf("%+v: %v", place, err)
			}
		}
	})
}
