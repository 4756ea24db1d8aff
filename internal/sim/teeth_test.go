package sim

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"chaperone.dev/chaperone/internal/controller"
	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/reconcile"
	"chaperone.dev/chaperone/internal/source"
	"chaperone.dev/chaperone/internal/state"
)

// world is a simulated world after a story, in which a test does what the
// daemon must never do.
type world struct {
	*testing.T
	*Sim
	l   *life
	env promotion.Environment
}

// TestRulesHaveTeeth: each rule is broken once, by hand, and it is seen.
//
//lint:long because it is a table of sins
func TestRulesHaveTeeth(t *testing.T) {
	t.Parallel()
	const plain = "# Quiet.\n\nenvironment development\nenvironment staging after development\nwait until quiet\n" +
		"push \"good\" by dev@example.org\n  base app: v1\nwait until quiet\n" +
		"push \"bad\" by dev@example.org\n  base app: v2, fails in staging\nwait until quiet\n" +
		"push \"harmless\" by dev@example.org\n  base text: v1\nwait until quiet\n"
	const proposing = "# A promotion.\n\nenvironment development\nenvironment staging after development\n  promotion: {mode: pull-request}\nwait until quiet\n" +
		"push \"untried\" by dev@example.org\n  base app: v2, fails in development\nwait until quiet\n"
	for _, test := range []struct {
		name, story, want string
		sin               func(*world)
	}{
		{"apply without a decision", plain, "applied what was not decided on", func(w *world) { w.apply("good") }},
		{"apply without an allow", plain, "1: demo/staging: applied without an allow", func(w *world) {
			w.decide("good")
			clear(w.policies.judged)
			w.apply("good")
		}},
		{"apply what upstream never passed", plain, "2: demo/staging: applied what its upstream", func(w *world) {
			w.decide("good")
			clear(w.truth(w.env.ID).verified)
			clear(w.truth(promotion.ID{Pipeline: "demo", Name: "development"}).verified)
			w.apply("good")
		}},
		{"apply without an intent", plain, "9: demo/staging: acted at stage", func(w *world) {
			w.decide("good")
			w.apply("good")
		}},
		{"apply from quarantine", plain, "7: demo/staging: applied from quarantine", func(w *world) {
			w.decide("bad")
			w.apply("bad")
		}},
		{"apply another environment's objects", plain, "objects of something that its path never rendered to", func(w *world) {
			other := w.env
			other.Path = "overlays/demo/development"
			made, err := w.at(w.git.bySubject("good"), other)
			if err != nil {
				w.Fatal(err)
			}
			w.checkEffect(w.l, reconcile.ActionApply, w.env, made)
		}},
		{"prune before the checks passed", plain, "6: demo/staging: pruned before", func(w *world) {
			w.checkEffect(w.l, reconcile.ActionPrune, w.env, w.made("bad"))
		}},
		{"restore something else", plain, "restored something other than last good", func(w *world) {
			w.checkEffect(w.l, reconcile.ActionRestore, w.env, w.made("good"))
		}},
		{"revert twice", plain, `3: "bad" was reverted twice`, func(w *world) { w.revert("bad") }},
		{"revert an innocent", plain, `4: "harmless" was reverted for demo/staging, where its release never failed`, func(w *world) { w.revert("harmless") }},
		{"revert the wrong one", plain, `5: "harmless" was reverted for demo/staging, and is not guilty`, func(w *world) { w.revertFor("harmless", "bad") }},
		{"revert before last good passed", plain, "before last good was seen to pass", func(w *world) {
			w.truth(w.env.ID).passed = 0
			w.revert("bad")
		}},
		{"revert a revert", plain, "3: reverted the revert", func(w *world) { w.revert(`Revert "bad"`) }},
		{"push something else", plain, "which is no revert", func(w *world) {
			c := sourcePort{w.l}.sign("something", w.git.head(), w.git.head().files)
			sourcePort{w.l}.pushed(mainBranch, c)
		}},
		{"let go of last good's bundle", plain, "let go of the bundle of last good", func(w *world) {
			clear(w.store.bundles[w.env.ID])
			w.checkBundles(w.l, w.env.ID)
		}},
		{"show nothing", plain, "10: demo/staging: shows reason", func(w *world) {
			w.checkShown(w.l, controller.EnvironmentView{ID: w.env.ID, Status: reconcile.Status{Reason: promotion.UpToDate}})
		}},
		{"show a secret", plain, "a secret is shown", func(w *world) {
			w.checkShown(w.l, controller.EnvironmentView{ID: w.env.ID, Status: reconcile.Status{Reason: promotion.UpToDate}, Message: canary})
		}},
		{"act while paused", plain, "8: demo/staging: apply though it is paused", func(w *world) {
			w.l.heard[w.env.ID] = heard{0, state.Requests{Pause: &state.Pause{Reason: "why"}}}
			w.checkStill(w.l, reconcile.World{Now: w.now()}, reconcile.Action{Kind: reconcile.ActionApply, Environment: w.env.ID})
		}},
		{"propose what upstream never passed", proposing, "2: demo/staging: proposed what its upstream", func(w *world) { w.propose("untried") }},
		{"propose what it is pinned to", proposing, "proposed what it is pinned to already", func(w *world) {
			w.pin("begin")
			release := reconcile.Release{Revision: w.git.bySubject("begin").Revision, Digest: reconcile.Digest(w.made("begin").digest)}
			w.checkProposal(w.l, reconcile.World{Head: w.git.refs[mainBranch]},
				reconcile.Action{Kind: reconcile.ActionPropose, Environment: w.env.ID, Release: release})
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			sc, err := Parse("teeth", test.story)
			if err != nil {
				t.Fatal(err)
			}
			synctest.Test(t, func(t *testing.T) {
				s := newSim(1)
				if err := (&driver{s: s, counted: map[effectKey]int{}}).play(sc); err != nil {
					t.Error(err)
				}
				s.stopAll()
				s.mu.Lock()
				defer s.mu.Unlock()
				if len(s.violations) > 0 {
					t.Fatalf("before anything was done: %v", s.violations)
				}
				env, _ := s.file(promotion.ID{Pipeline: "demo", Name: "staging"})
				l := s.newLife(&replica{number: 9, mirror: newMirror()})
				l.cancel = func() {}
				test.sin(&world{t, s, l, env})
				if !strings.Contains(strings.Join(s.violations, "\n"), test.want) {
					t.Errorf("seen: %q, want %q", s.violations, test.want)
				}
			})
		})
	}
}

func (w *world) made(subject string) *rendered {
	w.Helper()
	made, err := w.at(w.git.bySubject(subject), w.env)
	if err != nil {
		w.Fatal(err)
	}
	return made
}

// decide pretends that the daemon decided to apply a release.
func (w *world) decide(subject string) {
	w.Helper()
	release := reconcile.Release{Revision: w.git.bySubject(subject).Revision, Digest: reconcile.Digest(w.made(subject).digest), Policy: w.policies.digest()}
	w.l.decided[effectKey{w.env.ID, reconcile.ActionApply}] = decided{w.pace.elapsed(), release, reconcile.Action{Release: release}}
}

func (w *world) apply(subject string) {
	w.Helper()
	w.checkEffect(w.l, reconcile.ActionApply, w.env, w.made(subject))
}

func (w *world) revert(subject string) { w.revertFor(subject, subject) }

// revertFor takes one commit back for the release of another.
func (w *world) revertFor(subject, release string) {
	w.Helper()
	guilty := w.git.bySubject(subject)
	note := source.RevertNote{Environment: w.env.ID.String(), Release: string(manifest.Digest(w.made(release).digest)), Reason: "VerificationFailed"}
	tree := files{"anything": time.Now().String()}
	p := sourcePort{w.l}
	p.pushed(mainBranch, p.sign(source.RevertMessage(guilty.Commit, note), w.git.head(), tree))
}

// pin moves the environment's pin on the followed branch.
func (w *world) pin(subject string) {
	w.Helper()
	d := &driver{s: w.Sim, begun: true}
	c, err := parsePin(w.env.ID, `"`+subject+`"`)
	if err == nil {
		err = d.push("pin it", "ann@example.org", edit{changes: []change{c}})
	}
	if err != nil {
		w.Fatal(err)
	}
}

func (w *world) propose(subject string) {
	w.Helper()
	to := w.git.bySubject(subject).Revision
	p := sourcePort{w.l}
	p.mirror().head = w.git.refs[mainBranch]
	c, _, err := p.planProposal("elsewhere", w.env.ID, w.env.File, source.PromoteNote{To: to})
	if err != nil {
		w.Fatal(err)
	}
	w.checkProposed(w.l, w.env.ID, c)
}
