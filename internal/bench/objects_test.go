package bench

import (
	"fmt"
	"strings"
	"testing"

	"chaperone.dev/chaperone/internal/manifest"
)

// The stamp tells one state of an object from the next, so that a watch of
// metadata alone sees which one is on the cluster.
const (
	stampKey   = "bench.chaperone.dev/stamp"
	benchLabel = "bench.chaperone.dev/object"
	image      = "registry.example.org/bench/api@sha256:4355a46b19d348dc2f57c046f8ef63d4538ebb936000f3c9ee954a27460dd865"
)

// perApp is how many objects an app has: two ConfigMaps, a Service, and a
// Deployment without replicas.
const perApp = 4

func described(name, stamp string) string {
	return fmt.Sprintf("metadata:\n  name: %s\n  labels: {app: %[1]s, %s: \"true\"}\n  annotations: {%s: %q}\n", name, benchLabel, stampKey, stamp)
}

func configMap(name, stamp string) string {
	return "apiVersion: v1\nkind: ConfigMap\n" + described(name, stamp) +
		fmt.Sprintf("data:\n  stamp: %q\n  mode: \"standard\"\n  settings.yaml: |\n    workers: 4\n    queue: %s\n    endpoints: [a.example.org, b.example.org]\n", stamp, name)
}

func service(name, stamp string) string {
	return "apiVersion: v1\nkind: Service\n" + described(name, stamp) +
		fmt.Sprintf("spec:\n  selector: {app: %s}\n  ports: [{name: http, port: 80, targetPort: 8080}]\n", name)
}

func deployment(name, stamp string) string {
	return "apiVersion: apps/v1\nkind: Deployment\n" + described(name, stamp) + fmt.Sprintf(`spec:
  replicas: 0
  selector: {matchLabels: {app: %s}}
  template:
    metadata: {labels: {app: %[1]s}}
    spec:
      automountServiceAccountToken: false
      securityContext: {runAsNonRoot: true, runAsUser: 10001, seccompProfile: {type: RuntimeDefault}}
      containers:
        - name: api
          image: %[2]s
          ports: [{name: http, containerPort: 8080}]
          env: [{name: MODE, value: standard}]
          readinessProbe: {httpGet: {path: /ready, port: http}}
          resources: {requests: {cpu: 10m, memory: 32Mi}, limits: {memory: 64Mi}}
          securityContext: {allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: {drop: [ALL]}}
`, name, image)
}

// app is one file of an overlay.
func app(i int, stamp string) string {
	name := fmt.Sprintf("app-%05d", i)
	return strings.Join([]string{
		configMap(name, stamp), configMap(name+"-more", stamp), service(name, stamp), deployment(name, stamp),
	}, "---\n")
}

// appFile is where it stands.
func appFile(path string, i int) string { return fmt.Sprintf("%s/app-%05d.yaml", path, i) }

// overlay are the files of one environment with n objects.
func overlay(path, namespace string, n int, stamp string) map[string]string {
	files := map[string]string{}
	var k strings.Builder
	fmt.Fprintf(&k, "namespace: %s\nresources:\n", namespace)
	for i := range n / perApp {
		files[appFile(path, i)] = app(i, stamp)
		fmt.Fprintf(&k, "  - app-%05d.yaml\n", i)
	}
	files[path+"/kustomization.yaml"] = k.String()
	return files
}

// decoded are the same objects for the floor.
func decoded(tb testing.TB, namespace string, n int, stamp string) []*manifest.Object {
	tb.Helper()
	var all []*manifest.Object
	for i := range n / perApp {
		objects, err := manifest.Decode("app.yaml", []byte(app(i, stamp)))
		if err != nil {
			tb.Fatal(err)
		}
		for _, o := range objects {
			o.SetNamespace(namespace)
		}
		all = append(all, objects...)
	}
	return all
}
