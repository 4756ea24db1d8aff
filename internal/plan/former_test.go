package plan

import (
	"strings"
	"testing"

	"chaperone.dev/chaperone/internal/manifest"
)

// renamed takes over what shop/testing owns.
var renamed = Owner{Environment: "store/testing", SetID: "applyset-y-v1", Namespace: "shop",
	Formerly: []Former{{Environment: "shop/old"}, {Environment: owner.Environment, SetID: owner.SetID}}}

func marked(t *testing.T, annotation, label string) *manifest.Object {
	t.Helper()
	text := "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: shop, uid: u"
	if annotation != "" {
		text += ", annotations: {" + AnnotationEnvironment + ": " + annotation + "}"
	}
	if label != "" {
		text += ", labels: {" + LabelPartOf + ": " + label + "}"
	}
	return object(t, text+"}")
}

func TestWhatIsTakenOver(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		annotation, label string
		takes             bool
		other             string
	}{
		"both marks":                         {"shop/testing", "applyset-x-v1", true, ""},
		"the annotation alone":               {"shop/testing", "", true, ""},
		"the label alone":                    {"", "applyset-x-v1", true, ""},
		"no marks":                           {"", "", false, ""},
		"its own":                            {"store/testing", "applyset-y-v1", false, ""},
		"its own annotation, a former label": {"store/testing", "applyset-x-v1", false, ""},
		"the same name in another target":    {"shop/testing", "applyset-far-v1", false, "environment shop/testing"},
		"another former one's label":         {"shop/old", "applyset-x-v1", false, "environment shop/old"},
		"another environment":                {"shop/staging", "applyset-z-v1", false, "environment shop/staging"},
		"another label":                      {"", "applyset-z-v1", false, "ApplySet applyset-z-v1"},
	} {
		live := marked(t, c.annotation, c.label)
		if got := renamed.TakesOver(live); got != c.takes {
			t.Errorf("%s: taken over %v, want %v", name, got, c.takes)
		}
		if got := renamed.Other(live); got != c.other {
			t.Errorf("%s: belongs to %q, want %q", name, got, c.other)
		}
		if owns := renamed.Owns(live); owns != (c.takes || strings.HasPrefix(c.annotation, "store/")) {
			t.Errorf("%s: owned %v", name, owns)
		}
		alone := Owner{Environment: renamed.Environment, SetID: renamed.SetID}
		if alone.TakesOver(live) {
			t.Errorf("%s: taken over by an environment that says nothing of it", name)
		}
	}
}

func TestFateOfWhatIsTakenOver(t *testing.T) {
	t.Parallel()
	allowed := Guards{Prune: true}
	for name, c := range map[string]struct {
		annotation, uid string
		want            Action
	}{
		"the former one's":                {"shop/testing", "u", Delete},
		"its own by now":                  {"store/testing", "u", Delete},
		"made again by somebody":          {"shop/testing", "before", Forget},
		"another environment's by now":    {"shop/staging", "u", Forget},
		"never confirmed, and it is ours": {"shop/testing", "", Delete},
		"never confirmed, and unmarked":   {"", "", Forget},
	} {
		label := owner.SetID
		if c.annotation == "" {
			label = ""
		}
		live := marked(t, c.annotation, label)
		if got := fate(renamed, allowed, Owned{ID: manifest.IDOf(live), UID: c.uid}, live); got.Action != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
	live := marked(t, "shop/testing", owner.SetID)
	alone := renamed
	alone.Formerly = nil
	if got := fate(alone, allowed, Owned{ID: manifest.IDOf(live), UID: "u"}, live); got.Action != Forget {
		t.Errorf("without being named: %s, want it left to its owner", got)
	}
}

// A migration has run under the former name, and has left: it does not run
// again under the new one.
func TestHookThatRanUnderTheFormerName(t *testing.T) {
	t.Parallel()
	job := hook("pre-deploy", "migrate:1")
	before, now := prepared(t, job), object(t, job)
	if err := renamed.Mark(now); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		owner   Owner
		applied string
		want    Action
	}{
		"under the former name":   {renamed, Applied(before), Unchanged},
		"under the new one":       {renamed, Applied(now), Unchanged},
		"with other content":      {renamed, Applied(object(t, hook("pre-deploy", "migrate:0"))), Create},
		"under an unrelated name": {Owner{Environment: "store/testing", SetID: renamed.SetID, Namespace: "shop"}, Applied(before), Create},
	} {
		p, err := Build(Input{Owner: c.owner, Manager: manager, Redact: redact, Desired: renderedSet(t, now),
			Owned: []Owned{{ID: manifest.IDOf(now), UID: "1", Applied: c.applied}}})
		if err != nil || len(p.Changes) != 1 || p.Changes[0].Action != c.want {
			t.Errorf("%s: %v, %v; want %s", name, p.Changes, err, c.want)
		}
	}
}

func TestWhatIsGained(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		annotation, label, reason string
		gained                    bool
	}{
		"its own":          {"store/testing", "applyset-y-v1", ReasonAdopted, false}, // no field of it is ours yet
		"the former one's": {"shop/testing", "applyset-x-v1", ReasonTakenOver, true},
		"nobody's":         {"", "", ReasonAdopted, true},
	} {
		live := marked(t, c.annotation, c.label)
		if c.reason == ReasonTakenOver {
			live = applied(live, manager, `{"f:metadata":{"f:labels":{}}}`)
		}
		sent := object(t, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: shop}\ndata: {a: b}")
		if err := renamed.Mark(sent); err != nil {
			t.Fatal(err)
		}
		tried := applied(sent, manager, `{"f:data":{"f:a":{}}}`)
		p, err := Build(Input{Owner: renamed, Manager: manager, Redact: redact, Desired: renderedSet(t, sent),
			Seen: map[manifest.ID]Seen{manifest.IDOf(sent): {Live: live, Send: sent, Tried: tried}}})
		if err != nil || len(p.Changes) != 1 || p.Changes[0].Action != Update || p.Changes[0].Gained != c.gained || p.Changes[0].Reason != c.reason {
			t.Errorf("%s: %+v, %v; want it gained %v because of %q", name, p.Changes, err, c.gained, c.reason)
		}
	}
}
