package health

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"chaperone.dev/chaperone/internal/manifest"
)

// object reads one object from YAML; tests are easier to check that way.
func object(t testing.TB, text string) *manifest.Object {
	t.Helper()
	objects, err := manifest.Decode("test.yaml", []byte(text))
	if err != nil || len(objects) != 1 {
		t.Fatalf("decode %d objects: %v\n%s", len(objects), err, text)
	}
	return objects[0]
}

func view(objects ...*manifest.Object) map[manifest.ID]*manifest.Object {
	m := map[manifest.ID]*manifest.Object{}
	for _, o := range objects {
		m[manifest.IDOf(o)] = o
	}
	return m
}

const deploymentHead = `{apiVersion: apps/v1, kind: Deployment, metadata: {name: api, namespace: novamind, uid: d1, generation: 2, annotations: {deployment.kubernetes.io/revision: "2"}}, `

const readyStatus = `replicas: 3, updatedReplicas: 3, readyReplicas: 3, availableReplicas: 3,
  conditions: [{type: Progressing, status: "True", reason: NewReplicaSetAvailable}, {type: Available, status: "True"}]`

var ofTests = []struct {
	name, yaml string
	state      State
	definitive bool
	message    string
}{
	{"deployment ready", deploymentHead + `spec: {replicas: 3, progressDeadlineSeconds: 600}, status: {observedGeneration: 2, ` + readyStatus + `}}`,
		Current, false, "Replicas: 3"},
	{"deployment never looked at", deploymentHead + `spec: {replicas: 0}}`,
		InProgress, false, "generation 2 was not looked at by its controller yet"},
	{"deployment one short", deploymentHead + `spec: {replicas: 3}, status: {observedGeneration: 2, replicas: 3, updatedReplicas: 3, readyReplicas: 2, availableReplicas: 2}}`,
		InProgress, false, "2 of 3 available"},
	{"deployment gave up", deploymentHead + `spec: {replicas: 3, progressDeadlineSeconds: 60}, status: {observedGeneration: 2, replicas: 4, updatedReplicas: 1, availableReplicas: 2,
		conditions: [{type: Progressing, status: "False", reason: ProgressDeadlineExceeded}]}}`,
		Failed, true, "progress deadline of 60s exceeded, 2 of 3 available"},
	{"deployment cannot create pods", deploymentHead + `spec: {replicas: 3}, status: {observedGeneration: 2,
		conditions: [{type: ReplicaFailure, status: "True", reason: FailedCreate, message: 'pods "api" is forbidden: exceeded quota'}]}}`,
		InProgress, false, `0 of 3 replicas: FailedCreate: pods "api" is forbidden: exceeded quota`},
	{"deployment stalled is not definitive", deploymentHead + `spec: {replicas: 3}, status: {observedGeneration: 2, conditions: [{type: Stalled, status: "True", message: stuck}]}}`,
		Failed, false, "stuck"},
	{"being deleted", `{apiVersion: v1, kind: ConfigMap, metadata: {name: a, deletionTimestamp: "2026-01-01T00:00:00Z", finalizers: [example.org/keep]}}`,
		Terminating, false, "is being deleted, held by finalizer example.org/keep"},

	{"statefulset ready", `{apiVersion: apps/v1, kind: StatefulSet, metadata: {name: db, generation: 1}, spec: {replicas: 1},
		status: {observedGeneration: 1, replicas: 1, readyReplicas: 1, currentReplicas: 1, updatedReplicas: 1, currentRevision: a, updateRevision: a}}`,
		Current, false, ""},
	{"statefulset rolling", `{apiVersion: apps/v1, kind: StatefulSet, metadata: {name: db, generation: 1}, spec: {replicas: 1},
		status: {observedGeneration: 1, replicas: 1, readyReplicas: 1, currentReplicas: 1, updatedReplicas: 1, currentRevision: a, updateRevision: b}}`,
		InProgress, false, "updated revision"},
	{"statefulset of none, never looked at", `{apiVersion: apps/v1, kind: StatefulSet, metadata: {name: db, generation: 1}, spec: {replicas: 0}}`,
		InProgress, false, "not looked at"},
	{"statefulset on delete, not ready", `{apiVersion: apps/v1, kind: StatefulSet, metadata: {name: db, generation: 1}, spec: {replicas: 2, updateStrategy: {type: OnDelete}},
		status: {observedGeneration: 1, replicas: 2, readyReplicas: 1}}`,
		InProgress, false, "1 of 2 ready"},
	{"daemonset ready", `{apiVersion: apps/v1, kind: DaemonSet, metadata: {name: log, generation: 1}, spec: {},
		status: {observedGeneration: 1, desiredNumberScheduled: 2, currentNumberScheduled: 2, updatedNumberScheduled: 2, numberAvailable: 2, numberReady: 2}}`,
		Current, false, ""},
	{"daemonset one node short", `{apiVersion: apps/v1, kind: DaemonSet, metadata: {name: log, generation: 1}, spec: {},
		status: {observedGeneration: 1, desiredNumberScheduled: 2, currentNumberScheduled: 2, updatedNumberScheduled: 1, numberAvailable: 2, numberReady: 2}}`,
		InProgress, false, "1 of 2 updated"},
	{"daemonset on delete", `{apiVersion: apps/v1, kind: DaemonSet, metadata: {name: log, generation: 2}, spec: {updateStrategy: {type: OnDelete}},
		status: {observedGeneration: 2, desiredNumberScheduled: 2, currentNumberScheduled: 2, updatedNumberScheduled: 0, numberAvailable: 2, numberReady: 2}}`,
		Current, false, "2 of 2 ready"},

	{"job complete", `{apiVersion: batch/v1, kind: Job, metadata: {name: migrate}, status: {succeeded: 1, conditions: [{type: Complete, status: "True"}]}}`,
		Current, true, "completed with 1 succeeded"},
	{"job failed", `{apiVersion: batch/v1, kind: Job, metadata: {name: migrate}, status: {failed: 4, conditions: [{type: Failed, status: "True", reason: BackoffLimitExceeded, message: Job has reached the specified backoff limit}]}}`,
		Failed, true, "failed after 4 failed pods: BackoffLimitExceeded: Job has reached"},
	{"job running", `{apiVersion: batch/v1, kind: Job, metadata: {name: migrate}, status: {startTime: "2026-01-01T00:00:00Z", active: 1, failed: 2}}`,
		InProgress, false, "is running with 1 active, 0 succeeded, 2 failed"},
	{"job about to fail", `{apiVersion: batch/v1, kind: Job, metadata: {name: migrate}, status: {startTime: "2026-01-01T00:00:00Z", conditions: [{type: FailureTarget, status: "True"}]}}`,
		InProgress, false, "is running"},
	{"job not started", `{apiVersion: batch/v1, kind: Job, metadata: {name: migrate}}`, InProgress, false, "has not started"},
	{"job suspended", `{apiVersion: batch/v1, kind: Job, metadata: {name: migrate}, spec: {suspend: true}}`, Current, false, "is suspended"},
	{"a job of another group", `{apiVersion: example.org/v1, kind: Job, metadata: {name: migrate}}`, Current, false, ""},

	{"claim bound", `{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: data}, status: {phase: Bound}}`, Current, false, "is bound"},
	{"claim provisioning", `{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: data, annotations: {volume.kubernetes.io/storage-provisioner: csi.example.org}}, status: {phase: Pending}}`,
		InProgress, false, "is not bound yet"},
	{"claim without consumer", `{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: data}, status: {phase: Pending}}`, Current, false, "first consumer"},
	{"claim lost", `{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: data}, status: {phase: Lost}}`, Failed, false, "lost its volume"},
	{"claim new", `{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: data}}`, InProgress, false, "not looked at"},

	{"external secret not ready", `{apiVersion: external-secrets.io/v1, kind: ExternalSecret, metadata: {name: db}, status: {conditions: [{type: Ready, status: "False", reason: SecretSyncedError, message: could not get secret data from provider}]}}`,
		InProgress, false, "could not get secret data from provider"},
	{"external secret ready", `{apiVersion: external-secrets.io/v1, kind: ExternalSecret, metadata: {name: db}, status: {conditions: [{type: Ready, status: "True"}]}}`, Current, false, ""},
	{"external secret without controller", `{apiVersion: external-secrets.io/v1, kind: ExternalSecret, metadata: {name: db}}`, Unknown, false, "no controller has reported on it"},
	{"gateway refused", `{apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: {name: web, generation: 1}, status: {conditions: [{type: Accepted, status: "False", reason: Invalid, observedGeneration: 1}]}}`,
		InProgress, false, "is not Accepted: Invalid"},
	{"gateway without controller", `{apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: {name: web, generation: 1}, status: {conditions: [{type: Accepted, status: Unknown, reason: Pending}]}}`,
		Unknown, false, "no controller has reported on it"},
	{"api service down", `{apiVersion: apiregistration.k8s.io/v1, kind: APIService, metadata: {name: v1.metrics.example.org}, status: {conditions: [{type: Available, status: "False", reason: MissingEndpoints}]}}`,
		InProgress, false, "is not Available: MissingEndpoints"},
	{"crd established", `{apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition, metadata: {name: a.example.org}, status: {conditions: [{type: Established, status: "True"}]}}`, Current, false, ""},
	{"crd installing", `{apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition, metadata: {name: a.example.org}}`, InProgress, false, ""},
	{"hpa", `{apiVersion: autoscaling/v2, kind: HorizontalPodAutoscaler, metadata: {name: api}, status: {conditions: [{type: ScalingActive, status: "False"}]}}`, Current, false, ""},
	{"config map", `{apiVersion: v1, kind: ConfigMap, metadata: {name: a}}`, Current, false, ""},
	{"budget never looked at", `{apiVersion: policy/v1, kind: PodDisruptionBudget, metadata: {name: api, generation: 1}}`, InProgress, false, "not looked at"},
	{"status of a strange shape", `{apiVersion: example.org/v1, kind: Thing, metadata: {name: a}, status: {conditions: {Ready: "True"}}}`, Unknown, false, "cannot be read"},

	{"pod ready", `{apiVersion: v1, kind: Pod, metadata: {name: p}, status: {phase: Running, conditions: [{type: Ready, status: "True"}]}}`, Current, false, "is ready"},
	{"pod done", `{apiVersion: v1, kind: Pod, metadata: {name: p}, status: {phase: Succeeded}}`, Current, false, "completed"},
	{"pod evicted", `{apiVersion: v1, kind: Pod, metadata: {name: p}, status: {phase: Failed, reason: Evicted}}`, Failed, false, "was stopped: Evicted"},
	{"pod new", `{apiVersion: v1, kind: Pod, metadata: {name: p}}`, InProgress, false, "is not scheduled"},
}

func TestOf(t *testing.T) {
	t.Parallel()
	for _, test := range ofTests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			got := Of(object(t, test.yaml))
			if got.State != test.state || got.Definitive != test.definitive || !strings.Contains(got.Message, test.message) {
				t.Errorf("got %+v, want %s (definitive %v) with %q", got, test.state, test.definitive, test.message)
			}
			if got.Message == "" || strings.ContainsAny(got.Message, "\n\t") {
				t.Errorf("message %q: want one line for a person", got.Message)
			}
		})
	}
	if got := Of(nil); got.State != Unknown {
		t.Errorf("nil: got %+v, want Unknown", got)
	}
}

// Reading "healthy" a moment after the apply, from the status of the release
// before (kargo#41, kargo#1411, argo-rollouts#771).
func TestPitfall25_StatusOfAnOlderGenerationIsNotHealth(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"healthy before": deploymentHead + `spec: {replicas: 3}, status: {observedGeneration: 1, ` + readyStatus + `}}`,
		"given up before": deploymentHead + `spec: {replicas: 3}, status: {observedGeneration: 1,
			conditions: [{type: Progressing, status: "False", reason: ProgressDeadlineExceeded}]}}`,
		"healthy before, updated on delete": `{apiVersion: apps/v1, kind: StatefulSet, metadata: {name: db, generation: 2}, spec: {replicas: 1, updateStrategy: {type: OnDelete}},
			status: {observedGeneration: 1, replicas: 1, readyReplicas: 1}}`,
		"generation in the condition": `{apiVersion: cert-manager.io/v1, kind: Certificate, metadata: {name: web, generation: 2},
			status: {conditions: [{type: Ready, status: "True", observedGeneration: 1}]}}`,
		"stalled before": `{apiVersion: example.org/v1, kind: Thing, metadata: {name: a, generation: 2},
			status: {conditions: [{type: Stalled, status: "True", observedGeneration: 1}]}}`,
	} {
		if got := Of(object(t, text)); got.State != InProgress || got.Definitive {
			t.Errorf("%s: got %+v, want InProgress until the status is of this generation", name, got)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		gvk := rapid.SampledFrom([]string{"apps/v1/Deployment", "apps/v1/StatefulSet", "apps/v1/DaemonSet", "policy/v1/PodDisruptionBudget", "example.org/v1/Thing"}).Draw(t, "kind")
		observed := rapid.Int64Range(0, 50).Draw(t, "observed")
		behind := rapid.Int64Range(1, 5).Draw(t, "behind")
		cut := strings.LastIndex(gvk, "/")
		o := &manifest.Object{Object: map[string]any{
			"apiVersion": gvk[:cut], "kind": gvk[cut+1:],
			"metadata": map[string]any{"name": "x", "generation": observed + behind},
			"spec":     map[string]any{"replicas": rapid.Int64Range(0, 3).Draw(t, "replicas")},
			"status": map[string]any{
				"observedGeneration": observed, "replicas": int64(3), "updatedReplicas": int64(3), "readyReplicas": int64(3),
				"availableReplicas": int64(3), "conditions": []any{map[string]any{"type": "Ready", "status": "True"}},
			},
		}}
		if got := Of(o); got.State != InProgress {
			t.Fatalf("got %+v, want InProgress", got)
		}
	})
}

// A Job that its time to live removed tells nothing (kc#1578, argo-cd#23994).
func TestPitfall26_AbsentJobIsUnknown(t *testing.T) {
	t.Parallel()
	job := manifest.ID{Group: "batch", Kind: "Job", Namespace: "novamind", Name: "smoke"}
	other := manifest.ID{Group: "apps", Kind: "Deployment", Namespace: "novamind", Name: "api"}
	if got := Missing(job); got.State != Unknown {
		t.Errorf("job: got %+v, want Unknown", got)
	}
	if got := Missing(other); got.State != InProgress {
		t.Errorf("deployment: got %+v, want InProgress", got)
	}
	s := Summarize(nil, []manifest.ID{job, other})
	if s.AllReady() || len(s.Unknown) != 1 || len(s.Waiting) != 1 {
		t.Errorf("got %+v", s)
	}
}

func TestSpan(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]string{
		0: "0s", 240 * time.Millisecond: "200ms", 1500 * time.Millisecond: "1.5s", time.Minute: "60s", 119 * time.Second: "119s",
		119600 * time.Millisecond: "2m", 10 * time.Minute: "10m", 90 * time.Minute: "1h30m", time.Hour: "1h", time.Hour + 5*time.Second: "1h5s",
	} {
		if got := Span(d); got != want {
			t.Errorf("Span(%d) = %q, want %q", d, got, want)
		}
	}
}

// FuzzOf: whatever a cluster answers, the judgement is one of the states, says
// something on one bounded line, and the same twice.
func FuzzOf(f *testing.F) {
	f.Add([]byte(`{"apiVersion":"v1","kind":"Pod","metadata":{"name":"p"},"status":{"phase":"Running","containerStatuses":[{"name":"a","state":{"waiting":{}}}]}}`))
	f.Add([]byte(`{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"generation":1.5,"name":3},"status":{"observedGeneration":"x","conditions":[1,{"type":2}]}}`))
	f.Add([]byte(`{"apiVersion":"batch/v1","kind":"Job","status":[]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		o := &manifest.Object{}
		if o.UnmarshalJSON(b) != nil || o.IsList() {
			return
		}
		before := fmt.Sprint(o.Object)
		first := Of(o)
		switch first.State {
		case Current, InProgress, Failed, Terminating, Unknown:
		default:
			t.Errorf("state %q", first.State)
		}
		if first.Message == "" || len([]rune(first.Message)) > 4*clipAt || strings.Contains(first.Message, "\n") {
			t.Errorf("message %q", first.Message)
		}
		s := Summarize(view(o), nil)
		_ = DeadlineEvidence(s, time.Minute)
		if again := Of(o); again != first || fmt.Sprint(o.Object) != before {
			t.Errorf("judged %+v, then %+v; or the object was changed", first, again)
		}
	})
}
