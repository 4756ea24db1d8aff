package e2e

import (
	"strings"
	"testing"

	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/reconcile"
)

// Who may let a change into production: somebody of a group, and not who wrote
// it. The change's author merges it and is refused by name; another developer
// is not of the group; a release manager merges the same and it is applied, once,
// though the daemon is killed at each of these.
func TestPromotionIsApprovedByAnother(t *testing.T) {
	quick(t)
	w := newWorld(t, toProduction(", approval: {from: [release-managers], notAuthor: true}"))
	m := w.mortal(map[string]string{"groups": "{release-managers: [alex@example.org, rita@example.org]}"})
	alex, rita, dora := w.person("Alex"), w.person("Rita"), w.person("Dora")
	w.awaitProposal(production, w.first)
	rita.merge(proposal)
	w.awaitRuns(production, w.first)

	second := alex.commit("version 2", version("2.0.0"))
	w.awaitProposal(production, second)
	own := alex.merge(proposal)
	r := w.awaitReason(production, promotion.ApprovalRequired)
	m.reborn()
	w.awaitNoProposal(production) // the pin says already what it proposed
	m.untouched(production)
	w.says(production, second.Short(), "Alex <alex@example.org> wrote a part of it", "0 of 1")
	if r.Status.Wanted.Revision != second || w.record(production).Status.Reason != promotion.ApprovalRequired {
		t.Errorf("status is %+v", w.record(production).Status)
	}

	// Taking the merge back is a commit with the same content, newer.
	w.awaitProposal(production, alex.undo(own))
	other := dora.merge(proposal)
	w.await("Dora to be refused", func() bool {
		return strings.Contains(w.record(production).Message, "Dora <dora@example.org> is not among release-managers")
	})
	w.wantApp(production, "1.0.0")

	last := dora.undo(other)
	w.awaitProposal(production, last)
	wait := m.doom("in the middle of the apply", w.changing(production, after, "deployments", "app"))
	rita.merge(proposal)
	wait()
	m.revive()
	w.awaitRuns(production, last)
	w.wantApp(production, "2.0.0")
	if reverts := w.reverts(); len(reverts) != 0 {
		t.Errorf("reverted: %v", reverts)
	}
}

// A pin at what upstream never verified is refused, with the paths in which it
// differs. A reviewed override lets it in, and one that nobody reviewed does not.
func TestUnverifiedPinNeedsAReviewedOverride(t *testing.T) {
	quick(t)
	w := newWorld(t, toProduction(""))
	m := w.mortal()
	alex, rita := w.person("Alex"), w.person("Rita")
	w.awaitProposal(production, w.first)
	rita.merge(proposal)
	w.awaitRuns(production, w.first)
	w.awaitNoProposal(production)
	w.pause(development, "its cluster is being replaced")
	w.awaitReason(development, promotion.Paused)

	second := alex.commit("version 2", version("2.0.0"))
	alex.commit("promote version 2", w.pin(production, second))
	w.awaitReason(production, promotion.UnverifiedRevision)
	w.says(production, second.Short(), development.String(), "it differs from", "base/demo/deployment.yaml")
	m.die()
	m.revive()
	m.untouched(production)

	const override = "\n\nChaperone-Override: logins fail, incident 4711\n"
	third := alex.commit("version 3", version("3.0.0"))
	alex.commit("promote version 3"+override, w.pin(production, third))
	w.await("the override to be refused", func() bool {
		return strings.Contains(w.record(production).Message, "the override is not reviewed")
	})
	w.says(production, third.Short(), "merged by somebody else than its author")
	alex.branch("own", "promote version 2"+override, w.pin(production, second))
	alex.merge("own")
	w.await("the author's own merge to be refused", func() bool {
		r := w.record(production)
		return r.Status.Wanted.Revision == second && strings.Contains(r.Message, "the override is not reviewed")
	})
	w.wantApp(production, "1.0.0")

	alex.branch("hotfix", "promote version 3"+override, w.pin(production, third))
	wait := m.doom("in the middle of the apply", w.changing(production, after, "deployments", "app"))
	rita.merge("hotfix")
	wait()
	if a := w.record(production).Journal.Attempt; !a.Override || a.Release.Revision != third {
		t.Errorf("the attempt does not tell of the override: %+v", a)
	}
	m.revive()
	w.awaitRuns(production, third)
	w.wantApp(production, "3.0.0")
	w.wantApp(development, "1.0.0")
}

// migration is a release with a step that nothing takes back.
func migration(tag, image string) map[string]string {
	change := version(tag)
	change["base/demo/kustomization.yaml"] = kustomization("deployment.yaml", "service.yaml", "migrate.yaml")
	change["base/demo/migrate.yaml"] = `apiVersion: batch/v1
kind: Job
metadata:
  name: migrate
  annotations: {chaperone.dev/hook: pre-deploy}
spec:
  backoffLimit: 0
  template:
    spec:
      restartPolicy: Never
      containers: [{name: migrate, image: "` + image + `"}]
`
	return change
}

// A migration that nothing undoes does not enter patients' data by itself, also
// not through a kill. A person who moves the pin there has agreed to it.
func TestIrreversibleReleaseIsApproved(t *testing.T) {
	quick(t)
	stops := []stop{{pipeline: "demo", name: "development"},
		{pipeline: "demo", name: "production", after: "development", extra: usualVerify + "  data: phi\n"}}
	w := newWorld(t, stops)
	m := w.mortal()
	w.awaitRuns(production, w.first)
	second := w.push("migrate", migration("2.0.0", image("migrate-2")))
	w.awaitRuns(development, second)
	w.awaitReason(production, promotion.IrreversibleUnapproved)
	m.die()
	m.revive()
	m.untouched(production)
	w.awaitReason(production, promotion.IrreversibleUnapproved)
	w.says(production, "Job.batch/"+w.namespaces[production.String()]+"/migrate", "runs before the release", "rollback")

	rita := w.person("Rita")
	wait := m.doom("with the migration begun", w.changing(production, after, "jobs", "migrate"))
	rita.commit("let it in", w.pin(production, second))
	wait()
	job := w.job(production, "migrate")
	m.revive()
	w.awaitRuns(production, second)
	w.wantApp(production, "2.0.0")
	w.kept("the migration's Job", job, w.job(production, "migrate"))
}

// What failed after a migration that nothing undoes is not taken back by
// itself, neither on the cluster nor in Git, whoever is killed meanwhile.
func TestIrreversibleFailureWaitsForAPerson(t *testing.T) {
	quick(t)
	w := newWorld(t, alone())
	m := w.mortal()
	w.awaitRuns(development, w.first)
	wait := m.doom("with the failure just seen", journaled(development, before, func(j reconcile.Journal) bool {
		return j.Hold.Reason == promotion.IrreversibleFailed
	}))
	bad := w.push("migrate", migration("2.0.0-errors-100", image("migrate-2")))
	wait()
	m.revive()
	r := w.awaitHeld(development, promotion.IrreversibleFailed)
	m.die()
	m.revive()
	w.awaitHeld(development, promotion.IrreversibleFailed)
	m.untouched(development)
	if w.head() != bad || w.runs(development) != "2.0.0-errors-100" || r.Journal.LastGood.Revision != w.first {
		t.Errorf("head %s, runs %s: want both left to a person\n%s", w.head(), w.runs(development), w.scene())
	}
	fixed := w.push("fix it", version("2.0.1"))
	w.awaitRuns(development, fixed)
	w.wantApp(development, "2.0.1")
}
