package cluster

import (
	"strings"
	"testing"

	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/plan"
)

const ingress = `apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: web, annotations: {example.org/a: b}}
spec:
  tls: [{hosts: [a.example.org], secretName: tls}]
  rules:
  - host: a.example.org
    http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: api, port: {number: 80}}}}]}`

const policy = `apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: deny}
spec:
  podSelector: {}
  policyTypes: [Ingress]
  ingress: [{from: [{podSelector: {matchLabels: {a: b}}}], ports: [{port: 80}]}]`

const rich = `apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db, labels: {app: db}}
spec:
  serviceName: db
  replicas: 0
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}}
    spec:
      securityContext: {runAsNonRoot: true, fsGroup: 1000}
      initContainers:
      - {name: one, image: "r/i:1", command: [a, b]}
      - {name: two, image: "r/i:1"}
      containers:
      - name: db
        image: r/db:1
        env: [{name: A, value: x}, {name: B, value: "$(A)"}, {name: C, valueFrom: {secretKeyRef: {name: s, key: k}}}]
        ports: [{name: sql, containerPort: 5432}, {name: udp, containerPort: 5432, protocol: UDP}]
        resources: {requests: {cpu: "1", memory: 1Gi}, limits: {memory: 2Gi}}
        readinessProbe: {httpGet: {path: /, port: sql}}
        volumeMounts: [{name: data, mountPath: /d}, {name: tmp, mountPath: /tmp}]
      tolerations: [{key: a, operator: Exists}]
      volumes: [{name: tmp, emptyDir: {}}]
  volumeClaimTemplates:
  - metadata: {name: data}
    spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}`

// plan.Same must never call the same what the server would change: whatever it
// is asked about, its yes has to be the server's yes.
func TestSameAgreesWithTheServer(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	base := []string{ingress, policy, rich, deployment("api", "r/api:1", "replicas: 0"), service("api"), configMap("c", "a", "b")}
	f.release(f.set(base...))
	if p := f.plan(f.set(base...)); !p.Quiet() {
		t.Errorf("plan after the apply: %v, want nothing to do", p.Applies())
	}
	edits := [][2]string{
		{"", ""},
		{"a.example.org", "b.example.org"}, {"/, pathType", "/x, pathType"}, {"example.org/a: b", "example.org/a: c"},
		{"tls: [{hosts: [a.example.org], secretName: tls}]", "tls: []"}, {"podSelector: {}", "podSelector: {matchLabels: {x: y}}"},
		{"ports: [{port: 80}]", "ports: [{port: 80, protocol: UDP}]"}, {"ports: [{port: 80}]", "ports: [{port: 80, protocol: TCP}]"},
		{"replicas: 0", "replicas: 1"}, {"command: [a, b]", "command: [b, a]"}, {"command: [a, b]", "command: [a]"},
		{`      - {name: one, image: "r/i:1", command: [a, b]}` + "\n" + `      - {name: two, image: "r/i:1"}`,
			`      - {name: two, image: "r/i:1"}` + "\n" + `      - {name: one, image: "r/i:1", command: [a, b]}`},
		{`{name: A, value: x}, {name: B, value: "$(A)"}`, `{name: B, value: "$(A)"}, {name: A, value: x}`},
		{"{name: A, value: x}, ", ""}, {"containerPort: 5432, protocol: UDP", "containerPort: 5433, protocol: UDP"},
		{", {name: udp, containerPort: 5432, protocol: UDP}", ""}, {`cpu: "1"`, "cpu: 1000m"}, {`cpu: "1"`, "cpu: 2"}, {"2Gi", "2048Mi"},
		{"runAsNonRoot: true, ", ""}, {"fsGroup: 1000", "fsGroup: 1001"}, {"emptyDir: {}", "emptyDir: {medium: Memory}"},
		{"tolerations: [{key: a, operator: Exists}]", "tolerations: []"}, {"labels: {app: db}}\nspec", "labels: {app: db, b: c}}\nspec"},
		{"ports: [{port: 80, targetPort: 8080}]", "ports: [{port: 80, targetPort: 8081}]"}, {"httpGet: {path: /, port: sql}", "tcpSocket: {port: sql}"},
	}
	certain := 0
	for _, edit := range edits {
		for _, text := range base {
			changed := strings.Replace(text, edit[0], edit[1], 1)
			if edit[0] != "" && changed == text {
				continue
			}
			certain += agree(f, f.set(changed), edit)
		}
	}
	// All that did not change, but the StatefulSet: the server adds defaults
	// inside its claim templates, which have one owner as a whole.
	if want := len(base) - 1; certain < want {
		t.Errorf("Same was certain of %d objects, want at least %d", certain, want)
	}
}

// agree compares the two judgements of one object, and is 1 where Same said yes.
func agree(f *fixture, set manifest.Set, edit [2]string) int {
	f.Helper()
	r, err := f.c.resolve(f.Context(), f.owner, set)
	if err != nil {
		f.Fatal(err)
	}
	sent := r.set.Objects()[0]
	id := manifest.IDOf(sent)
	live, err := f.c.get(f.Context(), r.kinds[id], id)
	if err != nil {
		f.Fatal(err)
	}
	if !plan.Same(live, sent, f.c.options.FieldManager) {
		return 0
	}
	tried, err := f.c.dryRun(f.Context(), r.kinds[id], sent)
	if err != nil {
		f.Errorf("%s with %q: Same, and the server refuses: %v", id, edit, err)
		return 1
	}
	if fields, changed := plan.Compare(live, tried, f.c.options.FieldManager, *f.c.options.Redactor); changed {
		f.Errorf("%s with %q: Same, and the server would change %v", id, edit, fields)
	}
	return 1
}
