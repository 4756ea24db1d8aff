package controller

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"chaperone.dev/chaperone/internal/forge"
	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/source"
)

// told is a forge that tells one thing of every commit.
type told struct {
	Forge
	merge forge.Merge
	found bool
	err   error
	asked int
}

func (f *told) MergedBy(_ context.Context, base string, _ source.Revision) (forge.Merge, bool, error) {
	if f.asked++; base != "main" {
		return forge.Merge{}, false, nil
	}
	return f.merge, f.found, f.err
}

func account(login string) forge.Account {
	return forge.Account{Login: login, Name: strings.ToUpper(login), Email: login + "@x"}
}

func approval(by string, at source.Revision) forge.Review {
	return forge.Review{By: account(by), Verdict: forge.Approved, Official: true, At: at}
}

//lint:long because it is one table: each line is a way to approve on a forge, or to make it look so
func TestApprovalOnTheForge(t *testing.T) {
	t.Parallel()
	managers := promotion.Approval{Required: 1, From: []string{"managers"}}
	two := promotion.Approval{Required: 2}
	merged := func(by string, reviews ...forge.Review) *told {
		return &told{found: true, merge: forge.Merge{Reviews: reviews, PullRequest: forge.PullRequest{
			Number: 7, Head: "p1", State: forge.Merged, Author: account("chaperone"), MergedBy: account(by)}}}
	}
	squashed := func(g *graph) {
		g.add("p1", "chaperone@localhost", promotes, pinA, "r0")
		g.add("r1", "chaperone@localhost/"+byForge, "Promote (#7)", pinA, "r0")
	}
	byBob := func(g *graph) {
		g.add("p1", "chaperone@localhost", promotes, pinA, "r0")
		g.add("r1", "bob@x/"+byForge, "merge", pinA, "r0", "p1")
	}
	hidden, silent := approval("carol", "p1"), approval("carol", "p1")
	hidden.By.Email, silent.By.Email = "9+carol@noreply.forge.example", ""
	outside := approval("alice", "p1")
	outside.Official = false
	back := approval("alice", "p1")
	back.Verdict = forge.ChangesRequested
	for _, test := range []struct {
		name     string
		asked    promotion.Approval
		history  func(*graph)
		forge    *told
		approved bool
		why      string
	}{
		{"squashed by a manager", managers, squashed, merged("alice"), true, ""},
		{"squashed by somebody else", managers, squashed, merged("bob"), false, "BOB <bob@x> is not among managers"},
		{"squashed by somebody else, a manager approved it", managers, squashed, merged("bob", approval("alice", "p1")), true, ""},
		{"merged by somebody else, a manager approved it", managers, byBob, merged("bob", approval("alice", "p1")), true, ""},
		{"who merges does not approve once more", two, byBob, merged("bob", approval("bob", "p1")), false, "1 of 2"},
		{"by two", two, byBob, merged("bob", approval("alice", "p1")), true, ""},
		{"an older revision was approved", managers, byBob, merged("bob", approval("alice", "p0")), false, "ALICE (alice) approved p0, and p1 was merged"},
		{"the forge does not say which", managers, byBob, merged("bob", approval("alice", "")), false, "approved what the forge does not say"},
		{"the approval was taken back", managers, byBob, merged("bob", approval("alice", "p1"), back), false, "0 of 1"},
		{"from outside", managers, byBob, merged("bob", outside), false, "0 of 1"},
		{"an account whose address is hidden", managers, byBob, merged("bob", hidden), false, "CAROL (carol) approved pull request 7, whose address there is 9+carol@noreply.forge.example: list it under people"},
		{"an account without an address", managers, byBob, merged("bob", silent), false, "CAROL (carol) approved pull request 7, and the forge shows no e-mail address of theirs"},
		{"its author approves", managers, byBob, func() *told {
			f := merged("bob", approval("alice", "p1"))
			f.merge.PullRequest.Author = account("alice")
			return f
		}(), false, "0 of 1"},
		{"what was approved has another pin", managers, func(g *graph) {
			g.add("p1", "bob@x", "harmless", pinB, "r0")
			g.add("r1", "bob@x/"+byForge, "merge", pinA, "r0", "p1")
		}, merged("bob", approval("alice", "p1")), false, "0 of 1"},
		{"a push, which nobody merged", managers, byBob, &told{}, false, "P <bob@x> is not among managers"},
		{"revoked, and Git is enough", promotion.Approval{Required: 1}, byBob, &told{err: forge.Fault("ask", "o/r", forge.Answered(401, ""))}, true, ""},
		{"revoked", managers, byBob, &told{err: forge.Fault("ask", "o/r", forge.Answered(401, ""))}, false, "who approved on the forge cannot be asked"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			g := newGraph()
			g.add("r0", "dora@x", "begin", pinC)
			test.history(g)
			v := g.evaluation(t, g.tip(), test.asked, nil)
			v.file.Promotion.Approval.Required = test.asked.Required
			v.c.Forge, v.c.Base = test.forge, "main"
			for range 2 { // the second time it is remembered
				v.approval.By = nil
				agreed, err := v.agreed(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				approved, missing, err := v.approved(t.Context(), agreed)
				if approved != test.approved || err != nil || !strings.Contains(missing, test.why) {
					t.Errorf("approved: %t, %q, %v; want %t, %q", approved, missing, err, test.approved, test.why)
				}
			}
			if test.forge.err == nil && test.forge.asked != 1 {
				t.Errorf("asked %d times, want once", test.forge.asked)
			}
		})
	}
}

// What could not be asked is asked again, unless it does not matter.
func TestAForgeThatIsDownApprovesNothing(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		forge *told
		when  time.Duration // since the commit
		from  []string
		fails bool
	}{
		"down":                          {&told{err: forge.Fault("ask", "o/r", forge.ErrUnavailable)}, time.Hour, []string{"managers"}, true},
		"down, and Git is enough":       {&told{err: forge.Fault("ask", "o/r", forge.ErrUnavailable)}, time.Hour, nil, false},
		"Git has it first":              {&told{}, 10 * time.Second, []string{"managers"}, true},
		"Git has it first, dated later": {&told{}, -time.Minute, []string{"managers"}, true},
		"dated next year":               {&told{}, -8760 * time.Hour, []string{"managers"}, false},
		"nobody merged it":              {&told{}, time.Hour, []string{"managers"}, false},
	} {
		g := newGraph()
		g.add("r0", "dora@x", "begin", pinC)
		g.add("r1", "bob@x", "pin", pinA, "r0")
		v := g.evaluation(t, "r1", promotion.Approval{Required: 1, From: test.from}, nil)
		v.c.Forge, v.c.Base = test.forge, "main"
		moved := g.commits["r1"]
		moved.Committer.When = v.c.Now().Add(-test.when)
		g.commits["r1"] = moved
		agreed, err := v.agreed(t.Context())
		if err != nil {
			t.Fatal(name, err)
		}
		approved, _, err := v.approved(t.Context(), agreed)
		if (err != nil) != test.fails || test.fails && !errors.Is(err, forge.ErrUnavailable) || approved != (test.from == nil) {
			t.Errorf("%s: %t, %v; want an error: %t", name, approved, err, test.fails)
		}
	}
}
