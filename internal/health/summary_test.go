package health

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"chaperone.dev/chaperone/internal/manifest"
)

const waitingDeployment = deploymentHead + `spec: {replicas: 3}, status: {observedGeneration: 2, replicas: 4, updatedReplicas: 1, readyReplicas: 3, availableReplicas: 3}}`

func replicaSet(t *testing.T, name, uid, revision string) *manifest.Object {
	return object(t, fmt.Sprintf(`{apiVersion: apps/v1, kind: ReplicaSet, metadata: {name: %s, namespace: novamind, uid: %s, annotations: {deployment.kubernetes.io/revision: %q},
		ownerReferences: [{apiVersion: apps/v1, kind: Deployment, name: api, uid: d1, controller: true}]}}`, name, uid, revision))
}

func podOf(t *testing.T, name, ownerKind, owner, uid, hash, status string) *manifest.Object {
	return object(t, fmt.Sprintf(`{apiVersion: v1, kind: Pod, metadata: {name: %s, namespace: novamind, labels: {pod-template-hash: %q, controller-revision-hash: %q},
		creationTimestamp: "2026-01-01T00:00:0%dZ",
		ownerReferences: [{apiVersion: apps/v1, kind: %s, name: %s, uid: %s, controller: true}]}, status: %s}`, name, hash, hash, len(hash)%10, ownerKind, owner, uid, status))
}

const (
	imageBackOff = `{phase: Pending, containerStatuses: [{name: api, ready: false, state: {waiting: {reason: ImagePullBackOff, message: 'Back-off pulling image "registry.example/api:9"'}}}]}`
	crashLoop    = `{phase: Running, containerStatuses: [{name: api, ready: false, restartCount: 5, state: {waiting: {reason: CrashLoopBackOff, message: back-off}},
		lastState: {terminated: {exitCode: 137, reason: OOMKilled, message: patient Jane Roe}}}]}`
	healthyPod = `{phase: Running, conditions: [{type: Ready, status: "True"}], containerStatuses: [{name: api, ready: true, state: {running: {}}}]}`
	unready    = `{phase: Running, containerStatuses: [{name: api, ready: false, state: {running: {}}}]}`
)

func TestSummarizeNamesTheNewPods(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		objects []*manifest.Object
		want    string
	}{
		{"image of the new replica set", []*manifest.Object{
			object(t, waitingDeployment), replicaSet(t, "api-new", "r2", "2"), replicaSet(t, "api-old", "r1", "1"),
			podOf(t, "api-new-1", "ReplicaSet", "api-new", "r2", "new", imageBackOff),
			podOf(t, "api-old-1", "ReplicaSet", "api-old", "r1", "old", crashLoop),
		}, `Deployment.apps/novamind/api: 1 of 3 updated (pod api-new-1: container "api" waits: ImagePullBackOff: Back-off pulling image "registry.example/api:9")`},
		{"only the old ones are in trouble", []*manifest.Object{
			object(t, waitingDeployment), replicaSet(t, "api-new", "r2", "2"), replicaSet(t, "api-old", "r1", "1"),
			podOf(t, "api-new-1", "ReplicaSet", "api-new", "r2", "new", healthyPod),
			podOf(t, "api-old-1", "ReplicaSet", "api-old", "r1", "old", crashLoop),
		}, `Deployment.apps/novamind/api: 1 of 3 updated`},
		{"pods without their replica sets: the newest template", []*manifest.Object{
			object(t, waitingDeployment),
			podOf(t, "api-1-x", "ReplicaSet", "api-1", "r1", "1", imageBackOff),
			podOf(t, "api-22-x", "ReplicaSet", "api-22", "r2", "22", crashLoop),
			podOf(t, "other-333-x", "ReplicaSet", "other-333", "r3", "333", imageBackOff),
		}, `Deployment.apps/novamind/api: 1 of 3 updated (pod api-22-x: container "api" waits: CrashLoopBackOff after 5 restarts, last exited with code 137 (OOMKilled))`},
		{"the worst of several", []*manifest.Object{
			object(t, waitingDeployment), replicaSet(t, "api-new", "r2", "2"),
			podOf(t, "api-new-1", "ReplicaSet", "api-new", "r2", "new", unready),
			podOf(t, "api-new-2", "ReplicaSet", "api-new", "r2", "new", imageBackOff),
			podOf(t, "api-new-3", "ReplicaSet", "api-new", "r2", "new", unready),
		}, `ImagePullBackOff: Back-off pulling image "registry.example/api:9", and 2 more like it)`},
		{"a stateful set's updated pod", []*manifest.Object{
			object(t, `{apiVersion: apps/v1, kind: StatefulSet, metadata: {name: db, namespace: novamind, uid: s1, generation: 1}, spec: {replicas: 2},
				status: {observedGeneration: 1, replicas: 2, readyReplicas: 1, updateRevision: new}}`),
			podOf(t, "db-0", "StatefulSet", "db", "s1", "old", imageBackOff),
			podOf(t, "db-1", "StatefulSet", "db", "s1", "new", unready),
		}, `StatefulSet.apps/novamind/db: 1 of 2 ready (pod db-1: container "api" runs but is not ready)`},
		{"nowhere to run", []*manifest.Object{
			object(t, waitingDeployment), replicaSet(t, "api-new", "r2", "2"),
			podOf(t, "api-new-1", "ReplicaSet", "api-new", "r2", "new", `{phase: Pending, conditions: [{type: PodScheduled, status: "False", reason: Unschedulable, message: 0/3 nodes are available}]}`),
		}, `(pod api-new-1: is not scheduled: Unschedulable: 0/3 nodes are available)`},
		{"a failing init container", []*manifest.Object{
			object(t, waitingDeployment), replicaSet(t, "api-new", "r2", "2"),
			podOf(t, "api-new-1", "ReplicaSet", "api-new", "r2", "new", `{phase: Pending, initContainerStatuses: [{name: wait, state: {terminated: {exitCode: 3, reason: Error}}}]}`),
		}, `(pod api-new-1: init container "wait" exited with code 3)`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := Summarize(view(test.objects...), nil)
			if s.Total() != 1 || s.AllReady() {
				t.Fatalf("got %+v, want only the workload judged, and not ready", s)
			}
			got := s.Worst(3)
			if len(got) != 1 || !strings.HasSuffix(got[0], test.want) {
				t.Errorf("got  %q\nwant %q", got, test.want)
			}
			if strings.Contains(fmt.Sprint(got), "Jane") {
				t.Errorf("a termination message, which is the application's own output, came through: %q", got)
			}
		})
	}
}

func TestSummaryOrderAndEvidence(t *testing.T) {
	t.Parallel()
	job := `{apiVersion: batch/v1, kind: Job, metadata: {name: migrate, namespace: novamind}, status: {failed: 1, conditions: [{type: Failed, status: "True", reason: BackoffLimitExceeded}]}}`
	gone := manifest.ID{Group: "batch", Kind: "Job", Namespace: "novamind", Name: "smoke"}
	s := Summarize(view(
		object(t, `{apiVersion: v1, kind: ConfigMap, metadata: {name: a, namespace: novamind}}`),
		object(t, `{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: data, namespace: novamind}, status: {phase: Lost}}`),
		object(t, waitingDeployment), object(t, job),
		podOf(t, "api-22-x", "ReplicaSet", "api-22", "r2", "22", imageBackOff),
		object(t, `{apiVersion: example.org/v1, kind: Aaa, metadata: {name: first}, status: {conditions: [{type: Ready, status: "False", reason: Patience}]}}`),
	), []manifest.ID{gone, {Kind: "ConfigMap", Namespace: "novamind", Name: "a"}})

	if s.Ready != 1 || s.Total() != 6 {
		t.Fatalf("got %+v, want 1 of 6 ready", s)
	}
	var order []string
	for _, message := range s.Worst(9) {
		order = append(order, message[:strings.IndexByte(message, ':')])
	}
	want := "Job.batch/novamind/migrate PersistentVolumeClaim/novamind/data Deployment.apps/novamind/api Aaa.example.org/first Job.batch/novamind/smoke"
	if strings.Join(order, " ") != want {
		t.Errorf("order %q, want %q", order, want)
	}
	if got := s.Definitive(); len(got) != 1 || got[0].ID.Name != "migrate" {
		t.Errorf("definitive: got %v", got)
	}
	evidence := DeadlineEvidence(s, 10*time.Minute)
	if !strings.HasPrefix(evidence, "5 of 6 objects not ready after 10m: Job.batch/novamind/migrate: failed after") || !strings.HasSuffix(evidence, "; and 2 more") {
		t.Errorf("evidence %q", evidence)
	}
	if got, want := FailureEvidence(s, 20*time.Second),
		"1 of 6 objects failed within 20s: Job.batch/novamind/migrate: failed after 1 failed pod: BackoffLimitExceeded"; got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	if got := s.Worst(-1); len(got) != 1 || got[0] != "and 5 more" {
		t.Errorf("Worst(-1) = %q", got)
	}
}

// An empty answer is no success (pitfall 27).
func TestSummaryOfNothingIsNotReady(t *testing.T) {
	t.Parallel()
	s := Summarize(nil, nil)
	if s.AllReady() || s.Definitive() != nil || len(s.Worst(3)) != 0 {
		t.Errorf("got %+v", s)
	}
	if got := DeadlineEvidence(s, time.Minute); got != "there was no object to judge in 60s" {
		t.Errorf("got %q", got)
	}
}
