// Package containerlog answers what the containers of a local cluster have written, as their
// kubelets would: the API server asks it over TLS for `kubectl logs`.
//
// Nothing is stored. What a container wrote follows from its pod alone: that it started, then
// the text of the pod's annotation with $(NAME) replaced by the container's own environment,
// values of Secrets included, and how it ended.
package containerlog

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// Annotations on a pod.
const (
	// TextAnnotation is what each of its containers writes, line by line.
	TextAnnotation = "local.chaperone.dev/log"
	// RepeatAnnotation is how often, from 1 to MaxRepeat; without it once.
	RepeatAnnotation = "local.chaperone.dev/log-repeat"
)

// Bounds of what one container writes, whatever its annotations say.
const (
	MaxRepeat = 1_000_000
	maxBytes  = 8 << 20
)

// line is one of a log.
type line struct {
	at   time.Time
	text string
}

// span is one life of a container.
type span struct {
	began, ended time.Time
	end          *corev1.ContainerStateTerminated // nil while it runs
}

// lifeOf is a container's present life, or its previous one. The error says why there is no
// log, in a kubelet's words.
func lifeOf(pod *corev1.Pod, container string, previous bool) (span, error) {
	status := statusOf(pod, container)
	if status == nil {
		return span{}, fmt.Errorf("container %q in pod %q is waiting to start: ContainerCreating", container, pod.Name)
	}
	last := status.LastTerminationState.Terminated
	switch {
	case previous && last == nil:
		return span{}, fmt.Errorf("previous terminated container %q in pod %q not found", container, pod.Name)
	case previous:
		return ended(last), nil
	case status.State.Running != nil:
		return span{began: status.State.Running.StartedAt.Time}, nil
	case status.State.Terminated != nil:
		return ended(status.State.Terminated), nil
	case last != nil: // between two starts the last end is what there is to read
		return ended(last), nil
	}
	reason := "ContainerCreating"
	if w := status.State.Waiting; w != nil {
		reason = w.Reason
	}
	return span{}, fmt.Errorf("container %q in pod %q is waiting to start: %s", container, pod.Name, reason)
}

func ended(end *corev1.ContainerStateTerminated) span {
	return span{end.StartedAt.Time, end.FinishedAt.Time, end}
}

func statusOf(pod *corev1.Pod, container string) *corev1.ContainerStatus {
	for _, list := range [][]corev1.ContainerStatus{pod.Status.ContainerStatuses, pod.Status.InitContainerStatuses} {
		for i := range list {
			if list[i].Name == container {
				return &list[i]
			}
		}
	}
	return nil
}

// write is what a container wrote in one life.
func write(pod *corev1.Pod, c *corev1.Container, life span, expand func(string) string) []line {
	lines := []line{{life.began, fmt.Sprintf("%s starts as %s", c.Name, c.Image)}}
	text, written := pod.Annotations[TextAnnotation]
	if written {
		lines = append(lines, repeated(life.began, expand(text), times(pod))...)
	}
	if life.end == nil {
		return lines
	}
	switch end := life.end; {
	case end.Reason == "OOMKilled": // the kernel asks for no last words
	case end.ExitCode != 0:
		lines = append(lines, line{life.ended, fmt.Sprintf("error: %s ends with exit code %d", c.Name, end.ExitCode)})
	default:
		lines = append(lines, line{life.ended, c.Name + " is done"})
	}
	return lines
}

func times(pod *corev1.Pod) int {
	n, err := strconv.Atoi(pod.Annotations[RepeatAnnotation])
	if err != nil || n < 1 {
		return 1
	}
	return min(n, MaxRepeat)
}

func repeated(at time.Time, text string, n int) []line {
	var lines []line
	each := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	size := 0
	for range n {
		for _, one := range each {
			if size += len(one) + 1; size > maxBytes {
				return lines
			}
			lines = append(lines, line{at, one})
		}
	}
	return lines
}
