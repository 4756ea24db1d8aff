package cluster

import (
	"context"
	"encoding/json"
	"slices"
	"sync"
	"time"

	"github.com/go-logr/logr"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/metadata/metadatainformer"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"

	"chaperone.dev/chaperone/internal/fault"
	"chaperone.dev/chaperone/internal/inventory"
	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/plan"
)

// Watch calls onChange for every owned object that was changed or deleted,
// whoever did it, until ctx is done. It is a trigger: the answer to whether
// something drifted is Drift's. Status updates are left out. What happened
// before the watch began, or while it was interrupted, may be missed; so the
// caller also looks at intervals. onChange is called from several goroutines
// and must return at once.
func (c *Cluster) Watch(ctx context.Context, w Owner, onChange func(manifest.ID)) error {
	if err := w.check(); err != nil {
		return fault.Terminal("watch", "", err)
	}
	// The parent of the set lists kinds and namespaces, and is watched itself:
	// what a release adds to it is watched from then on.
	v := &watcher{c: c, w: w, onChange: onChange, running: map[watched]bool{}}
	ctx = klog.NewContext(ctx, logr.FromSlogHandler(c.options.Logger.Handler()))
	parent := metadatainformer.NewFilteredMetadataInformer(c.metadata, configMaps, w.Namespace, 0, nil,
		func(options *metav1.ListOptions) {
			options.FieldSelector = fields.OneTermEqualSelector("metadata.name", w.inventoryName()).String()
		}).Informer()
	extend := func(object any) {
		if o, ok := object.(*metav1.PartialObjectMetadata); ok {
			v.extend(ctx, o.Annotations)
		}
	}
	_, err := parent.AddEventHandler(cache.ResourceEventHandlerFuncs{AddFunc: extend, UpdateFunc: func(_, o any) { extend(o) }})
	if err != nil {
		return fault.Retryable("watch", inventoryID(w, w.inventoryName()).String(), err)
	}
	parent.RunWithContext(ctx)
	v.group.Wait()
	return ctx.Err()
}

// watched is one informer's extent.
type watched struct {
	gk        schema.GroupKind
	namespace string
}

type watcher struct {
	c        *Cluster
	w        Owner
	onChange func(manifest.ID)
	group    sync.WaitGroup

	mu      sync.Mutex
	running map[watched]bool
}

// extend starts informers for the kinds and namespaces that are new.
func (v *watcher) extend(ctx context.Context, annotations map[string]string) {
	namespaces := append(inventory.ParseNamespaces(annotations[inventory.AnnotationMoreSpace]), v.w.Namespace)
	for _, gk := range inventory.ParseKinds(annotations[inventory.AnnotationKinds]) {
		k, err := v.c.kinds.find(ctx, gk, "")
		if err != nil {
			if v.c.kinds.refresh(ctx) == nil {
				k, err = v.c.kinds.find(ctx, gk, "")
			}
		}
		if err != nil {
			v.c.options.Logger.Warn("watch owned objects", "environment", v.w.Environment.String(), "kind", gk.String(), "err", err)
			continue // the next change of the inventory tries again; Drift sees it meanwhile
		}
		if !k.namespaced {
			v.start(ctx, k, watched{gk: gk})
			continue
		}
		for _, namespace := range namespaces {
			v.start(ctx, k, watched{gk: gk, namespace: namespace})
		}
	}
}

func (v *watcher) start(ctx context.Context, k kind, extent watched) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.running[extent] || ctx.Err() != nil {
		return
	}
	v.running[extent] = true
	informer := metadatainformer.NewFilteredMetadataInformer(v.c.metadata, k.resource, extent.namespace, 0, nil,
		func(options *metav1.ListOptions) { options.LabelSelector = plan.LabelPartOf + "=" + v.w.setID() }).Informer()
	tell := func(object any) {
		if o, ok := object.(*metav1.PartialObjectMetadata); ok {
			v.onChange(manifest.ID{Group: extent.gk.Group, Kind: extent.gk.Kind, Namespace: o.Namespace, Name: o.Name})
		}
	}
	_, err := informer.AddEventHandler(cache.ResourceEventHandlerDetailedFuncs{
		AddFunc: func(o any, initial bool) {
			if !initial {
				tell(o)
			}
		},
		UpdateFunc: func(old, now any) {
			if differs(old, now) {
				tell(now)
			}
		},
		DeleteFunc: func(o any) {
			if unknown, missed := o.(cache.DeletedFinalStateUnknown); missed {
				o = unknown.Obj
			}
			tell(o)
		},
	})
	if err != nil {
		return // only of an informer that was stopped
	}
	v.group.Go(func() { informer.RunWithContext(ctx) })
}

// differs reports whether something other than a status was written. Kinds
// without a generation have little status to speak of; of them, every write
// counts.
func differs(old, now any) bool {
	a, aOK := old.(*metav1.PartialObjectMetadata)
	b, bOK := now.(*metav1.PartialObjectMetadata)
	if !aOK || !bOK {
		return true
	}
	if b.Generation == 0 {
		return a.ResourceVersion != b.ResourceVersion
	}
	return a.Generation != b.Generation || a.UID != b.UID || (a.DeletionTimestamp == nil) != (b.DeletionTimestamp == nil) ||
		!slices.Equal(written(a), written(b))
}

// written is who wrote what apart from the status, and when.
func written(o *metav1.PartialObjectMetadata) []string {
	var entries []string
	for _, entry := range o.ManagedFields {
		if entry.Subresource == "status" {
			continue
		}
		at := time.Time{}
		if entry.Time != nil {
			at = entry.Time.Time
		}
		text, err := json.Marshal([]any{entry.Manager, entry.Operation, entry.Subresource, at, entry.FieldsV1})
		if err != nil {
			continue
		}
		entries = append(entries, string(text))
	}
	return entries
}
