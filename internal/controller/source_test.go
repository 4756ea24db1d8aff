package controller

import (
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
