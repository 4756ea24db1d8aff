package health

import (
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"chaperone.dev/chaperone/internal/expression"
	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/promotion"
)

// Rules are an environment's own about kinds, before those known here. The zero
// value has none.
type Rules struct{ kinds map[schema.GroupKind]rule }

// rule is how objects of a kind are: failed, else ready, else not yet.
type rule struct{ failed, ready *expression.Condition }

// NewRules compiles what an environment's file says, which its decoding has found
// to be right.
func NewRules(written []promotion.HealthRule) (Rules, error) {
	r := Rules{}
	for _, w := range written {
		gk := schema.GroupKind{Group: w.Group, Kind: w.Kind}
		ready, err := expression.Compile(w.Ready)
		if err != nil {
			return Rules{}, fmt.Errorf("health of %s: ready: %w", gk, err)
		}
		compiled := rule{ready: ready}
		if w.Failed != "" {
			if compiled.failed, err = expression.Compile(w.Failed); err != nil {
				return Rules{}, fmt.Errorf("health of %s: failed: %w", gk, err)
			}
		}
		if r.kinds == nil {
			r.kinds = map[schema.GroupKind]rule{}
		}
		r.kinds[gk] = compiled
	}
	return r, nil
}

// Of judges an object as last read from the cluster.
func (r Rules) Of(o *manifest.Object) Status {
	if o == nil || o.Object == nil {
		return Of(o)
	}
	own, found := r.kinds[o.GroupVersionKind().GroupKind()]
	if !found {
		return Of(o)
	}
	if judged, early := early(o); early {
		return judged
	}
	return own.judge(o)
}

// judge takes what cannot be told for unknown: neither ready nor failed. A
// condition that asks for a field which its controller has not written yet is
// that, too.
func (r rule) judge(o *manifest.Object) Status {
	if r.failed != nil {
		failed, err := r.failed.Holds(o.Object)
		switch {
		case err != nil:
			return Status{State: Unknown, Message: "whether it failed " + err.Error()}
		case failed:
			return Status{State: Failed, Definitive: observed(o), Message: "has failed, as its rule in verify.health says"}
		}
	}
	ready, err := r.ready.Holds(o.Object)
	switch {
	case err != nil:
		return Status{State: Unknown, Message: "whether it is ready " + err.Error()}
	case ready:
		return Status{State: Current, Message: "is ready, as its rule in verify.health says"}
	}
	return Status{State: InProgress, Message: "is not ready, as its rule in verify.health says"}
}

// observed reports whether a status says that it is of the present generation; one
// that says of another is not judged. What says neither may be what was written
// before a change: of a mend it would tell that it failed.
func observed(o *manifest.Object) bool {
	_, written, err := unstructured.NestedInt64(o.Object, "status", "observedGeneration")
	return written && err == nil
}

// Inert is Inert of an object that no rule speaks of.
func (r Rules) Inert(o *manifest.Object) bool {
	_, ruled := r.kinds[o.GroupVersionKind().GroupKind()]
	return !ruled && Inert(o)
}
