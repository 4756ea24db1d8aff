package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"golang.org/x/sync/errgroup"

	"chaperone.dev/chaperone/internal/fault"
	"chaperone.dev/chaperone/internal/inventory"
	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/plan"
)

// What carries an environment's marks is found by a look at every kind. The
// first apply of each environment has one made, so those that begin together
// share it: in a namespace, and where the account may, in all of them at once.

const (
	// searchedPage is how many objects are asked for at once.
	searchedPage = 500
	// maxTogether is how many environments one search is for: the address of each
	// request has all their IDs.
	maxTogether = 50
	// searchApart is how long after a search the next one begins: a source with many
	// environments has them all applied for the first time at about the same time.
	searchApart = time.Second
	// wideFrom is how many namespaces are looked through in one request. Fewer are
	// looked through one by one: what is not asked for costs the server, too.
	wideFrom = 3
	// narrowFor is how long it is remembered that this cannot be done.
	narrowFor = 10 * time.Minute
	// searchFor bounds a search as a whole, shyFor the attempts at a kind that can
	// be done without.
	searchFor = 5 * time.Minute
	shyFor    = 15 * time.Second
)

// searched is what a search has found of one owner.
type searched struct {
	inventory.Inventory
	err error
}

// rebuild finds what carries the owner's marks, where it may have objects. What
// cannot be listed is left out and said: it can be lost from the inventory that
// way, which only ever leaves an object where it is.
func (c *Cluster) rebuild(ctx context.Context, w Owner) (inventory.Inventory, error) {
	found, err := c.searches.ask(ctx, w)
	switch {
	case ctx.Err() != nil:
		return inventory.Inventory{}, fault.Retryable("rebuild inventory", w.inventoryName(), ctx.Err())
	case err != nil:
		return inventory.Inventory{}, err
	}
	return found.Inventory, found.err
}

// seeker is an owner whose objects are searched for, and what was found.
type seeker struct {
	Owner
	set     string
	entries []inventory.Entry
	skipped []string
	err     error
}

// lives reports whether the owner may have objects in a namespace.
func (s *seeker) lives(namespace string) bool { return slices.Contains(s.namespaces(), namespace) }

// namespaces are those that an owner may have objects in.
func (w Owner) namespaces() []string {
	all := []string{w.Namespace}
	for _, allowed := range w.Allow {
		if allowed.Namespace != "" && !slices.Contains(all, allowed.Namespace) {
			all = append(all, allowed.Namespace)
		}
	}
	return all
}

// shelf is what is looked through for some owners' objects.
type shelf struct {
	gk        schema.GroupKind
	kind      kind
	namespace string // "" is all of them
	name      string // of cluster-scoped objects: those are asked for by name
	seekers   []*seeker
}

// search is one search under way.
type search struct {
	c      *Cluster
	mu     sync.Mutex                  // of what the seekers have
	closed map[string]func(shelf) bool // by namespace; see mayNot
}

// searchAll searches for several owners' objects together.
func (c *Cluster) searchAll(ctx context.Context, asked []Owner) ([]searched, error) {
	ctx, cancel := context.WithTimeout(ctx, searchFor)
	defer cancel()
	s := &search{c: c, closed: map[string]func(shelf) bool{}}
	seekers := make([]*seeker, len(asked))
	for i, w := range asked {
		seekers[i] = &seeker{Owner: w, set: w.setID()}
	}
	if err := s.run(ctx, seekers); err != nil {
		return nil, err
	}
	results := make([]searched, len(asked))
	for i, one := range seekers {
		results[i] = s.result(one)
	}
	if err := ctx.Err(); err != nil { // what was cut short has not found everything
		return nil, fault.Retryable("rebuild inventory", "", err)
	}
	return results, nil
}

func (s *search) result(one *seeker) searched {
	if one.err != nil {
		return searched{err: one.err}
	}
	slices.Sort(one.skipped)
	if skipped := slices.Compact(one.skipped); len(skipped) > 0 && len(one.entries) > 0 {
		s.c.options.Logger.Warn("kinds that cannot be listed are left out of a rebuilt inventory",
			"environment", one.Environment.String(), "kinds", strings.Join(skipped, ", "))
	}
	return searched{Inventory: inventory.New(one.entries...)}
}

// run looks through the kinds that the cluster serves, and for each cluster-scoped
// object that an owner may have.
func (s *search) run(ctx context.Context, seekers []*seeker) error {
	listable, err := s.c.kinds.listable(ctx)
	if err != nil {
		return err
	}
	named, err := s.named(ctx, seekers)
	if err != nil {
		return err
	}
	var group errgroup.Group
	group.SetLimit(s.c.options.Workers)
	for _, one := range named {
		group.Go(func() error { s.settle(one, s.look(ctx, one)); return nil })
	}
	// The inventory's own kind tells whether the account may look everywhere.
	first := schema.GroupKind{Kind: "ConfigMap"}
	s.lookThrough(ctx, &group, first, listable[first], seekers)
	for gk, k := range listable {
		if gk != first && k.resource.Resource != "events" { // the one kind that there is too much of, and that nobody applies
			s.lookThrough(ctx, &group, gk, k, seekers)
		}
	}
	return group.Wait()
}

// lookThrough looks through a kind, in all namespaces at once where that is less
// and allowed.
func (s *search) lookThrough(ctx context.Context, group *errgroup.Group, gk schema.GroupKind, k kind, seekers []*seeker) {
	narrow := shelvesOf(gk, k, seekers)
	each := func() {
		for _, one := range narrow {
			group.Go(func() error { s.settle(one, s.lookIn(ctx, one)); return nil })
		}
	}
	core := schema.GroupKind{Kind: "ConfigMap"}
	if len(narrow) < wideFrom || s.c.losses.isNarrow(core) || s.c.losses.isNarrow(gk) {
		each()
		return
	}
	wide := func() error {
		all := shelf{gk: gk, kind: k, seekers: seekers}
		if err := s.lookWide(ctx, all); told(err) {
			s.settle(all, err)
		} else {
			s.instead(ctx, narrow, err)
		}
		return nil
	}
	if gk == core {
		_ = wide() // before any other
		return
	}
	group.Go(wide)
}

// lookWide looks through all namespaces, for no longer than one request may take.
func (s *search) lookWide(ctx context.Context, all shelf) error {
	ctx, cancel := context.WithTimeout(ctx, s.c.options.RequestTimeout)
	defer cancel()
	return s.look(ctx, all)
}

// instead looks through each namespace where all at once may not be looked
// through, or are too many. It is done with at the first that does not answer
// where they together did not: it is the server then.
func (s *search) instead(ctx context.Context, narrow []shelf, why error) {
	gk, forbidden := narrow[0].gk, apierrors.IsForbidden(why)
	for i, one := range narrow {
		err := s.lookIn(ctx, one)
		s.settle(one, err)
		if !forbidden && !told(err) && !apierrors.IsForbidden(err) {
			for _, other := range narrow[i+1:] {
				s.settle(other, err)
			}
			return
		}
	}
	s.c.losses.toldNarrow(gk)
}

// told reports whether a look has told what there is.
func told(err error) bool {
	return err == nil || apierrors.IsNotFound(err) || apierrors.IsMethodNotSupported(err)
}

// lookIn looks through a kind in one namespace, unless the account certainly may
// not: that is what the server would answer.
func (s *search) lookIn(ctx context.Context, at shelf) error {
	if s.mayNot(ctx, at) {
		return apierrors.NewForbidden(at.kind.resource.GroupResource(), "", errors.New("no rule lets the account list it"))
	}
	return s.look(ctx, at)
}

// mayNot goes by the rules of a namespace, which are asked for once and settle
// most of its kinds. Rules that are not all there are settle nothing, and neither
// does one that names objects.
func (s *search) mayNot(ctx context.Context, at shelf) bool {
	s.mu.Lock()
	closed := s.closed[at.namespace]
	if closed == nil {
		rules := sync.OnceValues(func() ([]authorizationv1.ResourceRule, bool) {
			within, cancel := context.WithTimeout(ctx, reviewFor)
			defer cancel()
			return (&review{c: s.c}).rules(within, at.namespace)
		})
		closed = func(at shelf) bool {
			list := right{verb: "list", resource: at.kind.resource.GroupResource(), namespace: at.namespace}
			known, complete := rules()
			return complete && !slices.ContainsFunc(known, list.meets)
		}
		s.closed[at.namespace] = closed
	}
	s.mu.Unlock()
	return closed(at)
}

// shelvesOf are a kind's, one for each namespace.
func shelvesOf(gk schema.GroupKind, k kind, seekers []*seeker) []shelf {
	var shelves []shelf
	at := map[string]int{}
	for _, one := range seekers {
		for _, namespace := range one.namespaces() {
			i, known := at[namespace]
			if !known {
				i, at[namespace] = len(shelves), len(shelves)
				shelves = append(shelves, shelf{gk: gk, kind: k, namespace: namespace})
			}
			shelves[i].seekers = append(shelves[i].seekers, one)
		}
	}
	return shelves
}

// named are the shelves of cluster-scoped objects.
func (s *search) named(ctx context.Context, seekers []*seeker) ([]shelf, error) {
	var shelves []shelf
	for _, one := range seekers {
		for _, allowed := range one.Allow {
			if allowed.Namespace != "" {
				continue
			}
			gk := schema.GroupKind{Group: allowed.Group, Kind: allowed.Kind}
			switch k, err := s.c.kinds.find(ctx, gk, ""); {
			case err == nil && !k.namespaced:
				shelves = append(shelves, shelf{gk: gk, kind: k, name: allowed.Name, seekers: []*seeker{one}})
			case err != nil && !errors.Is(err, errUnknownKind) && !s.c.kinds.partial():
				return nil, err
			}
		}
	}
	return shelves, nil
}

// settle says what an error of a look means for those it was for. The others'
// search goes on.
func (s *search) settle(at shelf, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, one := range at.seekers {
		switch {
		case one.err != nil || told(err):
		case needed(at) && !apierrors.IsForbidden(err):
			one.err = failed("rebuild inventory", manifest.ID{Group: at.gk.Group, Kind: at.gk.Kind, Namespace: at.namespace, Name: at.name}, err)
		default:
			one.skipped = append(one.skipped, at.gk.String())
		}
	}
}

// needed are the kinds without which there is no telling: where they do not
// answer, the API server does not.
func needed(s shelf) bool { return s.gk.Group == "" || s.gk.Group == "apps" }

// look finds the seekers' objects on a shelf, from their metadata alone.
func (s *search) look(ctx context.Context, at shelf) error {
	if !needed(at) {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, shyFor)
		defer cancel()
	}
	resource := s.c.metadata.Resource(at.kind.resource)
	if at.name != "" {
		var o *metav1.PartialObjectMetadata
		err := s.c.retry(ctx, func(ctx context.Context) (err error) {
			o, err = resource.Get(ctx, at.name, metav1.GetOptions{})
			return err
		})
		if err == nil {
			s.take(at, *o)
		}
		return err
	}
	options := metav1.ListOptions{LabelSelector: selectorOf(at.seekers), Limit: searchedPage}
	for {
		var page *metav1.PartialObjectMetadataList
		err := s.c.retry(ctx, func(ctx context.Context) (err error) {
			page, err = resource.Namespace(at.namespace).List(ctx, options)
			return err
		})
		if err != nil {
			return err
		}
		if more := s.take(at, page.Items...); !more {
			return nil
		}
		if options.Continue = page.GetContinue(); options.Continue == "" {
			return nil
		}
	}
}

func selectorOf(seekers []*seeker) string {
	if len(seekers) == 1 {
		return plan.LabelPartOf + "=" + seekers[0].set
	}
	var sets []string
	for _, one := range seekers {
		sets = append(sets, one.set)
	}
	slices.Sort(sets)
	return plan.LabelPartOf + " in (" + strings.Join(slices.Compact(sets), ",") + ")"
}

// take gives each seeker what is its own, and reports whether there can be more.
func (s *search) take(at shelf, items ...metav1.PartialObjectMetadata) (more bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, one := range at.seekers {
		if one.err != nil {
			continue
		}
		one.entries = s.c.marked(one, at, one.entries, items...)
		if len(one.entries) > maxRebuilt {
			one.entries, one.err = nil, fault.Terminal("rebuild inventory", one.inventoryName(), fmt.Errorf("more than %d objects carry its marks", maxRebuilt))
		}
		more = more || one.err == nil
	}
	return more
}

// marked adds the entries of those objects that are the owner's for certain.
// Controllers copy labels, and people whole objects: only what has both marks,
// has no owner, and was applied under our name in this very group counts. The
// last tells apart two groups that serve the same objects.
func (c *Cluster) marked(w *seeker, at shelf, entries []inventory.Entry, items ...metav1.PartialObjectMetadata) []inventory.Entry {
	for i := range items {
		o := &items[i]
		version := c.appliedIn(at.gk.Group, o)
		if version == "" || len(o.OwnerReferences) > 0 || o.Labels[plan.LabelPartOf] != w.set ||
			o.Annotations[plan.AnnotationEnvironment] != w.Environment.String() || at.kind.namespaced && !w.lives(o.Namespace) {
			continue
		}
		id := manifest.ID{Group: at.gk.Group, Kind: at.gk.Kind, Namespace: o.Namespace, Name: o.Name}
		entries = append(entries, inventory.Entry{ID: id, Version: version, UID: string(o.UID), Rebuilt: true})
	}
	return entries
}

// appliedIn is the version in which we applied an object in a group, or "".
func (c *Cluster) appliedIn(group string, o *metav1.PartialObjectMetadata) string {
	for _, entry := range o.ManagedFields {
		gv, err := schema.ParseGroupVersion(entry.APIVersion)
		if err == nil && gv.Group == group && entry.Manager == c.options.FieldManager &&
			entry.Operation == metav1.ManagedFieldsOperationApply && entry.Subresource == "" {
			return gv.Version
		}
	}
	return ""
}

// isNarrow reports whether a kind may be listed only in one namespace at a time.
func (l *losses) isNarrow(gk schema.GroupKind) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	since, told := l.narrow[gk]
	return told && time.Since(since) < narrowFor
}

// toldNarrow remembers it.
func (l *losses) toldNarrow(gk schema.GroupKind) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.narrow[gk] = time.Now()
}
