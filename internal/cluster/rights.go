package cluster

import (
	"context"
	"fmt"
	"slices"
	"strings"

	authenticationv1 "k8s.io/api/authentication/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

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

// shut leaves out of a release what the account may not read or apply, so that
// nothing of it is asked for or tried, and returns why.
func (c *Cluster) shut(ctx context.Context, r *release, owned inventory.Inventory) ([]demand, error) {
	left, err := c.wantEntries(ctx, owned.Unwanted(r.set))
	if err != nil {
		return nil, err
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
	r.hidden = map[manifest.ID]bool{}
	var also demands
	for _, d := range denied {
		for _, id := range d.ids {
			if _, rendered := r.set.Get(id); !rendered {
				r.hidden[id] = true
				continue
			}
			if r.rejected[id] == nil {
				r.rejected[id] = fmt.Errorf("the account may not %s it", d.verb)
				// Whether it is to be created cannot be seen; the rule that is
				// asked for should do in any case.
				also.need(r.kindOf(id), id, "create")
			}
			delete(r.kinds, id)
		}
	}
	return append(denied, c.deniedOf(ctx, also.all())...), nil
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

// allowed refuses a plan for rights that carrying it out would lack: those that
// were found before it was made, and those of what it would create and delete.
func (c *Cluster) allowed(ctx context.Context, w Owner, r release, own stored, p plan.Plan, denied []demand) *plan.Refusal {
	var needs demands
	for _, change := range p.Changes {
		k := r.kindOf(change.ID)
		if change.Action == plan.Delete {
			k, _ = c.kinds.find(ctx, change.ID.GroupKind(), "") // it was read just now
		} else if !r.reviewable(change.ID) {
			continue
		}
		if k.resource.Resource == "" {
			continue
		}
		switch change.Action {
		case plan.Create:
			needs.need(k, change.ID, "create")
		case plan.Replace:
			needs.need(k, change.ID, "create", "delete")
		case plan.Delete:
			needs.need(k, change.ID, "delete")
		}
	}
	if _, comes := r.set.Get(manifest.ID{Kind: "Namespace", Name: w.Namespace}); !comes {
		id, k := inventoryID(w, w.inventoryName()), kind{resource: configMaps, namespaced: true}
		if own.parent == nil {
			needs.need(k, id, "create")
		}
		needs.need(k, id, "update")
	}
	denied = append(denied, c.deniedOf(ctx, needs.all())...)
	if len(denied) == 0 {
		return nil
	}
	return plan.NotAllowed(c.sentences(ctx, denied))
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

// refuse gives a plan the refusal, unless it has one that says more.
func refuse(p plan.Plan, err error, refusal *plan.Refusal) (plan.Plan, error) {
	if refusal == nil || p.Refused != nil {
		return p, err
	}
	p.Refused = refusal
	return p, refusal
}
