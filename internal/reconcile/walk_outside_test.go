package reconcile

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/source"
)

// outside is what the daemon cannot see of a small world: the branch as it is,
// what really stands on each cluster, and what people and accidents may still
// do to it.
type outside struct {
	World
	story     *story
	branch    []branchCommit // oldest first
	pushed    int            // commits of the story that are on the branch
	adversity int            // accidents that may still happen
	flying    Action         // an effect under way; only one is, the others are over at once
	cluster   []Digest       // what stands on each environment's cluster; "part" is a half-done apply
	proposals []source.Revision
	outage    bool // every check fails, last good's as well
	frozenYet bool
	err       error // what was found to be wrong while getting here
}

type branchCommit struct {
	revision source.Revision
	content  map[string]string          // environment name → content
	pins     map[string]source.Revision // environment name → pin
	guilty   source.Revision            // of a revert
}

// story is a pipeline and what developers push to it. Content that begins with
// "bad" and names an environment fails verification there.
type story struct {
	name         string
	environments []Environment // ordered
	script       []map[string]string
	adversity    int
	accidents    []accident
	start        time.Time
}

// accident is something that may happen at any moment, as long as there is
// adversity left.
type accident func(outside) []outside

const part Digest = "part"

func (s *story) open() outside {
	return outside{
		World:   World{Now: s.start, Policy: "policy-1", Environments: slices.Clone(s.environments)},
		story:   s, adversity: s.adversity,
		cluster: make([]Digest, len(s.environments)), proposals: make([]source.Revision, len(s.environments)),
	}
}

func bad(content, environment string) bool {
	return content == "bad-"+environment || content == "bad2-"+environment || content == "bad-everywhere"
}

func (o outside) clone() outside {
	o.branch, o.cluster, o.proposals = slices.Clone(o.branch), slices.Clone(o.cluster), slices.Clone(o.proposals)
	return o
}

func (o outside) number(id promotion.ID) int {
	return slices.IndexFunc(o.Environments, func(e Environment) bool { return e.ID == id })
}

func (o outside) at(revision source.Revision) int {
	return slices.IndexFunc(o.branch, func(c branchCommit) bool { return c.revision == revision })
}

func (o outside) tip() branchCommit { return o.branch[len(o.branch)-1] }

func (o outside) push(content map[string]string, pins map[string]source.Revision, guilty source.Revision) outside {
	o = o.clone()
	revision := source.Revision(fmt.Sprintf("c%d", len(o.branch)+1))
	o.branch = append(o.branch, branchCommit{revision, content, pins, guilty})
	return o
}

// pushNext pushes what the story says is next; what people do not touch stays.
func (o outside) pushNext() outside {
	content := map[string]string{}
	var pins map[string]source.Revision
	if len(o.branch) > 0 {
		maps.Copy(content, o.tip().content)
		pins = o.tip().pins
	}
	maps.Copy(content, o.story.script[o.pushed])
	next := o.push(content, pins, "")
	next.pushed++
	return next
}

func (o outside) poll() outside {
	o = o.clone()
	o.Head, o.History = o.tip().revision, nil
	for i := len(o.branch) - 1; i >= 0; i-- {
		o.History = append(o.History, o.branch[i].revision)
	}
	o.Environments = slices.Clone(o.Environments)
	for i := range o.Environments {
		e := &o.Environments[i]
		if pin := o.tip().pins[e.ID.Name]; e.Spec.Pinned && pin != e.Spec.Pin {
			e.Spec.Pin, e.Spec.File, e.Candidates = pin, string(pin), nil
		}
	}
	return o
}

// end is one way in which an action ends, and the world in which it leaves what
// is outside.
type end struct {
	outside outside
	result  Result
}

// ends are the ways in which an action may end here. The first is the one in
// which nothing goes wrong.
func (o outside) ends(a Action) []end {
	switch a.Kind {
	case ActionEvaluate:
		return []end{{o, Result{Action: a, Outcome: OutcomeDone, Candidate: o.candidate(a)}}}
	case ActionAdvance, ActionGiveUp, ActionRetry, ActionMove:
		return []end{{o, Result{Action: a, Outcome: OutcomeDone}}}
	case ActionVerify:
		return o.verify(a)
	case ActionApply:
		return o.apply(a)
	case ActionRevert:
		return o.revert(a)
	case ActionPropose, ActionWithdraw:
		return o.propose(a)
	case ActionBlame:
		return []end{
			{o, Result{Action: a, Outcome: OutcomeDone, Suspects: o.suspects(a)}},
			o.accident(a, Result{Outcome: OutcomeRetry, Reason: promotion.SourceUnavailable}),
		}
	}
	done := o.clone()
	if a.Kind == ActionRestore || a.Kind == ActionCorrect {
		done.cluster[o.number(a.Environment)] = a.LastGood.Digest
	}
	return []end{
		{done, Result{Action: a, Outcome: OutcomeDone}},
		o.accident(a, Result{Outcome: OutcomeRetry, Reason: promotion.ClusterUnavailable}),
	}
}

// accident ends an action badly, which uses adversity up.
func (o outside) accident(a Action, r Result) end {
	r.Action = a
	o.adversity--
	return end{o, r}
}

func (o outside) candidate(a Action) Candidate {
	content := o.branch[o.at(a.Release.Revision)].content
	e, _ := o.Find(a.Environment)
	c := Candidate{
		Release: Release{Revision: a.Release.Revision, Digest: Digest(content[a.Environment.Name]), Policy: o.Policy},
		Verdict: VerdictAllow, Since: e.Journal.LastGood.Digest, Approval: ApprovalGiven,
	}
	for _, id := range e.Spec.After {
		c.Upstream = append(c.Upstream, Upstream{ID: id, Digest: Digest(content[id.Name])})
	}
	return c
}

func (o outside) apply(a Action) []end {
	done, half := o.clone(), o.clone()
	i := o.number(a.Environment)
	done.cluster[i], half.cluster[i] = a.Release.Digest, part
	return []end{
		{done, Result{Action: a, Outcome: OutcomeDone}},
		o.accident(a, Result{Outcome: OutcomeRejected, Reason: promotion.ApplyRejected}),
		half.accident(a, Result{Outcome: OutcomeFailed, Reason: promotion.ApplyFailed}),
		half.accident(a, Result{Outcome: OutcomeRetry, Reason: promotion.ClusterUnavailable}),
	}
}

func (o outside) verify(a Action) []end {
	if on := o.cluster[o.number(a.Environment)]; on != a.Release.Digest && o.err == nil {
		o.err = fmt.Errorf("%s: %s is verified while %s stands on the cluster", a.Environment, a.Release.Digest, on)
	}
	verdict := Result{Action: a, Outcome: OutcomeDone}
	if bad(string(a.Release.Digest), a.Environment.Name) || o.outage {
		verdict = Result{Action: a, Outcome: OutcomeFailed, Reason: promotion.VerificationFailed}
	}
	return []end{
		{o, verdict},
		o.accident(a, Result{Outcome: OutcomeError, Reason: promotion.VerificationError}),
		o.accident(a, Result{Outcome: OutcomeNoData, Reason: promotion.VerificationNoData}),
		o.accident(a, Result{Outcome: OutcomeInterrupted}),
	}
}

// suspects are what the adapter promises: the commits that changed the
// environment's content; of a pinned one, the commit that moved the pin.
func (o outside) suspects(a Action) []Suspect {
	var found []Suspect
	e, _ := o.Find(a.Environment)
	for i := len(o.branch) - 1; i >= 0 && e.Spec.Pinned; i-- {
		moved := i == 0 || o.branch[i-1].pins[e.ID.Name] != o.branch[i].pins[e.ID.Name]
		if moved && o.branch[i].pins[e.ID.Name] == a.Release.Revision {
			return []Suspect{{o.branch[i].revision, a.Release.Digest}}
		}
	}
	for i := o.at(a.LastGood.Revision) + 1; i <= o.at(a.Release.Revision); i++ {
		if content := o.branch[i].content[e.ID.Name]; content != o.branch[i-1].content[e.ID.Name] {
			found = append(found, Suspect{o.branch[i].revision, Digest(content)})
		}
	}
	return found
}

// revert is what the adapter promises: an earlier revert is looked for first, a
// revert is never reverted, conflicts are found. An answer may be lost after
// the push.
func (o outside) revert(a Action) []end {
	guilty := o.at(a.Guilty)
	ended := func(r Result) []end { r.Action = a; return []end{{o, r}} }
	if o.branch[guilty].guilty != "" {
		return ended(Result{Outcome: OutcomeFailed, Reason: promotion.RevertOfRevert})
	}
	for _, c := range o.branch {
		if c.guilty == a.Guilty {
			return ended(Result{Outcome: OutcomeAlready, Commit: c.revision})
		}
	}
	content, pins, conflict := o.takenBack(guilty)
	if conflict {
		return ended(Result{Outcome: OutcomeConflict, Reason: promotion.RevertConflict})
	}
	if maps.Equal(content, o.tip().content) && maps.Equal(pins, o.tip().pins) {
		return ended(Result{Outcome: OutcomeAlready})
	}
	pushed := o.push(content, pins, a.Guilty)
	if wrong := o.innocent(a, guilty); wrong != nil && pushed.err == nil {
		pushed.err = wrong
	}
	return []end{
		{pushed, Result{Action: a, Outcome: OutcomeDone, Commit: pushed.tip().revision}},
		pushed.accident(a, Result{Outcome: OutcomeRetry, Reason: promotion.SourceUnavailable}),
		o.accident(a, Result{Outcome: OutcomeRejected, Reason: promotion.RevertRejected}),
	}
}

// takenBack merges the tip with what was before a commit.
func (o outside) takenBack(guilty int) (content map[string]string, pins map[string]source.Revision, conflict bool) {
	content, pins = maps.Clone(o.tip().content), maps.Clone(o.tip().pins)
	for name, now := range content {
		did, before := o.branch[guilty].content[name], o.branch[guilty-1].content[name]
		switch {
		case did == before:
		case now == did:
			content[name] = before
		case now != before:
			conflict = true
		}
	}
	for name, now := range pins {
		did, before := o.branch[guilty].pins[name], o.branch[guilty-1].pins[name]
		switch {
		case did == before:
		case now == did:
			pins[name] = before
		case now != before:
			conflict = true
		}
	}
	return content, pins, conflict
}

// innocent says why a commit should not have been reverted: it did not bring
// what fails.
func (o outside) innocent(a Action, guilty int) error {
	e, _ := o.Find(a.Environment)
	name := e.ID.Name
	if e.Spec.Pinned {
		if pin := o.at(o.branch[guilty].pins[name]); pin < 0 || !bad(o.branch[pin].content[name], name) {
			return fmt.Errorf("5: %s, which moved the pin of %s to something good, is reverted", a.Guilty, e.ID)
		}
		return nil
	}
	did, before := o.branch[guilty].content[name], o.branch[guilty-1].content[name]
	if did == before || !bad(did, name) || bad(before, name) {
		return fmt.Errorf("5: %s is reverted for %s; it made %s of %s", a.Guilty, e.ID, did, before)
	}
	return nil
}

func (o outside) propose(a Action) []end {
	done := o.clone()
	i := o.number(a.Environment)
	r := Result{Action: a, Outcome: OutcomeDone, Commit: "proposal-" + a.Release.Revision}
	if done.proposals[i] = a.Release.Revision; a.Kind == ActionWithdraw {
		done.proposals[i], r.Commit = "", ""
	}
	return []end{
		{done, r},
		done.accident(a, Result{Outcome: OutcomeRetry, Reason: promotion.PromotionRejected}),
		o.accident(a, Result{Outcome: OutcomeRejected, Reason: promotion.PromotionRejected}),
	}
}
