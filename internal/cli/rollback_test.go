package cli

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"chaperone.dev/chaperone/internal/reconcile"
	"chaperone.dev/chaperone/internal/source"
	"chaperone.dev/chaperone/internal/state"
	"chaperone.dev/chaperone/internal/testkit/gitserver"
)

// Staging follows the branch: what changed it is reverted, and that alone.
func TestRollbackReverts(t *testing.T) {
	t.Parallel()
	in, shop := install(t), openShop(t)
	welcome := shop.greet("welcome")
	shop.scale("production", 3)
	shop.docs("a shop")
	two := shop.scale("staging", 2)
	bad := shop.greet("go away")
	shop.undo(bad) // by the daemon, meanwhile
	shop.greet("good morning")
	running := shop.docs("a nice shop")
	shop.image("2.0.0") // not applied yet
	in.save(ready(staging, shop.verified(staging, running, two, welcome)), development)

	never := "chaperone: shop/staging never verified X; it verified X (TIME), X (TIME), X (TIME)\n"
	in.gitSays(shop, exitNo, never, "rollback", "shop/staging", "--to", string(shop.first))
	in.gitSays(shop, exitNo, never, "rollback", "shop/staging", "--to", string(bad))
	before := shop.head()
	in.gitSays(shop, exitFine, `shop/staging goes back to X. Reverted on main, newest first:
  X  shop: say good morning  by X
  X  shop: 2 in staging      by X
Note: X came after what shop/staging has, changes it too, and stays
Next:
  git push origin main
`, "rollback", "shop/staging", "--to", welcome.Short(), "--reason", "patients wait")
	var subjects []string
	for line := range strings.SplitSeq(gitserver.Git(t, shop.Dir, "log", "--format=%s", string(before)+"..main"), "\n") {
		subjects = append(subjects, line)
	}
	if want := []string{`Revert "shop: 2 in staging"`, `Revert "shop: say good morning"`}; !slices.Equal(subjects, want) {
		t.Errorf("the commits are %q, want %q", subjects, want)
	}
	message := gitserver.Git(t, shop.Dir, "log", "-1", "--format=%B", "main")
	if text := strings.Join(strings.Fields(message), " "); !strings.Contains(text, "patients wait. It takes shop/staging back to what was verified there at 2") ||
		!strings.Contains(text, "Chaperone-Reverts: "+string(two)) {
		t.Errorf("the commit says\n%s", message)
	}
}

// The newest before what it has: also where the same content has another name
// by now, and where what it has failed.
func TestRollbackToPrevious(t *testing.T) {
	t.Parallel()
	in, shop := install(t), openShop(t)
	second := shop.greet("welcome")
	third := shop.greet("good morning")
	head := shop.docs("a shop")
	j := shop.verified(staging, third, second, shop.first)
	j.Running.Revision, j.LastGood.Revision = head, head
	in.save(ready(staging, j), development)
	goal := func(args ...string) (source.Revision, string) {
		code, said := in.git(shop, append([]string{"rollback", "shop/staging", "-o", "json"}, args...)...)
		var done moved
		if err := json.Unmarshal([]byte(said), &done); err != nil || code != exitFine {
			t.Fatalf("exit code %d, %v: %s", code, err, said)
		}
		return done.To, said
	}
	if to, said := goal("--to", "previous"); to != second {
		t.Errorf("previous is %s, want %s: %s", to, second, said)
	}
	shop.Move(t, "main", string(head))
	j.Running = shop.release(staging, shop.greet("go away")) // under verification
	in.save(ready(staging, j), development)
	if to, said := goal("--to", "previous"); to != third {
		t.Errorf("previous of what was not verified is %s, want %s: %s", to, third, said)
	}
	in.save(ready(staging, shop.verified(staging, shop.first)), development)
	in.gitSays(shop, exitNo, "chaperone: shop/staging has no good release before the one it has (X); it verified X (TIME)\n",
		"rollback", "shop/staging", "--to", "previous")
	in.save(state.Record{ID: staging, Status: reconcile.Status{Phase: reconcile.PhaseHeld}}, development)
	in.gitSays(shop, exitNo, "chaperone: shop/staging has no good release before the one it has (-); it verified nothing yet\n",
		"rollback", "shop/staging", "--to", "previous")
}

// Production is pinned: the pin goes back, and no commit is reverted.
func TestRollbackMovesThePinBack(t *testing.T) {
	t.Parallel()
	in, shop := install(t), openShop(t)
	second := shop.greet("welcome")
	third := shop.greet("good morning")
	shop.pin(third)
	before := shop.head()
	in.save(ready(production, shop.verified(production, third, second, shop.first)), staging)
	in.gitSays(shop, exitFine, `shop/production moves from X to X with X on
chaperone/promote/shop/production.
Next:
  git push origin chaperone/promote/shop/production
  open a pull request from chaperone/promote/shop/production into main: merging it is the promotion
`, "rollback", "shop/production", "--to", "previous")
	if got, want := shop.File(t, "chaperone/promote/shop/production", productionFile), pinnedTo(second); got != want {
		t.Errorf("the file is\n%s\nwant\n%s", got, want)
	}
	if shop.head() != before {
		t.Error("main has moved")
	}
	in.gitSays(shop, exitFine, `shop/production moves from X to X with X on main.
Next:
  git push origin main
  the daemon sees it at its next poll
`, "rollback", "shop/production", "--to", string(shop.first), "--direct")
	// Its release failed: the newest good one is the one to go back to.
	shop.pin(shop.docs("a shop"))
	j := shop.verified(production, second, shop.first)
	in.save(state.Record{ID: production, Status: reconcile.Status{Phase: reconcile.PhaseHeld, Wanted: shop.release(production, third)}, Journal: j}, staging)
	code, said := in.git(shop, "rollback", "shop/production", "--to", "previous", "-o", "json")
	if code != exitFine || !strings.Contains(said, `"to": "`+string(second)+`"`) {
		t.Errorf("exit code %d: %s", code, said)
	}
	in.gitSays(shop, exitNo, "chaperone: shop/production never verified X; it verified X (TIME), X (TIME)\n", "rollback", "shop/production", "--to", string(third))
}
