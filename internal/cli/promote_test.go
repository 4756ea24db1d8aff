package cli

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/reconcile"
	"chaperone.dev/chaperone/internal/source"
	"chaperone.dev/chaperone/internal/state"
	"chaperone.dev/chaperone/internal/testkit/gitserver"
)

// verified is a journal in which an environment verified these commits, the
// newest first, an hour apart, the newest a minute ago.
func (r *shopRepo) verified(id promotion.ID, commits ...source.Revision) reconcile.Journal {
	r.Helper()
	var j reconcile.Journal
	for i, commit := range commits {
		j.Verified = append(j.Verified, reconcile.Verified{
			Release: r.release(id, commit), At: time.Now().Add(-time.Minute - time.Duration(i)*time.Hour)})
	}
	if len(commits) > 0 {
		j.Running, j.LastGood = j.Verified[0].Release, j.Verified[0].Release
	}
	return j
}

func ready(id promotion.ID, j reconcile.Journal) state.Record {
	return state.Record{ID: id, Since: time.Now().Add(-5 * time.Minute), Message: "runs what is wanted", Journal: j,
		Status: reconcile.Status{Phase: reconcile.PhaseReady, Reason: promotion.UpToDate, Wanted: j.LastGood}}
}

// git is a command on the repository and the installation.
func (in *installation) git(r *shopRepo, args ...string) (code int, said string) {
	in.Helper()
	flags := append([]string{"--repo", r.Dir, "--branch", "main"}, args[1:]...)
	code, out, complaints := in.run(args[0], flags...)
	if !slices.Contains(args, "-o") {
		narrowButErrors(in.T, out)
	}
	return code, out + complaints
}

func (in *installation) gitSays(r *shopRepo, wantCode int, want string, args ...string) {
	in.Helper()
	code, said := in.git(r, args...)
	if said = plainly(said); code != wantCode || said != want {
		in.Errorf("chaperone %s: exit code %d, want %d\n%s\nwant\n%s", strings.Join(args, " "), code, wantCode, said, want)
	}
}

// Production is pinned to the first commit; staging verified more since.
func TestPromoteTakesWhatUpstreamVerified(t *testing.T) {
	t.Parallel()
	in, shop := install(t), openShop(t)
	shop.pin(shop.first)
	second := shop.greet("welcome")
	third := shop.greet("good morning")
	shop.scale("staging", 2) // changes nothing in production
	in.save(ready(staging, shop.verified(staging, second, shop.first)), development)
	in.save(ready(production, shop.verified(production, shop.first)), staging)

	in.gitSays(shop, exitFine, `shop/production moves from X to X with X on
chaperone/promote/shop/production.
Note: it soaks upstream until TIME, and is applied after that
Next:
  git push origin chaperone/promote/shop/production
  open a pull request from chaperone/promote/shop/production into main: merging it is the promotion
`, "promote", "shop/production")
	branch := "chaperone/promote/shop/production"
	if got, want := shop.File(t, branch, productionFile), pinnedTo(second); got != want {
		t.Errorf("the file is\n%s\nwant\n%s", got, want)
	}
	message := gitserver.Git(t, shop.Dir, "log", "-1", "--format=%B", branch)
	if text := strings.Join(strings.Fields(message), " "); !strings.Contains(text, "shop/staging verified it at 2") || !strings.Contains(text, "Chaperone-Promotes: "+string(second)) {
		t.Errorf("the commit says\n%s", message)
	}

	// What upstream never verified is refused, and what it is there instead is told.
	code, said := in.git(shop, "promote", "shop/production", "--revision", string(third))
	if code != exitNo || !strings.HasPrefix(said, "chaperone: "+third.Short()+" is not verified by every environment before shop/production: "+
		"shop/staging is Ready (UpToDate) with "+second.Short()+"; the daemon would refuse it (UnverifiedRevision). Want") {
		t.Errorf("exit code %d: %s", code, said)
	}
	code, said = in.git(shop, "promote", "shop/production", "--revision", string(third), "--override", "The clinic waits.", "-o", "json")
	var done moved
	if err := json.Unmarshal([]byte(said), &done); err != nil || code != exitFine {
		t.Fatalf("exit code %d, %v: %s", code, err, said)
	}
	if done.Outcome != "Proposed" || done.From != shop.first || done.To != third || done.Override != "The clinic waits." || done.Branch != branch ||
		string(done.Commit) != shop.Head(t, branch) || done.Pushed {
		t.Errorf("%+v", done)
	}
	if head := gitserver.Git(t, shop.Dir, "log", "-1", "--format=%(trailers:key=Chaperone-Override,valueonly)", branch); head != "The clinic waits." {
		t.Errorf("the override in the commit is %q", head)
	}
}

// A commit with other content before it in staging, and the same in what
// staging verified, is as good as verified: closures count, not names.
func TestPromoteTakesTheNewestWithTheSameContent(t *testing.T) {
	t.Parallel()
	in, shop := install(t), openShop(t)
	shop.pin(shop.first)
	second := shop.greet("welcome")
	head := shop.docs("a shop")
	in.save(ready(staging, shop.verified(staging, second, shop.first)), development)
	in.save(ready(production, shop.verified(production, shop.first)), staging)
	code, said := in.git(shop, "promote", "shop/production", "-o", "json")
	var done moved
	if err := json.Unmarshal([]byte(said), &done); err != nil || code != exitFine || done.To != head {
		t.Errorf("exit code %d, %v, to %s, want %s: %s", code, err, done.To, head, said)
	}
}

func TestPromoteRefuses(t *testing.T) {
	t.Parallel()
	in, shop := install(t), openShop(t)
	second := shop.greet("welcome")
	pin := shop.pin(second)
	third := shop.greet("good morning")
	last := shop.docs("a shop")
	stages := shop.verified(staging, second, shop.first)
	in.save(ready(staging, stages), development)
	produces := shop.verified(production, second, shop.first)
	produces.Quarantine = []reconcile.Digest{shop.release(production, third).Digest}
	in.save(ready(production, produces), staging)

	nothing := "chaperone: there is nothing to promote to shop/production, which is pinned to X: no newer commit of main both changes it and " +
		"is verified before it; shop/staging is Ready (UpToDate) with X\n"
	in.gitSays(shop, exitNo, nothing, "promote", "shop/production")
	in.gitSays(shop, exitFine, "shop/production is pinned to X already; nothing is written.\n", "promote", "shop/production", "--revision", string(second))
	for _, commit := range []source.Revision{third, last} { // by content
		code, said := in.git(shop, "promote", "shop/production", "--revision", string(commit))
		if want := "chaperone: " + commit.Short() + " failed in shop/production before, and is not applied there again; promote a fix, or lift that with " +
			"`chaperone retry shop/production --digest "; code != exitNo || !strings.HasPrefix(said, want) {
			t.Errorf("exit code %d: %s\nwant %s", code, said, want)
		}
	}
	in.save(ready(staging, shop.verified(staging, last, second)), development)
	in.gitSays(shop, exitNo, nothing, "promote", "shop/production") // verified, and failed here

	// Going back is told; and what changes nothing, too.
	code, said := in.git(shop, "promote", "shop/production", "--revision", string(shop.first))
	if code != exitNo || !strings.Contains(said, "is not verified by every environment before") {
		t.Errorf("exit code %d: %s", code, said)
	}
	in.save(ready(staging, stages), development)
	in.gitSays(shop, exitFine, `shop/production moves from X to X with X on
chaperone/promote/shop/production.
Note: X is older than what it is pinned to; `+"`chaperone rollback`"+` looks whether it was
good here
Next:
  git push origin chaperone/promote/shop/production
  open a pull request from chaperone/promote/shop/production into main: merging it is the promotion
`, "promote", "shop/production", "--revision", string(shop.first))
	code, said = in.git(shop, "promote", "shop/production", "--revision", string(pin), "--direct")
	if code != exitFine || !strings.Contains(said, "Note: it changes nothing of what runs there\n") || !strings.Contains(said, "the daemon sees it at its next poll") {
		t.Errorf("exit code %d: %s", code, said)
	}
	if got, want := shop.File(t, "main", productionFile), pinnedTo(pin); got != want {
		t.Errorf("the file is\n%s\nwant\n%s", got, want)
	}
	if code, said := in.git(shop, "promote", "shop/staging"); code != exitNo || !strings.HasPrefix(said, "chaperone: shop/staging follows main: ") {
		t.Errorf("exit code %d: %s", code, said)
	}
}

// The daemon's namespace does not know the environment: that is no answer about
// upstream.
func TestPromoteToWhatTheDaemonDoesNotKnow(t *testing.T) {
	t.Parallel()
	in, shop := install(t), openShop(t)
	in.gitSays(shop, exitUsage, "chaperone: what upstream verified is not known, and so what is meant has to be said with --revision: "+
		"the daemon in namespace "+in.namespace+" does not know shop/production\n", "promote", "shop/production")
	code, said := in.git(shop, "promote", "shop/production", "--revision", "main")
	if code != exitFine || !strings.Contains(said, "Note: whether upstream verified it is not known here") {
		t.Errorf("exit code %d: %s", code, said)
	}
}
