package reconcile

import (
	"time"

	"chaperone.dev/chaperone/internal/promotion"
)

// accident is something that may happen at any moment, as long as there is
// adversity left.
type accident func(o outside, emit func(what string, o outside))

// crashes kill the daemon between two effects; landings kill it within one.
func crashes(o outside, emit func(string, outside)) {
	if len(o.branch) > 0 {
		emit("crash", o.crash())
	}
}

// outagesOfGit leave the source unreadable until a poll works again, for the
// daemon that runs and for one that starts.
func outagesOfGit(o outside, emit func(string, outside)) {
	if len(o.branch) == 0 || o.SourceFault != "" {
		return
	}
	emit("restart without Git", o.blind())
	o.SourceFault = promotion.SourceUnavailable
	o.adversity--
	emit("Git goes away", o)
}

func pauses(o outside, emit func(string, outside)) {
	for i := range o.Environments {
		if !o.Environments[i].Requests.Paused {
			paused := o.edit(i, func(e *Environment) { e.Requests.Paused = true })
			paused.adversity--
			emit("pause", paused)
		}
	}
}

// retries are for what is wanted, and for what failed.
func retries(o outside, emit func(string, outside)) {
	for i := range o.Environments {
		for k, lift := range append([]Digest{""}, o.truths[i].failed...) {
			if k > 0 && lift == o.Environments[i].Journal.Hold.Digest {
				continue // it is what is wanted
			}
			asked := o.edit(i, func(e *Environment) {
				e.Requests.Retry, e.Requests.RetryDigest = string(revisionNames[o.requests]), lift
			})
			asked.requests++
			asked.adversity--
			emit("retry", asked)
		}
	}
}

// exchanges put other policies in force, and the first ones back.
func exchanges(o outside, emit func(string, outside)) {
	if o.adversity--; o.Policy == firstPolicy {
		o.Policy = secondPolicy
	} else {
		o.Policy = firstPolicy
	}
	emit("policies exchanged", o)
}

func rewrites(o outside, emit func(string, outside)) {
	if len(o.branch) > 1 {
		rewritten := o.rewrite()
		rewritten.adversity--
		emit("history rewritten", rewritten)
	}
}

// freezes let time go on to where one begins.
func freezes(o outside, emit func(string, outside)) {
	if o.frozenYet {
		return
	}
	o.frozenYet, o.Now = true, o.story.start.Add(time.Hour)
	o.adversity--
	emit("freeze", o)
}

func clockForward(o outside, emit func(string, outside)) {
	o.Now = o.Now.Add(5 * time.Minute)
	o.adversity--
	emit("clock forward", o)
}

func clockBack(o outside, emit func(string, outside)) {
	o.Now = o.Now.Add(-time.Hour)
	o.adversity--
	emit("clock back", o)
}

// outages next door make every check fail, last good's too. They last: one that
// ends in time for last good to pass, nobody can tell from a bad release. When
// nothing is being judged any more, they may end.
func outages(o outside, emit func(string, outside)) {
	for i := range o.Environments {
		if stage := o.Environments[i].Journal.Attempt.Stage; o.outage && stage != StageNone {
			return
		}
	}
	if !o.outage {
		o.adversity--
	}
	o.outage = !o.outage
	emit("outage begins or ends", o)
}

func drifts(o outside, emit func(string, outside)) {
	for i := range o.Environments {
		if e := &o.Environments[i]; !e.Drifted && (e.settled() || e.Rests()) {
			drifted := o.edit(i, func(e *Environment) { e.Drifted = true })
			drifted.adversity--
			emit("drift", drifted)
		}
	}
}

// declines delete a promotion branch.
func declines(o outside, emit func(string, outside)) {
	for i := range o.Environments {
		if o.truths[i].proposal != "" {
			declined, t := o.with(i)
			t.proposal = ""
			declined.adversity--
			emit("promotion declined", declined)
		}
	}
}

// mergesUnapproved are by somebody who may not approve.
func mergesUnapproved(o outside, emit func(string, outside)) {
	for i := range o.Environments {
		if t := &o.truths[i]; t.proposal != "" && o.tip().pins[o.Environments[i].ID.Name] != t.proposal {
			merged := o.pin(i, t.proposal, change{unapproved: true})
			merged.adversity--
			emit("merged without approval", merged)
		}
	}
}

// breaksGlass pins the newest commit, verified upstream or not, with a reviewed
// override and without one.
func breaksGlass(o outside, emit func(string, outside)) {
	for i := range o.Environments {
		if len(o.branch) == 0 || !o.Environments[i].Spec.Pinned {
			continue
		}
		for _, says := range []change{{override: true}, {}, {override: true, unapproved: true}} {
			pinned := o.pin(i, o.tip().revision, says)
			pinned.adversity--
			emit("pinned ahead", pinned)
		}
		return
	}
}

// typos make a file invalid, remove it, or name another target without a word
// on what runs in the old one.
func typos(o outside, emit func(string, outside)) {
	for _, fault := range []promotion.Reason{promotion.InvalidEnvironment, promotion.Removed, promotion.TargetMoved} {
		for i := range o.Environments {
			if o.Environments[i].Fault == "" && o.Head != "" {
				broken := o.edit(i, func(e *Environment) { e.Fault = fault })
				broken.adversity--
				emit(string(fault), broken)
			}
		}
	}
}

// moves name another target, and leave what runs in the old one.
func moves(o outside, emit func(string, outside)) {
	for i := range o.Environments {
		if e := &o.Environments[i]; e.Fault == "" && !e.Moved && e.Journal.Running.Digest != "" {
			moved := o.edit(i, func(e *Environment) { e.Moved = true })
			moved.adversity--
			emit("target moved", moved)
		}
	}
}

// hours pass while something is under way.
func hours(o outside, emit func(string, outside)) {
	for _, by := range []time.Duration{time.Hour, 23 * time.Hour} {
		later := o
		later.Now = later.Now.Add(by)
		later.adversity--
		emit("hours pass", later)
	}
}
