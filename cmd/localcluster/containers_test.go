package main

import (
	"context"
	"fmt"
	"strings"
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"chaperone.dev/chaperone/cmd/localcluster/internal/containerlog"
)

// kubectl is the real one, as administrator.
func (c cluster) kubectl(t *testing.T, args ...string) (string, error) {
	t.Helper()
	cmd := command(append([]string{"kubectl", "--kubeconfig", c.info.Kubeconfig, "--cache-dir", t.TempDir()}, args...)...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// What containers write is read with kubectl logs, through the API server, and so is what those
// before them wrote.
func TestLogsOfContainers(t *testing.T) {
	t.Parallel()
	c := sharedCluster(t)
	ns := c.namespace(t)
	must1[*corev1.Secret](t)(c.client.CoreV1().Secrets(ns).Create(t.Context(), &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: "db"}, StringData: map[string]string{"password": "correct horse"},
	}, metav1.CreateOptions{}))
	zero := int32(0)
	job := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Name: "migrate"}}
	job.Spec.BackoffLimit = &zero
	job.Spec.Template.Annotations = map[string]string{containerlog.TextAnnotation: "connects with $(PASSWORD)\nno such table"}
	job.Spec.Template.Spec = corev1.PodSpec{RestartPolicy: corev1.RestartPolicyNever, Containers: []corev1.Container{{
		Name: "run", Image: "migrate:exit-3", Env: []corev1.EnvVar{{Name: "PASSWORD", ValueFrom: &corev1.EnvVarSource{
			SecretKeyRef: &corev1.SecretKeySelector{LocalObjectReference: corev1.LocalObjectReference{Name: "db"}, Key: "password"}}}},
	}}}
	must1[*batchv1.Job](t)(c.client.BatchV1().Jobs(ns).Create(t.Context(), job, metav1.CreateOptions{}))
	c.deploy(t, ns, deployment("greedy", "api:oom-2", 1))
	c.deploy(t, ns, deployment("absent", "api:image-missing", 1))
	const told = "run starts as migrate:exit-3\nconnects with correct horse\nno such table\nerror: run ends with exit code 3\n"
	eventually(t, "the log of a job", func(context.Context) error {
		if out, err := c.kubectl(t, "logs", "-n", ns, "job/migrate"); err != nil || out != told {
			return fmt.Errorf("%q, %w", out, err)
		}
		return nil
	})
	if out, err := c.kubectl(t, "logs", "-n", ns, "job/migrate", "--tail=2", "--limit-bytes=7", "--follow"); err != nil || out != "no such" {
		t.Errorf("the tail of it: %q, %v", out, err)
	}
	eventually(t, "two kills for memory, and then calm", func(ctx context.Context) error {
		status := c.statusOf(t, ns, "greedy")
		if last := status.LastTerminationState.Terminated; status.RestartCount != 2 || !status.Ready || last == nil || last.Reason != "OOMKilled" || last.ExitCode != 137 {
			return fmt.Errorf("%+v", status)
		}
		return nil
	})
	if out, err := c.kubectl(t, "logs", "-n", ns, "deployment/greedy", "--previous", "--timestamps"); err != nil || !strings.HasSuffix(out, "Z main starts as api:oom-2\n") {
		t.Errorf("of the container before: %q, %v", out, err)
	}
	if out, err := c.kubectl(t, "logs", "-n", ns, "deployment/absent"); err == nil || !strings.Contains(out, "is waiting to start") {
		t.Errorf("of a container without an image: %q, %v", out, err)
	}
}

// statusOf is the first container's in the first pod of an app.
func (c cluster) statusOf(t *testing.T, ns, app string) corev1.ContainerStatus {
	t.Helper()
	list := must1[*corev1.PodList](t)(c.client.CoreV1().Pods(ns).List(t.Context(), metav1.ListOptions{LabelSelector: "app=" + app}))
	if len(list.Items) == 0 || len(list.Items[0].Status.ContainerStatuses) == 0 {
		return corev1.ContainerStatus{}
	}
	return list.Items[0].Status.ContainerStatuses[0]
}

// Requests for a host name are divided by the weights of its route.
func TestRouteDividesRequests(t *testing.T) {
	t.Parallel()
	c := sharedCluster(t)
	ns := c.namespace(t)
	for name, image := range map[string]string{"old": "api:1", "new": "api:2"} {
		c.deploy(t, ns, deployment(name, image, 1))
		c.service(t, ns, name)
		c.ready(t, ns, name)
	}
	host := ns + ".example.org"
	route := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "metadata": map[string]any{"name": "web"},
		"spec": map[string]any{"parentRefs": []any{map[string]any{"name": "public"}}, "hostnames": []any{host}, "rules": []any{map[string]any{
			"backendRefs": []any{map[string]any{"name": "old", "port": int64(8000), "weight": int64(3)}, map[string]any{"name": "new", "port": int64(8000)}},
		}}},
	}}
	routes := c.dyn.Resource(schema.GroupVersionResource{Group: "gateway.networking.k8s.io", Version: "v1", Resource: "httproutes"}).Namespace(ns)
	must1[*unstructured.Unstructured](t)(routes.Create(t.Context(), route, metav1.CreateOptions{}))
	c.answers(t, "http://"+host+"/", 200)
	shares := map[bool]int{}
	for range 40 {
		shares[strings.HasPrefix(c.get(t, "http://"+host+"/").pod, "new-")]++
	}
	if shares[true] != 10 {
		t.Errorf("%d of 40 requests went to the new one, want 10", shares[true])
	}
}
