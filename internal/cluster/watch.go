package cluster

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/go-logr/logr"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	apiwatch "k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/metadata/metadatainformer"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"

	"chaperone.dev/chaperone/internal/fault"
	"chaperone.dev/chaperone/internal/inventory"
	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/plan"
)

// Watch keeps an eye on everything that an environment owns until ctx is done,
// and calls onChange for each object whose owned fields, or whose existence,
// changed: whoever did it, the status and the fields of others left out. While
// it runs, Plan, Drift and Live know what is there without asking. It is a
// trigger, and may call for nothing; the answer to whether something drifted is
// Drift's. onChange is called from several goroutines and must return at once.
func (c *Cluster) Watch(ctx context.Context, w Owner, onChange func(manifest.ID)) error {
	if err := w.check(); err != nil {
		return fault.Terminal("watch", "", err)
	}
	ctx = klog.NewContext(ctx, logr.FromSlogHandler(c.options.Logger.Handler()))
	m := newMirror(c, w, onChange)
	c.setMirror(w, m)
	defer c.dropMirror(w, m)
	v := &watcher{mirror: m}
	informer := metadatainformer.NewFilteredMetadataInformer(c.metadata, configMaps, w.Namespace, 0, nil,
		func(options *metav1.ListOptions) {
			options.FieldSelector = fields.OneTermEqualSelector("metadata.name", w.inventoryName()).String()
		}).Informer()
	// What a release adds to the inventory is watched from then on.
	changed := func(object any) {
		if o, isMeta := object.(*metav1.PartialObjectMetadata); isMeta {
			m.told(o.ResourceVersion)
		}
	}
	if err := informer.SetWatchErrorHandlerWithContext(func(ctx context.Context, r *cache.Reflector, err error) {
		m.deafen()
		cache.DefaultWatchErrorHandler(ctx, r, err)
	}); err != nil {
		return fault.Retryable("watch", inventoryID(w, w.inventoryName()).String(), err)
	}
	_, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: changed, UpdateFunc: func(_, o any) { changed(o) }, DeleteFunc: func(any) { m.told("") },
	})
	if err != nil {
		return fault.Retryable("watch", inventoryID(w, w.inventoryName()).String(), err)
	}
	v.group.Go(func() { v.extendOnDemand(ctx) })
	informer.RunWithContext(ctx)
	v.group.Wait()
	return ctx.Err()
}

// place is a kind in one namespace or, for cluster-scoped kinds, in "".
type place struct {
	gk        schema.GroupKind
	namespace string
}

type watcher struct {
	*mirror
	group sync.WaitGroup
}

// extendOnDemand starts what is to be watched. It reads the inventory, so it is
// not done in the informer's handler.
func (v *watcher) extendOnDemand(ctx context.Context) {
	var again <-chan time.Time
	for pause := time.Second; ; {
		select {
		case <-ctx.Done():
			return
		case <-v.wake:
		case <-again:
		}
		again = nil
		if err := v.extendAll(ctx); err == nil {
			pause = time.Second
			continue
		} else if ctx.Err() == nil {
			v.c.options.Logger.Warn("watch owned objects", "environment", v.w.Environment.String(), "err", err)
		}
		// Nothing else may ever happen that asks for another look.
		again, pause = time.After(pause), min(2*pause, time.Minute)
	}
}

func (v *watcher) extendAll(ctx context.Context) error {
	owned, err := v.c.loadInventory(ctx, v.w)
	if err != nil {
		return err
	}
	var errs []error
	wanted := places(owned.Inventory)
	for at, version := range wanted {
		errs = append(errs, v.extend(ctx, at, version))
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	for at, s := range v.watching {
		if _, found := wanted[at]; !found {
			s.stop()
			v.clear(at)
			delete(v.watching, at)
		}
	}
	v.begun = true
	return errors.Join(errs...)
}

// places are those of an inventory, each with the version to watch: what was
// applied in one version is compared in it. Of several it is the last by name;
// what is in others is read when it is planned.
func places(owned inventory.Inventory) map[place]string {
	versions := map[place]string{}
	for id, e := range owned.All() {
		at := place{id.GroupKind(), id.Namespace}
		versions[at] = max(versions[at], e.Version)
	}
	return versions
}

// extend has a place watched. A kind that the cluster does not have is no error:
// the next change of the inventory looks again, and Drift sees it meanwhile.
func (v *watcher) extend(ctx context.Context, at place, version string) error {
	k, err := v.c.kinds.find(ctx, at.gk, version)
	if err != nil && v.c.kinds.refresh(ctx) == nil {
		k, err = v.c.kinds.find(ctx, at.gk, version)
	}
	if errors.Is(err, errUnknownKind) {
		v.c.options.Logger.Warn("watch owned objects", "environment", v.w.Environment.String(), "kind", at.gk.String(), "err", err)
		return nil
	}
	if err == nil {
		v.start(ctx, k, at)
	}
	return err
}

func (v *watcher) start(ctx context.Context, k kind, at place) {
	v.mu.Lock()
	defer v.mu.Unlock()
	old := v.watching[at]
	if ctx.Err() != nil || old != nil && old.resource == k.resource {
		return
	}
	if old != nil {
		old.stop()
		v.clear(at) // they are in another version
	}
	ctx, stop := context.WithCancel(ctx)
	s := &scope{mirror: v.mirror, at: at, resource: k.resource, stop: stop}
	v.watching[at] = s
	logger := klog.FromContext(ctx)
	reflector := cache.NewReflectorWithOptions(s.listWatch(), &unstructured.Unstructured{}, s,
		cache.ReflectorOptions{Name: v.w.Environment.String() + " " + k.resource.Resource, TypeDescription: at.gk.String(), Logger: &logger})
	v.group.Go(func() {
		defer stop()
		reflector.RunWithContext(ctx)
	})
}

// scope is a mirror as one reflector sees it.
type scope struct {
	*mirror
	at       place
	resource schema.GroupVersionResource
	stop     context.CancelFunc
	synced   bool      // by the mirror's lock; the first list is in
	listed   string    // likewise; the version of the last list
	heard    time.Time // likewise; when the server last said something
	broken   bool      // likewise; the last request failed, so that what is known may be old
	failing  bool      // likewise; it was answered with an error, which is told
}

func (s *scope) listWatch() cache.ListerWatcher {
	resource := s.c.dynamic.Resource(s.resource).Namespace(s.at.namespace)
	selector := plan.LabelPartOf + "=" + s.w.setID()
	return cache.ToListWatcherWithWatchListSemantics(&cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
			options.LabelSelector = selector
			s.asks()
			ctx, cancel := context.WithTimeout(ctx, s.c.options.RequestTimeout)
			defer cancel()
			list, err := resource.List(ctx, options)
			return list, s.refused(ctx, err)
		},
		WatchFuncWithContext: func(ctx context.Context, options metav1.ListOptions) (apiwatch.Interface, error) {
			options.LabelSelector = selector
			s.asks()
			events, err := resource.Watch(ctx, options)
			return events, s.refused(ctx, err)
		},
	}, s.c.dynamic)
}

// silence is how long a watch may say nothing before it is not believed: the
// server sends a bookmark about once a minute (KEP-956).
const silence = 3 * time.Minute

// told reports whether what is known of the scope is as it is; by the mirror's lock.
func (s *scope) told() bool { return s.synced && !s.broken && time.Since(s.heard) < silence }

// asks: until there is an answer, what is known may be old.
func (s *scope) asks() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.broken = true
}

// UpdateResourceVersion implements cache.ResourceVersionUpdater: it is called for
// every event, bookmarks included.
func (s *scope) UpdateResourceVersion(string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.heard = time.Now()
}

// refusedPause is how long a kind that the account may not watch is left alone.
// Its objects are read when they are planned.
const refusedPause = 5 * time.Minute

func (s *scope) refused(ctx context.Context, err error) error {
	s.mu.Lock()
	failing := err != nil && !apierrors.IsResourceExpired(err) && !apierrors.IsGone(err) // it lists anew
	news := s.failing != failing
	s.broken, s.failing, s.heard = err != nil, failing, time.Now()
	s.mu.Unlock()
	if news {
		// Nothing more may come from a cluster that is gone, and that it is back is
		// news as well: who watches has to look by itself.
		s.onChange(manifest.ID{Group: s.at.gk.Group, Kind: s.at.gk.Kind, Namespace: s.at.namespace})
	}
	if apierrors.IsForbidden(err) {
		s.c.options.Logger.Warn("watch owned objects: grant list and watch to see changes at once",
			"environment", s.w.Environment.String(), "kind", s.at.gk.String(), "namespace", s.at.namespace, "err", err)
		_ = sleep(ctx, refusedPause) // the error says more
	}
	return err
}

// Transformer shrinks objects as they arrive, so that a long list is never held
// as it came.
func (s *scope) Transformer() cache.TransformFunc {
	return func(object any) (any, error) { return s.track(object) }
}

func (s *scope) track(object any) (*tracked, error) {
	switch o := object.(type) {
	case *tracked:
		return o, nil
	case *unstructured.Unstructured:
		id := manifest.ID{Group: s.at.gk.Group, Kind: s.at.gk.Kind, Namespace: o.GetNamespace(), Name: o.GetName()}
		return track(id, o, s.w.Leave, s.c.options.FieldManager)
	}
	return nil, fmt.Errorf("watch %s: got a %T", s.at.gk, object)
}

// Add implements cache.ReflectorStore.
func (s *scope) Add(object any) error { return s.Update(object) }

// Update implements cache.ReflectorStore.
func (s *scope) Update(object any) error {
	t, err := s.track(object)
	if err == nil && s.current() {
		s.put(t, true)
	}
	return err
}

// current reports whether no scope in another version has taken its place.
func (s *scope) current() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.watching[s.at] == s
}

// Delete implements cache.ReflectorStore.
func (s *scope) Delete(object any) error {
	t, err := s.track(object)
	if err == nil && s.current() {
		s.leave(t.id, t.version)
	}
	return err
}

// Resync implements cache.ReflectorStore.
func (s *scope) Resync() error { return nil }

// Replace implements cache.ReflectorStore: what a list does not have is gone,
// unless it was written after the list was made.
func (s *scope) Replace(objects []any, version string) error {
	if !s.current() {
		return nil
	}
	list := make(map[manifest.ID]*tracked, len(objects))
	for _, object := range objects {
		t, err := s.track(object)
		if err != nil {
			return err
		}
		list[t.id] = t
	}
	s.relist(s.at, list, version)
	s.mu.Lock()
	first := !s.synced
	s.synced, s.heard = true, time.Now()
	s.mu.Unlock()
	if first {
		s.onChange(manifest.ID{Group: s.at.gk.Group, Kind: s.at.gk.Kind, Namespace: s.at.namespace})
	}
	return nil
}
