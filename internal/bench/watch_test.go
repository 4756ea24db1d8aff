package bench

import (
	"context"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/metadata/metadatainformer"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
)

// watcher sees which objects are on the cluster with which stamp, from their
// metadata alone. It watches during the floor's turn as well, so that it costs
// both the same.
type watcher struct {
	stop    func()
	mu      sync.Mutex
	changed chan struct{}     // closed at each change
	stamps  map[string]string // by namespace, kind and name
	counted map[[2]string]int // by namespace and stamp
	last    time.Time
}

func watchObjects(tb testing.TB, config *rest.Config) *watcher {
	tb.Helper()
	config = rest.CopyConfig(config)
	config.QPS = -1
	client, err := metadata.NewForConfig(config)
	if err != nil {
		tb.Fatal(err)
	}
	w := &watcher{changed: make(chan struct{}), stamps: map[string]string{}, counted: map[[2]string]int{}}
	labelled := func(o *metav1.ListOptions) { o.LabelSelector = benchLabel }
	informers := metadatainformer.NewFilteredSharedInformerFactory(client, 0, metav1.NamespaceAll, labelled)
	for kind, resource := range resources {
		_, err := informers.ForResource(resource).Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
			AddFunc:    func(o any) { w.see(kind, o) },
			UpdateFunc: func(_, o any) { w.see(kind, o) },
		})
		if err != nil {
			tb.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	w.stop = sync.OnceFunc(func() { cancel(); informers.Shutdown() })
	tb.Cleanup(w.stop)
	informers.Start(ctx.Done())
	for resource, synced := range informers.WaitForCacheSync(ctx.Done()) {
		if !synced {
			tb.Fatalf("watch of %s does not begin", resource.Resource)
		}
	}
	return w
}

func (w *watcher) see(kind string, seen any) {
	o, is := seen.(*metav1.PartialObjectMetadata)
	if !is {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	key, stamp := o.Namespace+"/"+kind+"/"+o.Name, o.Annotations[stampKey]
	if before, known := w.stamps[key]; known {
		w.counted[[2]string{o.Namespace, before}]--
	}
	w.stamps[key] = stamp
	w.counted[[2]string{o.Namespace, stamp}]++
	w.last = time.Now()
	close(w.changed)
	w.changed = make(chan struct{})
}

// await waits until n objects of some namespaces have a stamp, and returns when
// the last of them came to be seen.
func (w *watcher) await(tb testing.TB, patience time.Duration, n int, stamp string, namespaces ...string) time.Time {
	tb.Helper()
	end := time.After(patience)
	for {
		w.mu.Lock()
		have, last, changed := w.count(stamp, namespaces), w.last, w.changed
		w.mu.Unlock()
		if have >= n {
			return last
		}
		select {
		case <-changed:
		case <-end:
			tb.Fatalf("%d of %d objects have the stamp %s after %s", have, n, stamp, patience)
		}
	}
}

func (w *watcher) count(stamp string, namespaces []string) (n int) {
	for _, namespace := range namespaces {
		n += w.counted[[2]string{namespace, stamp}]
	}
	return n
}
