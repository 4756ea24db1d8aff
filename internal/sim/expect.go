package sim

import (
	"fmt"
	"slices"
	"strings"

	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/reconcile"
	"chaperone.dev/chaperone/internal/source"
)

// expecting makes a verb of something that must be so.
func expecting(pattern string, f func(*driver, args) error) verb {
	return verb{pattern: "expect " + pattern, do: func(d *driver, a args) error {
		if err := d.begin(); err != nil {
			return err
		}
		d.s.mu.Lock()
		defer d.s.mu.Unlock()
		if d.silent {
			return nil
		}
		return f(d, a)
	}}
}

// expectVerbs are what can be expected.
func expectVerbs() []verb {
	return slices.Concat(expectShown(), expectRuns(), expectGit(), expectCounts())
}

func expectShown() []verb {
	shown := func(d *driver, env promotion.ID) shownAs {
		if known := d.s.shownAs[env]; known != nil {
			return *known
		}
		return shownAs{}
	}
	is := func(d *driver, env promotion.ID, phase, reason string) error {
		now := shown(d, env)
		if now.status.Phase != reconcile.Phase(phase) || now.status.Reason != promotion.Reason(reason) {
			return unexpected("%s is %s %s: %s", env, now.status.Phase, now.status.Reason, now.message)
		}
		return nil
	}
	return []verb{
		expecting("ENV PHASE REASON", func(d *driver, a args) error { return is(d, a.envs[0], a.words[0], a.words[1]) }),
		expecting("the sentence of ENV to tell TEXT", func(d *driver, a args) error {
			if now := shown(d, a.envs[0]); !strings.Contains(now.message, a.texts[0]) {
				return unexpected("%s says: %s", a.envs[0], now.message)
			}
			return nil
		}),
		expecting("an event of ENV with REASON", func(d *driver, a args) error {
			if !slices.ContainsFunc(d.s.store.events, func(e event) bool {
				return e.environment == a.envs[0] && e.reason == promotion.Reason(a.words[0])
			}) {
				return unexpected("no such event")
			}
			return nil
		}),
		expecting("no event of ENV with REASON", func(d *driver, a args) error {
			if slices.ContainsFunc(d.s.store.events, func(e event) bool {
				return e.environment == a.envs[0] && e.reason == promotion.Reason(a.words[0])
			}) {
				return unexpected("there is one")
			}
			return nil
		}),
		expecting("everything in its place", func(d *driver, _ args) error { return d.inPlace() }),
		expecting("TEXT in quarantine in ENV", func(d *driver, a args) error { return quarantined(d, a, true) }),
		expecting("TEXT not in quarantine in ENV", func(d *driver, a args) error { return quarantined(d, a, false) }),
	}
}

func quarantined(d *driver, a args, want bool) error {
	made, err := d.renderedAt(a.envs[0], a.texts[0])
	if err != nil {
		return err
	}
	j, _ := d.s.store.journal(a.envs[0])
	if is := slices.Contains(j.Quarantine, reconcile.Digest(made.digest)); is != want {
		return unexpected("quarantined: %v", is)
	}
	return nil
}

func expectRuns() []verb {
	return []verb{
		expecting("ENV runs TEXT", func(d *driver, a args) error {
			made, err := d.renderedAt(a.envs[0], a.texts[0])
			if err != nil {
				return err
			}
			return d.s.runs(a.envs[0], made)
		}),
		expecting("ENV runs nothing", func(d *driver, a args) error {
			return d.s.runs(a.envs[0], &rendered{texts: map[manifest.ID]string{}})
		}),
		expecting("config WORD of ENV is WORD", func(d *driver, a args) error {
			file, _ := d.s.file(a.envs[0])
			at := manifest.ID{Kind: "ConfigMap", Namespace: file.Target.Namespace, Name: a.words[0]}
			object, found := d.s.clusters.on(file.Target.Kubeconfig)[at]
			if !found || !strings.Contains(object.text, fmt.Sprintf(`"value":%q`, a.words[1])) || object.byHand != "" {
				return unexpected("it is %+v", object)
			}
			return nil
		}),
		expecting("no object WORD in ENV", func(d *driver, a args) error {
			for _, objects := range d.s.clusters.objects {
				for at, object := range objects {
					if at.Name == a.words[0] && object.owner == a.envs[0] {
						return unexpected("%s is there", at)
					}
				}
			}
			return nil
		}),
		expecting("NUMBER objects of ENV in namespace WORD", func(d *driver, a args) error {
			count := 0
			for _, objects := range d.s.clusters.objects {
				for at, object := range objects {
					if at.Namespace == a.words[0] && object.owner == a.envs[0] {
						count++
					}
				}
			}
			if count != a.numbers[0] {
				return unexpected("there are %d", count)
			}
			return nil
		}),
		expecting("hook WORD in ENV ran NUMBER times", func(d *driver, a args) error {
			if ran := d.s.clusters.ran[hookKey{a.envs[0], a.words[0]}]; ran != a.numbers[0] {
				return unexpected("it ran %d times", ran)
			}
			return nil
		}),
	}
}

// runs holds what is on an environment's cluster against a render.
func (s *Sim) runs(env promotion.ID, made *rendered) error {
	var wrong []string
	for _, objects := range s.clusters.objects {
		for at, object := range objects {
			want, wanted := made.texts[at]
			switch {
			case !s.has(env, object), !wanted && object.owner != env:
			case !wanted && !manifest.KeptUnlessAllowed(at.GroupKind()):
				wrong = append(wrong, at.String()+" is too many")
			case wanted && rollsBack(made, at): // by a release that failed, perhaps
			case wanted && (want != object.text || object.byHand != ""):
				wrong = append(wrong, at.String()+" is another")
			}
		}
	}
	for _, o := range made.set.Objects() {
		at := manifest.IDOf(o)
		if manifest.StageOf(o) == manifest.StageRollback || isHook(o) {
			continue
		}
		if _, found := s.find(env, at); !found {
			wrong = append(wrong, at.String()+" is missing")
		}
	}
	if len(wrong) > 0 {
		slices.Sort(wrong)
		return unexpected("it does not: %s", strings.Join(wrong, ", "))
	}
	return nil
}

// rollsBack reports whether an object is a rollback hook, which no apply brings.
func rollsBack(made *rendered, at manifest.ID) bool {
	o, found := made.set.Get(at)
	return found && manifest.StageOf(o) == manifest.StageRollback
}

// has reports whether an object is an environment's, or that of another name which
// took it over and whose file is gone since: a rename that was taken back. Whose it
// is to be from then on is for people to say.
func (s *Sim) has(env promotion.ID, object *live) bool {
	if object.owner == env {
		return true
	}
	there := slices.Contains(s.environments(s.git.refs[mainBranch]).IDs(), object.owner)
	return !there && s.truth(env).heirs[object.owner]
}

func (s *Sim) find(env promotion.ID, at manifest.ID) (*live, bool) {
	for _, objects := range s.clusters.objects {
		if object, found := objects[at]; found && s.has(env, object) {
			return object, true
		}
	}
	return nil, false
}

//lint:long because it is a list, one entry after the other
func expectGit() []verb {
	reverted := func(d *driver, a args, want int) error {
		c := d.s.git.bySubject(a.texts[0])
		if c == nil {
			return fmt.Errorf("there is no commit %q", a.texts[0])
		}
		if got := len(d.s.git.reverts(c.Revision)); got != want {
			return unexpected("it was reverted %d times", got)
		}
		return nil
	}
	proposed := func(d *driver, env promotion.ID) (string, bool) {
		tip, found := d.s.git.refs[source.PromotionBranch(env.String())]
		if !found {
			return "", false
		}
		to, _ := d.s.git.commits[tip].Promotes()
		if c := d.s.git.commits[to]; c != nil {
			return c.Subject(), true
		}
		return "", true
	}
	return []verb{
		expecting("TEXT reverted once", func(d *driver, a args) error { return reverted(d, a, 1) }),
		expecting("TEXT not reverted", func(d *driver, a args) error { return reverted(d, a, 0) }),
		expecting("the revert of TEXT to tell TEXT", func(d *driver, a args) error {
			c, err := d.revertOf(a.texts[0])
			if err != nil {
				return unexpected("%v", err)
			}
			if words := strings.Join(strings.Fields(c.Message), " "); !strings.Contains(words, a.texts[1]) {
				return unexpected("it says: %s", c.Message)
			}
			return nil
		}),
		expecting("head TEXT", func(d *driver, a args) error {
			if head := d.s.git.head(); head.Subject() != a.texts[0] {
				return unexpected("it is %q", head.Subject())
			}
			return nil
		}),
		expecting("no push by the daemon", func(d *driver, _ args) error {
			if n := len(d.s.git.daemon); n > 0 {
				return unexpected("it pushed %q", d.s.git.commits[d.s.git.daemon[n-1].revision].Subject())
			}
			return nil
		}),
		expecting("the promotion of ENV proposes TEXT", func(d *driver, a args) error {
			if subject, found := proposed(d, a.envs[0]); !found || subject != a.texts[0] {
				return unexpected("it proposes %q (there is a branch: %v)", subject, found)
			}
			return nil
		}),
		expecting("the promotion of ENV to tell TEXT", func(d *driver, a args) error {
			tip := d.s.git.commits[d.s.git.refs[source.PromotionBranch(a.envs[0].String())]]
			if tip == nil {
				return unexpected("there is no promotion")
			}
			if words := strings.Join(strings.Fields(tip.Message), " "); !strings.Contains(words, a.texts[0]) {
				return unexpected("it says: %s", tip.Message)
			}
			return nil
		}),
		expecting("the file of ENV to hold TEXT", func(d *driver, a args) error {
			if text := d.headFiles()[environmentFile(a.envs[0])]; !strings.Contains(text, a.texts[0]) {
				return unexpected("it holds:\n%s", text)
			}
			return nil
		}),
		expecting("no promotion of ENV", func(d *driver, a args) error {
			if subject, found := proposed(d, a.envs[0]); found {
				return unexpected("it proposes %q", subject)
			}
			return nil
		}),
		expecting("ENV pinned to TEXT", func(d *driver, a args) error {
			file, _ := d.s.file(a.envs[0])
			if c := d.s.git.commits[file.Revision]; c == nil || c.Subject() != a.texts[0] {
				return unexpected("it is pinned to %q", file.Revision)
			}
			return nil
		}),
	}
}

// expectCounts are about how often something was done since `count from here`.
func expectCounts() []verb {
	var all []verb
	for _, counts := range []struct {
		noun string
		kind reconcile.ActionKind
	}{
		{"applies", reconcile.ActionApply}, {"verifications", reconcile.ActionVerify},
		{"restores", reconcile.ActionRestore}, {"rollbacks", reconcile.ActionUndo}, {"corrections", reconcile.ActionCorrect}, {"prunes", reconcile.ActionPrune},
		{"reverts", reconcile.ActionRevert}, {"proposals", reconcile.ActionPropose}, {"withdrawals", reconcile.ActionWithdraw},
		{"events", announced},
	} {
		noun, kind := counts.noun, counts.kind
		all = append(all,
			expecting("no "+noun+" in ENV", func(d *driver, a args) error { return counted(d.since(a.envs[0], kind), 0, 0) }),
			expecting("NUMBER "+noun+" in ENV", func(d *driver, a args) error {
				return counted(d.since(a.envs[0], kind), a.numbers[0], a.numbers[0])
			}),
			expecting("at most NUMBER "+noun+" in ENV", func(d *driver, a args) error { return counted(d.since(a.envs[0], kind), 0, a.numbers[0]) }),
			expecting("at least NUMBER "+noun+" in ENV", func(d *driver, a args) error {
				return counted(d.since(a.envs[0], kind), a.numbers[0], 1<<30)
			}))
	}
	return all
}

func counted(got, least, most int) error {
	if got < least || got > most {
		return unexpected("there were %d", got)
	}
	return nil
}
