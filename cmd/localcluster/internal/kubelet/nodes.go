package kubelet

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
)

// MaxNodes bounds what one process plays. Each node has 4,094 addresses of the pod network.
const MaxNodes = 200

// podCIDR of the ith node, from 1: consecutive /20 networks from 10.128.16.0 on.
func podCIDR(i int) string { return fmt.Sprintf("10.%d.%d.0/20", 128+i/16, i%16*16) }

// nodeTemplate answers for the kubelet of a node that is not ready; leases keep it ready after.
const nodeTemplate = `
{{ $now := Now }}
conditions:
{{ range NodeConditions }}
- lastHeartbeatTime: {{ $now | Quote }}
  lastTransitionTime: {{ $now | Quote }}
  message: {{ .message | Quote }}
  reason: {{ .reason | Quote }}
  status: {{ .status | Quote }}
  type: {{ .type | Quote }}
{{ end }}
phase: Running
`

// Host is where the API server asks every node's kubelet.
const Host = "localhost"

// CreateNodes makes n nodes, spread over three zones, unless they are there. Their kubelets
// answer at one port of Host.
func CreateNodes(ctx context.Context, client kubernetes.Interface, n int, version string, port int32) error {
	for i := 1; i <= n; i++ {
		node := newNode(i, version, port)
		_, err := client.CoreV1().Nodes().Create(ctx, node, metav1.CreateOptions{})
		if apierrors.IsAlreadyExists(err) { // of an earlier run, with another port
			err = answersAt(ctx, client, node)
		}
		if err != nil {
			return fmt.Errorf("create node %s: %w", node.Name, err)
		}
	}
	return nil
}

func answersAt(ctx context.Context, client kubernetes.Interface, node *corev1.Node) error {
	patch, err := json.Marshal(map[string]any{"status": map[string]any{
		"addresses": node.Status.Addresses, "daemonEndpoints": node.Status.DaemonEndpoints,
	}})
	if err != nil {
		return err
	}
	_, err = client.CoreV1().Nodes().Patch(ctx, node.Name, types.MergePatchType, patch, metav1.PatchOptions{}, "status")
	return err
}

func newNode(i int, version string, port int32) *corev1.Node {
	name := fmt.Sprintf("node-%d", i)
	cidr := podCIDR(i)
	capacity := corev1.ResourceList{
		corev1.ResourceCPU:              resource.MustParse("256"),
		corev1.ResourceMemory:           resource.MustParse("1Ti"),
		corev1.ResourceEphemeralStorage: resource.MustParse("10Ti"),
		corev1.ResourcePods:             resource.MustParse("500"),
	}
	return &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{
			Name: name,
			Labels: map[string]string{
				corev1.LabelHostname:           name,
				corev1.LabelOSStable:           "linux",
				corev1.LabelArchStable:         "amd64",
				corev1.LabelTopologyRegion:     "local",
				corev1.LabelTopologyZone:       "local-" + string(rune('a'+(i-1)%3)),
				corev1.LabelInstanceTypeStable: "simulated",
			},
			Annotations: map[string]string{"kwok.x-k8s.io/node": "fake"},
		},
		Spec: corev1.NodeSpec{PodCIDR: cidr, PodCIDRs: []string{cidr}},
		Status: corev1.NodeStatus{
			Capacity: capacity, Allocatable: capacity,
			Addresses: []corev1.NodeAddress{
				{Type: corev1.NodeInternalIP, Address: fmt.Sprintf("10.240.0.%d", i)},
				{Type: corev1.NodeHostName, Address: name},
				{Type: corev1.NodeInternalDNS, Address: Host},
			},
			DaemonEndpoints: corev1.NodeDaemonEndpoints{KubeletEndpoint: corev1.DaemonEndpoint{Port: port}},
			NodeInfo: corev1.NodeSystemInfo{
				Architecture: "amd64", OperatingSystem: "linux", OSImage: "simulated",
				KernelVersion: "simulated", ContainerRuntimeVersion: "local://1", KubeletVersion: version,
			},
		},
	}
}

// AwaitNodes returns when n nodes are ready and take pods.
func AwaitNodes(ctx context.Context, client kubernetes.Interface, n int) error {
	ready := 0
	err := wait.PollUntilContextCancel(ctx, 100*time.Millisecond, true, func(ctx context.Context) (bool, error) {
		nodes, err := client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
		if err != nil {
			return false, nil // asked again: the API server has just started
		}
		ready = 0
		for _, node := range nodes.Items {
			if isReady(node.Status.Conditions) && len(node.Spec.Taints) == 0 {
				ready++
			}
		}
		return ready >= n, nil
	})
	if err != nil {
		return fmt.Errorf("nodes: %d of %d ready: %w", ready, n, err)
	}
	return nil
}

func isReady(conditions []corev1.NodeCondition) bool {
	for _, c := range conditions {
		if c.Type == corev1.NodeReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}
