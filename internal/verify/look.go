package verify

import (
	"context"
	"maps"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"chaperone.dev/chaperone/internal/health"
	"chaperone.dev/chaperone/internal/manifest"
)

// Live is how the objects of a release are read.
type Live struct {
	// Look reads those that are wanted as they are on the cluster now, and which
	// of them are not there. It is called every poll, never concurrently, and must
	// be safe to repeat.
	Look func(ctx context.Context, wanted func(manifest.ID) bool) (objects map[manifest.ID]*manifest.Object, missing []manifest.ID, err error)
	// Why reads what objects that are not ready control (ReplicaSets, Pods). It is
	// asked once, when they have failed: that is evidence and is not judged. What
	// cannot be read is left out. nil tells nothing.
	Why func(ctx context.Context, unready map[manifest.ID]*manifest.Object) map[manifest.ID]*manifest.Object
	// Pods reads all ReplicaSets and Pods that workloads control; its error is that
	// they are not all. nil: nobody asks.
	Pods func(ctx context.Context, workloads map[manifest.ID]*manifest.Object) (map[manifest.ID]*manifest.Object, error)
	// Rules are how the environment wants kinds judged.
	Rules health.Rules
}

// whyWithin bounds the asking for evidence: a restore waits for it.
const whyWithin = 5 * time.Second

// found is what the last look at a kind has found.
type found struct {
	objects int
	ready   bool // all of them
	inert   bool // all of them, and they are there
}

// sight is what one look has found.
type sight struct {
	objects map[manifest.ID]*manifest.Object
	missing []manifest.ID
	whole   bool // nothing was spared
}

// spared reports whether a look leaves out an object: while others are waited
// for, those of kinds that are ready; while it is made sure that they stay so,
// those of kinds that do not change by themselves. Nothing passes by that: the
// look that finds everything ready, and the one that decides, spare nothing.
func (w *wait) spared(id manifest.ID) bool {
	kind, known := w.kinds[id.GroupKind()]
	if w.readySince.IsZero() {
		return known && kind.ready
	}
	return known && kind.inert
}

// look reads what is not spared and, where that could decide, the rest as well.
func (w *wait) look(ctx context.Context, live Live, clock Clock) (sight, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	spares := false
	objects, missing, err := live.Look(ctx, func(id manifest.ID) bool {
		spared := w.spared(id)
		spares = spares || spared
		return !spared
	})
	seen := sight{objects, missing, !spares}
	if err != nil || !spares || !w.couldDecide(seen, clock.Now()) {
		return seen, err
	}
	rest, absent, err := live.Look(ctx, w.spared)
	if err != nil {
		return seen, err
	}
	all := maps.Clone(objects)
	maps.Copy(all, rest)
	return sight{all, slices.Concat(missing, absent), true}, nil
}

// couldDecide reports whether a look that spared something is one on which a
// verdict would rest: the time is up, or all is ready, were the rest so, too.
func (w *wait) couldDecide(seen sight, now time.Time) bool {
	if w.readySince.IsZero() && now.Sub(w.started) >= w.patience() {
		return true
	}
	s := w.judge(seen.objects, seen.missing)
	if s.Ready < s.Total() {
		return false
	}
	return w.readySince.IsZero() || now.Sub(w.readySince) >= w.settle && w.readyLooks+1 >= w.wanted()
}

// take remembers what was found of each kind, and returns the judgement of all
// objects: those that were spared are as they were.
func (w *wait) take(seen sight) health.Summary {
	s := w.judge(seen.objects, seen.missing)
	if seen.whole {
		clear(w.kinds)
	}
	for gk, kind := range w.kindsOf(seen, s) {
		w.kinds[gk] = kind
	}
	w.addSpared(&s, seen)
	return s
}

// addSpared counts what a look has spared.
func (w *wait) addSpared(s *health.Summary, seen sight) {
	if seen.whole {
		return
	}
	looked := w.kindsOf(seen, *s)
	for gk, kind := range w.kinds {
		if _, told := looked[gk]; !told {
			s.Ready += kind.objects
		}
	}
}

func (w *wait) kindsOf(seen sight, s health.Summary) map[schema.GroupKind]found {
	kinds := map[schema.GroupKind]found{}
	add := func(id manifest.ID, inert bool) {
		kind, known := kinds[id.GroupKind()]
		kinds[id.GroupKind()] = found{kind.objects + 1, true, inert && (kind.inert || !known)}
	}
	for id, o := range seen.objects {
		add(id, w.rules.Inert(o))
	}
	for _, id := range seen.missing {
		add(id, false)
	}
	for _, items := range [][]health.Item{s.Failed, s.Waiting, s.Unknown} {
		for _, item := range items {
			kind := kinds[item.ID.GroupKind()]
			kind.ready = false
			kinds[item.ID.GroupKind()] = kind
		}
	}
	return kinds
}

// explained is the evidence of a fail, with what the pods say.
func (w *wait) explained(ctx context.Context, live Live, seen sight, now time.Time) string {
	unready := maps.Clone(seen.objects)
	maps.DeleteFunc(unready, func(_ manifest.ID, o *manifest.Object) bool { return w.rules.Of(o).State == health.Current })
	if live.Why != nil && len(unready) > 0 {
		asked, cancel := context.WithTimeout(ctx, whyWithin)
		defer cancel()
		all := live.Why(asked, unready)
		if all == nil {
			all = map[manifest.ID]*manifest.Object{}
		}
		maps.Copy(all, seen.objects)
		s := w.judge(all, seen.missing)
		w.addSpared(&s, seen)
		w.last = s
	}
	_, evidence := w.decide(now)
	return evidence
}
