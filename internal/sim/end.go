package sim

import (
	"slices"
	"strings"

	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/policy"
	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/reconcile"
)

// inPlace holds a world at rest against where it should be: every environment
// runs last good and nothing else, and where nothing stands in the way, last
// good is the newest commit.
func (d *driver) inPlace() error {
	s := d.s
	head := s.git.head()
	set := s.environments(head.Revision)
	for _, env := range set.IDs() {
		known := s.shownAs[env]
		if known == nil || known.status.Reason == "" || strings.TrimSpace(known.message) == "" {
			return unexpected("%s does not say where it is", env)
		}
		if told, _ := s.store.told(env); !s.doubled && (told.Status.Reason != known.status.Reason || told.Message != known.message) {
			return unexpected("%s is shown as %s: %s; stored is %s: %s", env, known.status.Reason, known.message, told.Status.Reason, told.Message)
		}
		file, valid := set.Environments[env]
		if !valid {
			continue
		}
		j, _ := s.store.journal(env)
		if err := s.atLastGood(file, j, known); err != nil {
			return err
		}
		if made, clear := s.unhindered(file, j, head); clear && !slices.Contains(otherwise, known.status.Reason) {
			if !slices.Contains([]promotion.Reason{promotion.UpToDate, promotion.Drifted, promotion.Contended}, known.status.Reason) {
				return unexpected("%s could run the newest commit, and is %s %s: %s", env, known.status.Phase, known.status.Reason, known.message)
			}
			if j.LastGood.Digest != reconcile.Digest(made.digest) {
				return unexpected("%s says that it is up to date, and its last good is another than the newest commit's", env)
			}
		}
	}
	return nil
}

// otherwise are reasons that unhindered does not look into: a place that moved,
// a time that is not over, the pause of a former name.
var otherwise = []promotion.Reason{promotion.TargetMoved, promotion.Soaking, promotion.Paused}

// atLastGood: nothing is under way, so what runs is last good.
func (s *Sim) atLastGood(file promotion.Environment, j reconcile.Journal, known *shownAs) error {
	env := file.ID
	if known.status.Reason == promotion.UpToDate && (j.Attempt.Stage != reconcile.StageNone || j.Running.Digest != j.LastGood.Digest) {
		return unexpected("%s says that it is up to date at stage %q", env, j.Attempt.Stage)
	}
	if j.Attempt.Stage != reconcile.StageNone || j.LastGood.Digest == "" || j.Running.Digest != j.LastGood.Digest {
		return nil
	}
	tampered := (s.truth(env).tampered || s.doubled) && (file.Drift == promotion.DriftReport || known.status.Reason != promotion.UpToDate)
	if known.status.Reason == promotion.ConflictingOwner {
		return nil // somebody else has taken them over
	}
	made := s.byDigest[manifest.Digest(j.LastGood.Digest)]
	if made == nil || tampered || s.truth(env).kept || s.everStays(env) {
		return nil
	}
	if err := s.runs(env, made); err != nil {
		return unexpected("%s is %s at %s: %v", env, known.status.Reason, j.LastGood.Revision.Short(), err)
	}
	return nil
}

// everStays reports whether an object with a finalizer that never ends is there.
func (s *Sim) everStays(env promotion.ID) bool {
	for _, objects := range s.clusters.objects {
		for _, object := range objects {
			if object.owner == env && object.stays {
				return true
			}
		}
	}
	return false
}

// unhindered reports whether nothing at all keeps an environment from running
// the newest commit.
func (s *Sim) unhindered(file promotion.Environment, j reconcile.Journal, head *commit) (*rendered, bool) {
	env := file.ID
	p := file.Promotion
	plain := !file.Pinned() && p.Mode == promotion.ModeAutomatic && len(p.Windows) == 0 && len(p.Freezes) == 0 && file.Data != promotion.DataPHI
	made, err := s.at(head, file)
	if !plain || err != nil || made.set.Len() == 0 {
		return nil, false
	}
	for _, m := range marks {
		if _, found := made.has(m, env.Name); found && m != markStays {
			return nil, false
		}
	}
	if verdict, _ := s.policies.verdict(env.Name, made); verdict != policy.VerdictAllow || s.policies.gone {
		return nil, false
	}
	requests := s.store.records[env].requests
	paused := requests.Pause != nil && (requests.Pause.Until.IsZero() || requests.Pause.Until.After(s.now()))
	digest := reconcile.Digest(made.digest)
	rewritten := j.LastGood.Revision != "" && !s.git.reachable(head.Revision)[j.LastGood.Revision]
	// Over data that may be half rolled back goes nothing at all.
	held := j.Hold.Reason != "" && (j.Hold.Digest == digest || j.Hold.Reason == promotion.RollbackFailed)
	if paused || held || rewritten || slices.Contains(j.Quarantine, digest) || s.everStays(env) || s.wouldDelete(file, made) {
		return nil, false
	}
	for at := range made.texts {
		if object, found := s.clusters.on(file.Target.Kubeconfig)[at]; found && object.owner != env {
			return nil, false
		}
	}
	for _, before := range file.After {
		upstream, valid := s.file(before)
		if !valid {
			return nil, false
		}
		up, err := s.at(head, upstream)
		j, found := s.store.journal(before)
		e := reconcile.Environment{Journal: j}
		if err != nil || !found || e.Failing(reconcile.Digest(up.digest)) || !slices.ContainsFunc(j.Verified, func(v reconcile.Verified) bool { return v.Digest == reconcile.Digest(up.digest) }) {
			return nil, false
		}
	}
	return made, true
}

// wouldDelete reports whether the guard on mass deletion may stand in the way.
func (s *Sim) wouldDelete(file promotion.Environment, made *rendered) bool {
	doomed, total := clusterPort{&life{s: s}}.doomed(file, made)
	return len(doomed) >= 5 && float64(len(doomed)) > file.MaxDeletePart*float64(total)
}
