package reconcile

import (
	"encoding/json"
	"fmt"
	"hash/maphash"
	"slices"
	"strings"
	"time"
)

// key stands for all that decides how a world goes on. Times count only by
// whether they have come: worlds that differ by a second go on alike.
type key [2]uint64

var seeds = [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}

type encoder struct{ b []byte }

// text ends with a byte that no text holds.
func (w *encoder) text(s string)         { w.b = append(append(w.b, s...), 0) }
func (w *encoder) digest(d Digest)       { w.text(string(d)) }
func (w *encoder) number(n int)          { w.b = append(w.b, byte(n)) }
func (w *encoder) release(r Release)     { w.text(string(r.Revision)); w.digest(r.Digest) }
func (w *encoder) digests(list []Digest) { encodeAll(w, list) }

func encodeAll[T ~string](w *encoder, list []T) {
	w.number(len(list))
	for _, s := range list {
		w.text(string(s))
	}
}

func (w *encoder) flags(bits ...bool) {
	var b byte
	for i, bit := range bits {
		if bit {
			b |= 1 << i
		}
	}
	w.b = append(w.b, b)
}

func (o *outside) key(buffer []byte) (key, []byte) {
	w := encoder{b: buffer}
	w.text(string(o.Head))
	w.number(o.pushed)
	w.number(o.adversity)
	w.number(o.requests)
	w.text(string(o.SourceFault))
	w.digest(o.Policy)
	w.number(len(o.gone))
	w.number(len(o.branch))
	for _, c := range o.branch {
		w.text(string(c.guilty))
		w.flags(c.says.override, c.says.unapproved)
		for i := range o.Environments {
			if o.Environments[i].Spec.Pinned {
				w.text(string(c.pins[o.Environments[i].ID.Name]))
			}
		}
	}
	w.flags(o.outage, o.frozenYet, o.err != nil)
	if o.story.timed {
		minutes := o.Now.Sub(o.story.start) / time.Minute
		w.number(int(minutes))
		w.number(int(minutes >> 8))
	}
	w.soaks(o)
	for i := range o.Environments {
		w.environment(&o.Environments[i], o)
		w.truth(&o.truths[i])
	}
	return key{maphash.Bytes(seeds[0], w.b), maphash.Bytes(seeds[1], w.b)}, w.b
}

func (w *encoder) truth(t *truth) {
	if t.flying != nil {
		w.text(string(t.flying.Kind))
		w.release(t.flying.Release)
		w.text(string(t.flying.Guilty))
		w.number(t.flying.Step)
		w.digest(t.flying.Course.Digest)
		w.digest(t.flying.LastGood.Digest)
	}
	w.digest(t.cluster)
	w.digest(t.checked)
	w.digests(t.passed)
	w.digest(t.alarm)
	w.digests(t.failed)
	encodeAll(w, t.reverted)
	w.text(string(t.proposal))
	w.number(t.probes)
	w.number(t.suspects)
	w.text(string(t.schema))
	w.text(string(t.proven))
	w.digest(t.progress.of)
	w.digest(t.progress.course.Digest)
	w.number(t.progress.step<<4 | t.progress.passed)
	w.flags(t.progress.left)
	w.flags(t.halfway)
}

func (w *encoder) environment(e *Environment, o *outside) {
	now := o.Now
	if !e.Spec.Calendar.IsZero() {
		_, frozen := e.Spec.Calendar.Frozen(now)
		next, open := e.Spec.Calendar.Open(now)
		w.flags(frozen, open, next.IsZero())
	}
	w.flags(e.Drifted, e.Contended, e.Rewritten, e.Moved, e.Requests.Paused, e.EvaluateAt.After(now), e.AskAt.After(now), e.Blind != "",
		e.Uncorrected > 0, e.Uncorrected == e.Journal.Retry.Tries)
	w.text(string(e.Fault))
	w.text(string(e.Busy))
	w.text(string(e.Evaluating))
	w.text(string(e.Spec.Pin))
	w.text(e.Spec.File)
	w.text(e.Requests.Retry)
	w.digest(e.Requests.RetryDigest)
	w.candidates(e, o)
	w.journal(&e.Journal, e, now)
}

// candidates are told in the order of the branch, whenever they were judged.
func (w *encoder) candidates(e *Environment, o *outside) {
	w.number(len(e.Candidates))
	for _, line := range [][]*commit{o.gone, o.branch} {
		for _, at := range line {
			for k := range e.Candidates {
				if c := &e.Candidates[k]; c.Release.Revision == at.revision {
					w.release(c.Release)
					w.digest(c.Release.Policy)
					w.digest(c.Since)
					w.text(string(c.Fault))
					w.number(int(c.Verdict)<<4 | int(c.Approval)<<2 | int(c.Signed))
					w.flags(c.Override, c.Irreversible)
					w.text(string(c.Migrations))
					w.digest(c.Course.Digest)
				}
			}
		}
	}
}

func (w *encoder) journal(j *Journal, e *Environment, now time.Time) {
	w.release(j.Running)
	w.release(j.LastGood)
	w.digest(j.LastGood.Policy)
	w.number(len(j.Verified))
	for i := range j.Verified {
		v := &j.Verified[i]
		w.release(v.Release)
		w.flags(v.At.After(now), v.At.Sub(now) > skew)
	}
	a := &j.Attempt
	w.release(a.Release)
	w.digest(a.Release.Policy)
	w.text(string(a.Stage))
	w.text(string(a.Failure))
	w.text(string(a.Guilty))
	w.digest(a.Before.Digest)
	w.text(string(a.Held.Reason))
	w.flags(a.Tries > 1, a.Irreversible, a.Override, a.Probe, a.Proven)
	w.number(a.Step)
	w.digest(a.Course.Digest)
	w.undo(&a.Undo)
	w.undo(&j.Undo)
	w.digests(j.Quarantine)
	w.digests(j.Unapplied)
	w.text(string(j.Hold.Reason))
	w.digest(j.Hold.Digest)
	w.text(string(j.Retry.Reason))
	w.digest(j.Retry.Digest)
	w.flags(j.Retry.Tries > 0, j.Retry.At.After(now), j.Retry.At.Sub(now) > longestWait)
	w.text(string(j.LastRevert.Guilty))
	w.text(string(j.LastRevert.Commit))
	w.digest(j.LastRevert.Digest)
	w.flags(j.LastRevert.At.Add(revertWait).After(now), j.LastRevert.At.After(now))
	w.watched(e, now)
	w.release(j.Search.Failed)
	w.number(len(j.Search.Suspects))
	for i := range j.Search.Suspects {
		w.text(string(j.Search.Suspects[i].Revision))
		w.flags(j.Search.Suspects[i].Mixed)
	}
	w.digests(j.Search.Failing)
	w.digests(j.Search.Untested)
	w.number(e.revertsToday(now))
	w.text(string(j.Proposal.Revision))
	w.text(string(j.Proposal.Commit))
	w.text(string(j.Proposal.Refused))
	w.text(j.Proposal.File)
	w.flags(j.Proposal.Tries > 0, j.Proposal.Again.After(now))
	w.text(j.Served)
	w.text(string(j.Accepted))
	if last, _, scheduled := e.Spec.Calendar.Fired(now); scheduled {
		w.flags(j.Run.At.Before(last), j.Run.At.After(now))
		w.digest(j.Run.Digest)
	}
}

func (w *encoder) undo(u *Undo) {
	w.release(u.Release)
	w.text(string(u.Migrations))
	w.number(u.Round)
	w.flags(u.Forward)
}

func (w *encoder) watched(e *Environment, now time.Time) {
	a, j := &e.Journal.Attempt, &e.Journal.Watched
	w.flags(e.WatchAt.After(now), e.WatchAt.Sub(now) > e.Spec.Watch.Every, a.Tied, a.Regressed.IsZero(), j.Irreversible, now.Before(j.Since), j.Accepted)
	w.digest(j.Digest)
	w.release(j.Before)
	w.text(string(j.Alarm))
	if j.Digest != "" {
		w.number(int(min(now.Sub(j.Since), e.Spec.Watch.For) / time.Minute))
	}
}

// soaks tells for whom the time since a verification matters.
func (w *encoder) soaks(o *outside) {
	for i := range o.Environments {
		down := &o.Environments[i]
		if down.Spec.Soak == 0 {
			continue
		}
		for _, id := range down.Spec.After {
			for _, v := range o.Environments[o.number(id)].Journal.Verified {
				w.flags(v.At.Add(down.Spec.Soak).After(o.Now))
			}
		}
	}
}

// describe tells a world to people.
func (o *outside) describe() string {
	var b strings.Builder
	fmt.Fprintf(&b, "head %s %s, %s, %d accidents left, at %s, outage %v", o.Head, o.SourceFault, o.Policy, o.adversity,
		o.Now.Format(time.RFC3339), o.outage)
	for _, c := range slices.Concat(o.gone, o.branch) {
		fmt.Fprintf(&b, "\n  %s %v pins %v reverts %q", c.revision, c.digests, c.pins, c.guilty)
	}
	for i := range o.Environments {
		e, t := &o.Environments[i], o.truths[i]
		fmt.Fprintf(&b, "\n%s: fault %q pin %q requests %+v rewritten %v moved %v drifted %v", e.ID, e.Fault, e.Spec.Pin, e.Requests, e.Rewritten, e.Moved, e.Drifted)
		if t.flying != nil {
			fmt.Fprintf(&b, ", %s of %s under way", t.flying.Kind, t.flying.Release.Digest)
			t.flying = nil
		}
		journal, _ := json.Marshal(e.Journal)
		fmt.Fprintf(&b, "\n    %+v\n    %s", t, journal)
		for _, c := range e.Candidates {
			fmt.Fprintf(&b, "\n      %s %s fault %q verdict %d since %s approval %d signed %d", c.Release.Revision, c.Release.Digest, c.Fault, c.Verdict, c.Since, c.Approval, c.Signed)
		}
	}
	return b.String()
}
