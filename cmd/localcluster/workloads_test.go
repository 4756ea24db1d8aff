package main

import (
	"context"
	"fmt"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

func deployment(name, image string, replicas int32) *appsv1.Deployment {
	labels := map[string]string{"app": name}
	return &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: appsv1.DeploymentSpec{
			Replicas: &replicas,
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec: corev1.PodSpec{Containers: []corev1.Container{{
					Name: "main", Image: image,
					Ports: []corev1.ContainerPort{{Name: "http", ContainerPort: 8080}},
					Resources: corev1.ResourceRequirements{Requests: corev1.ResourceList{
						corev1.ResourceCPU: resource.MustParse("500m"), corev1.ResourceMemory: resource.MustParse("128Mi"),
					}},
				}}},
			},
		},
	}
}

// deploy creates the deployment; ready waits for it.
func (c cluster) deploy(t *testing.T, ns string, d *appsv1.Deployment) {
	t.Helper()
	must1[*appsv1.Deployment](t)(c.client.AppsV1().Deployments(ns).Create(t.Context(), d, metav1.CreateOptions{}))
}

func (c cluster) ready(t *testing.T, ns, name string) *appsv1.Deployment {
	t.Helper()
	var d *appsv1.Deployment
	eventually(t, "deployment "+name, func(ctx context.Context) (err error) {
		if d, err = c.client.AppsV1().Deployments(ns).Get(ctx, name, metav1.GetOptions{}); err != nil {
			return err
		}
		s := d.Status
		if want := *d.Spec.Replicas; s.ObservedGeneration != d.Generation || s.UpdatedReplicas != want || s.AvailableReplicas != want || s.Replicas != want {
			return fmt.Errorf("want %d replicas: %+v", want, s)
		}
		return nil
	})
	return d
}

func (c cluster) setImage(t *testing.T, ns, name, image string) {
	t.Helper()
	patch := fmt.Appendf(nil, `{"spec":{"template":{"spec":{"containers":[{"name":"main","image":%q}]}}}}`, image)
	must1[*appsv1.Deployment](t)(c.client.AppsV1().Deployments(ns).Patch(t.Context(), name, types.StrategicMergePatchType, patch, metav1.PatchOptions{}))
}

func (c cluster) pods(t *testing.T, ns string) []corev1.Pod {
	t.Helper()
	return must1[*corev1.PodList](t)(c.client.CoreV1().Pods(ns).List(t.Context(), metav1.ListOptions{})).Items
}

func TestDeploymentOfThreeBecomesReady(t *testing.T) {
	t.Parallel()
	c := sharedCluster(t)
	ns := c.namespace(t)
	c.deploy(t, ns, deployment("web", "registry.example.org/web:1.0", 3))
	c.ready(t, ns, "web")
	nodes := map[string]bool{}
	for _, pod := range c.pods(t, ns) {
		nodes[pod.Spec.NodeName] = true
		if pod.Status.PodIP == "" || pod.Status.HostIP == "" {
			t.Errorf("pod %s has no addresses: %+v", pod.Name, pod.Status)
		}
	}
	if len(nodes) != 3 {
		t.Errorf("the scheduler put 3 pods on nodes %v, want 3 nodes", nodes)
	}
}

func TestBadImageNeverBecomesReady(t *testing.T) {
	t.Parallel()
	c := sharedCluster(t)
	ns := c.namespace(t)
	reasons := map[string]string{
		"image-missing": "ImagePullBackOff",
		"crash-loop":    "CrashLoopBackOff",
		"never-ready":   "",
	}
	for tag := range reasons {
		d := deployment(tag, "web:1.0-"+tag, 1)
		deadline := int32(4)
		d.Spec.ProgressDeadlineSeconds = &deadline
		c.deploy(t, ns, d)
	}
	for tag, reason := range reasons {
		eventually(t, tag+" exceeds its deadline", func(ctx context.Context) error {
			d, err := c.client.AppsV1().Deployments(ns).Get(ctx, tag, metav1.GetOptions{})
			if err != nil {
				return err
			}
			if d.Status.AvailableReplicas != 0 {
				t.Fatalf("%s: became available", tag)
			}
			for _, cond := range d.Status.Conditions {
				if cond.Type == appsv1.DeploymentProgressing && cond.Reason == "ProgressDeadlineExceeded" {
					return nil
				}
			}
			return fmt.Errorf("%+v", d.Status.Conditions)
		})
		pods := must1[*corev1.PodList](t)(c.client.CoreV1().Pods(ns).List(t.Context(), metav1.ListOptions{LabelSelector: "app=" + tag}))
		status := pods.Items[0].Status.ContainerStatuses[0]
		switch {
		case reason == "" && status.State.Running == nil:
			t.Errorf("%s: does not run: %+v", tag, status.State)
		case reason != "" && (status.State.Waiting == nil || status.State.Waiting.Reason != reason):
			t.Errorf("%s: %+v, want waiting with %s", tag, status.State, reason)
		case tag == "crash-loop" && status.RestartCount < 1:
			t.Errorf("%s: restarts are not counted", tag)
		}
	}
}

func TestRolloutReplacesPods(t *testing.T) {
	t.Parallel()
	c := sharedCluster(t)
	ns := c.namespace(t)
	c.deploy(t, ns, deployment("web", "web:1", 2))
	c.ready(t, ns, "web")
	before := map[string]bool{}
	for _, pod := range c.pods(t, ns) {
		before[pod.Name] = true
	}
	c.setImage(t, ns, "web", "web:2")
	c.ready(t, ns, "web")
	eventually(t, "only new pods", func(context.Context) error {
		pods := c.pods(t, ns)
		for _, pod := range pods {
			if before[pod.Name] || pod.Spec.Containers[0].Image != "web:2" {
				return fmt.Errorf("pod %s of the old version is there", pod.Name)
			}
		}
		if len(pods) != 2 {
			return fmt.Errorf("%d pods", len(pods))
		}
		return nil
	})
	// A new version that never gets ready leaves the old one serving.
	c.setImage(t, ns, "web", "web:3-never-ready")
	eventually(t, "the new version's pod", func(ctx context.Context) error {
		d, err := c.client.AppsV1().Deployments(ns).Get(ctx, "web", metav1.GetOptions{})
		if err == nil && (d.Status.UpdatedReplicas == 0 || d.Status.AvailableReplicas != 2) {
			err = fmt.Errorf("%+v", d.Status)
		}
		return err
	})
}

func TestStatefulSetStartsInOrderWithItsClaims(t *testing.T) {
	t.Parallel()
	c := sharedCluster(t)
	ns := c.namespace(t)
	template := deployment("db", "postgres:17", 0).Spec.Template
	replicas := int32(2)
	must1[*appsv1.StatefulSet](t)(c.client.AppsV1().StatefulSets(ns).Create(t.Context(), &appsv1.StatefulSet{
		ObjectMeta: metav1.ObjectMeta{Name: "db"},
		Spec: appsv1.StatefulSetSpec{
			Replicas: &replicas, ServiceName: "db", Template: template,
			Selector:             &metav1.LabelSelector{MatchLabels: template.Labels},
			VolumeClaimTemplates: []corev1.PersistentVolumeClaim{*claim("data", nil)},
		},
	}, metav1.CreateOptions{}))
	eventually(t, "stateful set", func(ctx context.Context) error {
		s, err := c.client.AppsV1().StatefulSets(ns).Get(ctx, "db", metav1.GetOptions{})
		if err == nil && s.Status.ReadyReplicas != 2 {
			err = fmt.Errorf("%+v", s.Status)
		}
		return err
	})
	c.bound(t, ns, "data-db-0")
	c.bound(t, ns, "data-db-1")
}

func claim(name string, class *string) *corev1.PersistentVolumeClaim {
	return &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: corev1.PersistentVolumeClaimSpec{
			AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce}, StorageClassName: class,
			Resources: corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")}},
		},
	}
}

func (c cluster) bound(t *testing.T, ns, name string) *corev1.PersistentVolumeClaim {
	t.Helper()
	var claim *corev1.PersistentVolumeClaim
	eventually(t, "claim "+name, func(ctx context.Context) (err error) {
		claim, err = c.client.CoreV1().PersistentVolumeClaims(ns).Get(ctx, name, metav1.GetOptions{})
		if err == nil && claim.Status.Phase != corev1.ClaimBound {
			err = fmt.Errorf("%s", claim.Status.Phase)
		}
		return err
	})
	return claim
}

func TestClaimsAreBoundByClass(t *testing.T) {
	t.Parallel()
	c := sharedCluster(t)
	ns := c.namespace(t)
	encrypted, strange := ns+"-encrypted", ns+"-strange"
	late, expand := storagev1.VolumeBindingWaitForFirstConsumer, true
	for name, provisioner := range map[string]string{encrypted: "ebs.csi.aws.com", strange: "nobody.example.org"} {
		class := &storagev1.StorageClass{ObjectMeta: metav1.ObjectMeta{Name: name}, Provisioner: provisioner, AllowVolumeExpansion: &expand}
		if name == encrypted {
			class.VolumeBindingMode = &late
			class.Parameters = map[string]string{"encrypted": "true"}
		}
		must1[*storagev1.StorageClass](t)(c.client.StorageV1().StorageClasses().Create(t.Context(), class, metav1.CreateOptions{}))
	}
	claims := c.client.CoreV1().PersistentVolumeClaims(ns)
	for name, class := range map[string]*string{"default": nil, "encrypted": &encrypted, "strange": &strange} {
		must1[*corev1.PersistentVolumeClaim](t)(claims.Create(t.Context(), claim(name, class), metav1.CreateOptions{}))
	}
	bound := c.bound(t, ns, "default")
	pending := must1[*corev1.PersistentVolumeClaim](t)(claims.Get(t.Context(), "encrypted", metav1.GetOptions{}))
	if pending.Status.Phase != corev1.ClaimPending {
		t.Errorf("bound before its first consumer: %s", pending.Status.Phase)
	}
	d := deployment("user", "web:1", 1)
	d.Spec.Template.Spec.Volumes = []corev1.Volume{{Name: "data", VolumeSource: corev1.VolumeSource{
		PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "encrypted"},
	}}}
	c.deploy(t, ns, d)
	c.ready(t, ns, "user")
	c.bound(t, ns, "encrypted")
	if strange := must1[*corev1.PersistentVolumeClaim](t)(claims.Get(t.Context(), "strange", metav1.GetOptions{})); strange.Status.Phase != corev1.ClaimPending {
		t.Errorf("a class that nobody provisions: %s, want Pending", strange.Status.Phase)
	}
	bound.Spec.Resources.Requests[corev1.ResourceStorage] = resource.MustParse("2Gi")
	must1[*corev1.PersistentVolumeClaim](t)(claims.Update(t.Context(), bound, metav1.UpdateOptions{}))
	eventually(t, "expansion", func(ctx context.Context) error {
		got, err := claims.Get(ctx, "default", metav1.GetOptions{})
		if err == nil && got.Status.Capacity.Storage().String() != "2Gi" {
			err = fmt.Errorf("capacity %s", got.Status.Capacity.Storage())
		}
		return err
	})
	if err := claims.Delete(t.Context(), "default", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the volume goes with its claim", func(ctx context.Context) error {
		if _, err := c.client.CoreV1().PersistentVolumes().Get(ctx, bound.Spec.VolumeName, metav1.GetOptions{}); err == nil {
			return fmt.Errorf("%s is there", bound.Spec.VolumeName)
		}
		return nil
	})
}

func TestJobsCompleteAndFail(t *testing.T) {
	t.Parallel()
	c := sharedCluster(t)
	ns := c.namespace(t)
	backoff := int32(1)
	for name, tc := range map[string]struct {
		image  string
		policy corev1.RestartPolicy
		want   batchv1.JobConditionType
		failed int32
	}{
		"good":         {"migrate:2", corev1.RestartPolicyNever, batchv1.JobComplete, 0},
		"good-retried": {"migrate:2-slow-100ms", corev1.RestartPolicyOnFailure, batchv1.JobComplete, 0},
		"bad":          {"migrate:2-job-fail", corev1.RestartPolicyNever, batchv1.JobFailed, 2},
		"bad-retried":  {"migrate:2-job-fail", corev1.RestartPolicyOnFailure, batchv1.JobFailed, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			must1[*batchv1.Job](t)(c.client.BatchV1().Jobs(ns).Create(t.Context(), &batchv1.Job{
				ObjectMeta: metav1.ObjectMeta{Name: name},
				Spec: batchv1.JobSpec{BackoffLimit: &backoff, Template: corev1.PodTemplateSpec{Spec: corev1.PodSpec{
					RestartPolicy: tc.policy, Containers: []corev1.Container{{Name: "migrate", Image: tc.image}},
				}}},
			}, metav1.CreateOptions{}))
			var job *batchv1.Job
			eventually(t, "job "+name, func(ctx context.Context) (err error) {
				if job, err = c.client.BatchV1().Jobs(ns).Get(ctx, name, metav1.GetOptions{}); err != nil {
					return err
				}
				for _, cond := range job.Status.Conditions {
					ended := cond.Type == batchv1.JobComplete || cond.Type == batchv1.JobFailed
					if ended && cond.Status == corev1.ConditionTrue && cond.Type != tc.want {
						t.Fatalf("%s: %s, want %s", name, cond.Type, tc.want)
					}
					if cond.Type == tc.want && cond.Status == corev1.ConditionTrue {
						return nil
					}
				}
				return fmt.Errorf("%+v", job.Status)
			})
			if job.Status.Failed != tc.failed {
				t.Errorf("%d pods failed, want %d", job.Status.Failed, tc.failed)
			}
		})
	}
}
