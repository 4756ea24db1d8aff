package reconcile

import (
	"crypto/md5"
	"encoding/binary"
	"fmt"
	"strings"
	"time"
)

// key stands for all that decides how a world goes on. Times count only by
// whether they have come: worlds that differ by a second go on alike.
type key [md5.Size]byte

type encoder struct{ b []byte }

func (w *encoder) text(s string) {
	w.b = binary.AppendUvarint(w.b, uint64(len(s)))
	w.b = append(w.b, s...)
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

func (w *encoder) release(r Release) { w.text(string(r.Revision)); w.text(string(r.Digest)) }

func (w *encoder) digests(list []Digest) {
	w.b = append(w.b, byte(len(list)))
	for _, d := range list {
		w.text(string(d))
	}
}

func (o outside) key() key {
	w := encoder{b: make([]byte, 0, 1024)}
	w.text(string(o.Head))
	w.b = append(w.b, byte(o.pushed), byte(o.adversity), byte(len(o.branch)))
	for _, c := range o.branch {
		w.text(string(c.guilty))
		for i := range o.Environments {
			w.text(string(c.pins[o.Environments[i].ID.Name]))
		}
	}
	w.text(string(o.flying.Kind))
	w.text(o.flying.Environment.Name)
	w.release(o.flying.Release)
	w.flags(o.outage, o.frozenYet)
	for i := range o.Environments {
		w.environment(&o.Environments[i], o.Now, o.branch)
		w.text(string(o.cluster[i]))
		w.text(string(o.proposals[i]))
	}
	return md5.Sum(w.b)
}

func (w *encoder) environment(e *Environment, now time.Time, branch []branchCommit) {
	_, frozen := e.Spec.Calendar.Frozen(now)
	next, open := e.Spec.Calendar.Open(now)
	w.flags(e.Drifted, e.Rewritten, e.Moved, e.Requests.Paused, frozen, open, next.IsZero(), e.EvaluateAt.After(now))
	w.text(string(e.Busy))
	w.text(string(e.Evaluating))
	w.text(string(e.Spec.Pin))
	w.candidates(e, branch)
	w.journal(&e.Journal, e, now)
}

// candidates are told in the order of the branch, whenever they were judged.
func (w *encoder) candidates(e *Environment, branch []branchCommit) {
	w.b = append(w.b, byte(len(e.Candidates)))
	for i := range branch {
		for k := range e.Candidates {
			if c := &e.Candidates[k]; c.Release.Revision == branch[i].revision {
				w.release(c.Release)
				w.text(string(c.Since))
				w.b = append(w.b, byte(c.Verdict))
			}
		}
	}
}

func (w *encoder) journal(j *Journal, e *Environment, now time.Time) {
	w.release(j.Running)
	w.release(j.LastGood)
	w.b = append(w.b, byte(len(j.Verified)))
	for _, v := range j.Verified {
		w.release(v.Release)
		w.flags(v.At.Add(e.Spec.Soak).After(now), v.At.After(now))
	}
	a := &j.Attempt
	w.release(a.Release)
	w.text(string(a.Stage))
	w.text(string(a.Failure))
	w.text(string(a.Guilty))
	w.flags(a.Tries > 1, a.Irreversible, a.Override, a.Probe, a.Proven)
	w.digests(j.Quarantine)
	w.text(string(j.Hold.Reason))
	w.text(string(j.Hold.Digest))
	w.text(string(j.Retry.Reason))
	w.text(string(j.Retry.Digest))
	w.flags(j.Retry.Tries > 0, j.Retry.At.After(now))
	w.text(string(j.LastRevert.Guilty + "," + j.LastRevert.Commit))
	w.text(string(j.LastRevert.Digest))
	w.release(j.Search.Failed)
	w.b = append(w.b, byte(len(j.Search.Suspects)))
	for _, s := range j.Search.Suspects {
		w.text(string(s.Revision))
	}
	w.digests(j.Search.Failing)
	w.digests(j.Search.Untested)
	w.b = append(w.b, byte(e.revertsToday(now)))
	w.text(string(j.Proposal.Revision + "," + j.Proposal.Commit))
	w.text(string(j.Proposal.Refused) + j.Proposal.File)
	w.text(j.Served)
}

// describe tells a world to people.
func (o outside) describe() string {
	var b strings.Builder
	fmt.Fprintf(&b, "head %s, branch of %d, %d accidents left, at %s", o.Head, len(o.branch), o.adversity, o.Now.Format(time.RFC3339))
	if o.flying.Kind != ActionNone {
		fmt.Fprintf(&b, ", %s of %s under way in %s", o.flying.Kind, o.flying.Release.Revision, o.flying.Environment)
	}
	for i, c := range o.branch {
		fmt.Fprintf(&b, "\n  c%d %v pins %v reverts %q", i+1, c.content, c.pins, c.guilty)
	}
	for i, e := range o.Environments {
		fmt.Fprintf(&b, "\n%s: cluster %q pin %q journal %+v", e.ID, o.cluster[i], e.Spec.Pin, e.Journal)
		for _, c := range e.Candidates {
			fmt.Fprintf(&b, "\n    %+v", c)
		}
	}
	return b.String()
}
