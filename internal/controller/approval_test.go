package controller

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/source"
)

func (g *graph) evaluation(t *testing.T, head source.Revision, asked promotion.Approval, joined map[string][]string) *evaluation {
	t.Helper()
	snapshot, _ := g.Snapshot(head)
	file, found, err := promotion.LoadFile(snapshot, staging)
	if !found || err != nil {
		t.Fatal(found, err)
	}
	file.Promotion.Approval = asked
	c := New(Ports{Source: g}, Config{Self: "Chaperone@localhost", People: joined, Groups: map[string][]string{"managers": {"alice@x", "carolk@x"}}})
	return &evaluation{c: c, file: file, head: head}
}

const (
	override = "Promote\n\nChaperone-Override: because\n"
	promotes = "Promote\n\nChaperone-Promotes: 1111111111111111111111111111111111111111\n"
	byForge  = "noreply@forge.example"
)

var (
	pinA, pinB, pinC = pinnedTo(1), pinnedTo(2), pinnedTo(3)
	slip             = pinA + "  nonsense: 1\n"
)

//lint:long because it is one table: each line is a way to approve, or to make it look so
func TestApproval(t *testing.T) {
	t.Parallel()
	managers := promotion.Approval{Required: 1, From: []string{"managers"}, NotAuthor: true}
	anybody := promotion.Approval{Required: 1}
	two := promotion.Approval{Required: 2}
	aliceTwice := map[string][]string{"alice": {"Alice@x", "7+alice@users.noreply.forge.example"}}
	for _, test := range []struct {
		name     string
		asked    promotion.Approval
		people   map[string][]string
		history  func(g *graph)
		approved bool
		reviewed bool   // has an override that counts
		why      string // part of the sentence
	}{
		{"a manager moves the pin", managers, nil, func(g *graph) {
			g.add("r1", "alice@x", "pin", pinA, "r0")
		}, true, false, ""},
		{"in other letters", managers, nil, func(g *graph) { g.add("r1", "ALICE@X", "pin", pinA, "r0") }, true, false, ""},
		{"who is no manager", managers, nil, func(g *graph) { g.add("r1", "bob@x", "pin", pinA, "r0") }, false, false, "P <bob@x> is not among managers"},
		{"a manager merges the daemon's branch", managers, nil, func(g *graph) {
			g.add("p1", "chaperone@localhost", promotes, pinA, "r0")
			g.add("r1", "alice@x", "merge", pinA, "r0", "p1")
		}, true, false, ""},
		{"by the forge's button", managers, nil, func(g *graph) {
			g.add("p1", "chaperone@localhost", promotes, pinA, "r0")
			g.add("r1", "alice@x/"+byForge, promotes, pinA, "r0", "p1")
		}, true, false, ""},
		{"merges in it are followed along the branch", managers, nil, func(g *graph) {
			g.add("r1", "alice@x", "pin", pinA, "r0")
			g.add("s1", "dev@x", "work", pinB, "r0")
			g.add("r2", "dev@x", "merge work from before", pinA, "r1", "s1")
			g.add("s2", "dev@x", "work", pinA, "r2")
			g.add("r3", "dev@x", "merge work from after", pinA, "r2", "s2")
		}, true, false, ""},
		{"two people, one merges what the other did", two, nil, func(g *graph) {
			g.add("s1", "bob@x", "pin", pinA, "r0")
			g.add("r1", "alice@x", "merge", pinA, "r0", "s1")
		}, true, false, ""},

		// Whose commit brought it.
		{"a merge of an old commit of the branch", managers, nil, func(g *graph) {
			g.add("r1", "alice@x", "pin A", pinA, "r0")
			g.add("r2", "bob@x", "pin B", pinB, "r1")
			g.add("r3", "mallory@x", override, pinA, "r2", "r1")
		}, false, false, "P <mallory@x> is not among managers"},
		{"a merge of a new commit on an old one", managers, nil, func(g *graph) {
			g.add("r1", "alice@x", "pin A", pinA, "r0")
			g.add("r2", "bob@x", "pin B", pinB, "r1")
			g.add("s1", "mallory@x", "anything", pinA, "r1")
			g.add("r3", "mallory@x", override, pinA, "r2", "s1")
		}, false, false, "0 of 1"},
		{"an octopus with an old commit", managers, nil, func(g *graph) {
			g.add("r1", "alice@x", "pin A", pinA, "r0")
			g.add("r2", "bob@x", "pin B", pinB, "r1")
			g.add("s1", "mallory@x", "pin A", pinA, "r2")
			g.add("r3", "mallory@x", override, pinA, "r2", "s1", "r1")
		}, false, false, "0 of 1"},
		{"the old commit is made the first parent", managers, nil, func(g *graph) {
			g.add("r1", "alice@x", "pin A", pinA, "r0")
			g.add("r2", "bob@x", "pin B", pinB, "r1")
			g.add("r3", "mallory@x", override, pinA, "r1", "r2")
		}, false, false, "P <mallory@x> is not among managers"},
		{"on a new first parent, the branch inside another merge", managers, nil, func(g *graph) {
			g.add("r1", "alice@x", "pin A", pinA, "r0")
			g.add("r2", "bob@x", "pin B", pinB, "r1")
			g.add("f1", "mallory@x", "anything", pinA, "r1")
			g.add("f2", "mallory@x", "anything", pinA, "r1")
			g.add("m1", "mallory@x", "merge", pinA, "f2", "r2")
			g.add("r3", "mallory@x", override, pinA, "f1", "m1")
			g.add("r4", "any@x", "work", pinA, "r3")
		}, false, false, "P <mallory@x> is not among managers"},
		{"pulled, and pushed the other way round", managers, nil, func(g *graph) {
			g.add("l1", "dev@x", "work", pinC, "r0")
			g.add("r1", "alice@x", "pin", pinA, "r0")
			g.add("r2", "dev@x", "merge", pinA, "l1", "r1")
		}, true, false, ""},

		// Who is who.
		{"picked from where a manager proposed it", managers, nil, func(g *graph) {
			g.add("r1", "alice@x/mallory@x", "pin", pinA, "r0")
		}, false, false, "P <alice@x> wrote r1, and P <mallory@x> committed it"},
		{"a squash, of which the forge is the committer", managers, nil, func(g *graph) {
			g.add("r1", "alice@x/"+byForge, "pin", pinA, "r0")
		}, false, false, "wrote r1, and P <" + byForge + "> committed it"},
		{"a merge that brought no pin, with a forge's address", managers, nil, func(g *graph) {
			g.add("s1", "mallory@x", "anything", pinB, "r0")
			g.add("r1", "alice@x/"+byForge, "merge", pinA, "r0", "s1")
		}, false, false, "committed it"},
		{"the daemon", anybody, nil, func(g *graph) { g.add("r1", "chaperone@LOCALHOST", "pin", pinA, "r0") }, false, false, "is no person"},
		{"the daemon of before", anybody, nil, func(g *graph) { g.add("r1", "old@x", promotes, pinA, "r0") }, false, false, "r1 by P <old@x> has the trailers"},
		{"its revert", anybody, nil, func(g *graph) {
			g.add("r1", "old@x", strings.Replace(promotes, "Promotes", "Reverts", 1), pinA, "r0")
		}, false, false, "r1 by P <old@x> has the trailers"},
		{"letters that fold to others", managers, nil, func(g *graph) { g.add("r1", "carol\u212a@x", "pin", pinA, "r0") }, false, false, "is no person"},
		{"a hidden address", anybody, nil, func(g *graph) { g.add("r1", "7+alice@users.noreply.forge.example", "pin", pinA, "r0") }, false, false, "is no person"},
		{"a hidden address that is known", managers, aliceTwice, func(g *graph) {
			g.add("r1", "7+Alice@users.noreply.forge.example/"+byForge, "merge", pinA, "r0", "s1")
			g.add("s1", "dev@x", "pin", pinA, "r0")
		}, true, false, ""},
		{"one person with two addresses, twice", two, aliceTwice, func(g *graph) {
			g.add("s1", "alice@x", "pin", pinA, "r0")
			g.add("r1", "7+alice@users.noreply.forge.example", "merge", pinA, "r0", "s1")
		}, false, false, "1 of 2"},
		{"what one wrote with another address", managers, aliceTwice, func(g *graph) {
			g.authors = []source.Person{who("7+alice@users.noreply.forge.example")}
			g.add("r1", "alice@x", "pin", pinA, "r0")
		}, false, false, "P <alice@x> wrote a part of it"},

		// Files that cannot be read.
		{"mended by a manager", managers, nil, func(g *graph) {
			g.add("r1", "mallory@x", "pin, with a slip", slip, "r0")
			g.add("r2", "alice@x", "mend", pinA, "r1")
		}, false, false, "P <alice@x> may only have mended the file, which could not be read since r1 by P <mallory@x>"},
		{"broken by a manager", managers, nil, func(g *graph) {
			g.add("r1", "alice@x", "a slip", slip, "r0")
			g.add("r2", "mallory@x", "mend, and move", pinA, "r1")
		}, false, false, "0 of 1"},
		{"a manager's own slip", managers, nil, func(g *graph) {
			g.add("r1", "alice@x", "a slip", slip, "r0")
			g.add("r2", "alice@x", "mend", pinA, "r1")
			g.add("r3", "mallory@x", "another", slip, "r2")
			g.add("r4", "mallory@x", "mend", pinA, "r3")
		}, true, false, ""},
		{"a slip in a merge that decided", managers, nil, func(g *graph) {
			g.add("r1", "alice@x", "pin A", pinA, "r0")
			g.add("r2", "bob@x", "pin B", pinB, "r1")
			g.add("r3", "alice@x", "merge", slip, "r1", "r2")
			g.add("r4", "mallory@x", "mend", pinA, "r3")
		}, false, false, "P <mallory@x> may only have mended"},

		// Overrides.
		{"written in the request, merged by another", promotion.Approval{}, nil, func(g *graph) {
			g.add("s1", "bob@x", strings.Replace(promotes, "Chaperone-P", "Chaperone-Override: because\nChaperone-P", 1), pinA, "r0")
			g.add("r1", "alice@x/"+byForge, "merge", pinA, "r0", "s1")
		}, true, true, ""},
		{"written in the merge, of another's request", promotion.Approval{}, nil, func(g *graph) {
			g.add("s1", "bob@x", "pin", pinA, "r0")
			g.add("r1", "alice@x", override, pinA, "r0", "s1")
		}, true, true, ""},
		{"of one's own request", promotion.Approval{}, aliceTwice, func(g *graph) {
			g.add("s1", "alice@x", override, pinA, "r0")
			g.add("r1", "7+alice@users.noreply.forge.example", override, pinA, "r0", "s1")
		}, true, false, ""},
		{"of the daemon's branch, alone", promotion.Approval{}, nil, func(g *graph) {
			g.add("p1", "chaperone@localhost", promotes, pinA, "r0")
			g.add("r1", "dev@x", override, pinA, "r0", "p1")
		}, true, false, ""},
		{"slipped into the daemon's commit", promotion.Approval{}, nil, func(g *graph) {
			g.add("p1", "chaperone@localhost/dev@x", override, pinA, "r0")
			g.add("r1", "dev@x", "merge", pinA, "r0", "p1")
		}, true, false, ""},
		{"slipped into another's", promotion.Approval{}, nil, func(g *graph) {
			g.add("p1", "alice@x/dev@x", override, pinA, "r0")
			g.add("r1", "dev@x", "merge", pinA, "r0", "p1")
		}, true, false, ""},
		{"merged by a robot", promotion.Approval{}, nil, func(g *graph) {
			g.add("p1", "dev@x", override, pinA, "r0")
			g.add("r1", byForge, "merge", pinA, "r0", "p1")
		}, true, false, ""},
		{"of one side, by who wrote another", promotion.Approval{}, nil, func(g *graph) {
			g.add("p1", "dev@x", override, pinA, "r0")
			g.add("p2", "alice@x", "pin", pinA, "r0")
			g.add("r1", "dev@x", "merge", pinA, "r0", "p1", "p2")
		}, true, false, ""},
		{"pushed", promotion.Approval{}, nil, func(g *graph) { g.add("r1", "dev@x", override, pinA, "r0") }, true, false, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			g := newGraph()
			g.add("r0", "bob@x", "begin", pinC)
			test.history(g)
			v := g.evaluation(t, g.tip(), test.asked, test.people)
			agreed, err := v.agreed(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			approved, missing, err := v.approved(t.Context(), agreed)
			if approved != test.approved || err != nil || !strings.Contains(missing, test.why) {
				t.Errorf("approved: %t, %q, %v; want %t, %q", approved, missing, err, test.approved, test.why)
			}
			if by := len(v.approval.By); approved != (by >= max(1, test.asked.Required)) {
				t.Errorf("rules see %d approvers: %+v; want them where it is approved", by, v.approval.By)
			}
			if agreed.reviewed != test.reviewed {
				t.Errorf("reviewed: %t (%q), want %t", agreed.reviewed, agreed.override, test.reviewed)
			}
		})
	}
}

// tip is the newest commit of the branch, by its name.
func (g *graph) tip() source.Revision {
	last := source.Revision("r0")
	for r := range g.commits {
		if r[0] == 'r' {
			last = max(last, r)
		}
	}
	return last
}

// What cannot be told is no approval, and what could not be asked is no answer.
func TestWhoWroteItCannotBeTold(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		err   error
		fails bool
	}{{source.ErrTooFar, false}, {source.ErrUnknownRevision, false}, {source.ErrUnavailable, true}, {context.Canceled, true}} {
		g := newGraph()
		g.add("r0", "bob@x", "begin", pinC)
		g.add("r1", "alice@x", "pin", pinA, "r0")
		g.broken = fmt.Errorf("authors: %w", test.err)
		v := g.evaluation(t, "r1", promotion.Approval{Required: 1, NotAuthor: true}, nil)
		agreed, err := v.agreed(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		approved, missing, err := v.approved(t.Context(), agreed)
		if approved || errors.Is(err, test.err) != test.fails || !test.fails && !strings.Contains(missing, "promote a revision in between first") {
			t.Errorf("%v: %t, %q, %v", test.err, approved, missing, err)
		}
	}
}

// An approval is remembered over thousands of commits of others, and costs only
// what is new.
func TestApprovalIsNotForgotten(t *testing.T) {
	t.Parallel()
	g := newGraph()
	g.add("r0", "bob@x", "begin", pinC)
	g.add("m0", "alice@x", "pin", pinA, "r0")
	name := func(i int) source.Revision { return source.Revision(fmt.Sprintf("m%d", i)) }
	const commits = 3000
	for i := 1; i <= commits; i++ {
		g.add(name(i), "any@x", "other", pinA, name(i-1))
	}
	v := g.evaluation(t, name(commits-1), promotion.Approval{Required: 1}, nil)
	for _, step := range []struct {
		head source.Revision
		most int
	}{{name(commits - 1), 2 * commits}, {name(commits), 10}} {
		v.head, g.asked = step.head, 0
		agreed, err := v.agreed(t.Context())
		if err != nil || len(agreed.voices) != 1 || agreed.voices[0].who != "alice@x" {
			t.Fatalf("%+v, %v", agreed, err)
		}
		if g.asked > step.most {
			t.Errorf("%d snapshots, want at most %d", g.asked, step.most)
		}
	}
	for i := commits + 1; i <= maxMoves+1; i++ {
		g.add(name(i), "any@x", "other", pinA, name(i-1))
	}
	fresh := g.evaluation(t, name(maxMoves+1), promotion.Approval{Required: 1}, nil)
	if _, err := fresh.agreed(t.Context()); !errors.Is(err, errTooOld) {
		t.Errorf("%v, want that nobody can tell", err)
	}
}
