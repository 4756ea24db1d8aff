package preview

import (
	"slices"
	"testing"
	"time"

	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/reconcile"
	"chaperone.dev/chaperone/internal/source"
)

func TestKnown(t *testing.T) {
	t.Parallel()
	id, before := promotion.ID{Pipeline: "shop", Name: "production"}, promotion.ID{Pipeline: "shop", Name: "staging"}
	const pin, other source.Revision = "1111111111111111111111111111111111111111", "2222222222222222222222222222222222222222"
	at := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	ready := Record{Status: reconcile.Status{Phase: reconcile.PhaseReady, Reason: promotion.UpToDate},
		Journal: reconcile.Journal{LastGood: reconcile.Release{Digest: "sha256:good"}, Quarantine: []reconcile.Digest{"sha256:bad"},
			Verified: []reconcile.Verified{{Release: reconcile.Release{Revision: other}, At: at}, {Release: reconcile.Release{Revision: pin}, At: at}}}}
	held := Record{Status: reconcile.Status{Phase: reconcile.PhaseHeld, Reason: promotion.RevertConflict}, Message: "later commits changed the same"}
	for name, test := range map[string]struct {
		environment Environment
		records     map[promotion.ID]Record
		want        []string
	}{
		"unknown": {Environment{ID: id, To: "sha256:x"}, nil, nil},
		"ready":   {Environment{ID: id, To: "sha256:x"}, map[promotion.ID]Record{id: ready}, nil},
		"failed before": {Environment{ID: id, To: "sha256:bad"}, map[promotion.ID]Record{id: ready},
			[]string{"Quarantined: this very release failed here before, and is not applied again by itself"}},
		"there already": {Environment{ID: id, To: "sha256:good"}, map[promotion.ID]Record{id: ready}, []string{"it runs this very release, and has verified it"}},
		"held":          {Environment{ID: id}, map[promotion.ID]Record{id: held}, []string{"it is Held now (RevertConflict): later commits changed the same"}},
		"verified": {Environment{ID: id, Effect: Promoted, Pin: pin, After: []promotion.ID{before}}, map[promotion.ID]Record{before: ready},
			[]string{"shop/staging verified 111111111111 at 2026-11-22 12:00 UTC"}},
		"not verified": {Environment{ID: id, Effect: Promoted, Pin: "3333333333333333333333333333333333333333", After: []promotion.ID{before}}, map[promotion.ID]Record{before: ready},
			[]string{"shop/staging has not verified 333333333333 itself; it verified 222222222222 at 2026-11-22 12:00 UTC"}},
		"nothing verified": {Environment{ID: id, Effect: Promoted, Pin: pin, After: []promotion.ID{before}}, map[promotion.ID]Record{before: held},
			[]string{"shop/staging has verified nothing yet"}},
		"upstream unknown": {Environment{ID: id, Effect: Promoted, Pin: pin, After: []promotion.ID{before}}, nil, []string{"shop/staging is not known to the daemon"}},
		"later":            {Environment{ID: id, Effect: Later, Pin: pin, After: []promotion.ID{before}}, map[promotion.ID]Record{before: ready}, nil},
	} {
		if got := test.environment.Known(test.records); !slices.Equal(got, test.want) {
			t.Errorf("%s: %q, want %q", name, got, test.want)
		}
	}
}
