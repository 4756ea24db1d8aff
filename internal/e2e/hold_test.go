package e2e

import (
	"fmt"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"

	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/reconcile"
)

// neighbor is an app next door that nobody here deploys, and that the checks
// of an environment ask.
type neighbor struct {
	w         *world
	namespace string
}

func (w *world) neighbor() *neighbor {
	w.Helper()
	n := &neighbor{w, w.cluster.Namespace(w.T)}
	labels := map[string]string{"app": "neighbor"}
	two := int32(2)
	d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Name: "neighbor"}, Spec: appsv1.DeploymentSpec{
		Replicas: &two, Selector: &metav1.LabelSelector{MatchLabels: labels},
		Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: corev1.PodSpec{
			Containers: []corev1.Container{{Name: "neighbor", Image: image("1.0.0"), Ports: []corev1.ContainerPort{{ContainerPort: 8080}}}}}}}}
	if _, err := w.client.AppsV1().Deployments(n.namespace).Create(w.Context(), d, metav1.CreateOptions{}); err != nil {
		w.Fatal(err)
	}
	s := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: "neighbor"}, Spec: corev1.ServiceSpec{
		Selector: labels, Ports: []corev1.ServicePort{{Port: 80, TargetPort: intstr.FromInt32(8080)}}}}
	if _, err := w.client.CoreV1().Services(n.namespace).Create(w.Context(), s, metav1.CreateOptions{}); err != nil {
		w.Fatal(err)
	}
	return n
}

// becomes makes it behave as a tag says, and waits until no other pod is left.
func (n *neighbor) becomes(tag string) {
	n.w.Helper()
	deployments := n.w.client.AppsV1().Deployments(n.namespace)
	patch := fmt.Sprintf(`[{"op":"replace","path":"/spec/template/spec/containers/0/image","value":%q}]`, image(tag))
	if _, err := deployments.Patch(n.w.Context(), "neighbor", types.JSONPatchType, []byte(patch), metav1.PatchOptions{}); err != nil {
		n.w.Fatal(err)
	}
	n.w.await("the neighbor to be "+tag, func() bool {
		d, err := deployments.Get(n.w.Context(), "neighbor", metav1.GetOptions{})
		return err == nil && d.Status.ObservedGeneration == d.Generation && d.Status.UpdatedReplicas == 2 &&
			d.Status.ReadyReplicas == 2 && d.Status.Replicas == 2
	})
}

func (n *neighbor) check() string {
	return fmt.Sprintf("      - {name: neighbor, url: \"http://neighbor.%s.svc:80/\", count: 3, interval: 50ms, timeout: 2s}\n", n.namespace)
}

// What a check asks is broken for everybody: last good fails as well when it is
// back, so no commit is blamed (bedrock#152). It holds through kills. When the
// outage is over a person asks to try again, and the commit goes through.
func TestPitfall31_OutageNextDoorBlamesNobody(t *testing.T) {
	quick(t)
	stops := alone()
	w := newWorld(t, stops)
	n := w.neighbor()
	stops[0].extra = usualVerify + n.check()
	w.first = w.push("ask the neighbor", map[string]string{stops[0].path(): stops[0].file(w.namespaces[development.String()], "")})
	n.becomes("1.0.1")
	m := w.mortal()
	w.awaitRuns(development, w.first)
	n.becomes("1.0.1-errors-100")
	wait := m.doom("between the restore and its proof", staged(development, after, reconcile.StageProving))
	innocent := goodStory.begin(w)
	wait()
	w.wantApp(development, "1.0.0")
	m.revive()
	r := w.awaitHeld(development, promotion.RestoreFailed)
	w.says(development, "last good", "neighbor", "500")
	m.reborn()
	m.untouched(development)
	w.awaitHeld(development, promotion.RestoreFailed)
	if len(w.reverts()) != 0 || w.head() != innocent || r.Journal.LastGood.Revision != w.first || r.Journal.Attempt.Stage != reconcile.StageNone {
		t.Errorf("head %s, reverts %v, journal %+v: want nobody blamed", w.head(), w.reverts(), r.Journal)
	}
	w.wantApp(development, "1.0.0")

	n.becomes("1.0.2")
	w.retry(development, "")
	goodStory.end(w, innocent)
}
