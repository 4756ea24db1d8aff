package controller

import (
	"context"
	"testing"
	"testing/fstest"
	"time"

	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/reconcile"
	"chaperone.dev/chaperone/internal/source"
)

// What the policies allowed holds for another commit of the same content, and
// for nothing else: not under other policies, another file, or past its time.
func TestUnchanged(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	tests := map[string]struct {
		content string
		change  func(*evaluation)
		want    bool
	}{
		"the same content":                        {content: "d1", want: true},
		"other content":                           {content: "d2"},
		"cannot be rendered":                      {content: "broken"},
		"other policies":                          {content: "d1", change: func(v *evaluation) { v.policy = "p2" }},
		"another file, or upstream moved":         {content: "d1", change: func(v *evaluation) { v.of++ }},
		"the verdict is too old":                  {content: "d1", change: func(v *evaluation) { v.allowed.until = now }},
		"given by a clock that ran ahead":         {content: "d1", change: func(v *evaluation) { v.allowed.until = now.Add(verdictLasts + 1) }},
		"last good is something else":             {content: "d1", change: func(v *evaluation) { v.lastGood.Digest = "d0" }},
		"a rule looks at commits":                 {content: "d1", change: func(v *evaluation) { v.allowed = allowed{} }},
		"another environment runs something else": {content: "d1", change: func(v *evaluation) { v.allowed.around = "a0" }},
		"nothing was verified yet":                {content: "", change: func(v *evaluation) { v.allowed.digest, v.lastGood.Digest = "", "" }},
		"allowed is not what was last good":       {content: "d2", change: func(v *evaluation) { v.allowed.digest = "d2" }},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := New(Ports{Renderer: content{}, Policies: silent{}, Telemetry: silent{}}, Config{Now: func() time.Time { return now }})
			v := &evaluation{
				c: c, policy: "p1", lastGood: reconcile.Release{Digest: "d1"}, of: 3, file: promotion.Environment{ID: staging, Path: "overlays/x"},
				allowed: allowed{digest: "d1", policy: "p1", around: "a1", until: now.Add(time.Minute), of: 3},
			}
			if test.change != nil {
				test.change(v)
			}
			snapshot := tree{MapFS: fstest.MapFS{"overlays/x/content": {Data: []byte(test.content)}}}
			if got := v.unchanged(t.Context(), snapshot, surroundings{digest: "a1"}); got != test.want {
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}
}

// A commit that leaves an environment as it is costs one write of it: the
// status that people see goes with the journal.
func TestOneWriteForACommitThatChangesNothing(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	before := reconcile.Release{Revision: revision(0), Digest: "d1", Policy: "p1"}
	after := reconcile.Release{Revision: revision(1), Digest: "d1", Policy: "p1"}
	store := stored(reconcile.StageNone)
	store.record.Journal.Running, store.record.Journal.LastGood = before, before
	c := replica(t, store, &actor{})
	e := &c.world.Environments[0]
	c.world.Head = before.Revision
	e.Candidates = []reconcile.Candidate{{Release: before, Verdict: reconcile.VerdictAllow, Until: c.world.Now.Add(time.Hour)}}
	c.pass(ctx)
	writes := 0
	for said := ""; said != "runs "+before.Revision.Short()+", verified"; said, writes = store.said() {
		if t.Context().Err() != nil {
			t.Fatalf("at rest it says %q", said)
		}
		time.Sleep(time.Millisecond)
	}

	c.world.Head, c.world.History = after.Revision, []source.Revision{after.Revision, before.Revision}
	e.Candidates = append(e.Candidates, reconcile.Candidate{Release: after, Verdict: reconcile.VerdictAllow, Until: c.world.Now.Add(time.Hour)})
	c.pass(ctx)
	(<-c.events)()
	c.pass(ctx)
	cancel() // ends what watches for drift
	c.work.Wait()
	if got := store.version - writes; got != 1 {
		t.Errorf("written %d times, want 1", got)
	}
	if want := "runs " + after.Revision.Short() + ", verified"; store.record.Message != want || store.record.Journal.LastGood != after {
		t.Errorf("stored are %q and %v", store.record.Message, store.record.Journal.LastGood)
	}
}

// A status that was to go with a write of another writer's turn is shown anew.
func TestStatusOfAFencedEffectIsShownAnew(t *testing.T) {
	t.Parallel()
	r, _ := recorderOf(t, stored(reconcile.StageNone))
	if r.show(shown{message: "begun"}, true) {
		t.Error("a write was asked for that an effect carries out")
	}
	r.hide()
	if r.waiting() != nil {
		t.Error("what another writer has overtaken still waits")
	}
	if !r.show(shown{message: "at rest"}, false) {
		t.Error("no write was asked for")
	}
}
