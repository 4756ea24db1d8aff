package controller

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"chaperone.dev/chaperone/internal/forge"
	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/reconcile"
	"chaperone.dev/chaperone/internal/source"
)

func TestStatusesTellWhereACommitIs(t *testing.T) {
	t.Parallel()
	good, next := reconcile.Release{Revision: "r1", Digest: "d1"}, reconcile.Release{Revision: "r2", Digest: "d2"}
	at := func(stage reconcile.Stage) reconcile.Journal {
		return reconcile.Journal{LastGood: good, Attempt: reconcile.Attempt{Release: next, Stage: stage}}
	}
	for name, test := range map[string]struct {
		journal reconcile.Journal
		wanted  reconcile.Release
		want    string // commit and state
	}{
		"at rest":             {reconcile.Journal{LastGood: good}, good, ""},
		"a commit like it":    {reconcile.Journal{LastGood: good}, reconcile.Release{Revision: "r2", Digest: "d1"}, ""},
		"not known yet":       {reconcile.Journal{LastGood: good}, reconcile.Release{Revision: "r2"}, ""},
		"waits":               {reconcile.Journal{LastGood: good}, next, "r2 pending"},
		"is applied":          {at(reconcile.StageApplying), next, "r2 pending"},
		"is verified":         {at(reconcile.StageVerifying), next, "r2 pending"},
		"was verified":        {at(reconcile.StagePruning), next, "r2 success"},
		"failed":              {at(reconcile.StageRestoring), next, "r2 failure"},
		"is being taken back": {at(reconcile.StageReverting), next, "r2 failure"},
		"drift is put back":   {at(reconcile.StageCorrecting), good, ""},
		"is held":             {reconcile.Journal{LastGood: good, Quarantine: []reconcile.Digest{"d2"}}, next, "r2 failure"},
		"was taken back": {reconcile.Journal{LastGood: good, LastRevert: reconcile.Revert{Guilty: "r2", Commit: "r3"}},
			reconcile.Release{Revision: "r3", Digest: "d1"}, "r2 failure"},
	} {
		view := EnvironmentView{ID: staging, Journal: test.journal, Message: "the sentence",
			Status: reconcile.Status{Reason: promotion.Verifying, Wanted: test.wanted}}
		var got []string
		for commit, status := range statusesOf(view) {
			got = append(got, string(commit)+" "+string(status.State))
			if status.Context != "chaperone/"+staging.String() || status.Description == "" {
				t.Errorf("%s: %+v", name, status)
			}
		}
		if strings.Join(got, ", ") != test.want {
			t.Errorf("%s: %q, want %q", name, got, test.want)
		}
		view.Movers = map[source.Revision]source.Revision{"r2": "m2"}
		all := statusesOf(view)
		if all["m2"] != all["r2"] || all["m2"].State == "" != (test.want == "") {
			t.Errorf("%s, of the commit that moved the pin: %+v, want %+v", name, all["m2"], all["r2"])
		}
	}
}

// setting is a forge that takes statuses, or says why not.
type setting struct {
	Forge
	err error
	set []string
}

func (f *setting) SetStatus(_ context.Context, commit source.Revision, status forge.Status) error {
	f.set = append(f.set, string(commit)+" "+string(status.State))
	return f.err
}

// What was not heard is said again, what stands is not, and what the forge will
// not have stands in nobody's way.
func TestStatusesAreSetOnce(t *testing.T) {
	t.Parallel()
	f := &setting{}
	p := newPulls(New(Ports{Forge: f}, Config{Log: slog.New(slog.DiscardHandler)}))
	tell := func(stage reconcile.Stage) {
		p.offer(View{Environments: []EnvironmentView{{ID: staging, Journal: reconcile.Journal{
			Attempt: reconcile.Attempt{Release: reconcile.Release{Revision: "r1", Digest: "d1"}, Stage: stage}}}}})
	}
	set := func(err error, want ...string) {
		t.Helper()
		f.err, f.set = err, nil
		got := p.setStatuses(t.Context())
		final := errors.Is(err, forge.ErrNotFound)
		if strings.Join(f.set, ", ") != strings.Join(want, ", ") || (got == nil) != (err == nil || final) {
			t.Errorf("set %q, %v; want %q, %v", f.set, got, want, err)
		}
	}
	tell(reconcile.StageApplying)
	set(forge.Fault("set", "o/r", forge.ErrUnavailable), "r1 pending")
	set(forge.Fault("set", "o/r", forge.Answered(401, "")), "r1 pending")
	set(nil, "r1 pending")
	set(nil)
	tell(reconcile.StagePruning)
	tell(reconcile.StageNone) // the forge was slow; what was told stands
	set(forge.Fault("set", "o/r", forge.Answered(404, "")), "r1 success")
	set(nil)
}

// Where nothing is to be pruned an environment is at rest as soon as its release is
// verified: nobody sees a moment in between.
func TestStatusOfWhatWasVerifiedAtOnce(t *testing.T) {
	t.Parallel()
	f := &setting{}
	p := newPulls(New(Ports{Forge: f, Source: lineage{}}, Config{Log: slog.New(slog.DiscardHandler)}))
	release := func(revision source.Revision, digest reconcile.Digest) reconcile.Release {
		return reconcile.Release{Revision: revision, Digest: digest}
	}
	sees := func(good, wanted reconcile.Release, attempt reconcile.Attempt, want ...string) {
		t.Helper()
		p.offer(View{Environments: []EnvironmentView{{ID: staging, Status: reconcile.Status{Reason: promotion.Verifying, Wanted: wanted},
			Movers: map[source.Revision]source.Revision{"r2": "m2"}, Journal: reconcile.Journal{LastGood: good, Attempt: attempt}}}})
		f.set = nil
		if err := p.setStatuses(t.Context()); err != nil || strings.Join(f.set, ", ") != strings.Join(want, ", ") {
			t.Errorf("set %q, %v; want %q", f.set, err, want)
		}
	}
	first, second, otherwise := release("r1", "d1"), release("r2", "d2"), release("r2", "d3")
	verifying := func(r reconcile.Release) reconcile.Attempt {
		return reconcile.Attempt{Release: r, Stage: reconcile.StageVerifying}
	}
	sees(first, first, reconcile.Attempt{}) // what was there before says nothing
	sees(first, second, verifying(second), "m2 pending", "r2 pending")
	sees(second, second, reconcile.Attempt{}, "m2 success", "r2 success")
	sees(second, second, reconcile.Attempt{})
	sees(second, otherwise, reconcile.Attempt{}, "m2 pending", "r2 pending")
	sees(second, otherwise, verifying(otherwise))
	sees(otherwise, otherwise, reconcile.Attempt{}, "m2 success", "r2 success")
}

// lineage is a branch of which only the order is known.
type lineage struct {
	Source
	line []source.Revision // the oldest first
}

func (l lineage) FirstParents(_ context.Context, after, upTo source.Revision, _ int) ([]source.Commit, error) {
	for i, r := range l.line {
		if r == upTo && slices.Contains(l.line[:i], after) {
			return nil, nil
		}
	}
	return nil, source.ErrNotAncestor
}

// A commit that a newer one overtook is verified with that one. One that came
// after what is verified, or stands on another line, waits on.
func TestOvertakenCommitsAreVerifiedWithTheNext(t *testing.T) {
	t.Parallel()
	f := &setting{}
	p := newPulls(New(Ports{Forge: f, Source: lineage{line: []source.Revision{"r0", "r1", "r2", "r3"}}}, Config{Log: slog.New(slog.DiscardHandler)}))
	sees := func(good, wanted source.Revision, want ...string) {
		t.Helper()
		p.offer(View{Environments: []EnvironmentView{{ID: staging,
			Status:  reconcile.Status{Reason: promotion.WaitingForUpstream, Wanted: reconcile.Release{Revision: wanted, Digest: reconcile.Digest(wanted)}},
			Journal: reconcile.Journal{LastGood: reconcile.Release{Revision: good, Digest: reconcile.Digest(good)}}}}})
		f.set = nil
		if err := p.setStatuses(t.Context()); err != nil || strings.Join(f.set, ", ") != strings.Join(want, ", ") {
			t.Errorf("set %q, %v; want %q", f.set, err, want)
		}
	}
	sees("r0", "r1", "r1 pending")
	sees("r0", "elsewhere", "elsewhere pending")
	sees("r0", "r3", "r3 pending")
	sees("r2", "r3", "r1 success")
	sees("r2", "r3")
	sees("r0", "r0") // taken back: it was verified with the other one
}
