package controller

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/policy"
	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/reconcile"
	"chaperone.dev/chaperone/internal/source"
	"chaperone.dev/chaperone/internal/state"
)

// imaging renders a directory to a Deployment of the image that its file names.
type imaging struct {
	content
	renders int
}

func (i *imaging) Render(ctx context.Context, s source.Snapshot, dir string) (manifest.Set, manifest.Digest, error) {
	i.renders++
	_, digest, err := i.content.Render(ctx, s, dir)
	if err != nil {
		return manifest.Set{}, "", err
	}
	objects, err := manifest.Decode("a.yaml", fmt.Appendf(nil, `apiVersion: apps/v1
kind: Deployment
metadata: {name: api, namespace: demo}
spec: {template: {spec: {containers: [{name: app, image: %s, env: [{name: DATABASE, value: "postgresql://db/%s"}]}]}}}
`, digest, digest))
	if err != nil {
		return manifest.Set{}, "", err
	}
	set, err := manifest.NewSet(objects)
	return set, digest, err
}

// looking are policies that look at other environments.
type looking struct{ silent }

func (looking) Around(promotion.Data) (policy.PodTemplates, policy.Looks) {
	return policy.StandardPodTemplates(), policy.Looks{Upstream: true, Pipeline: true, LastGood: true}
}

// bundleless is a store that has lost its bundles, or cannot be asked.
type bundleless struct {
	memory
	err error
}

func (b *bundleless) Bundle(context.Context, promotion.ID, reconcile.Digest) (manifest.Set, error) {
	return manifest.Set{}, b.err
}

var production = promotion.ID{Pipeline: "demo", Name: "production"}

// surrounded is an evaluation in production, with staging before it, which
// verified a, b and c in turn.
func surrounded(policies Policies, store Store, renderer Renderer) *evaluation {
	a := &actor{branch: branch{{"overlays/staging/content": "a"}, {"overlays/staging/content": "b"}, {"overlays/staging/content": "c"}, {"overlays/staging/content": "d"}}}
	c := New(Ports{Source: a, Renderer: renderer, Policies: policies, Telemetry: silent{}, Store: store}, Config{Redactor: manifest.NewRedactor([]byte("0123456789abcdef"))})
	file := promotion.Environment{ID: staging, Path: "overlays/staging", Data: promotion.DataAnonymized}
	good := reconcile.Release{Revision: revision(2), Digest: "c"}
	return &evaluation{
		c: c, policy: "p1", file: promotion.Environment{ID: production, After: []promotion.ID{staging}, Path: "overlays/production"},
		around:   []neighbour{{file: file, lastGood: good}},
		upstream: []upstream{{id: staging, path: file.Path, verified: good, before: []reconcile.Digest{"a", "b", "c"}}},
	}
}

func lookedAt(t *testing.T, v *evaluation, at source.Revision) surroundings {
	t.Helper()
	v.action.Release.Revision = at
	snapshot, err := v.c.Source.Snapshot(at)
	if err != nil {
		t.Fatal(err)
	}
	s, err := v.lookAround(t.Context(), snapshot)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Upstream may have gone on since it verified what is promoted now: what counts
// is what it ran at this very revision, if it verified that, and what it
// verified last otherwise.
func TestUpstreamIsWhatWasVerifiedOfThisRevision(t *testing.T) {
	t.Parallel()
	renderer := &imaging{}
	v := surrounded(looking{}, &bundleless{err: state.ErrNoBundle}, renderer)
	for at, want := range []string{"a", "b", "c", "c"} {
		s := lookedAt(t, v, revision(at))
		u := s.upstream[0]
		if u.State != policy.StateVerified || !slices.Equal(u.Images, []string{want}) || !slices.Equal(u.Workloads, []string{"Deployment.apps/api"}) || string(u.Digest) != want {
			t.Errorf("revision %d: %+v, want what was verified: image %s", at, u, want)
		}
		n := s.pipeline[0]
		if n.Order != policy.OrderBefore || n.State != policy.StateVerified || len(n.References) != 1 || !strings.Contains(n.References[0].Identity, "db.") {
			t.Errorf("revision %d: neighbour %+v, want the database of last good", at, n)
		}
		if len(s.looked) != 2 || s.looked[0] != (reconcile.Upstream{ID: staging, Digest: "c"}) || s.looked[1] != s.looked[0] {
			t.Errorf("revision %d: looked at %+v, want staging's last good", at, s.looked)
		}
	}
	renders := renderer.renders
	lookedAt(t, v, revision(1))
	if renderer.renders != renders {
		t.Errorf("rendered %d times more for what was known", renderer.renders-renders)
	}
}

// A commit that changes nothing around gives the same surroundings.
func TestSurroundingsAreComparedByContent(t *testing.T) {
	t.Parallel()
	v := surrounded(looking{}, &bundleless{err: state.ErrNoBundle}, &imaging{})
	before := lookedAt(t, v, revision(2)).digest
	v.around[0].lastGood.Revision, v.upstream[0].verified.Revision = revision(2), revision(2)
	v.action.Release.Revision = revision(3)
	if after := lookedAt(t, v, revision(3)).digest; after != before {
		t.Error("the same at another revision counts as another")
	}
	if other := lookedAt(t, v, revision(0)).digest; other == before {
		t.Error("another image counts as the same")
	}
}

// Where no rule looks, nothing is read; what cannot be read is unknown, or asked
// for again; nothing verified is none.
func TestWhatIsNotKnownAround(t *testing.T) {
	t.Parallel()
	renderer := &imaging{}
	v := surrounded(silent{}, &bundleless{err: errors.New("not to be asked")}, renderer)
	if s := lookedAt(t, v, revision(0)); renderer.renders != 0 || s.looked != nil || s.digest != "" || s.upstream[0].State != "" {
		t.Errorf("nobody looks: %d renders, %+v", renderer.renders, s)
	}
	gone := func(err error) *evaluation {
		v := surrounded(looking{}, &bundleless{err: err}, &imaging{})
		v.around[0].lastGood.Digest, v.upstream[0].verified.Digest = "lost", "lost"
		v.upstream[0].before = []reconcile.Digest{"lost"}
		return v
	}
	if s := lookedAt(t, gone(state.ErrNoBundle), revision(0)); s.upstream[0].State != policy.StateUnknown || s.pipeline[0].State != policy.StateUnknown {
		t.Errorf("lost: %+v, want unknown", s.upstream[0])
	}
	v = gone(errors.New("the API server is away"))
	snapshot, _ := v.c.Source.Snapshot(revision(0))
	if _, err := v.lookAround(t.Context(), snapshot); err == nil || !strings.Contains(err.Error(), "the API server is away") {
		t.Errorf("error %v, want it to be asked for again", err)
	}
	v = surrounded(looking{}, &bundleless{}, &imaging{})
	v.around[0].lastGood, v.upstream[0].verified, v.upstream[0].before = reconcile.Release{}, reconcile.Release{}, nil
	if s := lookedAt(t, v, revision(0)); s.upstream[0].State != policy.StateNone || s.pipeline[0].State != policy.StateNone || s.lastGood.State != policy.StateNone {
		t.Errorf("nothing verified: %+v, want none", s)
	}
}

// What never had a valid file is told of; what has none any more is not.
func TestNeighboursThatCannotBeRead(t *testing.T) {
	t.Parallel()
	v := surrounded(looking{}, &bundleless{err: state.ErrNoBundle}, &imaging{})
	odd, gone := promotion.ID{Pipeline: "demo", Name: "odd"}, promotion.ID{Pipeline: "demo", Name: "gone"}
	v.c.world.Environments = []reconcile.Environment{{ID: odd, Fault: promotion.InvalidEnvironment}, {ID: gone}, {ID: production}}
	v.around = v.c.neighbours(production)
	v.upstream = nil
	s := lookedAt(t, v, revision(2))
	if len(s.pipeline) != 1 || s.pipeline[0].Environment != odd || s.pipeline[0].Data != policy.DataUnknown || s.pipeline[0].State != policy.StateUnknown {
		t.Errorf("%+v; want odd alone, of which nothing is known", s.pipeline)
	}
	v.around = nil
	if without := lookedAt(t, v, revision(2)); without.digest == s.digest {
		t.Error("a verdict without it would be kept")
	}
}
