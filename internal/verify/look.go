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
	// of them are not there. It asks about each object once. It is called every
	// poll, never concurrently, and must be safe to repeat.
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
	// Quiet are kinds of which every object, as it was applied, is ready once it is
	// there, and on which nobody reports. nil: it is looked.
	Quiet map[schema.GroupKind]bool
}

// whyWithin bounds the asking for evidence: a restore waits for it.
const whyWithin = 5 * time.Second

// found is what the last look at a kind has found.
type found struct {
	ready bool // all of them
	inert bool // all of them, and they are there
}

// sight is what one look has found.
type sight struct {
	objects map[manifest.ID]*manifest.Object
	missing []manifest.ID
	looked  int // how many objects were asked for
	spared  int // and how many left out
}

// spared reports whether a look leaves out an object: while others are waited
// for, those of kinds that are ready; while it is made sure that they stay so,
// those of kinds that do not change by themselves. Until a look says otherwise,
// these are there: so said the answers to the apply. Nothing passes by that: the
// look that decides spares nothing.
func (w *wait) spared(id manifest.ID) bool {
	if kind, known := w.kinds[id.GroupKind()]; known && w.readySince.IsZero() {
		return kind.ready
	}
	return w.inert(id)
}

// inert reports whether an object is of a kind that does not change by itself.
func (w *wait) inert(id manifest.ID) bool {
	if kind, known := w.kinds[id.GroupKind()]; known {
		return kind.inert
	}
	return w.quiet[id.GroupKind()]
}

// look reads what is not spared and, where that could decide, the rest as well.
func (w *wait) look(ctx context.Context, live Live, clock Clock) (sight, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	seen := sight{}
	err := seen.add(ctx, live, func(id manifest.ID) bool { return !w.spared(id) })
	if err != nil || seen.spared == 0 {
		return seen, err
	}
	if more := w.besides(seen, clock.Now()); more != nil {
		err = seen.add(ctx, live, func(id manifest.ID) bool { return w.spared(id) && more(id) })
	}
	return seen, err
}

// add reads more of what is there. One that failed adds nothing.
func (s *sight) add(ctx context.Context, live Live, wanted func(manifest.ID) bool) error {
	all, asked := 0, 0
	objects, missing, err := live.Look(ctx, func(id manifest.ID) bool {
		all++
		if !wanted(id) {
			return false
		}
		asked++
		return true
	})
	if err != nil {
		return err
	}
	if s.objects == nil {
		s.objects = map[manifest.ID]*manifest.Object{}
	}
	maps.Copy(s.objects, objects)
	s.missing = slices.Concat(s.missing, missing)
	s.looked += asked
	s.spared = all - s.looked
	return nil
}

// besides are those that were spared and are to be looked at all the same; nil are
// none. A verdict could rest on all of them, and what is said to be ready from now
// on is, as far as it may have changed.
func (w *wait) besides(seen sight, now time.Time) func(manifest.ID) bool {
	all := func(manifest.ID) bool { return true }
	s := w.judge(seen.objects, seen.missing)
	ready, confirmed := s.Ready == s.Total(), w.readyLooks+1 >= w.wanted()
	switch {
	case w.readySince.IsZero() && now.Sub(w.started) >= w.patience():
		return all
	case !ready:
		return nil
	case w.readySince.IsZero() && (s.Total() == 0 || w.settle == 0 && confirmed):
		return all
	case w.readySince.IsZero():
		return func(id manifest.ID) bool { return !w.inert(id) }
	case now.Sub(w.readySince) >= w.settle && confirmed:
		return all
	}
	return nil
}

// take remembers what was found of each kind, and returns the judgement of all
// objects: those that were spared are as they were.
func (w *wait) take(seen sight) health.Summary {
	s := w.judge(seen.objects, seen.missing)
	if seen.spared == 0 {
		clear(w.kinds)
	}
	maps.Copy(w.kinds, w.kindsOf(seen, s))
	s.Ready += seen.spared
	return s
}

func (w *wait) kindsOf(seen sight, s health.Summary) map[schema.GroupKind]found {
	kinds := map[schema.GroupKind]found{}
	add := func(id manifest.ID, inert bool) {
		kind, known := kinds[id.GroupKind()]
		kinds[id.GroupKind()] = found{true, inert && (kind.inert || !known)}
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
		s.Ready += seen.spared
		w.last = s
	}
	_, evidence := w.decide(now)
	return evidence
}
