package cli

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"chaperone.dev/chaperone/internal/policy"
	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/reconcile"
	"chaperone.dev/chaperone/internal/source"
	"chaperone.dev/chaperone/internal/state"
)

// explanation is what `why -o json` prints.
type explanation struct {
	statusLine
	Explanation  string             `json:"explanation"`
	Evidence     string             `json:"evidence,omitempty"`
	Log          string             `json:"log,omitempty"`  // the last lines of the hooks and smoke tests that failed
	Until        time.Time          `json:"until,omitzero"` // when it passes by itself, or is tried again
	Unblock      string             `json:"unblock,omitempty"`
	LastRevert   *reconcile.Revert  `json:"lastRevert,omitempty"`
	Attempt      *reconcile.Attempt `json:"attempt,omitempty"`
	Irreversible bool               `json:"irreversible,omitempty"`
	Retry        *retryRequest      `json:"retry,omitempty"`
	Proposal     *proposal          `json:"proposal,omitempty"`
	Search       *searching         `json:"search,omitempty"`
	Reverts      *breaker           `json:"reverts,omitempty"`
	Quarantine   []reconcile.Digest `json:"quarantine,omitempty"`
	Exception    *policy.Countdown  `json:"exception,omitempty"` // of the policies: the one in force that ends first
	Drill        *state.Drill       `json:"drill,omitempty"`     // whether last good could be restored
	Problem      string             `json:"problem,omitempty"`   // of a request that cannot be read
	next         string             // what comes after Until
}

// retryRequest is the newest that a person made.
type retryRequest struct {
	state.Retry
	Served bool `json:"served"`
}

// proposal is the promotion branch.
type proposal struct {
	Branch string `json:"branch"`
	reconcile.Proposal
}

// searching is the hunt for the guilty commit among several.
type searching struct {
	Failed   source.Revision     `json:"failed"`             // what failed first
	Suspects []reconcile.Suspect `json:"suspects"`           // left, oldest first: the last is known to fail
	Good     source.Revision     `json:"good"`               // the newest that passed
	Testing  source.Revision     `json:"testing,omitempty"`  // deployed now
	Untested []source.Revision   `json:"untested,omitempty"` // could not be deployed
}

// breaker counts the reverts of a day.
type breaker struct {
	Today   int `json:"today"`
	Allowed int `json:"allowed"`
}

// explain says all about one record; the others are those of all environments.
func explain(r state.Record, all []state.Record, now time.Time) explanation {
	e := explanation{
		statusLine: statusOf(r), Until: untilOf(r, all, now), Proposal: proposalOf(r), Search: searchOf(r.Journal),
		Reverts: breakerOf(r, now), Quarantine: r.Journal.Quarantine, Problem: r.Requests.Problem,
		Exception: r.Excepted,
	}
	e.next = "goes on by itself"
	if e.Until.Equal(r.Journal.Retry.At) && r.Status.Reason == r.Journal.Retry.Reason {
		e.next = "is tried again"
	}
	reason := promotion.Reason(e.Reason)
	e.Explanation, e.Unblock = reason.Explain(), reason.Unblock()
	if measured(r) {
		e.Evidence = r.Evidence
	}
	if r.Journal.LastRevert.Guilty != "" {
		e.LastRevert = &r.Journal.LastRevert
	}
	if r.Journal.Attempt.Stage != reconcile.StageNone {
		e.Attempt, e.Irreversible = &r.Journal.Attempt, r.Journal.Attempt.Irreversible
	}
	if !r.Drill.Same(state.Drill{}) {
		e.Drill = &r.Drill
	}
	if asked := r.Requests.Retry; asked != nil {
		e.Retry = &retryRequest{*asked, asked.ID == r.Journal.Served}
	}
	return e
}

// measured reports whether what the last verification measured is about where
// the environment is: that of a failure which is dealt with only alarms those
// who look while it is paused, waits for its schedule, or tries something newer.
func measured(r state.Record) bool {
	attempt := &r.Journal.Attempt
	open := attempt.Stage != reconcile.StageNone
	switch attempt.Stage {
	case reconcile.StageApplying, reconcile.StageVerifying, reconcile.StagePruning:
		open = attempt.Probe || attempt.Tries > 1
	}
	switch r.Status.Reason {
	case promotion.Paused, promotion.Frozen:
		return open
	}
	return r.Status.Phase == reconcile.PhaseHeld || open
}

// untilOf is when the reason passes by itself, as far as the record tells.
func untilOf(r state.Record, all []state.Record, now time.Time) time.Time {
	calendar, err := promotion.CalendarOf(r.Environment.Promotion)
	if err != nil {
		calendar = promotion.Calendar{}
	}
	var until time.Time
	switch r.Status.Reason {
	case promotion.Paused:
		if r.Requests.Pause != nil {
			until = r.Requests.Pause.Until
		}
	case promotion.Frozen:
		until, _ = calendar.Frozen(now)
	case promotion.OutsideWindow:
		until, _ = calendar.Open(now)
	case promotion.WaitingForSchedule:
		_, until, _ = calendar.Fired(now)
	case promotion.Soaking:
		until = soaked(r, all)
	case r.Journal.Retry.Reason:
		until = r.Journal.Retry.At
	}
	if !until.After(now) {
		return time.Time{}
	}
	return until
}

// soaked is when all upstream environments will have run what is wanted for as
// long as is asked; zero where they verified it under another name.
func soaked(r state.Record, all []state.Record) time.Time {
	var last time.Time
	for _, id := range r.Environment.After {
		at := slices.IndexFunc(all, func(up state.Record) bool { return up.ID == id })
		if at < 0 {
			return time.Time{}
		}
		verified := all[at].Journal.Verified
		i := slices.IndexFunc(verified, func(v reconcile.Verified) bool { return v.Revision == r.Status.Wanted.Revision })
		if i < 0 {
			return time.Time{}
		}
		if until := verified[i].At.Add(r.Environment.Promotion.Soak); until.After(last) {
			last = until
		}
	}
	return last
}

func proposalOf(r state.Record) *proposal {
	if r.Journal.Proposal.Revision == "" {
		return nil
	}
	return &proposal{source.PromotionBranch(r.ID.String()), r.Journal.Proposal}
}

func searchOf(j reconcile.Journal) *searching {
	search := j.Search
	if len(search.Suspects) == 0 {
		return nil
	}
	s := &searching{Failed: search.Failed.Revision, Suspects: j.SuspectsLeft(), Good: j.LastGood.Revision}
	if j.Attempt.Probe {
		s.Testing = j.Attempt.Release.Revision
	}
	for _, suspect := range search.Suspects {
		if slices.Contains(search.Untested, suspect.Digest) {
			s.Untested = append(s.Untested, suspect.Revision)
		}
	}
	return s
}

func (s searching) String() string {
	var suspects []source.Revision
	for _, suspect := range s.Suspects {
		suspects = append(suspects, suspect.Revision)
	}
	text := fmt.Sprintf("one of %d commits broke %s: %s", len(suspects), s.Failed.Short(), shorts(suspects))
	if s.Testing != "" {
		text += "; " + s.Testing.Short() + " is deployed now"
	}
	text += fmt.Sprintf("; %s passed, %s failed", s.Good.Short(), suspects[len(suspects)-1].Short())
	if len(s.Untested) > 0 {
		text += "; could not be deployed: " + shorts(s.Untested)
	}
	return text
}

// shorts lists commits for a person, not without end.
func shorts(revisions []source.Revision) string {
	const most = 8
	var texts []string
	for i, r := range revisions {
		if i == most {
			texts = append(texts, fmt.Sprintf("and %d more", len(revisions)-most))
			break
		}
		texts = append(texts, r.Short())
	}
	return strings.Join(texts, ", ")
}

const day = 24 * time.Hour

func breakerOf(r state.Record, now time.Time) *breaker {
	b := &breaker{Allowed: r.Environment.MaxRevertsPerDay}
	for _, at := range r.Journal.Reverts {
		if !at.After(now) && now.Sub(at) < day {
			b.Today++
		}
	}
	if b.Today == 0 {
		return nil
	}
	return b
}

func (c *command) whyTable(w io.Writer, e explanation) {
	fmt.Fprintf(w, "%s: %s (%s) for %s\n", e.Environment,
		c.painted(phaseColour(e.Phase), orDash(string(e.Phase))), orDash(e.Reason), ago(e.Since, time.Now()))
	alarming := map[string]bool{}
	t := table{indent: 2}
	say := func(what, text string) {
		if text != "" {
			t.add(what, text)
		}
	}
	shout := func(what, text string) {
		say(what, text)
		alarming[what] = true
	}
	marked := false // the line that is being painted
	t.paint = func(column int, text string) string {
		if column == 0 {
			marked = alarming[text]
		}
		if marked {
			return c.painted(red, text)
		}
		return text
	}
	say("now", e.Message)
	if e.Explanation != e.Message {
		say("meaning", e.Explanation)
	}
	say("evidence", e.Evidence)
	if e.Log != "" {
		t.add("log", "the last that hooks and smoke tests wrote which failed:")
		for line := range strings.Lines(e.Log) {
			t.note("| " + strings.TrimRight(line, "\n"))
		}
	}
	e.sayReleases(say)
	if e.Override {
		let := e.Running
		if e.Attempt != nil && e.Attempt.Override {
			let = e.Attempt.Release
		}
		shout("override", "a reviewed Chaperone-Override let "+let.Revision.Short()+" in past gates that were closed")
	}
	if e.Irreversible {
		shout("irreversible", e.Attempt.Release.Revision.Short()+" cannot be taken back: if it fails, a person decides")
	}
	e.sayRequests(say, shout)
	if !e.Until.IsZero() {
		say("until", stamp(e.Until)+", then it "+e.next)
	}
	if e.Reason != string(promotion.UpToDate) {
		say("unblock", e.Unblock)
	}
	if x := e.Exception; x != nil {
		say("exception", fmt.Sprintf("%s ends at %s; from then on %s is not waived", x.Exception, stamp(x.Expires), x.Rule))
	}
	t.write(w)
}

func (e explanation) sayReleases(say func(what, text string)) {
	say("running", string(e.Running.Revision))
	if e.Wanted.Revision != e.Running.Revision {
		say("wanted", string(e.Wanted.Revision))
	}
	if e.LastGood.Revision != e.Running.Revision {
		say("last good", string(e.LastGood.Revision))
	}
	if p := e.Proposal; p != nil {
		switch {
		case p.Refused != "":
			say("proposal", fmt.Sprintf("%s for %s: %s", p.Branch, p.Revision.Short(), p.Refused.Explain()))
		case p.Commit == "":
			say("proposal", fmt.Sprintf("%s for %s is being pushed", p.Branch, p.Revision.Short()))
		default:
			say("proposal", fmt.Sprintf("%s at %s moves it to %s", p.Branch, p.Commit.Short(), p.Revision.Short()))
		}
	}
	if e.Drill != nil {
		say("drill", drilled(*e.Drill, e.LastGood.Digest))
	}
	if e.Search != nil {
		say("search", e.Search.String())
	}
	if e.LastRevert != nil {
		say("last revert", tookBack(*e.LastRevert))
	}
	if e.Reverts != nil {
		say("reverts", fmt.Sprintf("%d within a day, of %d allowed", e.Reverts.Today, e.Reverts.Allowed))
	}
}

// drilled tells what the last drill came to. What it found wrong the message says.
func drilled(d state.Drill, good reconcile.Digest) string {
	text := "at " + stamp(d.At)
	switch {
	case d.At.IsZero():
		text = "none yet"
	case d.Digest != good:
		text += ", of what was last good before"
	case d.Problem != "":
		text += ": last good could not be restored"
	default:
		text += fmt.Sprintf(": last good could be restored (%d objects tried)", d.Tried)
	}
	if d.Untold != "" {
		text += "; since then nobody could tell: " + d.Untold
	}
	return text
}

// sayRequests tells what people asked for.
func (e explanation) sayRequests(say, shout func(what, text string)) {
	if e.Pause != nil {
		say("pause", strings.TrimSpace(pausedBy(*e.Pause)))
	}
	if r := e.Retry; r != nil && (!r.Served || time.Since(r.At) < day) {
		text := fmt.Sprintf("asked for by %s at %s", r.By, stamp(r.At))
		if !r.Served {
			text += "; the daemon has not taken it yet"
		}
		say("retry", text)
	}
	shout("problem", e.Problem)
}

// tookBack has no commit where the change had been taken back already.
func tookBack(r reconcile.Revert) string {
	if r.Commit == "" {
		return string(r.Guilty) + " had been taken back already"
	}
	return fmt.Sprintf("%s took back %s", r.Commit, r.Guilty)
}
