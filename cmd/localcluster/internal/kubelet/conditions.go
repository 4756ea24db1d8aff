package kubelet

import (
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// conditions derives them from the containers, as a kubelet does, and appends the step.
func (s *stepper) conditions(status *corev1.PodStatus, initialized bool) []corev1.PodCondition {
	var unready []string
	for _, c := range status.ContainerStatuses {
		if !c.Ready {
			unready = append(unready, c.Name)
		}
	}
	reason, message := "ContainersNotReady", "containers with unready status: ["+strings.Join(unready, " ")+"]"
	switch status.Phase {
	case corev1.PodSucceeded:
		reason, message = "PodCompleted", ""
	case corev1.PodFailed:
		reason, message = "PodFailed", ""
	}
	ready := initialized && len(unready) == 0 && status.Phase == corev1.PodRunning
	if ready {
		reason, message = "", ""
	}
	initReason := ""
	if !initialized {
		initReason = "ContainersNotInitialized"
	}
	conditions := []corev1.PodCondition{
		s.condition(corev1.PodReadyToStartContainers, true, "", ""),
		s.condition(corev1.PodInitialized, initialized, initReason, ""),
		s.condition(corev1.ContainersReady, ready, reason, message),
	}
	for _, gate := range s.pod.Spec.ReadinessGates {
		conditions = append(conditions, s.condition(gate.ConditionType, true, "", ""))
	}
	return append(conditions, s.condition(corev1.PodReady, ready, reason, message), s.step())
}

func (s *stepper) step() corev1.PodCondition {
	if s.wait == never {
		return s.condition(StepCondition, false, "Settled", "")
	}
	due := s.now.Add(s.wait).UTC().Format(time.RFC3339Nano)
	return s.condition(StepCondition, true, "Due", due)
}

// condition keeps the time of the last transition while the condition does not change.
func (s *stepper) condition(kind corev1.PodConditionType, holds bool, reason, message string) corev1.PodCondition {
	c := corev1.PodCondition{
		Type: kind, Status: corev1.ConditionFalse, Reason: reason, Message: message, LastTransitionTime: s.now,
	}
	if holds {
		c.Status = corev1.ConditionTrue
	}
	for _, old := range s.pod.Status.Conditions {
		if old.Type == kind && old.Status == c.Status {
			c.LastTransitionTime = old.LastTransitionTime
		}
	}
	return c
}
