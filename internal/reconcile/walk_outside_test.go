package reconcile

import (
	"maps"
	"slices"
	"strings"
	"time"

	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/source"
)

// outside is a small world with what the daemon cannot see of it: the branch as
// it is, what really stands on each cluster, and what people and accidents may
// still do. Slices are shared between worlds, and copied before a change.
type outside struct {
	World
	story     *story
	branch    []*commit // oldest first
	gone      []*commit // pushed away by somebody who rewrote the branch
	truths    []truth   // by number of the environment
	pushed    int       // changes of the story that are on the branch
	adversity int       // accidents that may still happen
	requests  int       // retries asked for
	outage    bool      // every check fails, last good's as well
	frozenYet bool
	err       error // what was found to be wrong while getting here
}

// truth is what is so in one environment, whatever its journal says.
type truth struct {
	flying   *Action  // the effect under way
	cluster  Digest   // what stands on its cluster; "part" is a half-done apply
	checked  Digest   // what passed since it was put there
	passed   []Digest // what passed here and has not failed since
	failed   []Digest // what failed here, until a person lifts it
	reverted []source.Revision
	proposal source.Revision
	alarm    Digest     // what passed here last, and fails since
	probes   int        // since suspects were named
	schema   Migrations // what was done to the data
	proven   Migrations // as it was when something passed last
	halfway  bool       // some rollback hook has begun to undo it, and not succeeded
	suspects int
	progress progress
}

const part Digest = "part"

// commit is one of the branch. What people write are files; an environment
// renders to the text of those that bear its name, alone or before a dot.
type commit struct {
	revision source.Revision
	files    map[string]string
	pins     map[string]source.Revision
	guilty   source.Revision // of a revert
	says     change
	digests  []Digest          // by number of the environment
	history  []source.Revision // from here on, newest first
}

// change is what a developer pushes, and says about it.
type change struct {
	files  map[string]string
	pins   map[string]source.Revision
	urgent bool
	// Of one that moves a pin.
	override, unapproved bool
}

// The words of a file: what it does to the environment that runs it.
const (
	badWord      = "bad"      // fails verification wherever it runs; "bad-staging" only there, and so does "bad-staging2"
	lateWord     = "late"     // passes, and fails some time after
	bigWord      = "big"      // cannot be taken back
	denied1Word  = "denied1"  // by policy-1
	denied2Word  = "denied2"  // by policy-2
	errs1Word    = "errs1"    // under policy-1
	unsignedWord = "unsigned" // by somebody who is not known
	firstPolicy  = "policy-1" // in force at first
	secondPolicy = "policy-2"
)

var revisionNames = []source.Revision{"c1", "c2", "c3", "c4", "c5", "c6", "c7", "c8", "c9", "c10", "c11", "c12", "c13", "c14"}

// mostCommits bounds a branch: where more come, the daemon reverts for ever.
var mostCommits = len(revisionNames)

func (s *story) open() outside {
	return outside{
		World: World{Now: s.start, Policy: firstPolicy, Environments: slices.Clone(s.environments)},
		story: s, adversity: s.adversity, truths: make([]truth, len(s.environments)),
	}
}

// badIn reports whether a digest fails verification in an environment.
func badIn(d Digest, environment string) bool { return len(faults(d, environment)) > 0 }

// faults are the files that fail in an environment.
func faults(d Digest, environment string) []string {
	var found []string
	for rest := string(d); rest != ""; {
		file, more, _ := strings.Cut(rest, "+")
		rest = more
		where, is := strings.CutPrefix(file, badWord)
		if where = strings.TrimRight(where, "0123456789"); is && (where == "" || where == "-"+environment) {
			found = append(found, file)
		}
	}
	return found
}

func (o *outside) judge(d Digest) Verdict {
	text := string(d)
	switch {
	case o.Policy == firstPolicy && strings.Contains(text, errs1Word):
		return VerdictError
	case o.Policy == firstPolicy && strings.Contains(text, denied1Word), o.Policy == secondPolicy && strings.Contains(text, denied2Word):
		return VerdictDeny
	}
	return VerdictAllow
}

func (o *outside) number(id promotion.ID) int {
	for i := range o.Environments {
		if o.Environments[i].ID.Name == id.Name {
			return i
		}
	}
	return -1
}

// at is where a commit stands on the branch, -1 if it does not.
func (o *outside) at(revision source.Revision) int {
	for i := len(o.branch) - 1; i >= 0; i-- {
		if o.branch[i].revision == revision {
			return i
		}
	}
	return -1
}

// commit is one that was ever pushed.
func (o *outside) commit(revision source.Revision) *commit {
	if i := o.at(revision); i >= 0 {
		return o.branch[i]
	}
	for _, c := range o.gone {
		if c.revision == revision {
			return c
		}
	}
	return nil
}

func (o *outside) tip() *commit { return o.branch[len(o.branch)-1] }

// with is a world in which one truth may be changed.
func (o outside) with(i int) (outside, *truth) {
	o.truths = slices.Clone(o.truths)
	return o, &o.truths[i]
}

// edit is a world in which one environment was changed.
func (o outside) edit(i int, f func(*Environment)) outside {
	o.Environments = slices.Clone(o.Environments)
	f(&o.Environments[i])
	return o
}

// push adds a commit: its pins and files are all there are.
func (o outside) push(c commit) outside {
	c.revision = revisionNames[min(len(o.branch)+len(o.gone), mostCommits-1)]
	c.history = []source.Revision{c.revision}
	if len(o.branch) > 0 {
		c.history = append(c.history, o.tip().history...)
	}
	names := slices.Sorted(maps.Keys(c.files))
	for i := range o.Environments {
		var files []string
		for _, name := range names {
			if owner, _, _ := strings.Cut(name, "."); owner == o.Environments[i].ID.Name {
				files = append(files, c.files[name])
			}
		}
		c.digests = append(c.digests, Digest(strings.Join(files, "+")))
	}
	o.branch = append(slices.Clip(o.branch), &c)
	return o
}

// pushNext pushes what the story says is next; what people do not touch stays.
func (o outside) pushNext() outside {
	says := o.story.script[o.pushed]
	c := commit{files: map[string]string{}, pins: map[string]source.Revision{}, says: says}
	if len(o.branch) > 0 {
		maps.Copy(c.files, o.tip().files)
		maps.Copy(c.pins, o.tip().pins)
	}
	maps.Copy(c.files, says.files)
	maps.Copy(c.pins, says.pins)
	o.pushed++
	return o.push(c)
}

// pin moves a pin. The promotion branch that proposed it is gone with that.
func (o outside) pin(i int, to source.Revision, says change) outside {
	if o.truths[i].proposal == to {
		var t *truth
		o, t = o.with(i)
		t.proposal = ""
	}
	pins := maps.Clone(o.tip().pins)
	pins[o.Environments[i].ID.Name] = to
	return o.push(commit{files: o.tip().files, pins: pins, says: says})
}

// rewrite puts one commit with all that the branch holds in its place.
func (o outside) rewrite() outside {
	tip := o.tip()
	o.gone = append(slices.Clip(o.gone), o.branch...)
	o.branch = nil
	return o.push(commit{files: tip.files, pins: tip.pins, says: tip.says})
}

// poll is a look at the branch that worked.
func (o outside) poll() outside {
	o.Head, o.History, o.SourceFault = o.tip().revision, o.tip().history, ""
	o.Environments = slices.Clone(o.Environments)
	for i := range o.Environments {
		e := &o.Environments[i]
		if e.Fault == promotion.SourceUnavailable {
			e.Fault = ""
		}
		if pin := o.tip().pins[e.ID.Name]; e.Spec.Pinned && pin != e.Spec.Pin {
			e.Spec.Pin, e.Spec.File, e.Candidates = pin, string(pin), nil
		}
		unknown := func(c Candidate) bool { return c.Fault == promotion.UnknownRevision }
		if slices.ContainsFunc(e.Candidates, unknown) {
			e.Candidates = slices.DeleteFunc(slices.Clone(e.Candidates), unknown)
		}
	}
	o.markRewritten()
	return o
}

// markRewritten follows from the history that was seen last. The environments
// are those of a world that was just made.
func (o *outside) markRewritten() {
	for i := range o.Environments {
		e := &o.Environments[i]
		e.Rewritten = len(o.gone) > 0 && o.Head != "" && e.Journal.LastGood.Revision != "" &&
			!slices.Contains(o.History, e.Journal.LastGood.Revision)
	}
}

// behind reports whether a poll would bring something.
func (o *outside) behind() bool {
	return len(o.branch) > 0 && (o.Head != o.tip().revision || o.SourceFault != "")
}

// crash keeps what is journaled and forgets the rest. The next daemon decides
// nothing before it has polled.
func (o outside) crash() outside {
	o.adversity--
	o.truths = slices.Clone(o.truths)
	o.Environments = slices.Clone(o.Environments)
	for i := range o.Environments {
		o.truths[i].flying = nil
		e := &o.Environments[i]
		e.Busy, e.Evaluating, e.Candidates, e.EvaluateAt, e.AskAt = ActionNone, "", nil, time.Time{}, time.Time{}
		e.WatchAt = time.Time{}
	}
	return o.poll()
}

// blind is a daemon that was restarted while the source cannot be read.
func (o outside) blind() outside {
	o = o.crash()
	o.Head, o.History, o.SourceFault = "", nil, promotion.SourceUnavailable
	for i := range o.Environments {
		o.Environments[i].Fault = promotion.SourceUnavailable
	}
	o.markRewritten()
	return o
}
