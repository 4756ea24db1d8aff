package sim

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"chaperone.dev/chaperone/internal/controller"
	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/policy"
	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/reconcile"
	"chaperone.dev/chaperone/internal/source"
)

// The rules are those of design.md §3; the number stands before each. Decisions
// are checked by reconcile.Violations. What is here looks at what really
// happens, and at what is true in the world: which content fails where, what
// was verified, what a person asked for.

// truth is what happened in one environment.
type truth struct {
	verified map[manifest.Digest]bool          // passed its checks, ever
	passed   time.Duration                     // when anything passed last
	failed   map[manifest.Digest]time.Duration // when it failed last
	unjustly time.Duration                     // when something failed last that nothing is wrong with
	wronged  map[manifest.Digest]bool          // what failed so, ever
	applied  manifest.Digest                   // last, or begun to be
	proven   manifest.Digest                   // passed since it was applied last
	tampered bool                              // somebody changed objects by hand
	kept     bool                              // its file said not to prune
	migrated map[manifest.ID]migration         // since last good
	rolled   map[rolled]bool
	stage    stage
	served   map[manifest.ID]bool  // Services that have pods
	heirs    map[promotion.ID]bool // have taken over what it ran
}

func newTruth() *truth {
	return &truth{verified: map[manifest.Digest]bool{}, failed: map[manifest.Digest]time.Duration{}, wronged: map[manifest.Digest]bool{},
		migrated: map[manifest.ID]migration{}, rolled: map[rolled]bool{}, served: map[manifest.ID]bool{}, heirs: map[promotion.ID]bool{}}
}

// answered notes the answer of a verification.
func (t *truth) answered(s *Sim, outcome reconcile.Outcome, digest manifest.Digest) {
	switch outcome {
	case reconcile.OutcomeDone:
		t.verified[digest], t.proven, t.passed = true, digest, s.pace.elapsed()
		if digest == t.applied { // a replica that is late may still ask about what ran before
			clear(t.migrated)
		}
	case reconcile.OutcomeFailed:
		t.failed[digest] = s.pace.elapsed()
	}
}

// decided is an action that a life began.
type decided struct {
	at      time.Duration
	release reconcile.Release
	action  reconcile.Action
}

// maxViolations: after the first, others are often only its consequences.
const maxViolations = 20

// violated notes that a rule was broken. The world is locked.
func (s *Sim) violated(l *life, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if len(s.violations) < maxViolations {
		s.violations = append(s.violations, text)
	}
	s.note(l, "VIOLATED", "", text)
}

// decide checks each decision before anything is done about it.
func (l *life) decide(w reconcile.World, d reconcile.Decision) {
	if l.isDead() {
		return
	}
	s := l.s
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, violation := range reconcile.Violations(w, d) {
		s.violated(l, "%s", violation)
	}
	for _, a := range d.Actions {
		if a.Kind == reconcile.ActionEvaluate {
			continue
		}
		s.note(l, "decided", a.Environment.String(), fmt.Sprintf("%s %s for %s", a.Kind, a.Release.Revision.Short(), a.Reason))
		l.decided[effectKey{a.Environment, a.Kind}] = decided{s.pace.elapsed(), a.Release, a}
		s.checkStill(l, w, a)
		s.checkWiring(l, w, a)
		if a.Kind == reconcile.ActionPropose {
			s.checkProposal(l, w, a)
		}
	}
}

// checkStill is rule 8, from what the life was told and what the file says.
func (s *Sim) checkStill(l *life, w reconcile.World, a reconcile.Action) {
	told := l.heard[a.Environment]
	if pause := told.requests.Pause; pause != nil && told.at < s.pace.elapsed() && a.Kind != reconcile.ActionCancel {
		if pause.Until.IsZero() || pause.Until.After(w.Now) {
			s.violated(l, "8: %s: %s though it is paused", a.Environment, a.Kind)
		}
	}
	file, found := s.environments(w.Head).Environments[a.Environment]
	e, _ := w.Find(a.Environment)
	if !found || e.Moved || e.Fault != "" {
		return
	}
	switch a.Kind {
	case reconcile.ActionApply, reconcile.ActionPrune, reconcile.ActionRevert, reconcile.ActionCorrect, reconcile.ActionPropose, reconcile.ActionWithdraw:
		calendar, err := promotion.CalendarOf(file.Promotion)
		if err != nil {
			return
		}
		if _, frozen := calendar.Frozen(w.Now); frozen {
			s.violated(l, "8: %s: %s in a freeze", a.Environment, a.Kind)
		}
	}
}

// checkWiring holds what is decided by against the file at the head.
func (s *Sim) checkWiring(l *life, w reconcile.World, a reconcile.Action) {
	file, found := s.environments(w.Head).Environments[a.Environment]
	e, _ := w.Find(a.Environment)
	if !found || e.Moved || e.Fault != "" {
		return
	}
	spec := e.Spec
	same := spec.Pin == file.Revision && spec.OnFailure == file.OnFailure && slices.Equal(spec.After, file.After) &&
		spec.Approval == (file.Promotion.Approval.Required > 0) && spec.PHI == (file.Data == promotion.DataPHI) &&
		spec.MaxReverts == file.MaxRevertsPerDay && spec.Soak == file.Promotion.Soak &&
		spec.Signed == file.Requires(promotion.RequireSigned)
	if !same {
		s.violated(l, "%s: decided by something other than its file at the head says", a.Environment)
	}
}

// checkProposal: what an environment is pinned to already is not proposed.
func (s *Sim) checkProposal(l *life, w reconcile.World, a reconcile.Action) {
	file, found := s.environments(w.Head).Environments[a.Environment]
	pinned := s.git.commits[file.Revision]
	if !found || pinned == nil || !s.git.reachable(w.Head)[file.Revision] {
		return
	}
	if now, err := s.at(pinned, file); err == nil && reconcile.Digest(now.digest) == a.Release.Digest {
		s.violated(l, "%s: proposed what it is pinned to already", a.Environment)
	}
}

// checkEffect looks at what is about to happen on a cluster.
func (s *Sim) checkEffect(l *life, kind reconcile.ActionKind, env promotion.Environment, made *rendered) {
	t := s.truth(env.ID)
	t.kept = t.kept || !env.Prune
	switch kind {
	case reconcile.ActionApply:
		release := made.digest
		if !s.takesOver(env.ID, made) {
			release = s.beginsStep(l, env, made, l.decided[effectKey{env.ID, reconcile.ActionApply}].action)
			s.checkApply(l, env, release, made.set.Len())
		}
		t.applied, t.proven = release, ""
	case reconcile.ActionRestore:
		t.stage = stage{}
		j, _ := s.store.journal(env.ID)
		if !s.doubled && j.LastGood.Digest != reconcile.Digest(made.digest) {
			s.violated(l, "%s: restored something other than last good", env.ID)
		}
		s.intended(l, env.ID, j, reconcile.StageRestoring)
		s.checkData(l, env, made)
		if t.applied != made.digest {
			t.applied, t.proven = made.digest, ""
		}
	case reconcile.ActionCorrect:
		j, _ := s.store.journal(env.ID)
		if !s.doubled && j.LastGood.Digest != reconcile.Digest(made.digest) {
			s.violated(l, "%s: corrected to something other than last good", env.ID)
		}
		s.intended(l, env.ID, j, reconcile.StageCorrecting, reconcile.StagePruning)
	case reconcile.ActionPrune:
		j, _ := s.store.journal(env.ID)
		s.intended(l, env.ID, j, reconcile.StagePruning)
		if t.proven != made.digest && !s.doubled {
			s.violated(l, "6: %s: pruned before the release passed its checks", env.ID)
		}
	}
	if !s.belongs(env, made) && (kind != reconcile.ActionApply || t.stage.step == 0) {
		s.violated(l, "%s: was given the objects of something that its path never rendered to", env.ID)
	}
}

// takesOver: what ran under a former name is put in place under the new one,
// with its hooks where they have not run.
func (s *Sim) takesOver(env promotion.ID, made *rendered) bool {
	j, _ := s.store.journal(env)
	return j.Attempt.Stage == reconcile.StageRestoring && j.Running.Digest == "" && j.LastGood.Digest == reconcile.Digest(made.digest)
}

// intended is rule 9: the intent is stored before the effect.
func (s *Sim) intended(l *life, env promotion.ID, j reconcile.Journal, stages ...reconcile.Stage) {
	if !s.doubled && !slices.Contains(stages, j.Attempt.Stage) {
		s.violated(l, "9: %s: acted at stage %q of the stored journal, want %v", env, j.Attempt.Stage, stages)
	}
}

func (s *Sim) checkApply(l *life, env promotion.Environment, release manifest.Digest, objects int) {
	digest := reconcile.Digest(release)
	begun, found := l.decided[effectKey{env.ID, reconcile.ActionApply}]
	if !found || begun.release.Digest != digest {
		s.violated(l, "%s: applied what was not decided on", env.ID)
		return
	}
	if !s.policies.judged[judgement{env.ID, release, begun.release.Policy}] {
		s.violated(l, "1: %s: applied without an allow for this digest", env.ID)
	}
	j, _ := s.store.journal(env.ID)
	s.intended(l, env.ID, j, reconcile.StageApplying)
	if slices.Contains(j.Quarantine, digest) && !s.doubled {
		s.violated(l, "7: %s: applied from quarantine", env.ID)
	}
	if !begun.action.Override && !s.truth(env.ID).verified[release] && !s.upstreamPassed(env, release) {
		s.violated(l, "2: %s: applied what its upstream environments never passed", env.ID)
	}
	if objects == 0 {
		s.violated(l, "6: %s: applied nothing", env.ID)
	}
}

// upstreamPassed looks for a commit that renders to the digest here, and to
// something that passed in every environment before.
func (s *Sim) upstreamPassed(env promotion.Environment, digest manifest.Digest) bool {
	if len(env.After) == 0 {
		return true
	}
	for revision, c := range s.git.commits {
		if !s.git.ever[revision] {
			continue
		}
		here, err := s.at(c, env)
		if err == nil && here.digest == digest && s.passedBefore(c, env) {
			return true
		}
	}
	return false
}

func (s *Sim) passedBefore(c *commit, env promotion.Environment) bool {
	for _, before := range env.After {
		file, found := s.file(before)
		if !found {
			file = promotion.Environment{ID: before, Path: "overlays/" + before.String()}
		}
		there, err := s.at(c, file)
		if err != nil || !s.truth(before).verified[there.digest] {
			return false
		}
	}
	return true
}

// belongs reports whether an environment's path, or that of one that it takes
// over, rendered to something at any commit.
func (s *Sim) belongs(env promotion.Environment, made *rendered) bool {
	dirs := []string{env.Path}
	for _, former := range env.Formerly {
		dirs = append(dirs, "overlays/"+former.String())
	}
	for key, result := range s.renders {
		if result.err == nil && result.made.digest == made.digest && slices.Contains(dirs, key.dir) {
			return true
		}
	}
	return false
}

// checkReverting looks at a revert as it begins.
func (s *Sim) checkReverting(l *life, guilty source.Revision, note source.RevertNote) {
	s.checkSilent(l, "revert message", note.Evidence)
	s.mu.Lock()
	defer s.mu.Unlock()
	env, err := promotion.ParseID(note.Environment)
	if err != nil {
		s.violated(l, "a revert for no environment: %v", err)
		return
	}
	j, _ := s.store.journal(env)
	s.intended(l, env, j, reconcile.StageReverting)
	if j.Attempt.Guilty != guilty && !s.doubled {
		s.violated(l, "9: %s: reverts what is not in the journal", env)
	}
}

// checkReverted looks at a revert that arrived on the followed branch.
func (s *Sim) checkReverted(l *life, c *commit) {
	guilty, found := c.Reverts()
	values := c.Trailer(source.TrailerEnvironment)
	if !found || len(values) != 1 {
		s.violated(l, "5: pushed %q to the followed branch, which is no revert", c.Subject())
		return
	}
	env, err := promotion.ParseID(values[0])
	bad := s.git.commits[guilty]
	if err != nil || bad == nil {
		s.violated(l, "5: reverted %s for %q", guilty.Short(), values[0])
		return
	}
	line := s.git.reachable(c.Parents[0])
	if others := slices.DeleteFunc(s.git.reverts(guilty), func(r source.Revision) bool { return r == c.Revision || !line[r] }); len(others) > 0 {
		s.violated(l, "3: %q was reverted twice", bad.Subject())
	}
	if _, is := revertedBy(s.git, bad); is {
		s.violated(l, "3: reverted the revert %q", bad.Subject())
	}
	if len(changedPaths(s.git.parentFiles(c), c.files)) == 0 {
		s.violated(l, "3: the revert of %q changes nothing", bad.Subject())
	}
	s.checkBlame(l, env, bad, c)
}

// checkBlame is rules 4 and 5: the commit brought what fails, and last good was
// seen to pass after it.
func (s *Sim) checkBlame(l *life, env promotion.ID, guilty, revert *commit) {
	releases := revert.Trailer(source.TrailerRelease)
	if len(releases) != 1 {
		s.violated(l, "5: the revert of %q names no release", guilty.Subject())
		return
	}
	digest := manifest.Digest(releases[0])
	t := s.truth(env)
	failedAt, failed := t.failed[digest]
	switch {
	case !failed:
		s.violated(l, "4: %q was reverted for %s, where its release never failed", guilty.Subject(), env)
	case t.passed < failedAt && !s.doubled:
		s.violated(l, "4: %q was reverted for %s before last good was seen to pass", guilty.Subject(), env)
	case !s.guilty(env, guilty) && !s.wronged(env, guilty, failedAt):
		s.violated(l, "5: %q was reverted for %s, and is not guilty", guilty.Subject(), env)
	}
}

// wronged reports whether a check failed without a cause that the daemon could
// see: an outage that ended in time for last good to pass looks like guilt.
func (s *Sim) wronged(env promotion.ID, c *commit, failedAt time.Duration) bool {
	t, made := s.truth(env), s.runsAt(env, c)
	return t.unjustly != 0 && t.unjustly >= failedAt || made != nil && t.wronged[made.digest]
}

// guilty reports whether a commit brought something to an environment that
// fails there: in what it renders, or in a file of it that another commit hides
// for a while.
func (s *Sim) guilty(env promotion.ID, c *commit) bool {
	if after := s.runsAt(env, c); after != nil {
		had := map[string]bool{}
		if len(c.Parents) > 0 {
			if r := s.runsAt(env, s.git.commits[c.Parents[0]]); r != nil {
				had = r.bad(env.Name)
			}
		}
		for text := range after.bad(env.Name) {
			if !had[text] {
				return true
			}
		}
	}
	before := files{}
	if len(c.Parents) > 0 {
		before = s.treeAt(env, s.git.commits[c.Parents[0]])
	}
	after := s.treeAt(env, c)
	for _, path := range changedPaths(before, after) {
		if !strings.HasPrefix(path, "base/"+env.Pipeline+"/") && !strings.HasPrefix(path, "overlays/"+env.String()+"/") {
			continue
		}
		made, err := assemble([]input{{env.Pipeline, path, after[path]}})
		if err == nil && len(made.bad(env.Name)) > 0 {
			return true
		}
	}
	return false
}

// treeAt is what an environment renders from as of a commit: at its pin, where
// it has one.
func (s *Sim) treeAt(env promotion.ID, c *commit) files {
	file, found, err := promotion.LoadFile(c.snapshot, env)
	if !found || err != nil {
		return files{}
	}
	if !file.Pinned() {
		return c.files
	}
	if pinned := s.git.commits[file.Revision]; pinned != nil {
		return pinned.files
	}
	return files{}
}

// runsAt is what an environment is to run as of a commit: at its pin, where it
// has one.
func (s *Sim) runsAt(env promotion.ID, c *commit) *rendered {
	file, found, err := promotion.LoadFile(c.snapshot, env)
	if !found || err != nil {
		return nil
	}
	if file.Pinned() {
		if c = s.git.commits[file.Revision]; c == nil {
			return nil
		}
	}
	made, err := s.at(c, file)
	if err != nil {
		return nil
	}
	return made
}

// checkProposed looks at a promotion that is about to be pushed.
func (s *Sim) checkProposed(l *life, env promotion.ID, c *commit) {
	to, found := c.Promotes()
	file, valid := s.file(env)
	if !found || s.git.commits[to] == nil {
		s.violated(l, "%s: proposed nothing that can be promoted", env)
		return
	}
	if !valid {
		return // since a moment ago
	}
	if paths := changedPaths(s.git.parentFiles(c), c.files); len(paths) != 1 || paths[0] != file.File {
		s.violated(l, "%s: the promotion changes %v", env, paths)
	}
	proposed, err := s.at(s.git.commits[to], file)
	if err != nil {
		s.violated(l, "%s: proposed what does not render: %v", env, err)
		return
	}
	if !s.passedBefore(s.git.commits[to], file) && !s.truth(env).verified[proposed.digest] {
		s.violated(l, "2: %s: proposed what its upstream environments never passed", env)
	}
}

// checkBundles is rule 6: last good can always be restored.
func (s *Sim) checkBundles(l *life, env promotion.ID) {
	j, _ := s.store.journal(env)
	if _, found := s.store.bundles[env][j.LastGood.Digest]; !found && j.LastGood.Digest != "" && !s.doubled {
		s.violated(l, "6: %s: let go of the bundle of last good", env)
	}
}

// checkShown is rule 10, at each change of what people see.
func (s *Sim) checkShown(l *life, e controller.EnvironmentView) {
	if e.Status.Reason == "" || strings.TrimSpace(e.Message) == "" {
		s.violated(l, "10: %s: shows reason %q and says %q", e.ID, e.Status.Reason, e.Message)
	}
	if strings.Contains(e.Message, canary) {
		s.violated(l, "a secret is shown on %s", e.ID)
	}
}

// checkSilent listens for secrets. The world is not locked.
func (s *Sim) checkSilent(l *life, where string, texts ...string) {
	for _, text := range texts {
		if strings.Contains(text, canary) {
			s.mu.Lock()
			s.violated(l, "a secret is in the %s", where)
			s.mu.Unlock()
		}
	}
}

// checkRedacted: what policies see holds no secret value.
func (s *Sim) checkRedacted(l *life, in policy.Input) {
	for _, o := range in.Objects {
		if !manifest.IsSecret(o) {
			continue
		}
		if text, err := o.MarshalJSON(); err != nil || strings.Contains(string(text), canary) {
			s.violated(l, "a policy was shown a secret")
		}
	}
}
