// Package kubelet plays the nodes of a local cluster and the life of the pods on them.
//
// kwok's controllers keep the nodes alive, hand out addresses and run the stages; what a pod's
// status becomes is computed by Step from the pod alone. Pods come up in about a second, get an
// address out of 10.128.0.0/9 and behave as package behavior says.
package kubelet

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"
	kwok "sigs.k8s.io/kwok/pkg/apis/internalversion"
	"sigs.k8s.io/kwok/pkg/kwok/controllers"
	"sigs.k8s.io/kwok/pkg/log"
	"sigs.k8s.io/kwok/pkg/utils/gotpl"
)

// Start runs the kubelets of all nodes until ctx ends.
func Start(ctx context.Context, config *rest.Config, logs io.Writer) error {
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("start kubelets: %w", err)
	}
	dyn, err := dynamic.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("start kubelets: %w", err)
	}
	controller, err := controllers.NewController(controllers.Config{
		Clock:                     clock.RealClock{},
		TypedClient:               client,
		DynamicClient:             dyn,
		RESTClient:                client.Discovery().RESTClient(),
		ManageAllNodes:            true,
		CIDR:                      "10.128.0.0/20",
		NodeIP:                    "10.240.0.1",
		NodeName:                  "localcluster",
		LocalStages:               stages(),
		PodPlayStageParallelism:   8,
		NodePlayStageParallelism:  2,
		NodeLeaseParallelism:      2,
		NodeLeaseDurationSeconds:  40,
		PodsOnNodeSyncParallelism: 2,
		ID:                        "localcluster",
		FuncMap:                   gotpl.FuncMap{"PodStep": podStep},
	})
	if err != nil {
		return fmt.Errorf("start kubelets: %w", err)
	}
	ctx = log.NewContext(ctx, log.NewLogger(logs, log.LevelWarn))
	if err := controller.Start(ctx); err != nil {
		return fmt.Errorf("start kubelets: %w", err)
	}
	return nil
}

// podStep is Step for kwok's templates, which know objects as plain JSON.
func podStep(object, hostIPs, podIPs any) (string, error) {
	raw, err := json.Marshal(object)
	if err != nil {
		return "", fmt.Errorf("read pod: %w", err)
	}
	var pod corev1.Pod
	if err := json.Unmarshal(raw, &pod); err != nil {
		return "", fmt.Errorf("read pod: %w", err)
	}
	status, err := json.Marshal(Step(&pod, addresses(hostIPs), addresses(podIPs), time.Now()))
	return string(status), err
}

func addresses(v any) []string {
	list, _ := v.([]string) // an untyped empty list is what the template has for "none"
	return list
}

// stepTemplate asks for addresses only once: every call of PodIPsWith hands out a new one.
const stepTemplate = `
{{ $hostIPs := list }}{{ $podIPs := list }}
{{ if not .status.podIP }}
{{ $hostIPs = NodeIPsWith .spec.nodeName }}
{{ $podIPs = PodIPsWith .spec.nodeName ( or .spec.hostNetwork false ) ( or .metadata.uid "" ) ( or .metadata.name "" ) ( or .metadata.namespace "" ) }}
{{ end }}
{{ PodStep . $hostIPs $podIPs }}
`

const stepQuery = `.status.conditions.[] | select( .type == "` + StepCondition + `" ) | `

// deleteDelay keeps a terminating pod for a moment, so that a rollout is seen as one.
const deleteDelay = 400 * time.Millisecond

func stages() map[kwok.StageResourceRef][]*kwok.Stage {
	pod := kwok.StageResourceRef{APIGroup: "v1", Kind: "Pod"}
	node := kwok.StageResourceRef{APIGroup: "v1", Kind: "Node"}
	alive := where(".metadata.deletionTimestamp", kwok.SelectorOpDoesNotExist)
	patch := []kwok.StageStep{{Patch: &kwok.StagePatch{Subresource: "status", Root: "status", Template: stepTemplate}}}
	podStart := stage("pod-start", pod, patch, alive,
		where(".status.phase", kwok.SelectorOpIn, "Pending"),
		where(stepQuery+".status", kwok.SelectorOpDoesNotExist))
	podStart.Spec.Delay = delay(startDelay)
	podStep := stage("pod-step", pod, patch, alive, where(stepQuery+".status", kwok.SelectorOpIn, "True"))
	podStep.Spec.Delay = &kwok.StageDelay{
		DurationFrom: &kwok.ExpressionFrom{JQ: &kwok.ExpressionJQ{Expression: stepQuery + ".message"}},
	}
	podDelete := stage("pod-delete", pod, []kwok.StageStep{{Delete: true}},
		where(".metadata.deletionTimestamp", kwok.SelectorOpExists))
	podDelete.Spec.Delay = delay(deleteDelay)
	return map[kwok.StageResourceRef][]*kwok.Stage{
		pod: {podStart, podStep, podDelete},
		node: {stage("node-ready", node,
			[]kwok.StageStep{{Patch: &kwok.StagePatch{Subresource: "status", Root: "status", Template: nodeTemplate}}},
			where(`.status.conditions.[] | select( .type == "Ready" ) | .status`, kwok.SelectorOpNotIn, "True"))},
	}
}

func stage(name string, ref kwok.StageResourceRef, steps []kwok.StageStep, match ...kwok.MatchExpression) *kwok.Stage {
	s := &kwok.Stage{Spec: kwok.StageSpec{
		ResourceRef: ref, Steps: steps, Selector: &kwok.StageSelector{MatchExpressions: match},
	}}
	s.Name = name
	return s
}

func where(key string, op kwok.SelectorOperator, values ...string) kwok.MatchExpression {
	return kwok.MatchExpression{JQ: &kwok.SelectorJQ{Key: key, Operator: op, Values: values}}
}

func delay(d time.Duration) *kwok.StageDelay {
	ms := d.Milliseconds()
	return &kwok.StageDelay{DurationMilliseconds: &ms}
}
