// Package usage is the resource metrics API (metrics.k8s.io) of the local cluster.
//
// It is a real aggregated API: the API server reaches it over TLS on a loopback port, as the
// front proxy and as nobody else. What pods use is what their annotations say; a pod without
// them uses a quiet share of what it requests, so that an autoscaler rests at its minimum.
package usage

import (
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metrics "k8s.io/metrics/pkg/apis/metrics/v1beta1"
)

// Annotations on a pod that say what it uses, as Kubernetes quantities.
const (
	CPUAnnotation    = "local.chaperone.dev/cpu-usage"
	MemoryAnnotation = "local.chaperone.dev/memory-usage"
)

// quietPercent of its requests is used by a pod that says nothing.
const quietPercent = 30

// window is the time that the figures claim to cover.
const window = 15 * time.Second

// ofPod is nil for pods that do not run: those have no metrics on a real cluster either.
func ofPod(pod *corev1.Pod, now time.Time) *metrics.PodMetrics {
	if pod.Status.Phase != corev1.PodRunning || pod.DeletionTimestamp != nil {
		return nil
	}
	m := &metrics.PodMetrics{
		TypeMeta: metav1.TypeMeta{APIVersion: metrics.SchemeGroupVersion.String(), Kind: "PodMetrics"},
		ObjectMeta: metav1.ObjectMeta{
			Name: pod.Name, Namespace: pod.Namespace, Labels: pod.Labels, CreationTimestamp: metav1.NewTime(now),
		},
		Timestamp: metav1.NewTime(now),
		Window:    metav1.Duration{Duration: window},
	}
	for i := range pod.Spec.Containers {
		c := &pod.Spec.Containers[i]
		m.Containers = append(m.Containers, metrics.ContainerMetrics{Name: c.Name, Usage: corev1.ResourceList{
			corev1.ResourceCPU:    used(pod, c, i == 0, corev1.ResourceCPU, CPUAnnotation, resource.MustParse("10m")),
			corev1.ResourceMemory: used(pod, c, i == 0, corev1.ResourceMemory, MemoryAnnotation, resource.MustParse("32Mi")),
		}})
	}
	return m
}

// used gives what the annotation says to the first container: the pod's sum is what counts.
func used(pod *corev1.Pod, c *corev1.Container, first bool, name corev1.ResourceName, annotation string, least resource.Quantity) resource.Quantity {
	if q, err := resource.ParseQuantity(pod.Annotations[annotation]); err == nil && q.Sign() >= 0 {
		if first {
			return q
		}
		return *resource.NewQuantity(0, q.Format)
	}
	request, ok := c.Resources.Requests[name]
	if !ok {
		return least
	}
	return *resource.NewMilliQuantity(request.MilliValue()/100*quietPercent+request.MilliValue()%100*quietPercent/100, request.Format)
}

func ofNode(node *corev1.Node, pods []*corev1.Pod, now time.Time) *metrics.NodeMetrics {
	sum := corev1.ResourceList{
		corev1.ResourceCPU: resource.MustParse("100m"), corev1.ResourceMemory: resource.MustParse("512Mi"),
	}
	for _, pod := range pods {
		m := ofPod(pod, now)
		if m == nil || pod.Spec.NodeName != node.Name {
			continue
		}
		for _, c := range m.Containers {
			for name, q := range c.Usage {
				total := sum[name]
				total.Add(q)
				sum[name] = total
			}
		}
	}
	return &metrics.NodeMetrics{
		TypeMeta:   metav1.TypeMeta{APIVersion: metrics.SchemeGroupVersion.String(), Kind: "NodeMetrics"},
		ObjectMeta: metav1.ObjectMeta{Name: node.Name, Labels: node.Labels, CreationTimestamp: metav1.NewTime(now)},
		Timestamp:  metav1.NewTime(now),
		Window:     metav1.Duration{Duration: window},
		Usage:      sum,
	}
}
