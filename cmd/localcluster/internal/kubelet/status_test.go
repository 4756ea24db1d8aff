package kubelet

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	"pgregory.net/rapid"
)

// pod has one container per image; those before "|" are init containers.
func pod(policy corev1.RestartPolicy, images string) *corev1.Pod {
	p := &corev1.Pod{}
	p.Name, p.Namespace, p.UID = "pod", "ns", "uid"
	p.Spec.RestartPolicy = policy
	p.Status.Phase = corev1.PodPending
	init, main, ok := strings.Cut(images, "|")
	if !ok {
		init, main = "", images
	}
	for i, image := range strings.Fields(init) {
		p.Spec.InitContainers = append(p.Spec.InitContainers, corev1.Container{Name: fmt.Sprintf("init%d", i), Image: image})
	}
	for i, image := range strings.Fields(main) {
		p.Spec.Containers = append(p.Spec.Containers, corev1.Container{Name: fmt.Sprintf("c%d", i), Image: image})
	}
	return p
}

// apply patches the status the way the API server does it.
func apply(p *corev1.Pod, status corev1.PodStatus) error {
	patch, err := json.Marshal(map[string]any{"status": status})
	if err != nil {
		return err
	}
	old, err := json.Marshal(p)
	if err != nil {
		return err
	}
	merged, err := strategicpatch.StrategicMergePatch(old, patch, corev1.Pod{})
	if err != nil {
		return err
	}
	*p = corev1.Pod{}
	return json.Unmarshal(merged, p)
}

func condition(p *corev1.Pod, kind corev1.PodConditionType) corev1.PodCondition {
	for _, c := range p.Status.Conditions {
		if c.Type == kind {
			return c
		}
	}
	return corev1.PodCondition{}
}

// live runs at most n steps, and tells how many it took to settle.
func live(p *corev1.Pod, n int) (steps int, err error) {
	now := time.Unix(1_000_000, 0)
	for steps < n {
		status := Step(p, []string{"10.240.0.1"}, []string{"10.244.1.7"}, now)
		if err := apply(p, status); err != nil {
			return steps, err
		}
		steps++
		step := condition(p, StepCondition)
		if step.Status == corev1.ConditionFalse {
			return steps, nil
		}
		if now, err = time.Parse(time.RFC3339Nano, step.Message); err != nil {
			return steps, err
		}
	}
	return steps, nil
}

func TestStep(t *testing.T) {
	t.Parallel()
	const always, once, onFailure = corev1.RestartPolicyAlways, corev1.RestartPolicyNever, corev1.RestartPolicyOnFailure
	for _, tc := range []struct {
		name     string
		pod      *corev1.Pod
		phase    corev1.PodPhase
		ready    bool
		reason   string // of the first container's state, "" when it runs
		restarts bool
		settles  bool
	}{
		{"healthy", pod(always, "a:1"), corev1.PodRunning, true, "", false, true},
		{"two healthy", pod(always, "a:1 b:2"), corev1.PodRunning, true, "", false, true},
		{"after init", pod(always, "migrate:1 | a:1"), corev1.PodRunning, true, "", false, true},
		{"errors are ready", pod(always, "a:errors-100"), corev1.PodRunning, true, "", false, true},
		{"slow is ready", pod(always, "a:slow-100ms"), corev1.PodRunning, true, "", false, true},
		{"aging is ready", pod(always, "a:fails-after-1s"), corev1.PodRunning, true, "", false, true},
		{"never ready", pod(always, "a:never-ready"), corev1.PodRunning, false, "", false, true},
		{"one of two never ready", pod(always, "a:1 b:never-ready"), corev1.PodRunning, false, "", false, true},
		{"crash loop", pod(always, "a:crash-loop"), corev1.PodRunning, false, "CrashLoopBackOff", true, false},
		{"job-fail outside of a job", pod(always, "a:job-fail"), corev1.PodRunning, false, "CrashLoopBackOff", true, false},
		{"out of memory each time", pod(always, "a:oom-loop"), corev1.PodRunning, false, "CrashLoopBackOff", true, false},
		{"restarts three times", pod(always, "a:restarts-3"), corev1.PodRunning, true, "", true, true},
		{"out of memory once", pod(always, "a:oom-1"), corev1.PodRunning, true, "", true, true},
		{"restarts never", pod(always, "a:restarts-0"), corev1.PodRunning, true, "", false, true},
		{"job that restarts twice", pod(onFailure, "a:restarts-2"), corev1.PodSucceeded, false, "Completed", true, true},
		{"job that may not restart", pod(once, "a:restarts-2"), corev1.PodFailed, false, "Error", false, true},
		{"job killed for its memory", pod(once, "a:oom-1"), corev1.PodFailed, false, "OOMKilled", false, true},
		{"job by its exit code", pod(once, "a:exit-42"), corev1.PodFailed, false, "Error", false, true},
		{"image missing", pod(always, "a:image-missing"), corev1.PodPending, false, "ImagePullBackOff", false, true},
		{"init crashes", pod(always, "m:crash-loop | a:1"), corev1.PodPending, false, "PodInitializing", false, false},
		{"init image missing", pod(always, "m:image-missing | a:1"), corev1.PodPending, false, "PodInitializing", false, true},
		{"init never ends", pod(always, "m:never-ready | a:1"), corev1.PodPending, false, "PodInitializing", false, true},
		{"job", pod(once, "a:1"), corev1.PodSucceeded, false, "Completed", false, true},
		{"job, retried", pod(onFailure, "a:1"), corev1.PodSucceeded, false, "Completed", false, true},
		{"slow job", pod(once, "a:slow-900ms"), corev1.PodSucceeded, false, "Completed", false, true},
		{"failing job", pod(once, "a:job-fail"), corev1.PodFailed, false, "Error", false, true},
		{"job fails after a while", pod(once, "a:fails-after-3s"), corev1.PodFailed, false, "Error", false, true},
		{"one of two fails", pod(once, "a:1 b:job-fail"), corev1.PodFailed, false, "Completed", false, true},
		{"failing job, retried", pod(onFailure, "a:job-fail"), corev1.PodRunning, false, "CrashLoopBackOff", true, false},
		{"job never ends", pod(once, "a:never-ready"), corev1.PodRunning, false, "", false, true},
		{"job without image", pod(once, "a:image-missing"), corev1.PodPending, false, "ImagePullBackOff", false, true},
	} {
		const bound = 12
		steps, err := live(tc.pod, bound)
		if err != nil {
			t.Fatalf("%s: %v", tc.name, err)
		}
		if settled := steps < bound; settled != tc.settles {
			t.Errorf("%s: settled %v after %d steps, want %v", tc.name, settled, steps, tc.settles)
		}
		ready := condition(tc.pod, corev1.PodReady).Status == corev1.ConditionTrue
		if tc.pod.Status.Phase != tc.phase || ready != tc.ready {
			t.Errorf("%s: %s, ready %v; want %s, %v", tc.name, tc.pod.Status.Phase, ready, tc.phase, tc.ready)
		}
		first := tc.pod.Status.ContainerStatuses[0]
		reason := ""
		if first.State.Waiting != nil {
			reason = first.State.Waiting.Reason
		} else if first.State.Terminated != nil {
			reason = first.State.Terminated.Reason
		}
		if reason != tc.reason || (first.RestartCount > 0) != tc.restarts {
			t.Errorf("%s: %q with %d restarts, want %q, restarts %v", tc.name, reason, first.RestartCount, tc.reason, tc.restarts)
		}
	}
}

func TestAnnotationOverrulesEveryImage(t *testing.T) {
	t.Parallel()
	p := pod(corev1.RestartPolicyAlways, "m:1 | a:1 b:2")
	p.Annotations = map[string]string{"local.chaperone.dev/behavior": "never-ready"}
	if _, err := live(p, 12); err != nil {
		t.Fatal(err)
	}
	if p.Status.Phase != corev1.PodRunning || condition(p, corev1.PodReady).Status != corev1.ConditionFalse {
		t.Errorf("%s, %+v: the annotation must act on the main containers alone", p.Status.Phase, p.Status.Conditions)
	}
}

// How a container ended is told as a kubelet tells it.
func TestEndsAreTold(t *testing.T) {
	t.Parallel()
	for image, want := range map[string]struct {
		restarts int32
		code     int32
		reason   string
	}{
		"a:restarts-3": {3, 1, "Error"}, "a:oom-2": {2, 137, "OOMKilled"}, "a:oom-loop": {0, 137, "OOMKilled"}, "a:exit-42": {0, 42, "Error"},
	} {
		p := pod(corev1.RestartPolicyAlways, image)
		if _, err := live(p, 14); err != nil {
			t.Fatal(err)
		}
		got := p.Status.ContainerStatuses[0]
		last := got.LastTerminationState.Terminated
		if last == nil || last.ExitCode != want.code || last.Reason != want.reason || want.restarts > 0 && got.RestartCount != want.restarts {
			t.Errorf("%s: %d restarts, last %+v; want %+v", image, got.RestartCount, last, want)
		}
		if last != nil && (last.ContainerID == got.ContainerID || last.FinishedAt.Before(&last.StartedAt)) {
			t.Errorf("%s: last %+v, now %s", image, last, got.ContainerID)
		}
	}
}

func TestCrashLoopBacksOff(t *testing.T) {
	t.Parallel()
	p := pod(corev1.RestartPolicyAlways, "a:crash-loop")
	now := time.Unix(1_000_000, 0)
	last := time.Duration(0)
	for restarts := range int32(10) {
		if err := apply(p, Step(p, nil, nil, now)); err != nil {
			t.Fatal(err)
		}
		if got := p.Status.ContainerStatuses[0].RestartCount; got != restarts {
			t.Fatalf("%d restarts, want %d", got, restarts)
		}
		due, err := time.Parse(time.RFC3339Nano, condition(p, StepCondition).Message)
		if err != nil {
			t.Fatal(err)
		}
		wait := due.Sub(now)
		if restarts > 1 && wait < last || wait > longestBackof {
			t.Errorf("restart %d: waits %s after %s", restarts, wait, last)
		}
		last, now = wait, due
	}
	if last != longestBackof {
		t.Errorf("the last wait is %s, want %s", last, longestBackof)
	}
}

// Whatever a pod is made of: it gets there, has one status per container, keeps its addresses,
// and is ready only when all its containers are.
func TestStepProperties(t *testing.T) {
	t.Parallel()
	tags := []string{"1", "never-ready", "crash-loop", "image-missing", "errors-5", "slow-10ms", "fails-after-1s", "job-fail", "oom-loop", "restarts-2", "oom-1", "exit-3"}
	rapid.Check(t, func(t *rapid.T) {
		image := rapid.Custom(func(t *rapid.T) string { return "x:" + rapid.SampledFrom(tags).Draw(t, "tag") })
		init := rapid.SliceOfN(image, 0, 2).Draw(t, "init")
		main := rapid.SliceOfN(image, 1, 3).Draw(t, "main")
		policy := rapid.SampledFrom([]corev1.RestartPolicy{corev1.RestartPolicyAlways, corev1.RestartPolicyNever, corev1.RestartPolicyOnFailure}).Draw(t, "policy")
		p := pod(policy, strings.Join(init, " ")+" | "+strings.Join(main, " "))
		for range 6 {
			if _, err := live(p, 3); err != nil {
				t.Fatal(err)
			}
			s := p.Status
			if len(s.ContainerStatuses) != len(main) || len(s.InitContainerStatuses) != len(init) {
				t.Fatalf("%d and %d statuses", len(s.ContainerStatuses), len(s.InitContainerStatuses))
			}
			if s.PodIP != "10.244.1.7" || s.StartTime == nil || len(s.PodIPs) != 1 {
				t.Fatalf("address %s of %v, start %v", s.PodIP, s.PodIPs, s.StartTime)
			}
			all := true
			for _, c := range s.ContainerStatuses {
				all = all && c.Ready
			}
			if ready := condition(p, corev1.PodReady).Status == corev1.ConditionTrue; ready && (!all || s.Phase != corev1.PodRunning) {
				t.Fatalf("ready, but %+v", s)
			}
		}
	})
}

func TestNodesHaveNetworksOfTheirOwn(t *testing.T) {
	t.Parallel()
	var all []netip.Prefix
	for i := range MaxNodes + 1 { // the first is kwok's, for nodes without one
		network, err := netip.ParsePrefix(podCIDR(i))
		if err != nil || network != network.Masked() {
			t.Fatalf("node %d: %s: %v", i, podCIDR(i), err)
		}
		for _, other := range all {
			if other.Overlaps(network) {
				t.Fatalf("%s and %s overlap", other, network)
			}
		}
		all = append(all, network)
	}
}
