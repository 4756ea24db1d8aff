package plan

import (
	"errors"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/promotion"
)

// Seen is what the cluster answered about one object.
type Seen struct {
	Live      *manifest.Object // as read; nil where there is none
	Send      *manifest.Object // what would be sent; nil for one that is not rendered
	Same      bool             // certain to change nothing, so it was not tried
	Tried     *manifest.Object // what a dry run of sending it answered; without Live perhaps only an outline
	Rejected  error            // what a dry run was refused with, free of secrets
	Immutable bool             // the refusal is about fields that cannot be updated in place; a replacement that is allowed was accepted in a trial
	Fields    []string         // those fields, as the server names them
	Digest    string           // SentDigest of what is rendered
	Owned     string           // OwnedDigest of Live
	Staged    bool             // cannot be tried yet: its kind or namespace comes with the release
}

// Input is all that a plan depends on.
type Input struct {
	Owner   Owner
	Guards  Guards
	Manager string // field manager
	Redact  manifest.Redactor
	Desired manifest.Set // prepared; a complete, valid render
	Owned   []Owned      // the whole inventory
	Seen    map[manifest.ID]Seen
	// SkipHooks leaves hooks alone: while restoring, the old release's
	// migrations are not to run against the new one's data.
	SkipHooks bool
	// Applied says that the release is applied already, and that what is looked
	// for is drift.
	Applied bool
	// Contents asks for the objects before and after, to be shown.
	Contents bool
}

// Build decides. The error is a *Refusal or a *Rejected; the plan is then what
// would have been done, for showing only.
func Build(in Input) (Plan, error) {
	b := builder{Input: in, owned: map[manifest.ID]Owned{}}
	for _, entry := range in.Owned {
		b.owned[entry.ID] = entry
	}
	for _, o := range in.Desired.Objects() {
		b.add(o)
	}
	b.stageDependents()
	b.unordered = b.order()
	deletes, refusal := Prune(in.Owner, in.Guards, in.Desired.Len(), in.Owned, b.unwanted(), b.live())
	p := Plan{Changes: append(b.changes, deletes...), Refused: b.refusal()}
	in.show(p.Changes)
	if p.Refused == nil {
		p.Refused = refusal
	}
	var errs []error
	if p.Refused != nil {
		errs = append(errs, p.Refused)
	}
	if len(b.rejected) > 0 {
		errs = append(errs, &Rejected{Objects: b.rejected})
	}
	if len(errs) == 1 {
		return p, errs[0]
	}
	return p, errors.Join(errs...)
}

type builder struct {
	Input
	owned    map[manifest.ID]Owned
	changes  []Change
	outside  []Culprit
	taken    []Culprit
	kept     []Culprit // replacements that protect forbids
	vanished []Culprit // hooks that are gone without a result
	rejected []Rejection
	// unordered is why the changes cannot be put in order.
	unordered *Refusal
}

func (b *builder) add(o *manifest.Object) {
	id, stage := manifest.IDOf(o), manifest.StageOf(o)
	if text := b.Owner.outside(id); text != "" {
		b.outside = append(b.outside, Culprit{ID: id, Text: text})
	}
	seen := b.Seen[id]
	known := seen.Live != nil && b.owned[id].UID != "" && b.owned[id].UID == string(seen.Live.GetUID())
	if seen.Live != nil {
		if other := b.Owner.Knowing(known).Other(seen.Live); other != "" {
			b.taken = append(b.taken, BelongsTo(id, other))
		}
	}
	if stage == manifest.StageRollback || b.SkipHooks && isHookStage(stage) {
		return // still rendered, so not pruned
	}
	if b.Owner.vanished(o, seen.Live, b.owned[id]) {
		b.vanished = append(b.vanished, Culprit{ID: id})
	}
	c := Change{ID: id, Stage: stage, Known: known, Object: seen.Send, Digest: seen.Digest, Owned: seen.Owned}
	if seen.Live != nil {
		c.UID, c.Gained = string(seen.Live.GetUID()), !b.Owner.Marked(seen.Live)
	}
	if seen.Send == nil {
		c.Object = o
	}
	if c = b.decide(c, seen); c.Action == Replace {
		c.Object = o // made anew: there is nothing to yield to, or to take back
		if c.Reason != ReasonTerminating {
			c.Loses = Losses(o, seen.Live)
		}
		if c.Reason == ReasonImmutable {
			c.Immutable = changedFields(o, seen.Live, seen.Fields)
		}
	}
	b.guardReplace(c)
	b.changes = append(b.changes, c)
}

func isHookStage(stage manifest.Stage) bool {
	return stage == manifest.StagePreDeploy || stage == manifest.StagePostDeploy
}

// decide settles what can be settled from the object alone. A rejection stays
// open until stageDependents has seen the whole plan.
func (b *builder) decide(c Change, seen Seen) Change {
	leaving := seen.Live == nil || seen.Live.GetDeletionTimestamp() != nil
	switch {
	case leaving && b.Owner.ranAndLeft(c.Object, b.owned[c.ID]):
		c.Action, c.Reason = Unchanged, ReasonCompleted
	case seen.Live == nil:
		c.Action = Create
	case seen.Live.GetDeletionTimestamp() != nil:
		c.Action, c.Reason = Replace, ReasonTerminating
		if b.Applied {
			c.Refused = notBefore(seen.Live)
		}
		return c
	case failedHook(seen.Live):
		c.Action, c.Reason = Replace, ReasonHookFailed
	case seen.Same:
		c.Action = Unchanged
	default:
		c.Action = Update
	}
	if c.Action == Update {
		_, c.Adopt, _ = b.Owner.Inherit(seen.Live) // an error of it is met when it is done
	}
	switch {
	case c.Action == Unchanged:
	case seen.Immutable && Replaceable(c.Object, seen.Live):
		c.Action, c.Reason = Replace, ReasonImmutable
	case seen.Tried != nil:
		c.Tried = true
		if c.Action == Update {
			c = b.compare(c, seen)
		}
	case seen.Staged:
		c.Staged = true
	}
	return c
}

func (b *builder) compare(c Change, seen Seen) Change {
	inherited, _, _ := b.Owner.Inherit(seen.Live)
	fields, changed := Compare(inherited, seen.Tried, b.Manager, b.Redact)
	if b.Applied {
		fields, changed = Drifted(seen.Live, seen.Send, seen.Tried, b.Manager, b.Redact)
	}
	if !changed {
		c.Action = Unchanged
		return c
	}
	c.Fields = fields
	if b.Owner.TakesOver(seen.Live) {
		c.Reason = ReasonTakenOver
	}
	if managed(seen.Live, b.Manager) == nil || !b.Owner.Owns(seen.Live) {
		c.Reason = ReasonAdopted
	}
	return c
}

func failedHook(live *manifest.Object) bool {
	state, _ := StateOf(live)
	return IsHook(live) && state == JobFailed
}

// stageDependents turns a rejection of an object into a later try, when
// something that it depends on changes with the same release.
func (b *builder) stageDependents() {
	pending := map[manifest.ID]bool{}
	for _, c := range b.changes {
		if c.Action != Unchanged {
			pending[c.ID] = true
		}
	}
	crds := Definitions(b.Desired.Objects())
	for i, c := range b.changes {
		seen := b.Seen[c.ID]
		if seen.Rejected == nil || c.Action == Unchanged || c.Reason == ReasonImmutable || c.Reason == ReasonTerminating {
			continue
		}
		crd := crds[c.ID.GroupKind()]
		overcome := dependsOnAny(c.Object, crds, pending)
		if seen.Immutable { // only another definition of the kind could allow it
			overcome = crd != nil && pending[manifest.IDOf(crd)]
		}
		if overcome {
			b.changes[i].Staged = true
			continue
		}
		rejection := Rejection{ID: c.ID, Err: seen.Rejected}
		if seen.Immutable {
			rejection.Err = NotInPlace(c.Object, seen.Live, seen.Fields, seen.Rejected)
			b.changes[i] = wouldReplace(c, seen, rejection.Err)
		}
		b.rejected = append(b.rejected, rejection)
	}
	if b.SkipHooks || b.Applied {
		return
	}
	for _, o := range b.Desired.Objects() {
		rejected := b.Seen[manifest.IDOf(o)].Rejected
		if manifest.StageOf(o) == manifest.StageRollback && rejected != nil && !dependsOnAny(o, crds, pending) {
			b.rejected = append(b.rejected, Rejection{ID: manifest.IDOf(o), Err: &UndoError{rejected}})
		}
	}
}

// UndoError is that what undoes a release would be refused when it is needed.
type UndoError struct{ Answer error }

func (e *UndoError) Error() string {
	return "is to undo a migration of this release, and would be refused: " + e.Answer.Error()
}

// Unwrap is the server's answer.
func (e *UndoError) Unwrap() error { return e.Answer }

// wouldReplace is the change that has to be allowed first.
func wouldReplace(c Change, seen Seen, refusal error) Change {
	if neverReplaced[c.ID.GroupKind()] {
		return c
	}
	c.Action, c.Reason, c.Refused = Replace, ReasonImmutable, refusal.Error()
	c.Loses, c.Immutable = Losses(c.Object, seen.Live), changedFields(c.Object, seen.Live, seen.Fields)
	return c
}

// Definitions finds the CRD of a release that defines a kind.
func Definitions(objects []*manifest.Object) map[schema.GroupKind]*manifest.Object {
	crds := map[schema.GroupKind]*manifest.Object{}
	for _, o := range objects {
		if gvk := o.GroupVersionKind(); gvk.Group != "apiextensions.k8s.io" || gvk.Kind != "CustomResourceDefinition" {
			continue
		}
		group, _, _ := unstructured.NestedString(o.Object, "spec", "group")
		kind, _, _ := unstructured.NestedString(o.Object, "spec", "names", "kind")
		crds[schema.GroupKind{Group: group, Kind: kind}] = o
	}
	return crds
}

func dependsOnAny(o *manifest.Object, crds map[schema.GroupKind]*manifest.Object, pending map[manifest.ID]bool) bool {
	for _, id := range dependencies(o, crds) {
		if pending[id] {
			return true
		}
	}
	return false
}

// dependencies are the objects without which the API server refuses an object.
func dependencies(o *manifest.Object, crds map[schema.GroupKind]*manifest.Object) []manifest.ID {
	gk := o.GroupVersionKind().GroupKind()
	ids := []manifest.ID{{Kind: "Namespace", Name: o.GetNamespace()}}
	if crd := crds[gk]; crd != nil {
		ids = append(ids, manifest.IDOf(crd))
	}
	if role, bound := roleOf(o); bound {
		ids = append(ids, role)
	}
	asked, err := dependsOn(o)
	if err == nil {
		ids = append(ids, asked...)
	}
	if gk == (schema.GroupKind{Kind: "Pod"}) {
		account, _, _ := unstructured.NestedString(o.Object, "spec", "serviceAccountName")
		ids = append(ids, manifest.ID{Kind: "ServiceAccount", Namespace: o.GetNamespace(), Name: account})
	}
	return ids
}

// roleOf is the role that a binding refers to.
func roleOf(o *manifest.Object) (manifest.ID, bool) {
	gk := o.GroupVersionKind().GroupKind()
	if !IsBinding(gk) {
		return manifest.ID{}, false
	}
	role := manifest.ID{Group: gk.Group, Kind: textAt(o.Object, "roleRef", "kind"), Name: textAt(o.Object, "roleRef", "name")}
	if role.Kind == "Role" {
		role.Namespace = o.GetNamespace()
	}
	return role, true
}

// IsBinding reports whether a kind refers to a role, which the API server
// looks up to see that nobody grants more than they have.
func IsBinding(gk schema.GroupKind) bool {
	return gk.Group == "rbac.authorization.k8s.io" && (gk.Kind == "RoleBinding" || gk.Kind == "ClusterRoleBinding")
}

func (b *builder) refusal() *Refusal {
	if len(b.outside) > 0 {
		return &Refusal{Reason: promotion.ApplyRejected, Objects: b.outside,
			Text: "the release holds objects that the environment may not touch"}
	}
	if len(b.taken) > 0 {
		return Taken(b.Owner, b.taken)
	}
	if len(b.kept) > 0 {
		return keptRefusal(b.kept)
	}
	if len(b.vanished) > 0 {
		return vanishedRefusal(b.vanished)
	}
	return b.unordered
}

func (b *builder) unwanted() []Owned {
	var unwanted []Owned
	for _, entry := range b.Owned {
		if _, rendered := b.Desired.Get(entry.ID); !rendered {
			unwanted = append(unwanted, entry)
		}
	}
	return unwanted
}

func (b *builder) live() map[manifest.ID]*manifest.Object {
	live := map[manifest.ID]*manifest.Object{}
	for id, seen := range b.Seen {
		if seen.Live != nil {
			live[id] = seen.Live
		}
	}
	return live
}
