package controller

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"reflect"
	"slices"
	"time"

	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/reconcile"
	"chaperone.dev/chaperone/internal/source"
)

// maxHistory is how many commits behind the head a candidate is looked for.
const maxHistory = 64

// look is what one poll brought.
type look struct {
	head    source.Revision
	history []source.Revision
	set     promotion.Set
	fault   promotion.Reason
	detail  string
}

// poll looks at the source until ctx ends: at the interval with some
// jitter, sooner when asked, less often while it cannot be read.
func (c *Controller) poll(ctx context.Context) {
	var last look
	failures := 0
	for {
		began := c.Now()
		seen := c.lookAt(ctx, last)
		if ctx.Err() != nil {
			return
		}
		c.Telemetry.Step("source", c.Now().Sub(began))
		failures++
		if seen.fault == "" {
			failures = 0
		}
		c.Telemetry.Polled(pollOutcome(seen), seen.head != last.head)
		if !reflect.DeepEqual(seen, last) {
			c.post(ctx, func() { c.sourceSeen(seen) })
		}
		if seen.fault == "" {
			last = seen
		} else {
			last.fault, last.detail = seen.fault, seen.detail
		}
		select {
		case <-ctx.Done():
			return
		case <-c.pollNow:
		case <-time.After(jittered(c.PollInterval, failures, c.Jitter)):
		}
	}
}

func pollOutcome(seen look) string {
	if seen.fault != "" {
		return string(seen.fault)
	}
	return "ok"
}

// jittered is the interval, doubled for each failure up to eight times, plus up
// to a share of it so that many daemons do not ask at once.
func jittered(interval time.Duration, failures int, share float64) time.Duration {
	interval <<= min(failures, 3)
	return interval + time.Duration(rand.Float64()*share*float64(interval))
}

// lookAt polls. When the source cannot be read, what was known stays.
func (c *Controller) lookAt(ctx context.Context, last look) look {
	failed := func(reason promotion.Reason, err error) look {
		kept := last
		kept.fault, kept.detail = reason, err.Error()
		return kept
	}
	head, err := c.Source.Poll(ctx)
	switch {
	case errors.Is(err, source.ErrBranchGone):
		return failed(promotion.BranchGone, err)
	case err != nil:
		return failed(promotion.SourceUnavailable, err)
	case head == last.head && last.head != "" && last.set.Environments != nil:
		last.fault, last.detail = "", ""
		return last
	}
	seen := look{head: head}
	commits, err := c.Source.FirstParents(ctx, "", head, maxHistory)
	if err != nil && !errors.Is(err, source.ErrTooFar) {
		return failed(promotion.SourceUnavailable, err)
	}
	for _, commit := range commits {
		seen.history = append(seen.history, commit.Revision)
	}
	snapshot, err := c.Source.Snapshot(head)
	if err != nil {
		return failed(promotion.SourceUnavailable, err)
	}
	seen.set, err = promotion.Load(fs.FS(snapshot))
	if err != nil {
		return failed(promotion.InvalidEnvironment, err)
	}
	return seen
}

// sourceSeen folds a poll into the world.
func (c *Controller) sourceSeen(seen look) {
	if c.world.SourceFault != seen.fault {
		c.Log.Info("source", "revision", seen.head, "reason", seen.fault, "detail", seen.detail)
	}
	c.world.SourceFault, c.sourceDetail = seen.fault, seen.detail
	if seen.fault != "" {
		return
	}
	if c.world.Head != seen.head {
		c.Log.Info("new head", "revision", seen.head, "environments", len(seen.set.IDs()))
	}
	c.polled = true
	c.world.Head, c.world.History = seen.head, seen.history
	known := map[promotion.ID]reconcile.Environment{}
	for _, e := range c.world.Environments {
		known[e.ID] = e
	}
	changed := c.changedPipelines(seen.set)
	var environments []reconcile.Environment
	for _, id := range seen.set.IDs() {
		environments = append(environments, c.environmentSeen(id, known[id], seen.set, changed[id.Pipeline]))
		delete(known, id)
	}
	for _, gone := range known {
		gone.Fault = promotion.Removed
		environments = append(environments, gone)
	}
	slices.SortFunc(environments, func(a, b reconcile.Environment) int { return a.ID.Compare(b.ID) })
	c.world.Environments = environments
}

// changedPipelines are those of which an environment's file changed. Path, data
// class, target or governance may be others now, and with them renders and
// verdicts: its own, and those of the environments that come after it.
func (c *Controller) changedPipelines(set promotion.Set) map[string]bool {
	changed := map[string]bool{}
	for id, file := range set.Environments {
		if known, found := c.environments[id]; !found || !reflect.DeepEqual(known.file, file) {
			changed[id.Pipeline] = true
		}
	}
	return changed
}

func (c *Controller) environmentSeen(id promotion.ID, known reconcile.Environment, set promotion.Set, changed bool) reconcile.Environment {
	known.ID = id
	e := c.environment(id)
	file, valid := set.Environments[id]
	if !valid {
		fault := set.Faults[id]
		known.Fault = fault.Reason
		e.notes[fault.Reason] = fault.Err.Error()
		return known
	}
	if moved(e.file, file) && known.Journal.Running.Digest != "" {
		known.Fault = promotion.TargetMoved
		e.notes[promotion.TargetMoved] = fmt.Sprintf("%s: target moved from %s to %s, and what it runs would be left behind in %s",
			file.File, place(e.file), place(file), place(e.file))
		return known
	}
	known.Fault = ""
	known.Candidates = withoutUnknown(known.Candidates)
	if changed {
		known.Candidates = nil
		e.generation++ // an evaluation under way is of the file before
	}
	e.file = file
	known.Spec = specOf(file)
	return known
}

// withoutUnknown forgets that a revision was not on the branch: it may be now.
func withoutUnknown(candidates []reconcile.Candidate) []reconcile.Candidate {
	return slices.DeleteFunc(slices.Clone(candidates), func(c reconcile.Candidate) bool { return c.Fault == promotion.UnknownRevision })
}

// specOf is the part of an environment file that decisions depend on.
func specOf(file promotion.Environment) reconcile.Spec {
	return reconcile.Spec{
		After: file.After, Pinned: file.Pinned(), Pin: file.Revision, Soak: file.Promotion.Soak,
		OnFailure: file.OnFailure, Drift: file.Drift,
	}
}

// moved reports whether an environment is to run elsewhere than it does.
func moved(from, to promotion.Environment) bool {
	return from.ID == to.ID && place(from) != place(to)
}

// place is where an environment runs.
func place(file promotion.Environment) string {
	if file.Target.Kubeconfig == "" {
		return "namespace " + file.Target.Namespace
	}
	return "namespace " + file.Target.Namespace + " of cluster " + file.Target.Kubeconfig
}
