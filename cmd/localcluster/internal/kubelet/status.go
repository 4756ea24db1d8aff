package kubelet

import (
	"crypto/sha256"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"chaperone.dev/chaperone/cmd/localcluster/internal/behavior"
)

// StepCondition on a pod says whether, and in its message when, the pod's status changes next.
// It is the only state that the simulated kubelet keeps, so that it may be restarted at any time.
const StepCondition = "local.chaperone.dev/Step"

// The pace of a pod's life: slow enough to be seen, fast enough for tests.
const (
	startDelay    = 200 * time.Millisecond
	pullDelay     = 500 * time.Millisecond
	readyDelay    = 400 * time.Millisecond
	runDelay      = 700 * time.Millisecond // a Job's pod, once ready
	firstBackoff  = time.Second
	longestBackof = 30 * time.Second
	stumbleDelay  = 300 * time.Millisecond // ready, before an end that is followed by a start
	never         = time.Duration(-1)
)

// Step computes the status that follows the pod's present one. It reads nothing but its arguments.
func Step(pod *corev1.Pod, hostIPs, podIPs []string, now time.Time) corev1.PodStatus {
	s := stepper{pod: pod, now: metav1.NewTime(now), wait: never}
	status := corev1.PodStatus{StartTime: pod.Status.StartTime, QOSClass: pod.Status.QOSClass}
	if status.StartTime == nil {
		status.StartTime = &s.now
	}
	initialized := s.initContainers(&status)
	s.containers(&status, initialized)
	status.Phase = s.phase(&status, initialized)
	if len(hostIPs) > 0 {
		status.HostIP, status.HostIPs = hostIPs[0], nil
		for _, ip := range hostIPs {
			status.HostIPs = append(status.HostIPs, corev1.HostIP{IP: ip})
		}
	}
	for _, ip := range podIPs {
		status.PodIPs = append(status.PodIPs, corev1.PodIP{IP: ip})
		status.PodIP = podIPs[0]
	}
	status.Conditions = s.conditions(&status, initialized)
	return status
}

type stepper struct {
	pod  *corev1.Pod
	now  metav1.Time
	wait time.Duration // until the next step; never when settled
}

// soon remembers the earliest next step.
func (s *stepper) soon(d time.Duration) {
	if s.wait == never || d < s.wait {
		s.wait = d
	}
}

// initContainers runs them one after the other; sidecars among them go on.
func (s *stepper) initContainers(status *corev1.PodStatus) (all bool) {
	all = true
	for i := range s.pod.Spec.InitContainers {
		c := &s.pod.Spec.InitContainers[i]
		old := find(s.pod.Status.InitContainerStatuses, c.Name)
		if !all {
			status.InitContainerStatuses = append(status.InitContainerStatuses, waiting(c, old, "PodInitializing", ""))
			continue
		}
		sidecar := c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways
		next := s.initContainer(c, old, sidecar)
		done := next.Ready
		if sidecar {
			done = next.State.Running != nil
		}
		all = all && done
		status.InitContainerStatuses = append(status.InitContainerStatuses, next)
	}
	return all
}

func (s *stepper) initContainer(c *corev1.Container, old *corev1.ContainerStatus, sidecar bool) corev1.ContainerStatus {
	if sidecar {
		return s.advance(c, old, corev1.RestartPolicyAlways)
	}
	b := behavior.Of(s.pod.Annotations, c.Image)
	// What a main container does to its callers is nothing that an initialisation can do.
	if _, chosen := s.pod.Annotations[behavior.Annotation]; chosen {
		b = behavior.Behavior{Kind: behavior.Healthy}
	}
	switch {
	case old != nil && old.State.Terminated != nil:
		return *old
	case b.Kind == behavior.NeverReady:
		return s.running(c, false)
	case b.Kind == behavior.ImageMissing:
		return s.pulling(c, old)
	case b.Exits():
		return s.crashed(c, old, b)
	}
	return s.terminated(c, old, nil, true)
}

func (s *stepper) containers(status *corev1.PodStatus, initialized bool) {
	for i := range s.pod.Spec.Containers {
		c := &s.pod.Spec.Containers[i]
		old := find(s.pod.Status.ContainerStatuses, c.Name)
		if !initialized {
			status.ContainerStatuses = append(status.ContainerStatuses, waiting(c, old, "PodInitializing", ""))
			continue
		}
		status.ContainerStatuses = append(status.ContainerStatuses, s.advance(c, old, s.pod.Spec.RestartPolicy))
	}
}

// advance moves one container a step on.
func (s *stepper) advance(c *corev1.Container, old *corev1.ContainerStatus, policy corev1.RestartPolicy) corev1.ContainerStatus {
	b := behavior.Of(s.pod.Annotations, c.Image)
	job := policy != corev1.RestartPolicyAlways
	switch {
	case b.Kind == behavior.ImageMissing:
		return s.pulling(c, old)
	case old == nil || notStarted(old):
		s.soon(readyDelay)
		return s.running(c, false)
	case old.State.Terminated != nil:
		return *old
	case b.Exits() && (!job || policy == corev1.RestartPolicyOnFailure):
		return s.crashed(c, old, b)
	case b.Exits():
		return s.terminated(c, old, &b, false)
	case b.Kind == behavior.NeverReady:
		return *old
	case !old.Ready:
		if job {
			s.soon(runDelay + b.Delay + b.After)
		} else if b.Stumbles(old.RestartCount) {
			s.soon(stumbleDelay)
		}
		next := *old
		next.Ready = true
		return next
	case b.Stumbles(old.RestartCount) && policy == corev1.RestartPolicyNever:
		return s.terminated(c, old, &b, false)
	case b.Stumbles(old.RestartCount):
		return s.restarted(c, old, b)
	case job && b.Kind == behavior.FailsAfter:
		return s.terminated(c, old, &b, false)
	case job:
		return s.terminated(c, old, nil, false)
	}
	return *old
}

func notStarted(c *corev1.ContainerStatus) bool {
	return c.State.Waiting != nil && c.State.Waiting.Reason == "PodInitializing"
}

func (s *stepper) running(c *corev1.Container, ready bool) corev1.ContainerStatus {
	started := true
	return corev1.ContainerStatus{
		Name: c.Name, Image: c.Image, ImageID: imageID(c.Image), ContainerID: s.containerID(c, 0),
		Ready: ready, Started: &started,
		State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: s.now}},
	}
}

func (s *stepper) pulling(c *corev1.Container, old *corev1.ContainerStatus) corev1.ContainerStatus {
	if old == nil || notStarted(old) {
		s.soon(pullDelay)
		return waiting(c, old, "ErrImagePull", fmt.Sprintf("image %q: not found", c.Image))
	}
	return waiting(c, old, "ImagePullBackOff", fmt.Sprintf("Back-off pulling image %q", c.Image))
}

func waiting(c *corev1.Container, old *corev1.ContainerStatus, reason, message string) corev1.ContainerStatus {
	started := false
	next := corev1.ContainerStatus{Name: c.Name, Image: c.Image, Started: &started}
	if old != nil {
		next.RestartCount, next.LastTerminationState = old.RestartCount, old.LastTerminationState
	}
	next.State = corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: message}}
	return next
}

// crashed counts one more restart. The container is never shown running in between: what
// watches it must not see a moment of health that the next read takes back.
func (s *stepper) crashed(c *corev1.Container, old *corev1.ContainerStatus, b behavior.Behavior) corev1.ContainerStatus {
	next := waiting(c, old, "CrashLoopBackOff", fmt.Sprintf("back-off restarting failed container=%s pod=%s_%s(%s)",
		c.Name, s.pod.Name, s.pod.Namespace, s.pod.UID))
	next.RestartCount++
	next.ImageID = imageID(c.Image)
	next.ContainerID = s.containerID(c, next.RestartCount)
	next.LastTerminationState.Terminated = s.end(c, old, b)
	s.soon(min(firstBackoff<<min(next.RestartCount-1, 8), longestBackof))
	return next
}

// restarted runs it anew at once, as a kubelet does the first time: it is not ready for a moment.
func (s *stepper) restarted(c *corev1.Container, old *corev1.ContainerStatus, b behavior.Behavior) corev1.ContainerStatus {
	next := s.running(c, false)
	next.RestartCount = old.RestartCount + 1
	next.ContainerID = s.containerID(c, next.RestartCount)
	next.LastTerminationState.Terminated = s.end(c, old, b)
	s.soon(readyDelay)
	return next
}

// end is how a container ended that fails by its behaviour.
func (s *stepper) end(c *corev1.Container, old *corev1.ContainerStatus, b behavior.Behavior) *corev1.ContainerStateTerminated {
	end := &corev1.ContainerStateTerminated{
		ExitCode: b.ExitCode(), Reason: b.ExitReason(), StartedAt: s.now, FinishedAt: s.now, ContainerID: s.containerID(c, 0),
	}
	if old == nil {
		return end
	}
	end.ContainerID = s.containerID(c, old.RestartCount)
	if old.State.Running != nil {
		end.StartedAt = old.State.Running.StartedAt
	}
	return end
}

// terminated is the end of a container that is not started again: with an error by its
// behaviour, or well where there is none.
func (s *stepper) terminated(c *corev1.Container, old *corev1.ContainerStatus, b *behavior.Behavior, ready bool) corev1.ContainerStatus {
	next, started := s.running(c, ready), false
	if old != nil {
		next.RestartCount, next.LastTerminationState = old.RestartCount, old.LastTerminationState
	}
	end := s.end(c, old, behavior.Behavior{})
	end.ExitCode, end.Reason = 0, "Completed"
	if b != nil {
		end.ExitCode, end.Reason = b.ExitCode(), b.ExitReason()
	}
	next.Started, next.ContainerID = &started, end.ContainerID
	next.State = corev1.ContainerState{Terminated: end}
	return next
}

func (s *stepper) phase(status *corev1.PodStatus, initialized bool) corev1.PodPhase {
	if !initialized {
		return corev1.PodPending
	}
	ended, failed := 0, 0
	for _, c := range status.ContainerStatuses {
		if w := c.State.Waiting; w != nil && w.Reason != "CrashLoopBackOff" {
			return corev1.PodPending
		}
		if t := c.State.Terminated; t != nil {
			ended++
			if t.ExitCode != 0 {
				failed++
			}
		}
	}
	switch {
	case ended < len(status.ContainerStatuses):
		return corev1.PodRunning
	case failed > 0:
		return corev1.PodFailed
	}
	return corev1.PodSucceeded
}

func find(statuses []corev1.ContainerStatus, name string) *corev1.ContainerStatus {
	for i := range statuses {
		if statuses[i].Name == name {
			return statuses[i].DeepCopy()
		}
	}
	return nil
}

// imageID is the digest that the image names, or one made of its name: the same image has the
// same one everywhere.
func imageID(image string) string {
	repository, digest, ok := strings.Cut(image, "@")
	if ok {
		if i := strings.LastIndexByte(repository, ':'); i > strings.LastIndexByte(repository, '/') {
			repository = repository[:i]
		}
		return repository + "@" + digest
	}
	return fmt.Sprintf("%s@sha256:%x", image, sha256.Sum256([]byte(image)))
}

func (s *stepper) containerID(c *corev1.Container, restart int32) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s/%s/%d", s.pod.UID, c.Name, restart))
	return fmt.Sprintf("local://%x", sum)
}
