package reconcile

import (
	"slices"
	"strings"
	"time"

	"chaperone.dev/chaperone/internal/promotion"
)

// Migrations are what a release does beside its objects before they run, by the
// digests of the hooks that do it: sorted, with a space between. Each has a
// rollback hook that undoes it; what has none makes a release irreversible.
type Migrations string

// MigrationsOf joins the digests of hooks.
func MigrationsOf(hooks ...string) Migrations {
	hooks = slices.Clone(hooks)
	slices.Sort(hooks)
	return Migrations(strings.Join(slices.Compact(hooks), " "))
}

// Covers reports whether all of others are among them.
func (m Migrations) Covers(others Migrations) bool {
	for other := range strings.FieldsSeq(string(others)) {
		if !slices.Contains(strings.Fields(string(m)), other) {
			return false
		}
	}
	return true
}

// Undo is what may have been done since last good and has to be undone before
// last good may run again: its programs do not know the new tables.
type Undo struct {
	Release    Release    `json:"release,omitzero"` // whose rollback hooks undo it
	Migrations Migrations `json:"migrations,omitempty"`
	Begun      time.Time  `json:"begun,omitzero"` // names the attempt: its rollback hooks run once
	// Round counts how often people have asked to try again what failed of them.
	Round int `json:"round,omitempty"`
	// Forward: it cannot be taken back for another cause as well, so that what is
	// newer may be applied over it.
	Forward bool `json:"forward,omitempty"`
}

// migrate notes what a release that is about to be applied may do.
func (j *Journal) migrate(a Action, now time.Time) {
	switch {
	case j.Undo.Release.Digest == a.Release.Digest && j.Undo.Migrations != "":
		j.Undo.Release, j.Undo.Forward = a.Release, j.Undo.Forward || a.Irreversible // begun before
	case j.LastGood.Digest == "" || a.Release.Digest == j.LastGood.Digest || a.Migrations == "":
		j.Undo = Undo{}
	default:
		j.Undo = Undo{Release: a.Release, Migrations: a.Migrations, Begun: now, Forward: a.Irreversible}
	}
}

// takesBack is the stage at which a failed attempt is taken back.
func (j *Journal) takesBack() Stage {
	if j.Undo.Migrations != "" && on(guardUndo) {
		return StageUndoing
	}
	return StageRestoring
}

// takeBack brings last good back, or first undoes what came after it.
func (v *verdict) takeBack(release Release, reason promotion.Reason) {
	if undo := &v.e.Journal.Undo; v.e.Journal.takesBack() == StageUndoing {
		v.effect(ActionUndo, undo.Release, promotion.RollingBack)
		return
	}
	v.effect(ActionRestore, release, reason)
}

// undoing: the failed release's rollback hooks run. Where one failed nobody knows
// what the data look like, so neither last good nor anything newer is put over
// them until a person has looked.
func (v *verdict) undoing() {
	if v.e.Journal.Hold.Reason == promotion.RollbackFailed && on(guardHalfUndone) {
		v.is(PhaseHeld, promotion.RollbackFailed)
		return
	}
	v.effect(ActionUndo, v.e.Journal.Undo.Release, promotion.RollingBack)
}

// carriesOn reports whether a release may be applied over what was begun: it
// does all that was done to the data, or nothing was.
func (v *verdict) carriesOn(c *Candidate) bool {
	undo := &v.e.Journal.Undo
	return undo.Forward || c.Migrations.Covers(undo.Migrations) || v.e.Journal.LastGood.Digest == "" || !on(guardCarriesOn)
}

// beginUndo takes back what was begun, like beginRestore.
func (j *Journal) beginUndo(a Action, now time.Time) {
	if j.Attempt.Stage == StageUndoing {
		return
	}
	probe := j.Attempt.Probe && j.Attempt.Stage == StageApplying
	if !probe {
		j.Search = Search{}
	}
	j.Attempt = Attempt{Release: a.Release, Stage: StageUndoing, Started: now, Probe: probe}
	j.Hold = Hold{}
}

// undone takes done, failed (a rollback hook failed, or nobody knows how it
// ended), retry and interrupted.
func (j *Journal) undone(r Result, now time.Time) {
	if j.Attempt.Stage != StageUndoing {
		return
	}
	failed := j.Attempt.Release.Digest
	switch r.Outcome {
	case OutcomeDone:
		j.Attempt.Stage, j.Undo, j.Retry, j.Hold = StageRestoring, Undo{}, Retry{}, Hold{}
	case OutcomeFailed:
		j.Hold, j.Retry = Hold{Reason: promotion.RollbackFailed, Digest: failed}, Retry{}
	case OutcomeRetry:
		j.retry(r.Reason, failed, now)
	}
}

// triedAgain: a person has looked at data that are half undone. What failed of
// the rollback hooks runs once more, and what it is done for goes on.
func (j *Journal) triedAgain(lift Digest) bool {
	if j.Attempt.Stage != StageUndoing || j.Hold.Reason != promotion.RollbackFailed || lift != j.Hold.Digest {
		return false
	}
	j.Undo.Round++
	j.Hold = Hold{}
	return true
}
