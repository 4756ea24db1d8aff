package containerlog

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"
)

var began = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

func at(seconds int) metav1.Time {
	return metav1.NewTime(began.Add(time.Duration(seconds) * time.Second))
}

func running(from int) corev1.ContainerState {
	return corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: at(from)}}
}

func over(from, to int, code int32, reason string) corev1.ContainerState {
	return corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: code, Reason: reason, StartedAt: at(from), FinishedAt: at(to)}}
}

func waits(reason string) corev1.ContainerState {
	return corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason}}
}

func logged(name, text string, state, last corev1.ContainerState) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name, Annotations: map[string]string{}}}
	if text != "" {
		p.Annotations[TextAnnotation] = text
	}
	secret := func(key string) *corev1.EnvVarSource {
		return &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{LocalObjectReference: corev1.LocalObjectReference{Name: "db"}, Key: key}}
	}
	p.Spec.Containers = []corev1.Container{{Name: "main", Image: "x:1", Env: []corev1.EnvVar{
		{Name: "PASSWORD", ValueFrom: secret("password")}, {Name: "GONE", ValueFrom: secret("gone")}, {Name: "URL", Value: "db://app:$(PASSWORD)@db"},
		{Name: "POD", ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: "metadata.name"}}},
	}, EnvFrom: []corev1.EnvFromSource{
		{Prefix: "DB_", SecretRef: &corev1.SecretEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: "db"}}},
		{ConfigMapRef: &corev1.ConfigMapEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: "flags"}}},
	}}}
	p.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "main", State: state, LastTerminationState: last}}
	return p
}

func TestLogs(t *testing.T) {
	t.Parallel()
	repeats := logged("repeats", "a\nb", over(0, 9, 0, "Completed"), corev1.ContainerState{})
	repeats.Annotations[RepeatAnnotation] = "500"
	bare := logged("bare", "", corev1.ContainerState{}, corev1.ContainerState{})
	bare.Status.ContainerStatuses = nil
	client := fake.NewClientset(
		logged("runs", "$(URL) $(GONE) $(DB_password) $(COLOR) $(POD)\nbye", running(3), over(0, 2, 137, "OOMKilled")),
		logged("ended", "", over(0, 9, 3, "Error"), corev1.ContainerState{}), repeats, bare,
		logged("loops", "x", waits("CrashLoopBackOff"), over(0, 2, 1, "Error")),
		logged("waits", "x", waits("ImagePullBackOff"), corev1.ContainerState{}),
		&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "db"}, Data: map[string][]byte{"password": []byte("hunter2")}},
		&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "flags"}, Data: map[string]string{"COLOR": "blue"}},
	)
	s := New(client, func() time.Time { return at(10).Time })
	const start = "main starts as x:1\n"
	for _, tc := range []struct {
		path string
		code int
		want string
	}{
		{"runs/main", 200, start + "db://app:hunter2@db $(GONE) hunter2 blue runs\nbye\n"},
		{"runs/main?tailLines=1", 200, "bye\n"},
		{"runs/main?tailLines=0", 200, ""},
		{"runs/main?tailLines=1&limitBytes=2", 200, "by"},
		{"runs/main?limitBytes=0", 200, ""},
		{"runs/main?tailLines=1&timestamps=true", 200, "2026-01-02T12:00:03Z bye\n"},
		{"runs/main?previous=true&tailLines=1", 200, "bye\n"},
		{"runs/main?sinceSeconds=8&tailLines=1", 200, "bye\n"},
		{"runs/main?sinceSeconds=6", 200, ""},
		{"ended/main?sinceTime=2026-01-02T12:00:05Z", 200, "error: main ends with exit code 3\n"},
		{"ended/main", 200, start + "error: main ends with exit code 3\n"},
		{"ended/main?follow=true", 200, start + "error: main ends with exit code 3\n"},
		{"ended/main?previous=true", 400, "previous terminated container \"main\" in pod \"ended\" not found\n"},
		{"repeats/main?tailLines=3", 200, "a\nb\nmain is done\n"},
		{"loops/main?tailLines=1", 200, "error: main ends with exit code 1\n"},
		{"waits/main", 400, "container \"main\" in pod \"waits\" is waiting to start: ImagePullBackOff\n"},
		{"bare/main", 400, "container \"main\" in pod \"bare\" is waiting to start: ContainerCreating\n"},
		{"runs/other", 404, "container \"other\" not found in pod \"runs\"\n"},
		{"gone/main", 404, "pod \"gone\" does not exist\n"},
		{"runs/main?tailLines=x", 400, "tailLines: want a number, not \"x\"\n"},
		{"runs/main?sinceTime=x", 400, "sinceTime: want a time, not \"x\"\n"},
	} {
		w := httptest.NewRecorder()
		s.routes().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/containerLogs/shop/"+tc.path, nil))
		if w.Code != tc.code || w.Body.String() != tc.want {
			t.Errorf("%s: %d %q; want %d %q", tc.path, w.Code, w.Body, tc.code, tc.want)
		}
	}
}

// However much an annotation asks for, the answer ends.
func TestLogsAreBounded(t *testing.T) {
	t.Parallel()
	p := logged("p", strings.Repeat("x", 1000), over(0, 1, 0, "Completed"), corev1.ContainerState{})
	p.Annotations[RepeatAnnotation] = "99999999999"
	lines := write(p, &p.Spec.Containers[0], ended(p.Status.ContainerStatuses[0].State.Terminated), func(s string) string { return s })
	if all := (options{tail: -1, limit: -1}).render(lines); len(all) > maxBytes+1000 || len(all) < maxBytes/2 {
		t.Errorf("%d bytes", len(all))
	}
}

// Every user of the cluster has a certificate of the same authority.
func TestOnlyTheAPIServerIsLetIn(t *testing.T) {
	t.Parallel()
	w := httptest.NewRecorder()
	only("api", New(fake.NewClientset(), time.Now).routes()).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/containerLogs/a/b/c", nil))
	if w.Code != http.StatusForbidden {
		t.Errorf("without a certificate: %d", w.Code)
	}
}
