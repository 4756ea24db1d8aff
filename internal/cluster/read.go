package cluster

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/tools/pager"

	"golang.org/x/sync/errgroup"

	"chaperone.dev/chaperone/internal/fault"
	"chaperone.dev/chaperone/internal/health"
	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/plan"
)

// want is one object to read.
type want struct {
	id   manifest.ID
	kind kind
	// certain asks for the object itself where a list of what carries our
	// label does not have it: somebody may have taken the label away.
	certain bool
	// outline leaves out all but the metadata, where nothing else is asked of
	// the kind. One that is read by itself is read whole.
	outline bool
}

// fewWants are read one by one; a list of everything owned would be more.
const fewWants = 2

// reader collects what was read.
type reader struct {
	c *Cluster
	w Owner

	mu   sync.Mutex
	live map[manifest.ID]*manifest.Object
	sure map[manifest.ID]bool     // asked for by name: absent means absent
	seen map[manifest.ID]*tracked // as the mirror has them
}

// read gets objects as they are. An error means that nothing may be concluded
// from any absence.
func (c *Cluster) read(ctx context.Context, w Owner, wants []want) (*reader, error) {
	return c.readBeside(ctx, w, nil, wants)
}

// readBeside reads what a mirror does not know.
func (c *Cluster) readBeside(ctx context.Context, w Owner, m *mirror, wants []want) (*reader, error) {
	r := &reader{c: c, w: w, live: map[manifest.ID]*manifest.Object{}, sure: map[manifest.ID]bool{}, seen: map[manifest.ID]*tracked{}}
	type shelf struct {
		kind    kind
		place   place
		outline bool
	}
	shelves := map[shelf][]want{}
	for _, one := range wants {
		at := shelf{one.kind, place{one.id.GroupKind(), one.id.Namespace}, one.outline}
		shelves[at] = append(shelves[at], one)
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(c.options.Workers)
	for at, those := range shelves {
		if m.covers(at.kind, at.place) {
			those = r.reflect(m, those)
		}
		group.Go(func() error {
			if !at.kind.namespaced || len(those) <= fewWants {
				return r.getEach(ctx, those)
			}
			return r.list(ctx, at.kind, at.place.namespace, those)
		})
	}
	return r, group.Wait()
}

// reflect takes what a mirror knows, and returns what has to be asked for by
// name: somebody may have taken the label away.
func (r *reader) reflect(m *mirror, those []want) (missing []want) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, one := range those {
		if t := m.get(one.id); t != nil {
			r.seen[one.id], r.sure[one.id] = t, true
		} else if one.certain {
			missing = append(missing, one)
		}
	}
	return missing
}

// object is what was read, or nil.
func (r *reader) object(id manifest.ID) (*manifest.Object, error) {
	if t := r.seen[id]; t != nil {
		o, err := t.object()
		if err != nil {
			return nil, fault.Retryable("read", id.String(), err)
		}
		return o, nil
	}
	return r.get(id), nil
}

// list reads everything of a kind that carries our label. Cluster-scoped kinds
// are never listed: an account that may touch named objects only may not.
func (r *reader) list(ctx context.Context, k kind, namespace string, those []want) error {
	wanted := map[string]manifest.ID{}
	for _, one := range those {
		wanted[one.id.Name] = one.id
	}
	outline := those[0].outline
	pages := pager.New(func(ctx context.Context, options metav1.ListOptions) (page runtime.Object, err error) {
		err = r.c.retry(ctx, func(ctx context.Context) (err error) {
			page, err = r.c.page(ctx, k, namespace, outline, options)
			return err
		})
		return page, err
	})
	pages.PageBufferSize = 0
	selector := metav1.ListOptions{LabelSelector: plan.LabelPartOf + " in (" + strings.Join(r.w.setIDs(), ",") + ")"}
	err := pages.EachListItem(ctx, selector, func(item runtime.Object) error {
		named, isObject := item.(metav1.Object)
		if !isObject {
			return fmt.Errorf("list %s: got a %T", k.resource.Resource, item)
		}
		id, ours := wanted[named.GetName()]
		if !ours {
			return nil
		}
		o, err := whole(k, id, item)
		if err == nil {
			r.found(id, o)
		}
		return err
	})
	if apierrors.IsForbidden(err) {
		return r.getEach(ctx, those)
	}
	if err != nil {
		return failed("list", manifest.ID{Group: k.resource.Group, Kind: those[0].id.Kind, Namespace: namespace}, err)
	}
	var missing []want
	for _, one := range those {
		if one.certain && r.get(one.id) == nil {
			missing = append(missing, one)
		}
	}
	return r.getEach(ctx, r.present(ctx, k, namespace, missing))
}

// page is one page of a list.
func (c *Cluster) page(ctx context.Context, k kind, namespace string, outline bool, options metav1.ListOptions) (runtime.Object, error) {
	if outline {
		return c.metadata.Resource(k.resource).Namespace(namespace).List(ctx, options)
	}
	return c.dynamic.Resource(k.resource).Namespace(namespace).List(ctx, options)
}

// whole is a listed object, in the shape of one that was read by itself.
func whole(k kind, id manifest.ID, item runtime.Object) (*manifest.Object, error) {
	switch item := item.(type) {
	case *unstructured.Unstructured:
		return item, nil
	case *metav1.PartialObjectMetadata:
		item.ManagedFields = nil // nobody asks, and they are most of it
		fields, err := runtime.DefaultUnstructuredConverter.ToUnstructured(item)
		if err != nil {
			return nil, fault.Retryable("read", id.String(), err)
		}
		o := &manifest.Object{Object: fields}
		o.SetAPIVersion(k.resource.GroupVersion().String())
		o.SetKind(id.Kind)
		return o, nil
	}
	return nil, fault.Retryable("read", id.String(), fmt.Errorf("got a %T", item))
}

func (r *reader) getEach(ctx context.Context, those []want) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(r.c.options.Workers)
	for _, one := range those {
		group.Go(func() error {
			o, err := r.c.get(ctx, one.kind, one.id)
			if !one.certain && apierrors.IsForbidden(err) {
				return nil // the dry run will be refused too, and names the object
			}
			if err != nil {
				return err
			}
			r.found(one.id, o)
			return nil
		})
	}
	return group.Wait()
}

func (r *reader) found(id manifest.ID, o *manifest.Object) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sure[id] = true
	if o != nil {
		r.live[id] = o
	}
}

func (r *reader) get(id manifest.ID) *manifest.Object {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.live[id]
}

// get reads one object; nil means that it is certainly not there.
func (c *Cluster) get(ctx context.Context, k kind, id manifest.ID) (*manifest.Object, error) {
	var found *manifest.Object
	err := c.retry(ctx, func(ctx context.Context) (err error) {
		found, err = c.at(k, id).Get(ctx, id.Name, metav1.GetOptions{})
		return err
	})
	switch {
	case apierrors.IsNotFound(err):
		return nil, nil
	case err != nil:
		return nil, failed("read", id, err)
	}
	return found, nil
}

func (c *Cluster) at(k kind, id manifest.ID) dynamic.ResourceInterface {
	if k.namespaced {
		return c.dynamic.Resource(k.resource).Namespace(id.Namespace)
	}
	return c.dynamic.Resource(k.resource)
}

// Live reads objects of a release as they are now, of kinds that nobody reports
// on perhaps only the metadata. One that is absent from the
// answer is not on the cluster; after an error nothing is known about any.
// before, if not nil, are the looks before this one.
func (c *Cluster) Live(ctx context.Context, w Owner, ids []manifest.ID, before *Looks) (map[manifest.ID]*manifest.Object, error) {
	wants, unknown, err := c.wants(ctx, ids)
	if err == nil && unknown {
		if err = c.kinds.refresh(ctx); err == nil {
			wants, _, err = c.wants(ctx, ids)
		}
	}
	if err != nil {
		return nil, err
	}
	for i := range wants {
		wants[i].outline = health.InertKind(wants[i].id.GroupKind())
	}
	// Not from the mirror: a verdict rests on it, and a watch that hangs tells
	// nothing of it.
	same, rest, err := c.unchanged(ctx, w, wants, before)
	if err != nil {
		return nil, err
	}
	r, err := c.read(ctx, w, rest)
	if err != nil {
		return nil, err
	}
	before.keep(rest, r.live)
	maps.Copy(r.live, same)
	return r.live, nil
}

// wants resolves kinds. Objects of a kind that the cluster does not have are
// left out: they are not there either.
func (c *Cluster) wants(ctx context.Context, ids []manifest.ID) (wants []want, unknown bool, err error) {
	for _, id := range ids {
		k, err := c.kinds.find(ctx, id.GroupKind(), "")
		switch {
		case errors.Is(err, errUnknownKind):
			unknown = true
		case err != nil:
			return nil, false, err
		default:
			wants = append(wants, want{id: id, kind: k, certain: true})
		}
	}
	return wants, unknown, nil
}
