package reconcile

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/source"
)

// The walk enumerates every world that a small pipeline can come to: two
// environments in a row, a branch of three commits of which any may be bad in
// either environment, and every outcome of every action, with crashes between
// any two steps. In each world the decision is checked by Violations; from
// each, the daemon left alone must come to rest.

// outside is what the daemon cannot see: which content is bad where.
type outside struct {
	World
	pushed  int                     // commits of the script that are on the branch
	reverts map[source.Revision]int // pushed reverts by guilty commit
	branch  []branchCommit          // newest last
	unknown int                     // bad answers left, to keep the walk finite
}

type branchCommit struct {
	revision source.Revision
	content  map[string]string // environment name → content
	guilty   source.Revision   // of a revert
}

// script is what developers push. Content that starts with "bad-<name>" fails
// verification in that environment.
var script = []map[string]string{
	{"staging": "s1", "production": "p1"},
	{"staging": "bad-staging", "production": "p2"},
	{"staging": "s3", "production": "bad-production"},
}

var walked = []promotion.ID{{Pipeline: "demo", Name: "production"}, {Pipeline: "demo", Name: "staging"}}

func start(now time.Time) outside {
	o := outside{World: World{Now: now, Policy: "policy-1"}, reverts: map[source.Revision]int{}, unknown: 2}
	for _, id := range walked {
		e := Environment{ID: id, Spec: Spec{OnFailure: promotion.FailureRevert, Drift: promotion.DriftCorrect}}
		if id.Name == "production" {
			e.Spec.After = []promotion.ID{{Pipeline: "demo", Name: "staging"}}
		}
		o.Environments = append(o.Environments, e)
	}
	return o
}

func (o outside) clone() outside {
	o.branch = slices.Clone(o.branch)
	reverts := map[source.Revision]int{}
	for k, v := range o.reverts {
		reverts[k] = v
	}
	o.reverts = reverts
	return o
}

func (o outside) key() string {
	type quiet struct {
		Environments []Environment
		Head         source.Revision
		Pushed       int
		Unknown      int
		Branch       int
	}
	environments := slices.Clone(o.Environments)
	for i := range environments {
		environments[i].EvaluateAt = time.Time{}
		j := &environments[i].Journal
		j.Retry.At, j.Retry.Tries = time.Time{}, min(j.Retry.Tries, 1)
		j.Attempt.Started, j.Attempt.Tries = time.Time{}, min(j.Attempt.Tries, 2)
		j.Verified = slices.Clone(j.Verified)
		for k := range j.Verified {
			j.Verified[k].At = time.Time{}
		}
		slices.SortFunc(environments[i].Candidates, func(a, b Candidate) int {
			return slices.Compare([]byte(a.Release.Revision), []byte(b.Release.Revision))
		})
	}
	b, _ := json.Marshal(quiet{environments, o.Head, o.pushed, o.unknown, len(o.branch)})
	return string(b)
}

func (o outside) push(content map[string]string, guilty source.Revision) outside {
	o = o.clone()
	revision := source.Revision(fmt.Sprintf("c%d", len(o.branch)+1))
	o.branch = append(o.branch, branchCommit{revision, content, guilty})
	return o
}

func (o outside) poll() outside {
	o.Head = o.branch[len(o.branch)-1].revision
	o.History = nil
	for i := len(o.branch) - 1; i >= 0; i-- {
		o.History = append(o.History, o.branch[i].revision)
	}
	return o
}

func (o outside) at(revision source.Revision) int {
	return slices.IndexFunc(o.branch, func(c branchCommit) bool { return c.revision == revision })
}

// outcomes are the results that an action may have here, and the outsides in
// which they leave the world.
func (o outside) outcomes(a Action) []outcome {
	done := func(r Result) outcome { r.Action = a; return outcome{o, r} }
	retry := done(Result{Outcome: OutcomeRetry, Reason: promotion.ClusterUnavailable})
	retry.outside.unknown--
	var all []outcome
	switch a.Kind {
	case ActionEvaluate:
		all = []outcome{done(Result{Outcome: OutcomeDone, Candidate: o.candidate(a)})}
	case ActionVerify:
		all = []outcome{done(o.verify(a))}
		for _, unsure := range []Result{
			{Outcome: OutcomeError, Reason: promotion.VerificationError},
			{Outcome: OutcomeInterrupted},
		} {
			next := done(unsure)
			next.outside.unknown--
			all = append(all, next)
		}
	case ActionApply:
		rejected := done(Result{Outcome: OutcomeRejected, Reason: promotion.ApplyRejected})
		rejected.outside.unknown--
		failed := done(Result{Outcome: OutcomeFailed, Reason: promotion.ApplyFailed})
		failed.outside.unknown--
		all = []outcome{done(Result{Outcome: OutcomeDone}), rejected, failed, retry}
	case ActionBlame:
		all = []outcome{done(Result{Outcome: OutcomeDone, Suspects: o.suspects(a)}), retry}
	case ActionRevert:
		all = append(o.revert(a), retry)
		conflict := done(Result{Outcome: OutcomeConflict, Reason: promotion.RevertConflict})
		conflict.outside.unknown--
		all = append(all, conflict)
	default:
		all = []outcome{done(Result{Outcome: OutcomeDone}), retry}
	}
	return slices.DeleteFunc(all, func(n outcome) bool { return n.outside.unknown < 0 })
}

type outcome struct {
	outside outside
	result  Result
}

func (o outside) candidate(a Action) Candidate {
	content := o.branch[o.at(a.Release.Revision)].content
	c := Candidate{
		Release: Release{Revision: a.Release.Revision, Digest: Digest(content[a.Environment.Name]), Policy: o.Policy},
		Verdict: VerdictAllow,
	}
	if e, _ := o.Find(a.Environment); len(e.Spec.After) > 0 {
		c.Upstream = []Upstream{{ID: e.Spec.After[0], Digest: Digest(content["staging"])}}
	}
	return c
}

func (o outside) verify(a Action) Result {
	if string(a.Release.Digest) == "bad-"+a.Environment.Name {
		return Result{Outcome: OutcomeFailed, Reason: promotion.VerificationFailed}
	}
	return Result{Outcome: OutcomeDone}
}

func (o outside) suspects(a Action) []source.Revision {
	var found []source.Revision
	for i := o.at(a.LastGood.Revision) + 1; i <= o.at(a.Release.Revision); i++ {
		if o.branch[i].content[a.Environment.Name] != o.branch[i-1].content[a.Environment.Name] {
			found = append(found, o.branch[i].revision)
		}
	}
	return found
}

// revert is what the adapter guarantees: the trailer is looked for first, and
// a revert is never reverted. An answer may be lost after the push.
func (o outside) revert(a Action) []outcome {
	guilty := o.at(a.Guilty)
	if o.branch[guilty].guilty != "" {
		return []outcome{{o, Result{Action: a, Outcome: OutcomeFailed, Reason: promotion.RevertOfRevert}}}
	}
	for _, c := range o.branch {
		if c.guilty == a.Guilty {
			return []outcome{{o, Result{Action: a, Outcome: OutcomeAlready}}}
		}
	}
	head := o.branch[len(o.branch)-1].content
	taken := map[string]string{}
	for name, content := range head {
		taken[name] = content
		if before := o.branch[guilty-1].content[name]; o.branch[guilty].content[name] == content {
			taken[name] = before
		}
	}
	pushed := o.push(taken, a.Guilty)
	pushed.reverts[a.Guilty]++
	lost := outcome{pushed, Result{Action: a, Outcome: OutcomeRetry, Reason: promotion.SourceUnavailable}}
	lost.outside.unknown--
	return []outcome{
		{pushed, Result{Action: a, Outcome: OutcomeDone, Commit: pushed.branch[len(pushed.branch)-1].revision}}, lost,
	}
}

// next are all worlds one step away: a push, a poll, an action that ends in
// each of its ways, or one that is cut off by a crash before or after its effect.
func (o outside) next(t *testing.T) []outside {
	var worlds []outside
	if o.pushed < len(script) {
		pushed := o.push(script[o.pushed], "")
		pushed.pushed++
		worlds = append(worlds, pushed)
	}
	if len(o.branch) > 0 && o.Head != o.branch[len(o.branch)-1].revision {
		worlds = append(worlds, o.poll())
	}
	d := Decide(o.World)
	for _, violation := range Violations(o.World, d) {
		t.Fatalf("%s\nin %s", violation, o.key())
	}
	for _, a := range d.Actions {
		if a.Kind == ActionCancel {
			continue
		}
		begun := o.clone()
		begun.World = Begin(o.World, a)
		for _, end := range begun.outcomes(a) {
			observed := end.outside
			observed.World = Observe(observed.World, end.result)
			worlds = append(worlds, observed)
			if a.Kind != ActionEvaluate && end.outside.unknown > 0 {
				crashed := end.outside.clone()
				crashed.unknown--
				crashed.World = restart(crashed.World)
				worlds = append(worlds, crashed)
			}
		}
	}
	if len(d.Actions) == 0 && !d.LookAgain.IsZero() {
		later := o.clone()
		later.Now = d.LookAgain
		worlds = append(worlds, later)
	}
	return worlds
}

// restart keeps what is journaled and forgets the rest.
func restart(w World) World {
	w.Environments = slices.Clone(w.Environments)
	for i := range w.Environments {
		e := &w.Environments[i]
		e.Busy, e.Evaluating, e.Candidates, e.EvaluateAt = ActionNone, "", nil, time.Time{}
	}
	return w
}

func TestEveryReachableWorldKeepsTheInvariants(t *testing.T) {
	t.Parallel()
	limit := 400_000
	if testing.Short() || raceDetector {
		limit = 20_000
	}
	first := start(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC))
	seen := map[string]bool{first.key(): true}
	queue := []outside{first}
	quiet, visited := 0, 0
	for len(queue) > 0 && len(seen) < limit {
		o := queue[len(queue)-1]
		queue = queue[:len(queue)-1]
		for guilty, times := range o.reverts {
			if times > 1 {
				t.Fatalf("3: %s was reverted %d times in %s", guilty, times, o.key())
			}
		}
		if visited++; visited%sampled == 0 {
			checkLiveness(t, o)
		}
		following := o.next(t)
		if len(following) == 0 {
			quiet++
			checkRest(t, o)
		}
		for _, n := range following {
			if key := n.key(); !seen[key] {
				seen[key] = true
				queue = append(queue, n)
			}
		}
	}
	if quiet == 0 {
		t.Fatal("11: no quiet world was reached")
	}
	t.Logf("%d worlds, %d of them at rest", len(seen), quiet)
}

// sampled is how many worlds stand between two that are left alone.
const sampled = 16

// checkLiveness leaves a world alone: nobody pushes, nothing fails but what is
// bad. It must come to rest.
func checkLiveness(t *testing.T, o outside) {
	t.Helper()
	from := o.key()
	for range 200 {
		if len(o.branch) > 0 && o.Head != o.branch[len(o.branch)-1].revision {
			o = o.poll()
		}
		d := Decide(o.World)
		if len(d.Actions) == 0 {
			if d.LookAgain.IsZero() {
				return
			}
			o.Now = d.LookAgain
			continue
		}
		for _, a := range d.Actions {
			o.World = Begin(o.World, a)
			end := o.outcomes(a)[0]
			o = end.outside
			o.World = Observe(o.World, end.result)
		}
	}
	t.Fatalf("11: no rest after 200 rounds from %s\nnow %s", from, o.key())
}

// checkRest: at rest an environment either runs what is wanted, or says in one
// reason why not; and nothing bad is left running unless a person was asked.
func checkRest(t *testing.T, o outside) {
	t.Helper()
	for _, s := range Decide(o.World).Statuses {
		e, _ := o.Find(s.Environment)
		bad := string(e.Journal.Running.Digest) == "bad-"+e.ID.Name
		if bad && s.Phase != PhaseHeld {
			t.Fatalf("%s rests on a failed release in phase %s (%s): %s", e.ID, s.Phase, s.Reason, o.key())
		}
		if s.Phase == PhaseProgressing && s.Reason != promotion.Reverted {
			t.Fatalf("11: %s rests while %s (%s): %s", e.ID, s.Phase, s.Reason, o.key())
		}
	}
}
