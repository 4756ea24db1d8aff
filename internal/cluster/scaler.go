package cluster

import (
	"context"
	"errors"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/tools/pager"

	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/plan"
)

var autoscaler = schema.GroupKind{Group: "autoscaling", Kind: "HorizontalPodAutoscaler"}

// scalers tell whether an autoscaler is still there. That one has written to an
// object stays in its managed fields when it is deleted. A namespace is asked
// once for each plan, and only where there is such an object.
type scalers struct {
	c       *Cluster
	w       Owner
	release release

	mu    sync.Mutex
	asked map[string]*scaledThere
}

type scaledThere struct {
	once    sync.Once
	targets map[manifest.ID]bool
	unknown bool // may not be asked
	err     error
}

// scale reports whether an autoscaler scales an object. Where that may not be
// asked, who has scaled it does so still.
func (s *scalers) scale(ctx context.Context, id manifest.ID) (bool, error) {
	s.mu.Lock()
	if s.asked == nil {
		s.asked = map[string]*scaledThere{}
	}
	there := s.asked[id.Namespace]
	if there == nil {
		there = &scaledThere{targets: map[manifest.ID]bool{}}
		s.asked[id.Namespace] = there
	}
	s.mu.Unlock()
	there.once.Do(func() { s.ask(ctx, id.Namespace, there) })
	return there.unknown || there.targets[id], there.err
}

func (s *scalers) ask(ctx context.Context, namespace string, there *scaledThere) {
	k, err := s.c.kinds.find(ctx, autoscaler, "")
	if errors.Is(err, errUnknownKind) {
		return // nor is there any of them
	}
	if err != nil {
		there.err = err
		return
	}
	err = s.c.retry(ctx, func(ctx context.Context) error {
		pages := pager.New(func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
			return s.c.dynamic.Resource(k.resource).Namespace(namespace).List(ctx, options)
		})
		pages.PageBufferSize = 0
		return pages.EachListItem(ctx, metav1.ListOptions{}, func(item runtime.Object) error {
			if o, isObject := item.(*unstructured.Unstructured); isObject && !s.leaves(o) {
				there.targets[plan.ScaleTarget(o)] = true
			}
			return nil
		})
	})
	switch {
	case apierrors.IsForbidden(err):
		there.unknown = true
	case err != nil:
		there.err = failed("list", manifest.ID{Group: autoscaler.Group, Kind: autoscaler.Kind, Namespace: namespace}, err)
	}
}

// leaves reports whether an autoscaler is about to be pruned.
func (s *scalers) leaves(o *manifest.Object) bool {
	id := manifest.ID{Group: autoscaler.Group, Kind: autoscaler.Kind, Namespace: o.GetNamespace(), Name: o.GetName()}
	_, rendered := s.release.set.Get(id)
	return !rendered && s.w.plan().Owns(o)
}
