package cli

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/reconcile"
	"chaperone.dev/chaperone/internal/source"
	"chaperone.dev/chaperone/internal/state"
	"chaperone.dev/chaperone/internal/testkit/gitserver"
)

// where tells the states of a commit, in the order of promotion, and the
// messages beside them.
func (r *shopRepo) where(t *testing.T, name string, records ...state.Record) (states string, j journey) {
	t.Helper()
	clone, err := openClone(t.Context(), r.Dir, "main")
	if err != nil {
		t.Fatal(err)
	}
	defer clone.Close()
	return stated(t, &tracer{clone: clone, records: records}, name)
}

func stated(t *testing.T, tr *tracer, name string) (states string, j journey) {
	t.Helper()
	if err := tr.find(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	ids, err := tr.chosen(nil)
	if err != nil {
		t.Fatal(err)
	}
	if j, err = tr.journey(t.Context(), ids); err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, a := range j.Environments {
		all = append(all, string(a.State))
	}
	return strings.Join(all, " "), j
}

// placed is a record of an environment as its file says.
func placed(r state.Record, after ...promotion.ID) state.Record {
	r.Environment = promotion.Environment{ID: r.ID, Path: "overlays/shop/" + r.ID.Name, After: after}
	if r.ID == production {
		r.Environment.Promotion.Mode = promotion.ModePullRequest
	}
	return r
}

func at(r state.Record, phase reconcile.Phase, reason promotion.Reason, wanted reconcile.Release) state.Record {
	r.Status = reconcile.Status{Phase: phase, Reason: reason, Wanted: wanted}
	r.Message = "as told by " + string(reason)
	return r
}

// A commit on its way: each environment in its turn.
//
//lint:long because it is one table
func TestTraceOnTheWay(t *testing.T) {
	t.Parallel()
	shop := openShop(t)
	shop.pin(shop.first)
	commit := shop.greet("welcome")
	shop.docs("a shop")
	inStaging := shop.scale("staging", 2)
	inProduction := shop.scale("production", 2)
	head := shop.head()

	dev := placed(ready(development, shop.verified(development, shop.first)))
	stage := placed(ready(staging, shop.verified(staging, shop.first)), development)
	prod := placed(ready(production, shop.verified(production, shop.first)), staging)
	has := func(r state.Record, commits ...source.Revision) state.Record {
		j := shop.verified(r.ID, commits...)
		return placed(ready(r.ID, j), r.Environment.After...)
	}
	going := func(r state.Record, to source.Revision, stage reconcile.Stage, reason promotion.Reason) state.Record {
		release := shop.release(r.ID, to)
		r = at(r, reconcile.PhaseProgressing, reason, release)
		r.Journal.Attempt = reconcile.Attempt{Release: release, Stage: stage, Started: time.Now().Add(-time.Hour)}
		return r
	}
	for _, test := range []struct {
		name             string
		commit           source.Revision
		dev, stage, prod state.Record
		want, says       string // says: part of the messages
	}{
		{"nobody has looked", commit, dev, stage, prod, "Waiting Waiting Waiting",
			"the daemon has not looked at it yet: it wants X | is not there because shop/development does not have it: the daemon"},
		{"applied to the first", commit, going(dev, head, reconcile.StageApplying, promotion.Applying), stage, prod, "Underway Waiting Waiting",
			"is applying with X: as told by Applying | is not there because shop/development does not have it: is applying"},
		{"verified in the first", commit, has(dev, head), at(stage, reconcile.PhaseWaiting, promotion.Soaking, shop.release(staging, head)), prod,
			"Verified Waiting Waiting", "runs it with X; verified at TIME | as told by Soaking | is not there because shop/staging does not have it"},
		{"verified in two", commit, has(dev, head), has(stage, commit, shop.first), prod, "Verified Verified Waiting",
			"| runs it; verified at TIME | is verified upstream, and the pin is at X; `chaperone promote shop/production` moves it"},
		{"proposed", commit, has(dev, head), has(stage, commit), func() state.Record {
			p := prod
			p.Journal.Proposal = reconcile.Proposal{Revision: head, Commit: commit}
			return p
		}(), "Verified Verified Waiting", "| is verified upstream; merging chaperone/promote/shop/production promotes X (the pin is at X)"},
		{"everywhere", commit, has(dev, head), has(stage, head), has(prod, commit), "Verified Verified Verified", "runs it with X"},
		{"only in staging", inStaging, dev, stage, prod, "Unchanged Waiting Unchanged",
			"does not change this environment: it renders the same with and without it | the daemon has not looked"},
		{"only in production", inProduction, has(dev, head), has(stage, head), prod, "Unchanged Unchanged Waiting", "| is verified upstream"},
		{"paused", commit, at(dev, reconcile.PhaseHeld, promotion.Paused, reconcile.Release{}), stage, prod, "Waiting Waiting Waiting", "as told by Paused |"},
		{"being taken back", commit, going(dev, commit, reconcile.StageReverting, promotion.Reverting), stage, prod, "Failed Waiting Waiting",
			"failed here, and last good is back or being brought back: as told by Reverting"},
		{"being taken back, as a part", commit, going(dev, head, reconcile.StageBisecting, promotion.Bisecting), stage, prod, "Failed Waiting Waiting",
			"failed here with X, and"},
		{"quarantined", commit, func() state.Record {
			d := at(dev, reconcile.PhaseHeld, promotion.RevertConflict, shop.release(development, head))
			d.Journal.Quarantine = []reconcile.Digest{shop.release(development, commit).Digest}
			return d
		}(), stage, prod, "Failed Waiting Waiting", "failed here before, and is quarantined; now: as told by RevertConflict"},
		{"another one is on its way", commit, going(has(dev, commit), head, reconcile.StageVerifying, promotion.Verifying), stage, prod,
			"Verified Waiting Waiting", "runs it; verified at TIME; X is on its way (verifying)"},
		{"unreadable", commit, state.Record{ID: development, Environment: dev.Environment, Unreadable: errNoRender}, stage, prod, "Unknown Waiting Waiting", "does not render |"},
		{"a clone that is behind", commit, has(dev, head), placed(at(ready(staging, reconcile.Journal{LastGood: release(third)}), reconcile.PhaseReady,
			promotion.UpToDate, release(third)), development), prod, "Verified Unknown Waiting", "| X: this clone does not have it; bring it up to date |"},
	} {
		states, j := shop.where(t, string(test.commit), test.dev, test.stage, test.prod)
		var messages []string
		for _, a := range j.Environments {
			messages = append(messages, a.Message)
		}
		if said := plainly(strings.Join(messages, " | ")); states != test.want || !strings.Contains(said, test.says) {
			t.Errorf("%s: %s, want %s\n%s\nwant\n%s", test.name, states, test.want, said, test.says)
		}
	}
}

// A commit that was taken back, and one that came again.
func TestTraceTakenBack(t *testing.T) {
	t.Parallel()
	shop := openShop(t)
	bad := shop.greet("go away")
	back := shop.undo(bad)
	head := shop.docs("a shop")
	ran := placed(ready(development, shop.verified(development, head, bad)))
	blamed := ran
	blamed.Journal = shop.verified(development, head)
	blamed.Journal.LastRevert = reconcile.Revert{Guilty: bad, Commit: back}
	never := placed(ready(staging, shop.verified(staging, shop.first)), development)
	prod := placed(ready(production, reconcile.Journal{}), staging)

	states, j := shop.where(t, string(bad), ran, never, prod)
	if want := "TakenBack Reverted Reverted"; states != want || j.RevertedBy != back || j.Environments[1].RevertedBy != back {
		t.Errorf("%s by %s, want %s by %s", states, j.RevertedBy, want, back)
	}
	if said := j.Environments[0].Message + " | " + j.Environments[1].Message; plainly(said) != "was here, and was taken back by X | was taken back by X before it came here" {
		t.Error(said)
	}
	states, j = shop.where(t, string(bad), blamed, never, prod)
	if want := "TakenBack Reverted Reverted"; states != want || !strings.HasPrefix(j.Environments[0].Message, "failed here, and was taken back by") {
		t.Errorf("%s, want %s: %s", states, want, j.Environments[0].Message)
	}
	// The revert itself is a commit like any other.
	if states, _ := shop.where(t, string(back), ran, never, prod); states != "Verified Waiting Waiting" {
		t.Errorf("the revert: %s", states)
	}
	// Reverting the revert, with git's own words, brings it again.
	again := shop.commit("Revert \"Revert\"\n\nThis reverts commit "+string(back)+".", map[string]string{"base/app/kustomization.yaml": strings.Replace(
		shop.File(t, string(bad), "base/app/kustomization.yaml"), "x", "x", 1)})
	has := placed(ready(development, shop.verified(development, again)))
	states, j = shop.where(t, string(bad), has, never, prod)
	if want := "Verified Waiting Waiting"; states != want || j.RevertedBy != "" {
		t.Errorf("brought again: %s by %q, want %s", states, j.RevertedBy, want)
	}
	if states, _ := shop.where(t, string(bad), ran, never, prod); states != "Waiting Waiting Waiting" {
		t.Errorf("brought again, and not there yet: %s", states)
	}
}

// What came with a merge is where the merge is, and goes with it.
func TestTraceMerge(t *testing.T) {
	t.Parallel()
	shop := openShop(t)
	side := source.Revision(shop.Commit(t, gitserver.Commit{Branch: "feature", Parent: string(shop.first), Message: "shop: more",
		Files: map[string]string{"overlays/shop/staging/kustomization.yaml": scaled("staging", 4)}}))
	shop.docs("a shop")
	dev := placed(ready(development, shop.verified(development, shop.head())))
	stage := placed(ready(staging, shop.verified(staging, shop.head())), development)
	prod := placed(ready(production, reconcile.Journal{}), staging)
	states, j := shop.where(t, string(side), dev, stage, prod)
	if want := "NotOnBranch NotOnBranch NotOnBranch"; states != want || !strings.Contains(j.Environments[0].Message, "is no commit of main") {
		t.Errorf("before the merge: %s, want %s: %s", states, want, j.Environments[0].Message)
	}
	merge := source.Revision(shop.Commit(t, gitserver.Commit{Message: "merge feature", Merge: string(side),
		Files: map[string]string{"overlays/shop/staging/kustomization.yaml": scaled("staging", 4)}}))
	stage = placed(ready(staging, shop.verified(staging, merge)), development)
	for _, name := range []source.Revision{side, merge} {
		if states, _ := shop.where(t, string(name), dev, stage, prod); states != "Unchanged Verified Unchanged" {
			t.Errorf("%s: %s", name, states)
		}
	}
	back := shop.undo(merge)
	stage.Journal.Verified = append(shop.verified(staging, back).Verified, stage.Journal.Verified...)
	stage.Journal.LastGood = shop.release(staging, back)
	states, j = shop.where(t, string(side), dev, stage, prod)
	if states != "Unchanged TakenBack Unchanged" || j.RevertedBy != back {
		t.Errorf("after the merge was reverted: %s by %s", states, j.RevertedBy)
	}
}

// A commit that moves a pin is followed to what it pins.
func TestTracePin(t *testing.T) {
	t.Parallel()
	shop := openShop(t)
	welcome := shop.greet("welcome")
	promotes := shop.pin(welcome)
	dev := placed(ready(development, shop.verified(development, shop.head())))
	stage := placed(ready(staging, shop.verified(staging, shop.head())), development)
	prod := placed(at(ready(production, shop.verified(production, shop.first)), reconcile.PhaseWaiting, promotion.OutsideWindow, shop.release(production, welcome)), staging)
	states, j := shop.where(t, string(promotes), dev, stage, prod)
	if a := j.Environments[2]; states != "Unchanged Unchanged Waiting" || a.MovesPinTo != welcome || a.Reason != "OutsideWindow" ||
		plainly(a.Message) != "moves the pin to X: as told by OutsideWindow" || a.Unblock != promotion.OutsideWindow.Unblock() {
		t.Errorf("%s: %+v", states, j.Environments[2])
	}
	prod = placed(ready(production, shop.verified(production, welcome)), staging)
	if states, j := shop.where(t, string(promotes), dev, stage, prod); states != "Unchanged Unchanged Verified" ||
		!strings.HasPrefix(plainly(j.Environments[2].Message), "moves the pin to X: runs it; verified at") {
		t.Errorf("%s: %+v", states, j.Environments[2])
	}
}

// Without a clone, the records tell what they can.
func TestTraceWithoutClone(t *testing.T) {
	t.Parallel()
	good := func(revisions ...source.Revision) reconcile.Journal {
		var j reconcile.Journal
		for _, r := range revisions {
			j.Verified = append(j.Verified, reconcile.Verified{Release: release(r), At: time.Now().Add(-time.Hour)})
		}
		j.LastGood = release(revisions[0])
		return j
	}
	dev := placed(ready(development, good(third, second)))
	stage := placed(ready(staging, good(first)), development)
	stage.Journal.Attempt = reconcile.Attempt{Release: release(third), Stage: reconcile.StageVerifying}
	prod := placed(at(ready(production, good(first)), reconcile.PhaseWaiting, promotion.WaitingForUpstream, release(third)), staging)
	records := []state.Record{dev, stage, prod}
	for name, want := range map[string]string{
		"33333333": "Verified Underway Waiting", string(second): "Verified Unknown Unknown", "1111": "Unknown Verified Verified",
		strings.Repeat("9", 40): "Unknown Unknown Unknown",
	} {
		if states, _ := stated(t, &tracer{records: records}, name); states != want {
			t.Errorf("%s: %s, want %s", name, states, want)
		}
	}
	records[0].Journal.LastRevert = reconcile.Revert{Guilty: source.Revision(strings.Repeat("4", 40)), Commit: third}
	if states, j := stated(t, &tracer{records: records}, "4444"); states != "TakenBack Unknown Unknown" || j.Environments[0].RevertedBy != third {
		t.Errorf("what was reverted: %s", states)
	}
	for _, name := range []string{"7777", "333", "HEAD~1"} {
		if err := (&tracer{records: records}).find(t.Context(), name); err == nil || !strings.Contains(err.Error(), "want a full hash, or --repo with a clone") {
			t.Errorf("%q: %v", name, err)
		}
	}
}

// The command itself, on a real cluster and a real repository.
func TestWhyRevision(t *testing.T) {
	t.Parallel()
	in, shop := install(t), openShop(t)
	commit := shop.greet("welcome")
	in.save(ready(development, shop.verified(development, commit)))
	in.save(at(ready(staging, shop.verified(staging, shop.first)), reconcile.PhaseWaiting, promotion.Soaking, shop.release(staging, commit)), development)
	in.save(ready(production, shop.verified(production, shop.first)), staging)
	in.gitSays(shop, exitNo, `X "shop: say welcome" by Dev One <dev@example.org>
ENVIRONMENT       STATE     SINCE  WHAT
shop/development  Verified  1m     runs it; verified at TIME
shop/staging      Waiting   5m     Soaking: as told by Soaking
    unblock: `+promotion.Soaking.Unblock()+`
shop/production   Waiting   5m     WaitingForUpstream: is not there because shop/staging does not
                                   have it: as told by Soaking
    unblock: `+promotion.Soaking.Unblock()+`
`, "why", "--revision", "main")
	code, said := in.git(shop, "why", "--revision", commit.Short(), "shop/development", "-o", "json")
	var j journey
	if err := json.Unmarshal([]byte(said), &j); err != nil || code != exitFine || len(j.Environments) != 1 || j.Revision != commit ||
		j.Environments[0].State != arrivalVerified || j.Branch != "main" {
		t.Errorf("exit code %d, %v: %s", code, err, said)
	}
	if code, said := in.git(shop, "why", "--revision", string(commit), "shop"); code != exitNo || strings.Count(said, "unblock") != 2 {
		t.Errorf("exit code %d: %s", code, said)
	}
	in.gitSays(shop, exitUsage, "chaperone: \"shoe\" is neither an environment nor a pipeline; there are shop/development, shop/staging, shop/production\n",
		"why", "--revision", "main", "shoe")
	in.gitSays(shop, exitUsage, "chaperone: no commit \"nope\" here; want a commit's hash, HEAD~1, a branch or a tag: resolve \"nope\": unknown revision: reference not found\n",
		"why", "--revision", "nope")
	code, out, complaints := in.run("why", "--revision", string(commit), "--repo", t.TempDir())
	if code != exitUsage || !strings.Contains(complaints, "is a Git repository") {
		t.Errorf("no clone, though one was named: exit code %d: %s%s", code, out, complaints)
	}
	// The working directory is none of a clone's, and nobody said so.
	code, out, complaints = in.run("why", "--revision", commit.Short())
	if want := "\n(from the daemon's records alone, as this is no clone that has it: --repo names one)\nENVIRONMENT       STATE     SINCE  WHAT\n" +
		"shop/development  Verified  1m     runs it; verified at TIME\n"; code != exitNo || !strings.Contains(plainly(out), want) {
		t.Errorf("without a clone: exit code %d: %s%s", code, out, complaints)
	}
}

// All environments at once, a block for each.
func TestWhyAll(t *testing.T) {
	t.Parallel()
	in := install(t)
	if code, out, _ := in.run("why"); code != exitNo || !strings.HasPrefix(out, "No environment in namespace ") {
		t.Errorf("before the daemon ran: exit code %d, %s", code, out)
	}
	in.shop()
	code, out, complaints := in.run("why")
	blocks := strings.Split(out, "\n\n")
	if code != exitNo || complaints != "" || len(blocks) != 3 {
		t.Fatalf("exit code %d, %d blocks, %s\n%s", code, len(blocks), complaints, out)
	}
	for i, want := range []string{"shop/development: Ready (UpToDate) for 2h\n", "shop/staging: Held (RevertConflict) for 3h\n", "shop/production: Waiting (WaitingForUpstream) for 3d\n"} {
		if !strings.HasPrefix(blocks[i], want) {
			t.Errorf("block %d is\n%s\nwant\n%s", i, blocks[i], want)
		}
	}
	narrow(t, out)
	_, out, _ = in.run("why", "-o", "json")
	var list []map[string]any
	if err := json.Unmarshal([]byte(out), &list); err != nil || len(list) != 3 || list[2]["environment"] != "shop/production" {
		t.Errorf("%v: %s", err, out)
	}
}
