package sim

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/reconcile"
	"chaperone.dev/chaperone/internal/source"
	"chaperone.dev/chaperone/internal/state"
)

// verbs are all lines that a scenario can have.
var verbs = sync.OnceValue(func() []verb {
	all := slices.Concat(beginningVerbs(), peopleVerbs(), outsideVerbs(), daemonVerbs(), timeVerbs(), expectVerbs())
	for i := range all {
		all[i].words = strings.Fields(all[i].pattern)
	}
	return all
})

// acting makes a verb of something that happens at an instant.
func acting(pattern string, f func(*driver, args) error) verb {
	return verb{pattern: pattern, do: func(d *driver, a args) error {
		return d.act(pattern, func() error { return f(d, a) })
	}}
}

// committing makes a verb of something that has the lines of a commit below it.
func committing(pattern string, f func(*driver, args, edit) error) verb {
	return verb{pattern: pattern, block: func(a args) (func(*driver) error, error) {
		e, err := parseEdit(a.block, a.line)
		if err != nil {
			return nil, err
		}
		return func(d *driver) error {
			return d.act(pattern, func() error { return f(d, a, e) })
		}, nil
	}}
}

// crashesEverywhere is the line of a scenario that is to end as it does wherever
// the daemon is killed.
const crashesEverywhere = "crash at every call"

// beginningVerbs say what there is before anything happens.
func beginningVerbs() []verb {
	environment := func(pattern string) verb {
		return verb{pattern: pattern, block: func(a args) (func(*driver) error, error) {
			var names []string
			for _, env := range a.envs[1:] {
				names = append(names, env.Name)
			}
			c, err := environmentChange(a.envs[0], names, a.block)
			if err != nil {
				return nil, err
			}
			return func(d *driver) error { return d.setup(c) }, nil
		}}
	}
	early := func(d *driver, f func()) error {
		if d.begun {
			return errors.New("comes too late: this belongs before anything happens")
		}
		f()
		return nil
	}
	return []verb{
		environment("environment ENV"), environment("environment ENV after ENV"),
		environment("environment ENV after ENV ENV"), environment("environment ENV after ENV ENV ENV"),
		{pattern: "repository", block: func(a args) (func(*driver) error, error) {
			e, err := parseEdit(a.block, a.line)
			return func(d *driver) error {
				for _, c := range e.changes {
					if err := d.setup(c); err != nil {
						return err
					}
				}
				d.first.trailers = append(d.first.trailers, e.trailers...)
				return nil
			}, err
		}},
		{pattern: "clock TIME", do: func(d *driver, a args) error { return early(d, func() { d.s.begins = a.times[0] }) }},
		{pattern: "poll every SPAN", do: func(d *driver, a args) error { return early(d, func() { d.s.poll = a.spans[0] }) }},
		{pattern: crashesEverywhere, do: func(*driver, args) error { return nil }}, // CrashEverywhere plays it
		{pattern: "what cannot be done is left out", do: func(d *driver, _ args) error { d.lenient = true; return nil }},
		{pattern: "webhooks", do: func(d *driver, a args) error { return early(d, func() { d.s.webhooks = true }) }},
		{pattern: "group WORD WHO", do: func(d *driver, a args) error {
			return early(d, func() { d.s.groups[a.words[0]] = append(d.s.groups[a.words[0]], a.people...) })
		}},
		{pattern: "seed NUMBER", do: func(d *driver, a args) error {
			return early(d, func() { d.s.pace.seed = uint64(a.numbers[0]) })
		}},
		{pattern: "mishaps WORD crashes WORD", do: func(d *driver, a args) error {
			var r rates
			for i, into := range []*float64{&r.fault, &r.crash} {
				if _, err := fmt.Sscanf(a.words[i], "%g%%", into); err != nil {
					return fmt.Errorf("%q: want a share such as 2%%", a.words[i])
				}
				*into /= 100
			}
			return early(d, func() { d.s.mishaps.rates = r })
		}},
	}
}

// peopleVerbs are what people do.
func peopleVerbs() []verb {
	return append(requestVerbs(),
		committing("push TEXT by WHO", func(d *driver, a args, e edit) error { return d.push(a.texts[0], a.people[0], e) }),
		committing("merge TEXT by WHO of TEXT by WHO", func(d *driver, a args, e edit) error {
			return d.mergeWork(a.texts[0], a.people[0], a.texts[1], a.people[1], e)
		}),
		committing("during the next push, push TEXT by WHO", func(d *driver, a args, e edit) error {
			d.s.git.between = append(d.s.git.between, func() {
				if d.push(a.texts[0], a.people[0], e) != nil {
					d.s.note(nil, "——", "the push in between conflicts", "")
				}
			})
			return nil
		}),
		committing("force push TEXT on TEXT by WHO", func(d *driver, a args, e edit) error {
			on := d.s.git.bySubject(a.texts[1])
			if on == nil {
				return fmt.Errorf("there is no commit %q", a.texts[1])
			}
			tree, err := e.apply(d, on.files)
			if err != nil {
				return err
			}
			c := d.made(a.texts[0], a.people[0], tree, e, []source.Revision{on.Revision})
			d.s.git.move(mainBranch, c.Revision)
			d.pushed()
			return nil
		}),
		acting("merge the promotion of ENV by WHO", func(d *driver, a args) error {
			return d.mergeBranch(source.PromotionBranch(a.envs[0].String()), a.people[0])
		}),
		acting("delete the promotion branch of ENV", func(d *driver, a args) error {
			d.s.git.move(source.PromotionBranch(a.envs[0].String()), "")
			d.s.touched(nil)
			return nil
		}),
		committing("push TEXT to the promotion branch of ENV by WHO", func(d *driver, a args, e edit) error {
			branch := source.PromotionBranch(a.envs[0].String())
			tip, found := d.s.git.refs[branch]
			if !found {
				return fmt.Errorf("there is no branch %s", branch)
			}
			tree, err := e.apply(d, d.s.git.commits[tip].files)
			if err != nil {
				return err
			}
			d.s.git.move(branch, d.made(a.texts[0], a.people[0], tree, e, []source.Revision{tip}).Revision)
			d.s.touched(nil)
			return nil
		}),
		acting("revert TEXT by WHO", func(d *driver, a args) error { return d.revert(a.texts[0], a.people[0]) }),
		acting("revert the revert of TEXT by WHO", func(d *driver, a args) error {
			c, err := d.revertOf(a.texts[0])
			if err != nil {
				return err
			}
			return d.revert(c.Subject(), a.people[0])
		}),
		acting("force push TEXT by WHO", func(d *driver, a args) error {
			c := d.s.git.bySubject(a.texts[0])
			if c == nil {
				return fmt.Errorf("there is no commit %q", a.texts[0])
			}
			d.s.git.move(mainBranch, c.Revision)
			d.pushed()
			return nil
		}),
	)
}

// requestVerbs are what people ask the daemon for.
func requestVerbs() []verb {
	pause := func(d *driver, a args, until time.Time) error {
		return d.request(a.envs[0], func(r *state.Requests) {
			r.Pause = &state.Pause{Reason: a.texts[0], By: a.people[0], At: d.s.now().UTC(), Until: until}
		})
	}
	retry := func(d *driver, a args, digest reconcile.Digest) error {
		d.retries++
		return d.request(a.envs[0], func(r *state.Requests) {
			r.Retry = &state.Retry{ID: fmt.Sprintf("request-%d", d.retries), Digest: digest, By: a.people[0], At: d.s.now().UTC()}
		})
	}
	fight := func(keeps bool) func(*driver, args) error {
		return func(d *driver, a args) error {
			return d.byHand(a, func(objects map[manifest.ID]*live, at manifest.ID) {
				objects[at].byHand, objects[at].rival = "changed", keeps
			})
		}
	}
	return []verb{
		acting("a controller keeps changing config WORD in ENV", fight(true)),
		acting("the controller of config WORD in ENV stops", fight(false)),
		acting("pause ENV TEXT by WHO", func(d *driver, a args) error { return pause(d, a, time.Time{}) }),
		acting("pause ENV TEXT by WHO for SPAN", func(d *driver, a args) error { return pause(d, a, d.s.now().Add(a.spans[0]).UTC()) }),
		acting("the pause of ENV becomes unreadable", func(d *driver, a args) error {
			return d.request(a.envs[0], func(r *state.Requests) {
				r.Pause, r.Problem = &state.Pause{Reason: "unreadable pause annotation: not JSON"}, "annotation chaperone.dev/pause: not JSON"
			})
		}),
		acting("resume ENV", func(d *driver, a args) error {
			return d.request(a.envs[0], func(r *state.Requests) { r.Pause, r.Problem = nil, "" })
		}),
		acting("retry ENV by WHO", func(d *driver, a args) error { return retry(d, a, "") }),
		acting("retry TEXT in ENV by WHO", func(d *driver, a args) error {
			made, err := d.renderedAt(a.envs[0], a.texts[0])
			if err != nil {
				return err
			}
			return retry(d, a, reconcile.Digest(made.digest))
		}),
		acting("somebody deletes config WORD in ENV", func(d *driver, a args) error {
			return d.byHand(a, func(objects map[manifest.ID]*live, at manifest.ID) { delete(objects, at) })
		}),
		acting("somebody changes config WORD in ENV", func(d *driver, a args) error {
			return d.byHand(a, func(objects map[manifest.ID]*live, at manifest.ID) { objects[at].byHand = "changed" })
		}),
	}
}

// byHand changes an object of a cluster behind the daemon's back.
func (d *driver) byHand(a args, f func(map[manifest.ID]*live, manifest.ID)) error {
	file, found := d.s.file(a.envs[0])
	if !found {
		return fmt.Errorf("%s has no valid file", a.envs[0])
	}
	objects := d.s.clusters.on(file.Target.Kubeconfig)
	at := manifest.ID{Kind: "ConfigMap", Namespace: file.Target.Namespace, Name: a.words[0]}
	if _, found := objects[at]; !found {
		return fmt.Errorf("%s is not there", at)
	}
	f(objects, at)
	d.s.truth(a.envs[0]).tampered = true
	d.s.touched(&a.envs[0])
	return nil
}

// renderedAt is what an environment renders to at the commit with a subject.
func (d *driver) renderedAt(env promotion.ID, subject string) (*rendered, error) {
	c := d.s.git.bySubject(subject)
	if c == nil {
		return nil, fmt.Errorf("there is no commit %q", subject)
	}
	file, found := d.s.file(env)
	if !found {
		file = promotion.Environment{ID: env, Path: "overlays/" + env.String()}
	}
	return d.s.at(c, file)
}

// outsideVerbs are what happens to what the daemon depends on.
func outsideVerbs() []verb {
	state := func(pattern string, f func(*Sim, args)) verb {
		return acting(pattern, func(d *driver, a args) error { f(d.s, a); d.s.lastTouch = d.s.pace.elapsed(); return nil })
	}
	kubeconfig := func(s *Sim, env promotion.ID) string { file, _ := s.file(env); return file.Target.Kubeconfig }
	return []verb{
		state("git is down", func(s *Sim, _ args) { s.git.down = true }),
		state("git is up", func(s *Sim, _ args) { s.git.down = false }),
		state("the branch is gone", func(s *Sim, _ args) { s.git.gone = true }),
		state("the branch is back", func(s *Sim, _ args) { s.git.gone = false }),
		state("git refuses pushes TEXT", func(s *Sim, a args) { s.git.protected = a.texts[0] }),
		state("git takes pushes", func(s *Sim, _ args) { s.git.protected, s.git.protectedPromotions = "", "" }),
		state("git refuses promotions TEXT", func(s *Sim, a args) { s.git.protectedPromotions = a.texts[0] }),
		state("the store is down", func(s *Sim, _ args) { s.store.down = true }),
		state("the store is up", func(s *Sim, _ args) { s.store.down = false }),
		state("the cluster of ENV is down", func(s *Sim, a args) { s.clusters.down[kubeconfig(s, a.envs[0])] = true }),
		state("the cluster of ENV is up", func(s *Sim, a args) { s.clusters.down[kubeconfig(s, a.envs[0])] = false }),
		state("outage in ENV", func(s *Sim, a args) { s.clusters.outage[a.envs[0]] = true }),
		state("outage over in ENV", func(s *Sim, a args) { s.clusters.outage[a.envs[0]] = false }),
		state("checks of ENV cannot be asked", func(s *Sim, a args) { s.clusters.asked[a.envs[0]] = markErrs }),
		state("checks of ENV have no data", func(s *Sim, a args) { s.clusters.asked[a.envs[0]] = markNoData }),
		state("checks of ENV work again", func(s *Sim, a args) { delete(s.clusters.asked, a.envs[0]) }),
		state("objects of ENV take SPAN to be ready", func(s *Sim, a args) { s.clusters.slow[a.envs[0]] = a.spans[0] }),
		state("the cluster of ENV refuses TEXT", func(s *Sim, a args) { s.clusters.refused[a.envs[0]] = a.texts[0] }),
		state("the cluster of ENV refuses nothing", func(s *Sim, a args) { delete(s.clusters.refused, a.envs[0]) }),
		state("policies change", func(s *Sim, _ args) { s.policies.change(); s.policies.tell(s) }),
		state("policies deny TEXT", func(s *Sim, a args) { s.policies.change(a.texts[0]); s.policies.tell(s) }),
		// Nobody is told: rules look at the time, and it is the same bundle.
		state("the exception for TEXT ends", func(s *Sim, a args) { s.policies.denied[a.texts[0]] = true }),
		state("policies are gone", func(s *Sim, _ args) { s.policies.gone = true; s.policies.tell(s) }),
		state("policies are back", func(s *Sim, _ args) { s.policies.change(); s.policies.tell(s) }),
		state("the clock jumps SPAN ahead", func(s *Sim, a args) { s.jump(a.spans[0]) }),
		state("the clock jumps back SPAN", func(s *Sim, a args) { s.jump(-a.spans[0]) }),
		state("no mishaps any more", func(s *Sim, _ args) { s.mishaps.off = true }),
	}
}

func (s *Sim) jump(by time.Duration) {
	s.shiftMu.Lock()
	defer s.shiftMu.Unlock()
	s.shift += by
}

// daemonVerbs are what happens to the daemon's processes and its calls.
func daemonVerbs() []verb {
	all := []verb{
		{pattern: "crash", do: func(d *driver, _ args) error { return d.crash(1) }},
		{pattern: "crash replica NUMBER", do: func(d *driver, a args) error { return d.crash(a.numbers[0]) }},
		{pattern: "start replica NUMBER", do: func(d *driver, a args) error { return d.startReplica(a.numbers[0]) }},
		{pattern: "stop replica NUMBER", do: func(d *driver, a args) error { return d.stopReplica(a.numbers[0]) }},
		acting("freeze replica NUMBER", func(d *driver, a args) error {
			r, err := d.replica(a.numbers[0])
			if err == nil && r.life != nil {
				r.life.freeze()
			}
			return err
		}),
		acting("thaw replica NUMBER", func(d *driver, a args) error {
			r, err := d.replica(a.numbers[0])
			if err == nil && r.life != nil {
				r.life.thaw()
			}
			return err
		}),
	}
	for _, k := range []mishapKind{fails, losesAnswer, repeats, isStale, crashesBefore, crashesAfter} {
		all = append(all, mishapVerbs(k, "")...)
	}
	return append(all, mishapVerbs(delays, " by SPAN")...)
}

// mishapVerbs ask for one kind of mishap: at the next such call, at the next
// few, or at exactly one.
func mishapVerbs(kind mishapKind, tail string) []verb {
	span := func(a args) time.Duration {
		if len(a.spans) > 0 {
			return a.spans[0]
		}
		return 0
	}
	object := func(a args) string {
		if len(a.envs) > 0 {
			return a.envs[0].String()
		}
		return ""
	}
	ordered := func(d *driver, a args, times, skip int) error {
		d.s.mishaps.orders = append(d.s.mishaps.orders, &order{op: a.words[0], object: object(a), times: times, skip: skip, kind: kind, by: span(a)})
		return nil
	}
	var all []verb
	for _, of := range []string{"", " of ENV"} {
		pattern := string(kind) + " CALL" + of + tail
		all = append(all,
			acting(pattern, func(d *driver, a args) error { return ordered(d, a, 1, 0) }),
			acting(pattern+", NUMBER times", func(d *driver, a args) error { return ordered(d, a, a.numbers[0], 0) }),
			acting(pattern+", after NUMBER more", func(d *driver, a args) error { return ordered(d, a, 1, a.numbers[0]) }),
			verb{pattern: pattern + ", call NUMBER in life NUMBER", do: func(d *driver, a args) error {
				call := id{a.numbers[1], a.words[0], object(a), uint64(a.numbers[0])}
				d.s.mishaps.listed[call] = mishap{id: call, kind: kind, by: span(a)}
				return nil
			}})
	}
	return all
}

func (d *driver) crash(number int) error {
	return d.act("crash", func() error {
		r, err := d.replica(number)
		if err == nil && r.life != nil {
			r.life.kill()
		}
		return err
	})
}

func (d *driver) startReplica(number int) error {
	var r *replica
	err := d.act("start replica", func() error {
		if known, err := d.replica(number); err == nil {
			r = known
			return nil
		}
		r = &replica{number: number}
		d.s.replicas = append(d.s.replicas, r)
		return nil
	})
	if err != nil {
		return err
	}
	if r.ended != nil && !r.stop {
		return fmt.Errorf("replica %d runs already", number)
	}
	d.s.mu.Lock()
	d.s.doubled = d.s.doubled || slices.ContainsFunc(d.s.replicas, func(other *replica) bool { return other != r && !other.stop })
	d.s.mu.Unlock()
	d.s.start(r)
	return nil
}

func (d *driver) stopReplica(number int) error {
	var r *replica
	err := d.act("stop replica", func() (err error) {
		r, err = d.replica(number)
		return err
	})
	if err == nil {
		d.s.end(r)
	}
	return err
}

// timeVerbs let time pass.
func timeVerbs() []verb {
	const longest = 24 * time.Hour
	return []verb{
		{pattern: "wait SPAN", do: func(d *driver, a args) error { return d.wait(a.spans[0]) }},
		{pattern: "wait until quiet", do: func(d *driver, a args) error { return d.quiet(longest) }},
		{pattern: "wait until quiet, at most SPAN", do: func(d *driver, a args) error {
			if err := d.quiet(a.spans[0]); err != nil && !errors.As(err, new(failedExpectation)) {
				return err
			}
			return nil
		}},
		{pattern: "wait until ENV is REASON", do: func(d *driver, a args) error {
			return d.until(a.envs[0], promotion.Reason(a.words[0]), 2*time.Hour)
		}},
		{pattern: "wait until TIME", do: func(d *driver, a args) error {
			span := a.times[0].Sub(d.s.now())
			if span <= 0 {
				return fmt.Errorf("it is %s already", d.s.now().Format(time.RFC3339))
			}
			return d.wait(span)
		}},
		acting("count from here", func(d *driver, _ args) error { d.count(); return nil }),
	}
}

// tell nudges every life, each at an instant of its own: the bundle changed.
// The caller holds the world's lock.
func (p *policyState) tell(s *Sim) { s.nudgeAll("policies", p.changed) }

// nudgeAll calls what each life is nudged by.
func (s *Sim) nudgeAll(why string, nudges map[int]func()) {
	s.nudged++
	n := s.nudged
	for number, nudge := range nudges {
		go func() {
			s.pace.nap(s.pace.between(time.Millisecond, 900*time.Millisecond, fmt.Sprintf("nudge %s %d", why, number), n))
			nudge()
		}()
	}
}
