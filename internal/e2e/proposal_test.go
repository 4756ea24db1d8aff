package e2e

import (
	"slices"
	"strings"
	"testing"
	"time"

	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/reconcile"
	"chaperone.dev/chaperone/internal/source"
	"chaperone.dev/chaperone/internal/testkit/gitserver"
)

// toProduction is the shortest pipeline that is promoted by people; rules are
// further lines of production's promotion.
func toProduction(rules string) []stop {
	return []stop{
		{pipeline: "demo", name: "development"},
		{pipeline: "demo", name: "production", after: "development", extra: usualVerify + "  promotion: {mode: pull-request" + rules + "}\n"},
	}
}

var proposal = source.PromotionBranch(production.String())

// awaitProposal waits until a revision's promotion is there to be merged, and
// makes sure that it is one commit that moves the pin and no other byte.
func (w *world) awaitProposal(id promotion.ID, revision source.Revision) source.Revision {
	w.Helper()
	w.await(id.String()+" to be proposed "+revision.Short(), func() bool {
		p := w.record(id).Journal.Proposal
		return p.Revision == revision && p.Commit != ""
	})
	r := w.record(id)
	branch := source.PromotionBranch(id.String())
	there := w.proposals()
	if len(there) != 1 || there[branch] != r.Journal.Proposal.Commit {
		w.Fatalf("branches %v, want %s at %s alone\n%s", there, branch, r.Journal.Proposal.Commit, w.scene())
	}
	w.wantProposal(id, branch, revision)
	return there[branch]
}

// awaitNoProposal waits until there is no promotion branch, and that is known.
func (w *world) awaitNoProposal(id promotion.ID) {
	w.Helper()
	w.await("the promotion branch to be withdrawn", func() bool {
		return len(w.proposals()) == 0 && w.record(id).Journal.Proposal == reconcile.Proposal{}
	})
}

func (w *world) wantProposal(id promotion.ID, branch string, revision source.Revision) {
	w.Helper()
	if own := w.commits(gitserver.Main, branch); len(own) != 1 || own[0] != string(w.proposals()[branch]) {
		w.Errorf("%s has %v over the followed branch, want one commit", branch, own)
	}
	path := "environments/" + id.String() + ".yaml"
	if changed := w.between(w.head(), source.Revision(w.repo.Head(w.T, branch))); !slices.Equal(changed, []string{path}) {
		w.Errorf("%s changes %v, want %s", branch, changed, path)
	}
	before, after := w.repo.File(w.T, gitserver.Main, path), w.repo.File(w.T, branch, path)
	line := "  revision: " + string(revision)
	if !strings.Contains(after, line+"\n") || withoutPin(before) != withoutPin(after) {
		w.Errorf("%s proposes\n%s\nwant %q, and all else as in\n%s", branch, after, line, before)
	}
}

func withoutPin(file string) string {
	lines := slices.DeleteFunc(strings.Split(file, "\n"), func(line string) bool { return strings.HasPrefix(line, "  revision: ") })
	return strings.Join(lines, "\n")
}

// What upstream verified is proposed on one branch by one commit, also when the
// daemon is killed just before or just after the push. The branch follows when
// upstream moves on, a person's merge promotes it, and then it is gone.
func TestPromotionBranchIsKeptThroughKills(t *testing.T) {
	quick(t)
	w := newWorld(t, toProduction(""))
	m := w.mortal()
	waitBefore := m.doom("before the push", journaled(production, after, func(j reconcile.Journal) bool {
		return j.Proposal.Revision == w.first && j.Proposal.Commit == ""
	}))
	waitBefore()
	if there := w.proposals(); len(there) != 0 {
		t.Fatalf("killed before the push, and there is %v", there)
	}
	m.revive()
	w.awaitRuns(development, w.first)
	w.awaitProposal(production, w.first)
	w.awaitReason(production, promotion.WaitingForPromotion)

	second := w.push("version 2", version("2.0.0"))
	pushed := func(j reconcile.Journal) bool { return j.Proposal.Revision == second && j.Proposal.Commit != "" }
	m.doom("after the push", journaled(production, before, pushed))()
	commit := w.proposals()[proposal]
	w.wantProposal(production, proposal, second)
	pushes := w.git.Count(gitserver.Push)
	m.revive()
	if again := w.awaitProposal(production, second); again != commit || w.git.Count(gitserver.Push) != pushes {
		t.Errorf("%s was proposed at %s, and then at %s with %d pushes more", second, commit, again, w.git.Count(gitserver.Push)-pushes)
	}
	w.says(production, second.Short(), proposal)
	if w.app(production) != nil {
		t.Error("production runs what nobody merged")
	}

	rita := w.person("Rita")
	gone := m.doom("with the merged branch just deleted", journaled(production, before, func(j reconcile.Journal) bool {
		return j.LastGood.Revision == second && j.Proposal.Revision == ""
	}))
	merge := rita.merge(proposal)
	gone()
	if there := w.proposals(); len(there) != 0 {
		t.Errorf("branches %v are left after the merge", there)
	}
	m.revive()
	w.awaitRuns(production, second)
	w.awaitRuns(development, merge)
	w.wantApp(production, "2.0.0")
	w.awaitNoProposal(production)
	if there := w.proposals(); len(there) != 0 || w.head() != merge {
		t.Errorf("branches %v and head %s, want none and %s", there, w.head(), merge)
	}
}

// A proposal whose revision upstream is no longer at is withdrawn. One that
// somebody has added a commit to is theirs: it stays as it is, and production
// says so.
func TestObsoletePromotionIsWithdrawn(t *testing.T) {
	quick(t)
	w := newWorld(t, toProduction(""))
	m := w.mortal()
	w.awaitProposal(production, w.first)
	rita := w.person("Rita")
	rita.merge(proposal)
	w.awaitRuns(production, w.first)

	second := w.push("version 2", version("2.0.0"))
	w.awaitProposal(production, second)
	wait := m.doomInPush(before)
	w.push("take version 2 back", version("1.0.0"))
	wait()
	m.revive()
	w.awaitNoProposal(production)
	w.wantApp(production, "1.0.0")

	wait = m.doomInPush(after)
	third := w.push("version 3", version("3.0.0"))
	wait()
	m.revive()
	w.awaitProposal(production, third)
	rita.pull()
	rita.git("checkout", "-q", "-B", "more", "origin/"+proposal)
	theirs := rita.write("and a note", map[string]string{"NOTES.md": "careful\n"})
	rita.git("push", "-q", "origin", "HEAD:"+proposal)
	w.push("version 4", version("4.0.0"))
	w.awaitReason(production, promotion.PromotionRejected)
	w.says(production, proposal, "other people's commits")
	m.die()
	m.revive()
	w.awaitReason(production, promotion.PromotionRejected)
	w.never("other people's commits were overwritten", time.Second, func() bool { return w.proposals()[proposal] != theirs })
	w.wantApp(production, "1.0.0")
}
