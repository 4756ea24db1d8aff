package plan

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/promotion"
)

// Guards are the limits on deletion.
type Guards struct {
	Prune bool // false: nothing is deleted
	// MaxDeletePart is the largest share of the inventory that one release may
	// delete; 0 is the default of one half, 1 is no limit.
	MaxDeletePart float64
	// MaxDeletes is how many objects one release may delete; 0 is the default.
	MaxDeletes int
	// Protect are kinds and objects that are neither deleted nor replaced,
	// whatever they say themselves.
	Protect []promotion.Protection
	// DaemonNamespace is where the daemon runs. Nothing in it is ever deleted.
	DaemonNamespace string
	// Partial says that a part of the API could not be discovered. What seems
	// to be missing may only be out of sight, so nothing is deleted or forgotten.
	Partial bool
	// Restoring lets pass what the guard on mass deletion forbids: what last good
	// does not have came with the release that failed. What came from another
	// environment instead stays where the guard forbids it.
	Restoring bool
}

// minDeletes is how many deletions are no matter of their share: half of two
// objects is no sign of a mistake.
const minDeletes = 5

// Owned is an inventory entry, as far as a plan needs it.
type Owned struct {
	manifest.ID
	UID     string
	Applied string // digest of what was applied, of Jobs only
	Kept    bool   // kept before
	Unsure  bool   // its kind is out of sight, and may only be late
	Rebuilt bool   // known by its marks only, since the inventory was lost
	// Carried are the environments that are taken over, and whose own inventories
	// still hold the object.
	Carried []string
}

// Prune decides the fate of every owned object that is no longer rendered.
// live holds what was read of them; one that is absent from it is gone. Call
// it only with a complete read and a complete, valid render.
func Prune(w Owner, g Guards, rendered int, owned, unwanted []Owned, live map[manifest.ID]*manifest.Object) ([]Change, *Refusal) {
	if rendered == 0 && len(owned) > 0 {
		return nil, &Refusal{Reason: promotion.EmptyRender,
			Text: fmt.Sprintf("nothing was rendered, and %d objects are owned; an empty render never deletes them", len(owned))}
	}
	changes := make([]Change, 0, len(unwanted))
	for _, entry := range unwanted {
		changes = append(changes, fate(w, g, entry, live[entry.ID]))
	}
	changes, refusal := guardShare(g, owned, keepHolders(owned, changes, live), live)
	changes = keepHolders(owned, changes, live) // what the guard keeps may be in what goes
	return inReverse(changes, unwanted, live), refusal
}

func fate(w Owner, g Guards, entry Owned, live *manifest.Object) Change {
	c := Change{ID: entry.ID}
	decide := func(action Action, reason string) Change {
		c.Action, c.Reason = action, reason
		return c
	}
	if g.Partial || entry.Unsure && live == nil {
		return decide(Keep, ReasonPartialRead)
	}
	if live == nil && g.Restoring && strings.HasPrefix(entry.Applied, begunMark) {
		// The release that has the hook is taken back, and may come again.
		return decide(Keep, ReasonNoResult)
	}
	if live == nil {
		return decide(Forget, ReasonGone)
	}
	c.UID, c.Stage = string(live.GetUID()), manifest.StageOf(live)
	if !sameObject(w, entry, live) {
		return decide(Forget, ReasonForeign)
	}
	if w.outside(entry.ID) != "" && !w.Owns(live) {
		return decide(Keep, ReasonForeign) // whoever wrote the entry, it was not this owner
	}
	if reason := protected(g, live); reason != "" {
		return decide(Keep, reason)
	}
	if w.Knowing(true).Other(live) != "" {
		// An apply would not take it back either.
		if w.handedOver(live) {
			return decide(Forget, ReasonForeign)
		}
		return decide(Keep, ReasonForeign) // ours, without its marks: it must not run on unseen
	}
	if isNamespace(entry.ID) && entry.Name == w.Namespace {
		return decide(Keep, ReasonOwnObject) // the inventory is in it, and the rest of what is owned
	}
	if entry.Rebuilt {
		return decide(Keep, ReasonInventoryRebuilt)
	}
	return decide(Delete, "")
}

// sameObject reports whether what is on the cluster is what we applied, and
// not something that took its name since.
func sameObject(w Owner, entry Owned, live *manifest.Object) bool {
	if environment, found := live.GetAnnotations()[AnnotationEnvironment]; found && !w.named(environment) {
		return false
	}
	if entry.UID == "" {
		// Written down before it was applied, and never confirmed.
		return w.Owns(live)
	}
	return entry.UID == string(live.GetUID())
}

// protected is the reason why an object is kept though it could be deleted.
func protected(g Guards, live *manifest.Object) string {
	id := manifest.IDOf(live)
	word := live.GetAnnotations()[manifest.AnnotationPrune]
	switch {
	case isDaemons(g, live):
		return ReasonOwnObject
	case inSystemNamespace(id):
		return ReasonSystemNamespace
	case len(live.GetOwnerReferences()) > 0:
		return ReasonHasOwner
	case word == "never":
		return ReasonPruneNever
	case g.protects(id) != "" && !manifest.IsCopy(live):
		return ReasonProtected
	case manifest.KeptUnlessAllowed(id.GroupKind()) && word != "allow":
		return ReasonProtectedKind
	case !g.Prune && !manifest.IsCopy(live): // one that stayed would go on having requests
		return ReasonPruneDisabled
	}
	return ""
}

// isDaemons reports whether deleting an object could take the daemon down: a
// namespace transformer once renamed one, and the daemon deleted itself.
func isDaemons(g Guards, live *manifest.Object) bool {
	id := manifest.IDOf(live)
	if g.DaemonNamespace != "" {
		if id.Namespace == g.DaemonNamespace || isNamespace(id) && id.Name == g.DaemonNamespace {
			return true
		}
	}
	const group = "chaperone.dev"
	return isInventory(id) || id.Group == group || strings.HasSuffix(id.Name, "."+group) ||
		live.GetLabels()["app.kubernetes.io/name"] == "chaperone"
}

func inSystemNamespace(id manifest.ID) bool {
	return isSystem(id.Namespace) || isNamespace(id) && (isSystem(id.Name) || id.Name == "default")
}

func isSystem(namespace string) bool {
	return namespace == "kube-system" || namespace == "kube-public" || namespace == "kube-node-lease"
}

func isNamespace(id manifest.ID) bool { return id.Group == "" && id.Kind == "Namespace" }

// inReverse puts deletions in the reverse of apply order; what is kept or
// forgotten comes after.
func inReverse(changes []Change, unwanted []Owned, live map[manifest.ID]*manifest.Object) []Change {
	by := map[Action][]Change{}
	for _, c := range changes {
		by[c.Action] = append(by[c.Action], c)
	}
	for _, action := range []Action{Keep, Forget} {
		slices.SortFunc(by[action], func(a, b Change) int { return a.ID.Compare(b.ID) })
	}
	return slices.Concat(undo(by[Delete], unwanted, live), by[Keep], by[Forget])
}

// guardShare counts what Git had: copies were there for the steps of a release.
func guardShare(g Guards, owned []Owned, changes []Change, live map[manifest.ID]*manifest.Object) ([]Change, *Refusal) {
	if g.Restoring {
		// What last good does not have came with the release that failed. Last good
		// is complete: its bundle was read by digest, and it passed this guard.
		return keepCarried(g, owned, changes), nil
	}
	var doomed []Culprit
	counted := map[manifest.ID]bool{}
	for _, c := range changes {
		if c.Action == Delete && !isCopy(live[c.ID]) {
			doomed, counted[c.ID] = append(doomed, Culprit{ID: c.ID}), true
		}
	}
	for _, entry := range owned {
		if !entry.Kept && !isCopy(live[entry.ID]) {
			counted[entry.ID] = true
		}
	}
	total := len(counted)
	if text := g.tooMany(len(doomed), total); text != "" {
		return changes, &Refusal{Reason: promotion.MassDeletion, Objects: doomed, Text: text}
	}
	return changes, nil
}

func isCopy(live *manifest.Object) bool { return live != nil && manifest.IsCopy(live) }

// tooMany says which of the two limits the deletions pass, and what to raise.
func (g Guards) tooMany(doomed, total int) string {
	part, count := g.limits()
	var limits, raise []string
	if doomed >= minDeletes && float64(doomed) > part*float64(total) {
		limits, raise = append(limits, fmt.Sprintf("%.0f%%", 100*part)), append(raise, fmt.Sprintf("maxDeletePart to %.0f%%", math.Ceil(100*float64(doomed)/float64(total))))
	}
	if doomed > count {
		limits, raise = append(limits, fmt.Sprint(count)), append(raise, fmt.Sprintf("maxDeletes to %d", doomed))
	}
	if len(limits) == 0 {
		return ""
	}
	return fmt.Sprintf("%d of %d owned objects would be deleted, and the limit is %s; raise %s if that is meant",
		doomed, total, strings.Join(limits, " and "), strings.Join(raise, " and "))
}

func (g Guards) limits() (part float64, count int) {
	part, count = g.MaxDeletePart, g.MaxDeletes
	if part == 0 {
		part = promotion.DefaultMaxDeletePart
	}
	if count == 0 {
		count = promotion.DefaultMaxDeletes
	}
	return part, count
}

// keepCarried keeps what would be too large a share of any one environment that
// is taken over, however few objects that are: last good is another's then, and
// says nothing about them. The next release that is verified decides. A refusal
// would keep last good from coming back.
func keepCarried(g Guards, owned []Owned, changes []Change) []Change {
	part, count := g.limits()
	carried, total, doomed := map[manifest.ID][]string{}, map[string]int{}, map[string]int{}
	for _, entry := range owned {
		carried[entry.ID] = entry.Carried
		for _, former := range entry.Carried {
			if !entry.Kept {
				total[former]++
			}
		}
	}
	for _, c := range changes {
		for _, former := range carried[c.ID] {
			if c.Action == Delete {
				doomed[former]++
			}
		}
	}
	tooMany := func(former string) bool {
		return doomed[former] > count || float64(doomed[former]) > part*float64(total[former])
	}
	for i, c := range changes {
		if c.Action == Delete && slices.ContainsFunc(carried[c.ID], tooMany) {
			changes[i].Action, changes[i].Reason = Keep, ReasonMassDeletion
		}
	}
	return changes
}
