package controller

import (
	"testing"
	"time"

	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/reconcile"
)

// What a watched release would be taken back to is kept whatever the file says: it
// may say otherwise by the time that it is needed.
func TestWhatAWatchedReleaseGoesBackToIsKept(t *testing.T) {
	t.Parallel()
	for before, want := range map[reconcile.Digest]int{"": 1, "d1": 2} {
		j := &job{action: reconcile.Action{Kind: reconcile.ActionPrune, Release: reconcile.Release{Digest: "d2"}},
			world: reconcile.World{Environments: []reconcile.Environment{{Journal: reconcile.Journal{Watched: reconcile.Watched{Before: reconcile.Release{Digest: before}}}}}}}
		if got := j.keeps(j.journal()); len(got) != want {
			t.Errorf("before it %q: keeps %q", before, got)
		}
	}
}

// A baseline from before the release is of last good, and not of another attempt
// that was overtaken before it was judged, or that could not be taken back: what
// is as bad as that would pass.
func TestBaselinesAreOfLastGood(t *testing.T) {
	t.Parallel()
	noon := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	good := reconcile.Release{Revision: "c1", Digest: "d1"}
	for name, test := range map[string]struct {
		apply []reconcile.Release // one a minute, each over the one before it
		edit  func(*reconcile.Journal)
		want  time.Time
	}{
		"one release":                    {[]reconcile.Release{{Digest: "d2"}}, nil, noon},
		"one that overtook another":      {[]reconcile.Release{{Digest: "d2"}, {Digest: "d3"}}, nil, noon},
		"one that overtook two":          {[]reconcile.Release{{Digest: "d2"}, {Digest: "d3"}, {Digest: "d4"}}, nil, noon},
		"the same, begun again":          {[]reconcile.Release{{Digest: "d2"}, {Digest: "d3"}, {Digest: "d3"}}, nil, noon},
		"one of an older daemon":         {[]reconcile.Release{{Digest: "d2"}}, func(j *reconcile.Journal) { j.Attempt.Since = time.Time{} }, noon},
		"last good, when another failed": {[]reconcile.Release{{Digest: "d2"}, {Digest: "d3"}}, func(j *reconcile.Journal) { j.Attempt.Stage = reconcile.StageProving }, noon},
		"after what could not be taken back": {[]reconcile.Release{{Digest: "d3"}}, func(j *reconcile.Journal) {
			j.Attempt.Before = reconcile.Release{Digest: "d2"}
		}, noon.Add(-time.Hour)},
	} {
		w := reconcile.World{Now: noon, Environments: []reconcile.Environment{{ID: staging, Journal: reconcile.Journal{
			Running: good, LastGood: good, Verified: []reconcile.Verified{{Release: good, At: noon.Add(-time.Hour)}},
		}}}}
		for _, r := range test.apply {
			w = reconcile.Begin(w, reconcile.Action{Kind: reconcile.ActionApply, Environment: staging, Release: r})
			w.Now = w.Now.Add(time.Minute)
		}
		if test.edit != nil {
			test.edit(&w.Environments[0].Journal)
		}
		j := &job{world: w, action: reconcile.Action{Kind: reconcile.ActionVerify, Environment: staging}, file: promotion.Environment{ID: staging}}
		if got := j.against(); !got.Without.Equal(test.want) || !got.Good.Equal(noon.Add(-time.Hour)) {
			t.Errorf("%s: %+v, want until %s", name, got, test.want)
		}
	}
}
