package plan

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/strictyaml"
)

// IsRollback reports whether an object is a Job that undoes a migration.
func IsRollback(o *manifest.Object) bool {
	return IsJob(o) && manifest.StageOf(o) == manifest.StageRollback
}

// Undoes reports whether a rollback hook is there for a pre-deploy hook: it names
// it in chaperone.dev/undoes, or names none and is there for all of its release.
func Undoes(rollback, migration *manifest.Object) bool {
	names, said := rollback.GetAnnotations()[manifest.AnnotationUndoes]
	if !said {
		return true
	}
	return slices.ContainsFunc(strings.Split(names, ","), func(name string) bool { return strings.TrimSpace(name) == migration.GetName() })
}

// checkUndoes finds names that mean nothing: a rollback hook that is there for no
// migration would leave one without a way back.
func checkUndoes(release manifest.Set, o *manifest.Object) error {
	names, said := o.GetAnnotations()[manifest.AnnotationUndoes]
	if !said {
		return nil
	}
	if !IsRollback(o) {
		return fmt.Errorf("%s: the object is no Job with %s: rollback; remove it", manifest.AnnotationUndoes, manifest.AnnotationHook)
	}
	var known []string
	for _, other := range release.Objects() {
		if IsHook(other) && manifest.StageOf(other) == manifest.StagePreDeploy {
			known = append(known, other.GetName())
		}
	}
	for name := range strings.SplitSeq(names, ",") {
		if name = strings.TrimSpace(name); slices.Contains(known, name) {
			continue
		}
		if near := strictyaml.Nearest(name, known); near != "" {
			return fmt.Errorf("%s: %.80q is no pre-deploy hook of the release; did you mean %q?", manifest.AnnotationUndoes, name, near)
		}
		return fmt.Errorf("%s: %.80q is no pre-deploy hook of the release; name one, or several with commas between", manifest.AnnotationUndoes, name)
	}
	return nil
}

// rollbacks are the rollback hooks of a release.
func rollbacks(set manifest.Set) []*manifest.Object {
	return slices.DeleteFunc(slices.Clone(set.Objects()), func(o *manifest.Object) bool { return !IsRollback(o) })
}

// Changed are the pre-deploy hooks that going from one release to the next runs:
// those that the first one has as well ran before.
func Changed(from, to manifest.Set) []*manifest.Object {
	var hooks []*manifest.Object
	for _, o := range to.Objects() {
		if !IsHook(o) || manifest.StageOf(o) != manifest.StagePreDeploy {
			continue
		}
		if old, found := from.Get(manifest.IDOf(o)); !found || !sameContent(old, o) {
			hooks = append(hooks, o)
		}
	}
	return hooks
}

// Undone reports whether a release has a rollback hook for one of its migrations.
func Undone(set manifest.Set, migration *manifest.Object) bool {
	return slices.ContainsFunc(rollbacks(set), func(o *manifest.Object) bool { return Undoes(o, migration) })
}

// Migrations are the digests of the changed hooks that a rollback hook of the
// next release undoes. A first release has nothing to go back to.
func Migrations(from, to manifest.Set) []string {
	if from.Len() == 0 {
		return nil
	}
	var digests []string
	for _, hook := range Changed(from, to) {
		if Undone(to, hook) {
			digests = append(digests, Applied(hook))
		}
	}
	return digests
}

// Rollbacks are the rollback hooks that undo those pre-deploy hooks of a release
// that were begun, in the order in which they run, one after the other: the
// reverse of that of what they undo. A dependency among them counts more.
func Rollbacks(set manifest.Set, begun []*manifest.Object) []*manifest.Object {
	at := places(set)
	latest := func(rollback *manifest.Object) int {
		last := -1
		for _, hook := range begun {
			if Undoes(rollback, hook) {
				last = max(last, at[manifest.IDOf(hook)])
			}
		}
		return last
	}
	hooks := slices.DeleteFunc(rollbacks(set), func(o *manifest.Object) bool { return latest(o) < 0 })
	slices.SortFunc(hooks, func(a, b *manifest.Object) int {
		first, _ := hookOrder(a) // what cannot be read is no order
		second, _ := hookOrder(b)
		return cmp.Or(cmp.Compare(first, second), -cmp.Compare(latest(a), latest(b)), -manifest.IDOf(a).Compare(manifest.IDOf(b)))
	})
	return dependenciesFirst(hooks)
}

// places tells when the objects of a release have their turn in an apply.
func places(set manifest.Set) map[manifest.ID]int {
	changes := make([]Change, 0, set.Len())
	for _, o := range set.Objects() {
		if manifest.StageOf(o) != manifest.StageRollback {
			changes = append(changes, Change{ID: manifest.IDOf(o), Stage: manifest.StageOf(o), Object: o, Action: Create})
		}
	}
	g, cyclic := ordered(changes)
	if cyclic != nil {
		g = stagesOnly(changes)
	}
	at := map[manifest.ID]int{}
	for place, node := range g.inStages() {
		if node < len(changes) {
			at[changes[node].ID] = place
		}
	}
	return at
}

func dependenciesFirst(hooks []*manifest.Object) []*manifest.Object {
	sorted := make([]*manifest.Object, 0, len(hooks))
	seen := map[manifest.ID]bool{}
	var visit func(*manifest.Object)
	visit = func(o *manifest.Object) {
		if seen[manifest.IDOf(o)] {
			return
		}
		seen[manifest.IDOf(o)] = true
		ids, _ := dependsOn(o) // what cannot be read is no order
		for _, other := range hooks {
			if slices.Contains(ids, manifest.IDOf(other)) {
				visit(other)
			}
		}
		sorted = append(sorted, o)
	}
	for _, o := range hooks {
		visit(o)
	}
	return sorted
}

// RollbackState is how far a rollback hook is.
type RollbackState string

// The states of a rollback hook, in the words of an inventory.
const (
	RollbackBegun  RollbackState = "begun"
	RollbackDone   RollbackState = "done"
	RollbackFailed RollbackState = "failed"
)

// RollbackMark is what an inventory remembers of a rollback hook: how far it is
// for one attempt of its release, and how often people had asked by then.
type RollbackMark struct {
	State   RollbackState
	Attempt string // without a slash
	Round   int
	Applied string
}

const rollbackMark = "rollback/"

func (m RollbackMark) String() string {
	return rollbackMark + strings.Join([]string{string(m.State), m.Attempt, strconv.Itoa(m.Round), m.Applied}, "/")
}

// ParseRollbackMark reads what String writes; anything else is the zero mark,
// which is no hook's that was begun.
func ParseRollbackMark(text string) RollbackMark {
	rest, is := strings.CutPrefix(text, rollbackMark)
	parts := strings.Split(rest, "/")
	if !is || len(parts) != 4 {
		return RollbackMark{}
	}
	round, err := strconv.Atoi(parts[2])
	if err != nil {
		return RollbackMark{}
	}
	return RollbackMark{State: RollbackState(parts[0]), Attempt: parts[1], Round: round, Applied: parts[3]}
}

// BegunAs reports whether an inventory remembers that a pre-deploy hook was begun
// with this very content, however it ended.
func (w Owner) BegunAs(sent *manifest.Object, applied string) bool {
	applied = strings.TrimPrefix(strings.TrimPrefix(applied, begunMark), failedMark)
	return applied != "" && (applied == Applied(sent) || w.ranBefore(sent, applied))
}
