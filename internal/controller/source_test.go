package controller

import (
	"errors"
	"strings"
	"testing"

	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/reconcile"
)

// An environment whose file names another place keeps what it runs, where it
// runs: applied there anew, its objects here would be nobody's.
func TestTargetThatMovesIsHeld(t *testing.T) {
	t.Parallel()
	id := promotion.ID{Pipeline: "novamind", Name: "staging"}
	at := func(namespace, kubeconfig string) promotion.Environment {
		return promotion.Environment{ID: id, File: "environments/novamind/staging.yaml",
			Target: promotion.Target{Namespace: namespace, Kubeconfig: kubeconfig}}
	}
	running := reconcile.Journal{Running: reconcile.Release{Digest: "d1"}}
	for _, test := range []struct {
		name     string
		from, to promotion.Environment
		journal  reconcile.Journal
		want     promotion.Reason
	}{
		{"stays", at("a", ""), at("a", ""), running, ""},
		{"another namespace", at("a", ""), at("b", ""), running, promotion.TargetMoved},
		{"another cluster", at("a", ""), at("a", "west"), running, promotion.TargetMoved},
		{"runs nothing yet", at("a", ""), at("b", ""), reconcile.Journal{}, ""},
		{"is new", promotion.Environment{}, at("b", ""), running, ""},
	} {
		c := New(Ports{}, Config{})
		c.environment(id).file = test.from
		set := promotion.Set{Environments: map[promotion.ID]promotion.Environment{id: test.to}}
		got := c.environmentSeen(id, reconcile.Environment{Journal: test.journal}, set, true)
		if got.Fault != test.want {
			t.Errorf("%s: fault %q, want %q", test.name, got.Fault, test.want)
		}
		kept := c.environment(id).file.Target.Namespace
		if test.want != "" && (kept != "a" || !strings.Contains(c.environment(id).notes[test.want], "namespace a")) {
			t.Errorf("%s: keeps namespace %q and says %q; want the old one", test.name, kept, c.environment(id).notes[test.want])
		}
	}
}

// An environment of a pipeline whose directory nobody can read is stopped by
// that, and not retired; the others go on.
func TestPitfall01_AnUnreadablePipelineRetiresNothing(t *testing.T) {
	t.Parallel()
	good, bad := promotion.ID{Pipeline: "good", Name: "staging"}, promotion.ID{Pipeline: "bad", Name: "staging"}
	gone := promotion.ID{Pipeline: "good", Name: "production"}
	c := New(Ports{Policies: silent{}, Telemetry: silent{}}, Config{})
	for _, id := range []promotion.ID{good, bad, gone} {
		c.environment(id)
		c.world.Environments = append(c.world.Environments, reconcile.Environment{ID: id})
	}
	c.sourceSeen(look{head: "h1", set: promotion.Set{
		Environments: map[promotion.ID]promotion.Environment{good: {ID: good}},
		Unreadable:   map[string]error{"bad": errors.New("more than 50000 names")},
	}})
	want := map[promotion.ID]promotion.Reason{good: "", bad: promotion.InvalidEnvironment, gone: promotion.Removed}
	for _, e := range c.world.Environments {
		if e.Fault != want[e.ID] {
			t.Errorf("%s: %q, want %q", e.ID, e.Fault, want[e.ID])
		}
	}
	if said := c.environment(bad).notes[promotion.InvalidEnvironment]; said != "more than 50000 names" {
		t.Errorf("it says %q", said)
	}
}
