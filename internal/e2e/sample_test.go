package e2e

import (
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"
)

// stop is one environment of the tiny source.
type stop struct {
	pipeline, name string
	after          string
	pinned         bool
	extra          string // lines of its spec, in place of the usual verify
}

// demo is a pipeline to production.
func demo() []stop {
	return []stop{
		{pipeline: "demo", name: "development"},
		{pipeline: "demo", name: "staging", after: "development"},
		{pipeline: "demo", name: "production", after: "staging", pinned: true},
	}
}

// alone is one environment, for what does not need more.
func alone() []stop { return []stop{{pipeline: "demo", name: "development"}} }

// usualVerify is patient: a good release must not fail because the machine is
// busy.
const usualVerify = `  verify:
    timeout: 2m
    settle: 300ms
    http:
      - {name: answers, service: app, port: 80, count: 5, interval: 50ms, timeout: 2s}
`

// file is the environment's file; pin is "" for none.
func (s stop) file(namespace, pin string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "apiVersion: chaperone.dev/v1alpha1\nkind: Environment\nmetadata:\n  name: %s\nspec:\n", s.name)
	if !strings.Contains(s.extra, "\n  data: ") {
		b.WriteString("  data: none\n")
	}
	fmt.Fprintf(&b, "  # where it runs\n  target:\n    namespace: %s\n", namespace)
	if s.after != "" {
		fmt.Fprintf(&b, "  after: [%s]\n", s.after)
	}
	if pin != "" {
		fmt.Fprintf(&b, "  revision: %s\n", pin)
	}
	if s.pinned {
		b.WriteString("  promotion: {mode: pull-request}\n")
	}
	if s.extra != "" {
		b.WriteString(s.extra)
	} else {
		b.WriteString(usualVerify)
	}
	return b.String()
}

func (s stop) path() string { return path.Join("environments", s.pipeline, s.name+".yaml") }

// files is the whole first commit.
func files(stops []stop, namespaces map[string]string) map[string]string {
	all := map[string]string{}
	for _, s := range stops {
		id := s.pipeline + "/" + s.name
		all[s.path()] = s.file(namespaces[id], "")
		all["overlays/"+id+"/kustomization.yaml"] = fmt.Sprintf("resources: [../../../base/%s]\nnamespace: %s\n", s.pipeline, namespaces[id])
		maps.Copy(all, base(s.pipeline))
	}
	return all
}

func base(pipeline string) map[string]string {
	return prefixed("base/"+pipeline+"/", map[string]string{
		"kustomization.yaml": kustomization("deployment.yaml", "service.yaml"),
		"deployment.yaml":    deployment("1.0.0"),
		"greeting.txt":       "hello\n",
		"service.yaml": `apiVersion: v1
kind: Service
metadata: {name: app}
spec:
  selector: {app: app}
  ports: [{port: 80, targetPort: 8080}]
`,
	})
}

func prefixed(prefix string, files map[string]string) map[string]string {
	all := map[string]string{}
	for name, content := range files {
		all[prefix+name] = content
	}
	return all
}

func kustomization(resources ...string) string {
	return fmt.Sprintf(`resources: [%s]
configMapGenerator:
  - name: app
    files: [greeting.txt]
`, strings.Join(resources, ", "))
}

// image is how a version of the app is called; the local cluster reads its
// behaviour out of the tag.
func image(tag string) string { return "registry.example.org/demo/app:" + tag }

func deployment(tag string) string {
	return fmt.Sprintf(`apiVersion: apps/v1
kind: Deployment
metadata: {name: app}
spec:
  replicas: 2
  selector: {matchLabels: {app: app}}
  template:
    metadata: {labels: {app: app}}
    spec:
      containers:
        - name: app
          image: %s
          ports: [{containerPort: 8080}]
          envFrom: [{configMapRef: {name: app}}]
`, image(tag))
}

// version is the change of the demo pipeline to another version of the app.
func version(tag string) map[string]string {
	return map[string]string{"base/demo/deployment.yaml": deployment(tag)}
}

// neverReady is the change to a version that gives up soon.
func neverReady() map[string]string {
	changed := version("2.0.0-never-ready")
	for name, content := range changed {
		changed[name] = strings.Replace(content, "  replicas: 2\n", "  replicas: 2\n  progressDeadlineSeconds: 8\n", 1)
	}
	return changed
}

// greeting is a change of configuration: a ConfigMap of a new name, and a
// rollout.
func greeting(text string) map[string]string {
	return map[string]string{"base/demo/greeting.txt": text + "\n"}
}

const rule = `# METADATA
# title: Images are allowed ones
# description: A forbidden image is what this test forbids.
# scope: package
# custom:
#   id: image/allowed
#   severity: critical
#   data: [synthetic, anonymized, phi]
#   kinds: [Deployment.apps]
#   controls:
#     pss: [restricted]
#   remediation: Use another image.
package image.allowed

deny contains result if {
	some i, c in input.object.spec.template.spec.containers
	contains(c.image, "WORD")
	result := {
		"msg": sprintf("image %q is forbidden", [c.image]),
		"path": sprintf("spec.template.spec.containers[%d].image", [i]),
	}
}
`

// writePolicies makes a bundle that forbids images with a word in their name.
func writePolicies(t testing.TB, dir, word string) {
	t.Helper()
	for name, content := range map[string]string{
		"rule.rego":              strings.ReplaceAll(rule, "WORD", word),
		"testdata/pass/one.yaml": deployment("1.0.0"),
		"testdata/fail/one.yaml": deployment(word),
	} {
		write(t, filepath.Join(dir, "image", "allowed", name), content)
	}
}

func write(t testing.TB, file, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}
