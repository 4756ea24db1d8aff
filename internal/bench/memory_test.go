package bench

import (
	"context"
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"golang.org/x/sync/errgroup"
)

// foreign is how many objects of others stand beside those of the daemon.
const foreign = 10000

// BenchmarkMemory measures what is resident at rest: after a first release,
// after a restart, and after a restart beside many objects of others.
func BenchmarkMemory(b *testing.B) {
	for _, c := range []struct{ environments, each int }{{20, 100}, {20, 500}} {
		environments, each := c.environments, size(c.each)
		if smoke() {
			if environments = min(environments, 2); c.each > 100 {
				continue // it would be of the same size as the first
			}
		}
		b.Run(fmt.Sprintf("%d-in-%d", c.environments*c.each, c.environments), func(b *testing.B) {
			g := newGround(b)
			w := g.newWorld()
			s := newSamples()
			to := results.section("memory in MiB: %d owned objects in %d environments", environments*each, environments)
			w.remember(s, "empty")
			head := w.push("everything", w.fill(g.namespaces(environments), each, "first"))
			g.watch.await(g, patience, w.objects(), "first", w.spaces...)
			w.daemon.settled(head, environments, patience)
			w.remember(s, "released")
			w.again(s, "restarted")
			g.strangers(size(foreign))
			w.again(s, "beside-foreign")
			for b.Loop() { // once: it is a state that is measured, no speed
			}
			s.report(b, to)
		})
	}
}

// remember measures once there is nothing to do any more.
func (w *world) remember(s *samples, when string) {
	w.Helper()
	w.calm()
	quiet(w, w.daemon.pid())
	if !smoke() {
		time.Sleep(20 * time.Second) // for the runtime to give back what it does not need
	}
	s.resident(w, when+"-")
}

func (w *world) again(s *samples, when string) {
	w.Helper()
	w.daemon.stop()
	w.start()
	w.daemon.followed(w.repo.Head(w, "main"))
	w.remember(s, when)
}

// strangers are objects of the same kinds that nobody has told the daemon of.
func (g *ground) strangers(n int) {
	g.Helper()
	group, ctx := errgroup.WithContext(g.Context())
	group.SetLimit(floorWorkers(2))
	for _, namespace := range g.namespaces(10) {
		for i := range n / 10 {
			group.Go(func() error { return g.stranger(ctx, namespace, i) })
		}
	}
	if err := group.Wait(); err != nil {
		g.Fatal(err)
	}
}

func (g *ground) stranger(ctx context.Context, namespace string, i int) error {
	name := fmt.Sprintf("other-%05d", i)
	var err error
	if i%2 == 0 {
		_, err = g.client.CoreV1().ConfigMaps(namespace).Create(ctx, &corev1.ConfigMap{
			ObjectMeta: metav1.ObjectMeta{Name: name}, Data: map[string]string{"some": "thing"}}, metav1.CreateOptions{})
		return err
	}
	_, err = g.client.CoreV1().Services(namespace).Create(ctx, &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: corev1.ServiceSpec{ClusterIP: "None", Ports: []corev1.ServicePort{{Port: 80}}}},
		metav1.CreateOptions{})
	return err
}
