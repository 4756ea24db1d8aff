package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	authenticationv1 "k8s.io/api/authentication/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"chaperone.dev/chaperone/internal/fault"
	"chaperone.dev/chaperone/internal/inventory"
	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/plan"
)

// demands gathers what a release needs, by right, in the order of the release.
type demands struct {
	order []right
	ids   map[right][]manifest.ID
}

func (d *demands) need(k kind, id manifest.ID, verbs ...string) {
	for _, verb := range verbs {
		r := right{verb: verb, resource: k.resource.GroupResource(), namespace: id.Namespace}
		if d.ids == nil {
			d.ids = map[right][]manifest.ID{}
		}
		if _, known := d.ids[r]; !known {
			d.order = append(d.order, r)
		}
		d.ids[r] = append(d.ids[r], id)
	}
}

func (d *demands) all() []demand {
	all := make([]demand, 0, len(d.order))
	for _, r := range d.order {
		all = append(all, demand{right: r, ids: d.ids[r]})
	}
	return all
}

// explainBlind says which rights are missing where something could not be read.
func (c *Cluster) explainBlind(ctx context.Context, r release, owned inventory.Inventory, cause error) error {
	left, err := c.wantEntries(ctx, owned.Unwanted(r.holds))
	if !apierrors.IsForbidden(cause) || err != nil {
		return cause
	}
	var needs demands
	for _, o := range r.set.Objects() {
		if id := manifest.IDOf(o); r.reviewable(id) {
			needs.need(r.kindOf(id), id, "get", "patch")
		}
	}
	for _, one := range left {
		needs.need(one.kind, one.id, "get")
	}
	denied := c.deniedOf(ctx, needs.all())
	if len(denied) == 0 {
		return cause
	}
	return fault.Terminal("", "", plan.NotAllowed(c.sentences(ctx, denied)))
}

// reviewable reports whether the rights that an object needs can be known now.
// In a namespace or of a kind that comes with the release, they can not where
// the release grants rights itself.
func (r release) reviewable(id manifest.ID) bool {
	if r.rejected[id] != nil || r.kindOf(id).resource.Resource == "" {
		return false
	}
	_, namespaceComes := r.set.Get(manifest.ID{Kind: "Namespace", Name: id.Namespace})
	return !r.later[id] && !namespaceComes || !r.grantsRights()
}

func (r release) grantsRights() bool {
	return slices.ContainsFunc(r.set.Objects(), func(o *manifest.Object) bool {
		return o.GroupVersionKind().Group == "rbac.authorization.k8s.io"
	})
}

// kindOf is how an object's kind is reached, or will be once its definition is
// there.
func (r release) kindOf(id manifest.ID) kind {
	if k, found := r.kinds[id]; found || !r.later[id] {
		return k
	}
	crd := plan.Definitions(r.set.Objects())[id.GroupKind()]
	if crd == nil {
		return kind{}
	}
	plural, _, _ := unstructured.NestedString(crd.Object, "spec", "names", "plural")
	return kind{resource: schema.GroupVersionResource{Group: id.Group, Resource: plural}, namespaced: id.Namespace != ""}
}

// unallowed refuses a plan for rights that carrying it out would lack. What a dry
// run accepted needs no question; what it was forbidden, what could not be tried
// yet and what is to be deleted does. A plan that changes nothing asks nothing.
func (c *Cluster) unallowed(ctx context.Context, w Owner, r release, own stored, p plan.Plan, outcome error) *plan.Refusal {
	forbidden := forbiddenBy(outcome)
	var needs demands
	for _, change := range p.Changes {
		if verbs := verbsFor(change, forbidden[change.ID]); len(verbs) > 0 && r.reviewable(change.ID) {
			needs.need(r.kindOf(change.ID), change.ID, verbs...)
		}
		if change.Action != plan.Delete {
			continue
		}
		if k, err := c.kinds.find(ctx, change.ID.GroupKind(), ""); err == nil {
			needs.need(k, change.ID, "delete")
		}
	}
	if own.Len() > 0 { // else there is nothing to go back to
		c.needsUndo(&needs, r, own.Inventory)
	}
	if _, comes := r.set.Get(manifest.ID{Kind: "Namespace", Name: w.Namespace}); !comes && own.parent == nil && len(p.Applies()) > 0 {
		needs.need(kind{resource: configMaps, namespaced: true}, inventoryID(w, w.inventoryName()), "create", "update")
	}
	denied := c.deniedOf(ctx, needs.all())
	if len(denied) == 0 {
		return nil
	}
	return plan.NotAllowed(c.sentences(ctx, denied))
}

// needsUndo adds what undoing the release takes: it deletes the Jobs of its
// migrations, and those that an earlier attempt at undoing it has left.
func (c *Cluster) needsUndo(needs *demands, r release, owned inventory.Inventory) {
	u := wayBackOf(r.set, owned)
	for _, job := range slices.Concat(u.migrations, u.hooks) {
		if id := manifest.IDOf(job); r.reviewable(id) {
			needs.need(r.kindOf(id), id, "get", "delete")
		}
	}
}

// verbsFor are the rights that a change needs and that nothing has shown yet.
func verbsFor(change plan.Change, forbidden bool) []string {
	unknown := forbidden || change.Staged
	switch {
	case change.Refused != "":
		return nil // a right would not help
	case change.Action == plan.Create && unknown:
		return []string{"get", "create", "patch"}
	case change.Action == plan.Create:
		return []string{"get"} // its health is read
	case change.Action == plan.Update && unknown:
		return []string{"get", "patch"}
	case change.Action == plan.Replace:
		return []string{"get", "create", "patch", "delete"}
	}
	return nil
}

// forbiddenBy are the objects whose dry run was answered with 403.
func forbiddenBy(err error) map[manifest.ID]bool {
	ids := map[manifest.ID]bool{}
	var rejected *plan.Rejected
	if errors.As(err, &rejected) {
		for _, one := range rejected.Objects {
			ids[one.ID] = apierrors.IsForbidden(one.Err)
		}
	}
	return ids
}

// sentences say what the account may not, one for each kind and place.
func (c *Cluster) sentences(ctx context.Context, denied []demand) []plan.Culprit {
	type place struct {
		resource  schema.GroupResource
		namespace string
	}
	byPlace := map[place][]demand{}
	var order []place
	for _, d := range denied {
		at := place{d.resource, d.namespace}
		if byPlace[at] == nil {
			order = append(order, at)
		}
		byPlace[at] = append(byPlace[at], d)
	}
	account := c.account(ctx)
	culprits := make([]plan.Culprit, 0, len(order))
	for _, at := range order {
		culprits = append(culprits, sentence(account, byPlace[at]))
	}
	return culprits
}

// namedInRule is how many names a rule is suggested with.
const namedInRule = 5

func sentence(account string, denied []demand) plan.Culprit {
	var verbs []string
	var ids []manifest.ID
	for _, d := range denied {
		if !slices.Contains(verbs, d.verb) {
			verbs = append(verbs, d.verb)
		}
		for _, id := range d.ids {
			if !slices.Contains(ids, id) {
				ids = append(ids, id)
			}
		}
	}
	r := denied[0].right
	where, role, names := "in namespace "+r.namespace, "a Role there", ""
	if r.namespace == "" {
		where, role = "of the cluster", "a ClusterRole"
		if len(ids) <= namedInRule {
			names = ", resourceNames: [" + strings.Join(namesOf(ids), ", ") + "]"
		}
	}
	of := ""
	if len(ids) > 1 {
		of = fmt.Sprintf(" (and %d more of the kind)", len(ids)-1)
	}
	group := r.resource.Group
	if group == "" {
		group = `""`
	}
	return plan.Culprit{ID: ids[0], Text: fmt.Sprintf("%s may not %s %s %s%s; add to %s: {apiGroups: [%s], resources: [%s]%s, verbs: [%s]}",
		account, strings.Join(verbs, ", "), r.resource, where, of, role, group, r.resource.Resource, names, strings.Join(verbs, ", "))}
}

func namesOf(ids []manifest.ID) []string {
	names := make([]string, len(ids))
	for i, id := range ids {
		names[i] = id.Name
	}
	return names
}

// account is who the connection acts as, for people.
func (c *Cluster) account(ctx context.Context) string {
	if c.options.Impersonate != "" {
		return c.options.Impersonate
	}
	var out authenticationv1.SelfSubjectReview
	err := c.ask(ctx, authenticationv1.SchemeGroupVersion.WithResource("selfsubjectreviews"), "SelfSubjectReview", &authenticationv1.SelfSubjectReview{}, &out)
	if err != nil || out.Status.UserInfo.Username == "" {
		return "the account that the daemon connects as"
	}
	return out.Status.UserInfo.Username
}
