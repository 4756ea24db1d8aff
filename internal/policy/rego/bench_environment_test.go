package rego

import (
	"fmt"
	"strings"
	"testing"

	"chaperone.dev/chaperone/internal/promotion"
)

// service is what one service of the samples is made of: one object of seven is
// a workload.
const service = `apiVersion: apps/v1
kind: Deployment
metadata: {name: NAME, namespace: novamind, labels: LABELS}
spec:
  replicas: 2
  selector: {matchLabels: {app.kubernetes.io/name: NAME}}
  strategy: {type: RollingUpdate, rollingUpdate: {maxUnavailable: 0, maxSurge: 1}}
  template:
    metadata: {labels: LABELS}
    spec:
      serviceAccountName: NAME
      automountServiceAccountToken: false
      securityContext: {runAsNonRoot: true, runAsUser: 10001, seccompProfile: {type: RuntimeDefault}}
      containers:
      - name: app
        image: registry.example.org/novamind/NAME:1.0.0@sha256:DIGEST
        securityContext: {allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: {drop: [ALL]}}
        ports: [{name: http, containerPort: 8000}]
        envFrom: [{configMapRef: {name: NAME}}]
        env: [{name: DB_PASSWORD, valueFrom: {secretKeyRef: {name: db, key: password}}}]
        resources: {requests: {cpu: 100m, memory: 128Mi}, limits: {memory: 256Mi}}
        readinessProbe: {httpGet: {path: /ready, port: http}}
        livenessProbe: {httpGet: {path: /live, port: http}}
---
apiVersion: v1
kind: Service
metadata: {name: NAME, namespace: novamind, labels: LABELS}
spec: {selector: {app.kubernetes.io/name: NAME}, ports: [{name: http, port: 8000, targetPort: http, appProtocol: http}]}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: NAME, namespace: novamind, labels: LABELS}
data: {LOG_LEVEL: info, LOG_FORMAT: json, FEATURE_A: "true", CACHE_URL: "rediss://cache.novamind.svc:6379/0"}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: NAME, namespace: novamind, labels: LABELS}
automountServiceAccountToken: false
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: NAME, namespace: novamind, labels: LABELS}
spec:
  podSelector: {matchLabels: {app.kubernetes.io/name: NAME}}
  policyTypes: [Ingress, Egress]
  ingress: [{from: [{podSelector: {matchLabels: {app.kubernetes.io/name: gateway}}}], ports: [{port: 8000}]}]
  egress: [{to: [{podSelector: {matchLabels: {app.kubernetes.io/name: db}}}], ports: [{port: 5432}]}]
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: NAME, namespace: novamind, labels: LABELS}
spec: {minAvailable: 1, selector: {matchLabels: {app.kubernetes.io/name: NAME}}}
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: NAME, namespace: novamind, labels: LABELS}
spec:
  minReplicas: 2
  maxReplicas: 4
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: NAME}
  metrics: [{type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 70}}}]
`

// services are n objects of services that most rules have nothing to say of.
func services(n int) []string {
	var all []string
	for i := 0; len(all) < n; i++ {
		name := fmt.Sprintf("service-%d", i)
		labels := fmt.Sprintf("{app.kubernetes.io/name: %s, app.kubernetes.io/version: 1.0.0, app.kubernetes.io/managed-by: chaperone, "+
			"environment: production, project: novamind, owner: platform, chaperone.dev/data-class: phi}", name)
		text := strings.NewReplacer("NAME", name, "LABELS", labels, "DIGEST", fmt.Sprintf("%064d", i)).Replace(service)
		all = append(all, strings.Split(text, "---\n")...)
	}
	return all[:n]
}

// plainMix is half ConfigMaps, a quarter Services and a quarter Deployments: what
// applying is measured with.
func plainMix(n int) []string {
	var all []string
	for i := 0; len(all) < n; i++ {
		of := services(7 * (i + 1))[7*i:] // Deployment, Service, ConfigMap…
		more := strings.Replace(of[2], "{name: ", "{name: more-", 1)
		all = append(all, of[0], of[1], of[2], more)
	}
	return all[:n]
}

// BenchmarkEnvironment judges 200 objects in the mix that the samples have. In
// BenchmarkPack, the worst case, each of them is a workload.
func BenchmarkEnvironment(b *testing.B) {
	bundle := loadSample(b)
	in := inputOf(b, promotion.DataPHI, services(200)...)
	pairs := pairsOf(bundle, in)
	b.Run("warm", func(b *testing.B) {
		for b.Loop() {
			forget(bundle)
			evaluate(b, bundle, in)
		}
		perPair(b, pairs)
		b.ReportMetric(float64(len(bundle.rules)), "rules")
	})
	b.Run("quarter-workloads", func(b *testing.B) {
		in := inputOf(b, promotion.DataPHI, plainMix(200)...)
		for b.Loop() {
			forget(bundle)
			evaluate(b, bundle, in)
		}
		perPair(b, pairsOf(bundle, in))
	})
	b.Run("one-changed", func(b *testing.B) { oneChanged(b, bundle, services(199)) })
	b.Run("opa", func(b *testing.B) { plain(b, bundle, in, pairs) })
}
