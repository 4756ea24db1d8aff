package cluster

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"golang.org/x/sync/errgroup"

	"chaperone.dev/chaperone/internal/manifest"
)

// A release is refused for rights that the account certainly lacks, before
// anything is applied. Only the server's clear no to a SelfSubjectAccessReview
// counts: where it cannot be asked, or an authorizer erred, the dry run decides.
// What a release grants or binds is the dry run's, too (escalation).

const (
	// grantedFor is how long a yes is remembered. A no is asked for each time:
	// somebody is about to grant it.
	grantedFor = 10 * time.Minute
	// reviewFor bounds all reviews of one plan.
	reviewFor = 15 * time.Second
	// maxByName is how many objects of one kind and place are asked for by name,
	// where the general answer is no; maxQuestions is how many of all.
	maxByName    = 10
	maxQuestions = 200
	// fewRights are asked one by one; all rules of a namespace would be more.
	fewRights = 2
	// maxGrants bounds what is remembered.
	maxGrants = 10_000
)

var (
	accessReviews = authorizationv1.SchemeGroupVersion.WithResource("selfsubjectaccessreviews")
	rulesReviews  = authorizationv1.SchemeGroupVersion.WithResource("selfsubjectrulesreviews")
)

// right is what a rule of RBAC gives.
type right struct {
	verb      string
	resource  schema.GroupResource
	namespace string // "" for cluster-scoped kinds
	name      string // "" for all
}

// demand is a right that a release needs, and for which objects.
type demand struct {
	right
	ids []manifest.ID
}

// grants are the rights that the connection's account was seen to have.
type grants struct {
	mu    sync.Mutex
	known map[right]time.Time
}

func newGrants() *grants { return &grants{known: map[right]time.Time{}} }

func (g *grants) has(r right) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	since, found := g.known[r]
	return found && time.Since(since) < grantedFor
}

func (g *grants) add(r right) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.known) >= maxGrants {
		clear(g.known)
	}
	g.known[r] = time.Now()
}

// forget is called when the server says no: a right was taken away.
func (g *grants) forget() {
	g.mu.Lock()
	defer g.mu.Unlock()
	clear(g.known)
}

// review is the asking for the rights of one plan.
type review struct {
	c     *Cluster
	asked atomic.Int32
	// mute says that reviews are not answered; the rest is not asked.
	mute atomic.Bool

	mu     sync.Mutex
	denied []demand
}

// deniedOf are those demands that the account certainly may not meet, each with
// the objects that it is about, in the given order.
func (c *Cluster) deniedOf(ctx context.Context, demands []demand) []demand {
	demands = slices.DeleteFunc(demands, func(d demand) bool { return c.grants.has(d.right) })
	ctx, cancel := context.WithTimeout(ctx, reviewFor)
	defer cancel()
	v := &review{c: c}
	byPlace := map[string][]demand{}
	for _, d := range demands {
		byPlace[d.namespace] = append(byPlace[d.namespace], d)
	}
	var group errgroup.Group
	group.SetLimit(c.options.Workers)
	for namespace, those := range byPlace {
		group.Go(func() error { v.place(ctx, namespace, those); return nil })
	}
	_ = group.Wait() // what cannot be asked is no denial
	slices.SortFunc(v.denied, func(a, b demand) int {
		return slices.IndexFunc(demands, a.same) - slices.IndexFunc(demands, b.same)
	})
	return v.denied
}

func (d demand) same(other demand) bool { return d.right == other.right }

// place asks for the rights in one namespace. Where there are more than a few,
// the rules that hold there settle most of them in one request. They also name
// rights that count in namespaces only, so of cluster-scoped kinds they say nothing.
func (v *review) place(ctx context.Context, namespace string, demands []demand) {
	var rules []authorizationv1.ResourceRule
	complete := false
	if namespace != "" && len(demands) > fewRights {
		rules, complete = v.rules(ctx, namespace)
		demands = slices.DeleteFunc(demands, func(d demand) bool {
			at := slices.IndexFunc(rules, d.grantedBy)
			if at >= 0 && len(rules[at].ResourceNames) == 0 {
				v.c.grants.add(d.right)
			}
			return at >= 0
		})
	}
	var group errgroup.Group
	group.SetLimit(v.c.options.Workers)
	for _, d := range demands {
		byName := !complete || slices.ContainsFunc(rules, func(rule authorizationv1.ResourceRule) bool {
			return len(rule.ResourceNames) > 0 && d.meets(rule)
		})
		group.Go(func() error { v.demand(ctx, d, byName); return nil })
	}
	_ = group.Wait()
}

// grantedBy reports whether a rule gives a right for every object that it is
// needed for.
func (d demand) grantedBy(rule authorizationv1.ResourceRule) bool {
	unnamed := func(id manifest.ID) bool { return !slices.Contains(rule.ResourceNames, id.Name) }
	return d.meets(rule) && (len(rule.ResourceNames) == 0 || !slices.ContainsFunc(d.ids, unnamed))
}

// meets reports whether a rule is about a right at all, for whatever names.
func (r right) meets(rule authorizationv1.ResourceRule) bool {
	gives := func(list []string, want string) bool {
		return slices.Contains(list, want) || slices.Contains(list, "*")
	}
	return gives(rule.Verbs, r.verb) && gives(rule.APIGroups, r.resource.Group) && gives(rule.Resources, r.resource.Resource)
}

// demand asks for a right in general and, where the answer is no, for the
// objects by name, unless no rule is known to name any.
func (v *review) demand(ctx context.Context, d demand, byName bool) {
	if v.refused(ctx, d.right) != refusedClearly {
		return
	}
	if !byName {
		v.deny(d)
		return
	}
	var names []manifest.ID
	for _, id := range d.ids[:min(len(d.ids), maxByName)] {
		one := d.right
		one.name = id.Name
		if v.c.grants.has(one) {
			continue
		}
		if v.refused(ctx, one) == refusedClearly {
			names = append(names, id)
		}
	}
	if len(names) == maxByName {
		names = d.ids // as it is with so many
	}
	if len(names) > 0 {
		v.deny(demand{right: d.right, ids: names})
	}
}

func (v *review) deny(d demand) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.denied = append(v.denied, d)
}

// answered is what a review comes to.
type answered int

const (
	unanswered answered = iota
	granted
	refusedClearly
)

// refused asks for one right.
func (v *review) refused(ctx context.Context, r right) answered {
	if v.mute.Load() || v.asked.Add(1) > maxQuestions {
		return unanswered
	}
	in := &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{
		ResourceAttributes: &authorizationv1.ResourceAttributes{
			Namespace: r.namespace, Verb: r.verb, Group: r.resource.Group, Resource: r.resource.Resource, Name: r.name}}}
	var out authorizationv1.SelfSubjectAccessReview
	err := v.c.ask(ctx, accessReviews, "SelfSubjectAccessReview", in, &out)
	switch {
	case err != nil:
		if apierrors.IsForbidden(err) || apierrors.IsNotFound(err) {
			v.mute.Store(true)
		}
		return unanswered
	case out.Status.Allowed:
		v.c.grants.add(r)
		return granted
	case out.Status.EvaluationError != "" && !out.Status.Denied:
		return unanswered
	}
	return refusedClearly
}

// rules are those that hold for the account in a namespace. What they do not give
// is asked for all the same: authorizers may know more than they tell.
func (v *review) rules(ctx context.Context, namespace string) (rules []authorizationv1.ResourceRule, complete bool) {
	in := &authorizationv1.SelfSubjectRulesReview{Spec: authorizationv1.SelfSubjectRulesReviewSpec{Namespace: namespace}}
	var out authorizationv1.SelfSubjectRulesReview
	if err := v.c.ask(ctx, rulesReviews, "SelfSubjectRulesReview", in, &out); err != nil {
		return nil, false
	}
	return out.Status.ResourceRules, !out.Status.Incomplete
}

// ask posts a review and reads the answer. It is not repeated: the dry run
// decides where there is none.
func (c *Cluster) ask(ctx context.Context, resource schema.GroupVersionResource, kind string, in, out any) error {
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(in)
	if err != nil {
		return err
	}
	o := &unstructured.Unstructured{Object: content}
	o.SetGroupVersionKind(resource.GroupVersion().WithKind(kind))
	return c.attempt(ctx, func(ctx context.Context) error {
		answer, err := c.dynamic.Resource(resource).Create(ctx, o, metav1.CreateOptions{})
		if err != nil {
			return err
		}
		return runtime.DefaultUnstructuredConverter.FromUnstructured(answer.Object, out)
	})
}
