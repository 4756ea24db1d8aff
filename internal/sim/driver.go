package sim

import (
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/reconcile"
	"chaperone.dev/chaperone/internal/source"
	"chaperone.dev/chaperone/internal/state"
)

// driver plays a scenario's steps, each at an instant of its own.
type driver struct {
	s       *Sim
	steps   uint64
	begun   bool
	first   edit // what stands in the repository when the daemon starts
	counted map[effectKey]int
	retries int
	// silent leaves out what is expected: another run of the same scenario looks
	// only at its end.
	silent  bool
	lenient bool // steps that cannot be done are left out
}

// failedExpectation is what was expected and is not so.
type failedExpectation struct{ text string }

func (f failedExpectation) Error() string { return f.text }

func unexpected(format string, args ...any) error {
	return failedExpectation{fmt.Sprintf(format, args...)}
}

// play runs every step, and ends at the first that goes wrong.
func (d *driver) play(sc *Scenario) error {
	atEnd := d.silent
	for i, step := range sc.Steps {
		d.silent = atEnd && i < sc.ending()
		err := step.do(d)
		if expected := new(failedExpectation); d.lenient && err != nil && !errors.As(err, expected) {
			continue
		}
		if err != nil {
			return fmt.Errorf("%s:%d: %s: %w", sc.Name, step.Line, step.Text, err)
		}
		if d.s.broken() {
			return nil
		}
	}
	return nil
}

// broken reports whether a rule was broken.
func (s *Sim) broken() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.violations) > 0
}

// act does something to the world.
func (d *driver) act(what string, f func() error) error {
	if err := d.begin(); err != nil {
		return err
	}
	d.steps++
	d.s.pace.nap(time.Duration(d.s.pace.hash("driver", d.steps) % uint64(time.Millisecond)))
	d.s.mu.Lock()
	defer d.s.mu.Unlock()
	d.s.note(nil, "——", what, "")
	return f()
}

// begin makes the repository and starts the daemon, once the scenario's first
// lines have said how.
func (d *driver) begin() error {
	if d.begun {
		return nil
	}
	d.begun = true
	tree, err := d.first.apply(d, files{})
	if err != nil {
		return err
	}
	d.s.mu.Lock()
	_, err = d.commit("begin", "ann@example.org", tree, d.first, nil)
	d.s.replicas = append(d.s.replicas, &replica{number: 1})
	d.s.mu.Unlock()
	if err != nil {
		return err
	}
	d.s.start(d.s.replicas[0])
	return nil
}

// setup adds to what stands in the repository at the beginning.
func (d *driver) setup(c change) error {
	if d.begun {
		return errors.New("comes too late: this belongs before anything happens; push a commit instead")
	}
	d.first.changes = append(d.first.changes, c)
	return nil
}

// commit puts a commit on the followed branch. The world is locked.
func (d *driver) commit(subject, who string, tree files, e edit, more []source.Revision) (*commit, error) {
	c := d.made(subject, who, tree, e, append(d.onHead(), more...))
	d.s.git.move(mainBranch, c.Revision)
	d.pushed()
	return c, nil
}

func (d *driver) onHead() []source.Revision {
	if head := d.s.git.refs[mainBranch]; head != "" {
		return []source.Revision{head}
	}
	return nil
}

// made is a commit that is on no branch yet.
func (d *driver) made(subject, who string, tree files, e edit, parents []source.Revision) *commit {
	message := subject
	for i, trailer := range e.trailers {
		if i == 0 {
			message += "\n"
		}
		message += "\n" + trailer
	}
	by := person(who, d.s.now().Truncate(time.Microsecond))
	return d.s.git.add(source.Commit{Parents: parents, Author: by, Committer: by, Message: message + "\n"}, tree)
}

// pushed tells the daemon of a push where it has webhooks.
func (d *driver) pushed() {
	d.s.lastTouch = d.s.pace.elapsed()
	d.s.nudgeAll("push", d.s.nudge)
}

func (d *driver) headFiles() files {
	if head := d.s.git.head(); head != nil {
		return head.files
	}
	return files{}
}

// push adds a commit with changes to the followed branch.
func (d *driver) push(subject, who string, e edit) error {
	tree, err := e.apply(d, d.headFiles())
	if err != nil {
		return err
	}
	_, err = d.commit(subject, who, tree, e, nil)
	return err
}

// mergeWork merges a commit that somebody made beside the branch.
func (d *driver) mergeWork(subject, who, of, author string, e edit) error {
	tree, err := e.apply(d, d.headFiles())
	if err != nil {
		return err
	}
	side := d.made(of, author, tree, e, d.onHead())
	_, err = d.commit(subject, who, tree, edit{}, []source.Revision{side.Revision})
	return err
}

// mergeBranch merges another branch, as a forge's button does.
func (d *driver) mergeBranch(branch, who string) error {
	tip, found := d.s.git.refs[branch]
	if !found {
		return fmt.Errorf("there is no branch %s", branch)
	}
	side := d.s.git.commits[tip]
	merged, conflicts := merge(d.s.git.parentFiles(side), d.headFiles(), side.files)
	if len(conflicts) > 0 {
		return fmt.Errorf("%s conflicts in %v", branch, conflicts)
	}
	_, err := d.commit("Merge "+branch, who, merged, edit{}, []source.Revision{tip})
	return err
}

// revert takes a commit back as people do, with git alone.
func (d *driver) revert(subject, who string) error {
	c := d.s.git.bySubject(subject)
	if c == nil {
		return fmt.Errorf("there is no commit %q", subject)
	}
	merged, conflicts := merge(c.files, d.headFiles(), d.s.git.parentFiles(c))
	if len(conflicts) > 0 {
		return fmt.Errorf("reverting conflicts in %v", conflicts)
	}
	title := `Revert "` + subject + `"`
	if original, is := strings.CutPrefix(subject, `Revert "`); is {
		title = `Reapply "` + original // as git says it
	}
	_, err := d.commit(title, who, merged, edit{}, nil)
	return err
}

// revertOf finds the daemon's commit that takes a commit back.
func (d *driver) revertOf(subject string) (*commit, error) {
	c := d.s.git.bySubject(subject)
	if c == nil {
		return nil, fmt.Errorf("there is no commit %q", subject)
	}
	reverts := d.s.git.reverts(c.Revision)
	if len(reverts) == 0 {
		return nil, fmt.Errorf("%q was not reverted", subject)
	}
	return d.s.git.commits[reverts[len(reverts)-1]], nil
}

// request writes people's annotations.
func (d *driver) request(env promotion.ID, change func(*state.Requests)) error {
	object, found := d.s.store.records[env]
	if !found {
		return fmt.Errorf("%s has no object yet", env)
	}
	d.s.store.version++
	object.version = d.s.store.version
	change(&object.requests)
	d.s.lastTouch = d.s.pace.elapsed()
	d.s.store.tell()
	return nil
}

// wait lets time pass.
func (d *driver) wait(span time.Duration) error {
	if err := d.begin(); err != nil {
		return err
	}
	for end := d.s.pace.elapsed() + span; d.s.pace.elapsed() < end && !d.s.broken(); {
		d.s.pace.nap(min(end-d.s.pace.elapsed(), time.Minute))
	}
	return nil
}

// restless is why the world is not quiet; "" when it is: nothing has changed
// outside for a while, and every environment is somewhere, or waits for
// something that it names.
func (d *driver) restless() string {
	const still, rest = 5 * time.Minute, 3 * time.Minute
	s := d.s
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.pace.elapsed()
	if since := now - s.lastTouch; since < still {
		return fmt.Sprintf("something was changed %s ago", since)
	}
	set := s.environments(s.git.refs[mainBranch])
	for _, env := range set.IDs() {
		known := s.shownAs[env]
		switch {
		case known == nil:
			return fmt.Sprintf("%s was never shown", env)
		case now-known.rested > rest && known.status.Phase == reconcile.PhaseProgressing:
			return fmt.Sprintf("%s is %s (%s: %s) for %s", env, known.status.Phase, known.status.Reason, known.message, now-known.rested)
		}
	}
	return ""
}

// quiet waits until the world is quiet, for so long at most.
func (d *driver) quiet(longest time.Duration) error {
	if err := d.begin(); err != nil {
		return err
	}
	end := d.s.pace.elapsed() + longest
	for !d.s.broken() {
		why := d.restless()
		if why == "" {
			return nil
		}
		if d.s.pace.elapsed() > end {
			return unexpected("the world is not quiet after %s: %s", longest, why)
		}
		d.s.pace.nap(20 * time.Second)
	}
	return nil
}

// until waits until an environment shows a reason.
func (d *driver) until(env promotion.ID, reason promotion.Reason, longest time.Duration) error {
	if err := d.begin(); err != nil {
		return err
	}
	shows := func() (bool, string) {
		d.s.mu.Lock()
		defer d.s.mu.Unlock()
		known := d.s.shownAs[env]
		if known == nil {
			return false, "nothing"
		}
		return known.status.Reason == reason, fmt.Sprintf("%s (%s)", known.status.Reason, known.message)
	}
	for end := d.s.pace.elapsed() + longest; !d.s.broken(); d.s.pace.nap(200 * time.Millisecond) {
		is, shown := shows()
		if is {
			return nil
		}
		if d.s.pace.elapsed() > end {
			return unexpected("%s does not come to %s in %s; it is %s", env, reason, longest, shown)
		}
	}
	return nil
}

// since counts effects since the scenario said `count from here`.
func (d *driver) since(env promotion.ID, kind reconcile.ActionKind) int {
	key := effectKey{env, kind}
	return d.s.clusters.counts[key] - d.counted[key]
}

func (d *driver) count() {
	d.counted = maps.Clone(d.s.clusters.counts)
}

func (d *driver) replica(number int) (*replica, error) {
	for _, r := range d.s.replicas {
		if r.number == number {
			return r, nil
		}
	}
	return nil, fmt.Errorf("there is no replica %d", number)
}
