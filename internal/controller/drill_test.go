package controller

import (
	"context"
	"errors"
	"strings"
	"testing"

	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/reconcile"
	"chaperone.dev/chaperone/internal/state"
)

// lossy is a store that has lost its bundles, or in which somebody changed them.
type lossy struct {
	*memory
	bundle error
	put    []reconcile.Digest
}

func (l *lossy) Bundle(context.Context, promotion.ID, reconcile.Digest) (manifest.Set, error) {
	return manifest.Set{}, l.bundle
}

func (l *lossy) PutBundle(_ context.Context, _ promotion.ID, d reconcile.Digest, _ manifest.Set) error {
	l.put = append(l.put, d)
	return nil
}

// Where the bundle of last good is gone, Git may still have it: only where it
// renders to the very same, and not where the store just did not answer.
func TestLostBundleIsMadeAnewFromGit(t *testing.T) {
	t.Parallel()
	down := errors.New("the store is down")
	for _, test := range []struct {
		name   string
		bundle error
		good   reconcile.Release
		want   string // of the error
	}{
		{"gone", state.ErrNoBundle, reconcile.Release{Revision: revision(0), Digest: "d1"}, ""},
		{"broken", state.ErrBrokenBundle, reconcile.Release{Revision: revision(0), Digest: "d1"}, ""},
		{"renders to something else", state.ErrNoBundle, reconcile.Release{Revision: revision(1), Digest: "d1"}, "renders to something else by now"},
		{"Git has it no more", state.ErrNoBundle, reconcile.Release{Revision: revision(7), Digest: "d1"}, "cannot be rendered anew"},
		{"the store is down", down, reconcile.Release{Revision: revision(0), Digest: "d1"}, "the store is down"},
	} {
		store := &lossy{memory: &memory{}, bundle: test.bundle}
		commits := branch{{"overlays/demo/staging/content": "d1"}, {"overlays/demo/staging/content": "d2"}}
		c := New(Ports{Source: &actor{branch: commits}, Renderer: content{}, Store: store}, Config{})
		_, err := c.goodSet(t.Context(), promotion.Environment{ID: staging, Path: "overlays/demo/staging"}, test.good)
		if test.want == "" && (err != nil || len(store.put) != 1 || store.put[0] != "d1") {
			t.Errorf("%s: %v, stored %v; want it made anew and stored", test.name, err, store.put)
		}
		if test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want) || !errors.Is(err, test.bundle) || len(store.put) > 0) {
			t.Errorf("%s: %v, stored %v; want %q", test.name, err, store.put, test.want)
		}
	}
}
