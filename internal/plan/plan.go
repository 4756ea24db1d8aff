// Package plan decides how a cluster gets from what is there to a release. It
// guarantees that a plan never takes an object from another owner, never
// leaves the environment's target, and never deletes what is protected, was
// made by somebody else, or is missing only because a render came out empty.
package plan

import (
	"fmt"
	"strings"

	"chaperone.dev/chaperone/internal/manifest"
)

// Action is what is to be done about one object.
type Action string

// The actions, in the order in which they appear in a plan.
const (
	Create    Action = "create"
	Update    Action = "update"
	Unchanged Action = "unchanged"
	Replace   Action = "replace" // delete, wait until it is gone, create
	Delete    Action = "delete"  // owned, and no longer rendered
	Keep      Action = "keep"    // no longer rendered, and protected
	Forget    Action = "forget"  // leaves the inventory only: gone, or somebody else's by now
)

// Why a change is what it is, where the action alone does not say it.
const (
	ReasonAdopted         = "Adopted"         // was there without an owner, or is taken over from a tool
	ReasonTakenOver       = "TakenOver"       // belonged to an environment that this one takes over
	ReasonCompleted       = "Completed"       // a Job that has run with this very content
	ReasonHookFailed      = "HookFailed"      // a hook that failed before runs again
	ReasonImmutable       = "Immutable"       // fields changed that cannot be updated in place
	ReasonTerminating     = "Terminating"     // being deleted; created again once it is gone
	ReasonProtectedKind   = "ProtectedKind"   // holds data or other objects, and does not allow it
	ReasonProtected       = "Protected"       // the environment's protect holds it
	ReasonPruneNever      = "PruneNever"      // the object says chaperone.dev/prune: never
	ReasonPruneDisabled   = "PruneDisabled"   // the environment says prune: false
	ReasonSystemNamespace = "SystemNamespace" // a system namespace, or in one
	ReasonOwnObject       = "OwnObject"       // the daemon's own
	ReasonHasOwner        = "HasOwner"        // has an ownerReference: another object decides about it
	ReasonHolds           = "Holds"           // a Namespace or CRD: what is in it, or of it, stays
	ReasonPartialRead     = "PartialRead"     // a part of the API is out of sight; decided when it is back
	// The inventory was lost and is rebuilt from the marks on the objects: kept
	// until a person agrees, by annotating the inventory's ConfigMap.
	ReasonInventoryRebuilt = "InventoryRebuilt"
	ReasonMassDeletion     = "MassDeletion" // of what is taken over, too much for a restore to delete
	ReasonGone             = "Gone"         // is not on the cluster any more
	ReasonNoResult         = "NoResult"     // a hook that is gone, and nobody saw how it ended
	ReasonForeign          = "Foreign"      // was made again by somebody else, or changed owner
)

// Change is one line of a plan.
type Change struct {
	ID     manifest.ID
	Action Action
	Stage  manifest.Stage
	Reason string        // one of the constants above, or ""
	Fields []FieldChange // what an update changes of what we own; redacted
	UID    string        // of the object on the cluster, "" where there is none
	// Loses is what goes with the object when it is replaced, to follow "loses", and
	// Immutable are the fields for which it is, where the server named them.
	Loses     string   `json:",omitempty"`
	Immutable []string `json:",omitempty"`
	// Staged says that the change could not be tried before the apply begins,
	// because what it depends on (its CRD, its Namespace) comes with it.
	Staged bool
	// Tried says that a dry run of the change was accepted.
	Tried bool
	// Adopt says that tools which the environment adopts own fields of the object,
	// which have to be taken over first.
	Adopt bool
	// Gained says that the object on the cluster does not carry the owner's marks
	// yet: it is nobody's, or it is taken over. It is written only if nobody else
	// gets it first.
	Gained bool
	// Refused is why the change cannot be made: a replacement that nobody allowed,
	// and of drift whatever the API server or a guard says no to, or that the object
	// is being deleted and not gone.
	Refused string
	// Digest is SentDigest of the object as rendered, and Owned is OwnedDigest of
	// the one on the cluster; "" where they are not known.
	Digest, Owned string `json:"-"`
	// Known says that the inventory has the object by its UID.
	Known bool
	// Wave is, of a deletion, when its turn comes: those with the same number are
	// deleted side by side. Holders are those that must be gone first.
	Wave    int           `json:"-"`
	Holders []manifest.ID `json:"-"`
	// Object is what is sent, Secrets' values included. It is for the cluster
	// only: it is never marshalled, and printing a Change does not show it.
	Object *manifest.Object `json:"-"`
	// Content is the object before and after, where Input.Contents asked for it.
	Content *Content `json:"-"`
}

// String never shows the object.
func (c Change) String() string {
	text := string(c.Action) + " " + c.ID.String()
	if c.Reason != "" {
		text += " (" + c.Reason + ")"
	}
	if c.Loses != "" {
		text += "\n  loses " + c.Loses
	}
	if len(c.Immutable) > 0 {
		text += "\n  for " + strings.Join(c.Immutable, ", ")
	}
	for _, f := range c.Fields {
		text += "\n  " + f.String()
	}
	return text
}

// GoString keeps %#v from showing the object.
func (c Change) GoString() string { return c.String() }

// FieldChange is one field that differs, with values that may be shown.
type FieldChange struct {
	Path string `json:"path"`
	Old  string `json:"old,omitempty"` // JSON, shortened; "" where the field is absent
	New  string `json:"new,omitempty"`
	By   string `json:"by,omitempty"` // who else wrote it on the cluster, by managedFields
}

func (f FieldChange) String() string {
	return fmt.Sprintf("%s: %s -> %s", f.Path, orNone(f.Old), orNone(f.New))
}

func orNone(value string) string {
	if value == "" {
		return "(none)"
	}
	return value
}

// Plan is the ordered changes: what is applied in apply order, then what is
// deleted in the reverse of it, then what is kept or forgotten.
type Plan struct {
	Changes []Change
	// Refused is why the plan must not be carried out. It is still shown.
	Refused *Refusal
}

// Count is the number of changes with an action.
func (p Plan) Count(action Action) int {
	n := 0
	for _, c := range p.Changes {
		if c.Action == action {
			n++
		}
	}
	return n
}

// Applies are the changes that write to the cluster, deletions left out.
func (p Plan) Applies() []Change {
	return p.with(Create, Update, Replace)
}

// Deletes are what a prune would delete.
func (p Plan) Deletes() []Change { return p.with(Delete) }

func (p Plan) with(actions ...Action) []Change {
	var chosen []Change
	for _, c := range p.Changes {
		for _, action := range actions {
			if c.Action == action {
				chosen = append(chosen, c)
			}
		}
	}
	return chosen
}

// Quiet reports whether the cluster is what the release asks for.
func (p Plan) Quiet() bool { return len(p.Applies()) == 0 && len(p.Deletes()) == 0 }

// Summary is one line: "3 create, 1 update, 12 unchanged".
func (p Plan) Summary() string {
	var parts []string
	for _, action := range []Action{Create, Update, Replace, Delete, Keep, Unchanged} {
		if n := p.Count(action); n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, action))
		}
	}
	if len(parts) == 0 {
		return "nothing"
	}
	return strings.Join(parts, ", ")
}
