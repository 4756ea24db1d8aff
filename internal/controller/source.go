package controller

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
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
	head     source.Revision
	history  []source.Revision
	ancestry map[source.Revision]ancestry // of what is deployed
	set      promotion.Set
	evidence map[string]string // by pipeline, what names all of it
	signers  string            // what names the keys that signatures are held against
	fault    promotion.Reason
	detail   string
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
			if c.previews != nil {
				c.previews.look()
			}
		} else {
			last.fault, last.detail = seen.fault, seen.detail
		}
		select {
		case <-ctx.Done():
			return
		case <-c.pollNow:
		case <-time.After(c.jittered(c.PollInterval, failures, c.Jitter)):
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
func (c *Controller) jittered(interval time.Duration, failures int, share float64) time.Duration {
	interval <<= min(failures, 3)
	return interval + time.Duration(c.Rand()*share*float64(interval))
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
		last.fault, last.detail, last.signers = "", "", c.signers()
		if last.ancestry, err = c.ancestryOf(ctx, last, last); err != nil {
			return failed(promotion.SourceUnavailable, err)
		}
		return last
	}
	seen := look{head: head, signers: c.signers()}
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
	if seen.evidence, err = evidenceAt(snapshot, seen.set); err != nil {
		return failed(promotion.SourceUnavailable, err)
	}
	if seen.ancestry, err = c.ancestryOf(ctx, seen, last); err != nil {
		return failed(promotion.SourceUnavailable, err)
	}
	return seen
}

// ancestry says of a deployed revision whether it is in the history of the head.
type ancestry struct {
	contained bool
	why       string // where that cannot be told
}

// ancestryOf tells for each deployed revision whether it is in the history of
// the head: a branch that was rewritten must be seen before anything is decided
// on it. What cannot be told of one revision stops the environments that run it
// and no other.
func (c *Controller) ancestryOf(ctx context.Context, seen, last look) (map[source.Revision]ancestry, error) {
	answers := map[source.Revision]ancestry{}
	forward := last.head != "" && (last.head == seen.head || slices.Contains(seen.history, last.head))
	for _, revision := range c.deployed(ctx) {
		known, found := last.ancestry[revision]
		switch {
		case slices.Contains(seen.history, revision), found && known.contained && forward:
			// An ancestor stays one while the branch only grows.
			answers[revision] = ancestry{contained: true}
			continue
		case found && last.head == seen.head:
			answers[revision] = known
			continue
		}
		contained, err := c.Source.Contains(ctx, revision)
		switch {
		case errors.Is(err, source.ErrTooFar), errors.Is(err, source.ErrUnknownRevision):
			answers[revision] = ancestry{why: err.Error()}
		case err != nil:
			return nil, err
		default:
			answers[revision] = ancestry{contained: contained}
		}
	}
	return answers, nil
}

// deployed asks the loop for the revisions that environments run or verified
// last.
func (c *Controller) deployed(ctx context.Context) []source.Revision {
	told := make(chan []source.Revision, 1)
	c.post(ctx, func() {
		revisions := map[source.Revision]bool{}
		for i := range c.world.Environments {
			if e := &c.world.Environments[i]; e.Fault != promotion.Removed {
				revisions[e.Journal.LastGood.Revision] = true
				revisions[e.Journal.Attempt.Release.Revision] = true
			}
		}
		delete(revisions, "")
		told <- slices.Sorted(maps.Keys(revisions))
	})
	select {
	case revisions := <-told:
		return revisions
	case <-ctx.Done():
		return nil
	}
}

// markRewritten marks the environments whose last good is gone from the branch.
// One of which that is not known yet counts as gone, until the next look tells.
func (c *Controller) markRewritten() {
	for i := range c.world.Environments {
		e := &c.world.Environments[i]
		good := e.Journal.LastGood.Revision
		answer, known := c.ancestry[good]
		contained := answer.contained || good == "" || slices.Contains(c.world.History, good)
		e.Rewritten = !contained && c.polled
		e.AncestryUnknown = e.Rewritten && !known
		switch notes := c.environment(e.ID).notes; {
		case !e.Rewritten:
		case !known:
			notes[promotion.HistoryRewritten] = fmt.Sprintf("whether %s is still in the history of the branch is being looked up", good.Short())
			c.Poll()
		case answer.why != "":
			notes[promotion.HistoryRewritten] = fmt.Sprintf("whether %s, which this environment verified last, is in the history of %s cannot be told: %s",
				good.Short(), c.world.Head.Short(), answer.why)
		default:
			notes[promotion.HistoryRewritten] = fmt.Sprintf("%s, which this environment verified last, is no longer in the history of %s",
				good.Short(), c.world.Head.Short())
		}
	}
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
	// Rewritten, or far ahead: who agreed to what is to be read anew.
	other := c.polled && (!slices.Contains(seen.history, c.world.Head) || c.seen.signers != seen.signers)
	c.polled = true
	c.world.Head, c.world.History = seen.head, seen.history
	known := map[promotion.ID]reconcile.Environment{}
	for _, e := range c.world.Environments {
		known[e.ID] = e
	}
	changed := c.changedPipelines(seen.set, known)
	maps.Copy(changed, otherEvidence(c.seen.evidence, seen.evidence))
	c.seen = seen
	var environments []reconcile.Environment
	for _, id := range seen.set.IDs() {
		environments = append(environments, c.environmentSeen(id, known[id], seen.set, other || changed[id.Pipeline]))
		delete(known, id)
	}
	for _, gone := range known {
		gone.Fault = promotion.Removed
		if unread, found := seen.set.Fault(gone.ID); found {
			gone.Fault = unread.Reason // whether its file is there still, nobody knows
			c.environment(gone.ID).notes[unread.Reason] = unread.Err.Error()
		}
		environments = append(environments, gone)
	}
	slices.SortFunc(environments, func(a, b reconcile.Environment) int { return a.ID.Compare(b.ID) })
	c.world.Environments = environments
	c.ancestry = seen.ancestry
	c.markRewritten()
}

// changedPipelines are those of which an environment's file changed, or became
// valid or invalid. Path, data class, target or governance may be others now,
// and with them renders and verdicts: its own, and those of the environments
// that come after it.
func (c *Controller) changedPipelines(set promotion.Set, known map[promotion.ID]reconcile.Environment) map[string]bool {
	changed := map[string]bool{}
	for id, file := range set.Environments {
		e, found := c.environments[id]
		if !found || known[id].Fault != "" || !reflect.DeepEqual(e.file, file) {
			changed[id.Pipeline] = true
		}
	}
	for id, e := range known {
		if _, valid := set.Environments[id]; !valid && e.Fault == "" {
			changed[id.Pipeline] = true
		}
	}
	return changed
}

func (c *Controller) environmentSeen(id promotion.ID, known reconcile.Environment, set promotion.Set, changed bool) reconcile.Environment {
	known.ID, known.Requests = id, c.requestsFor(id)
	e := c.environment(id)
	if e.broken != nil {
		return known
	}
	file, valid := set.Environments[id]
	if !valid {
		fault := set.Faults[id]
		known.Fault = fault.Reason
		e.notes[fault.Reason] = fault.Err.Error()
		return known
	}
	known.Moved = moved(e.file, file) && known.Journal.Running.Digest != ""
	if known.Moved {
		return c.moving(known, e, file)
	}
	known.Fault = ""
	known.Candidates = withoutUnknown(known.Candidates)
	// Who brought a pin that is not in place yet is to be read anew.
	pending := file.Pinned() && file.Revision != known.Journal.LastGood.Revision
	if changed || pending {
		known.Candidates = nil
		e.generation++ // an evaluation under way is of the file before
	}
	known = c.inherit(known, e, file)
	if known.Spec.File == "" || !reflect.DeepEqual(e.file, file) {
		known.Spec = c.specOf(file) // not for nothing: calendars take their time
	}
	e.file = file
	known.Requests = c.requestsFor(id)
	return known
}

// moving: what runs in the old place is let go only on the file's word.
func (c *Controller) moving(known reconcile.Environment, e *environment, file promotion.Environment) reconcile.Environment {
	e.next, known.Fault = file, ""
	if !file.Target.Leave {
		known.Fault, known.Moved = promotion.TargetMoved, false
		e.notes[promotion.TargetMoved] = fmt.Sprintf("%s: target moved from %s to %s, and what it runs would be left behind in %s; "+
			"to leave it there, write `previous: leave` below target", file.File, place(e.file), place(file), place(e.file))
	}
	return known
}

// withoutUnknown forgets that a revision was not on the branch: it may be now.
func withoutUnknown(candidates []reconcile.Candidate) []reconcile.Candidate {
	return slices.DeleteFunc(slices.Clone(candidates), func(c reconcile.Candidate) bool { return c.Fault == promotion.UnknownRevision })
}

// specOf is the part of an environment file that decisions depend on.
func (c *Controller) specOf(file promotion.Environment) reconcile.Spec {
	calendar, err := promotion.CalendarOf(file.Promotion)
	if err != nil {
		// A file that was valid when it was stored, read by a daemon that does not
		// understand it (its time zones, say): nothing may start.
		calendar = closed
		c.Log.Error("read calendar", "environment", file.ID.String(), "revision", file.Revision, "reason", promotion.InvalidEnvironment, "err", err)
	}
	return reconcile.Spec{
		After: file.After, Pinned: file.Pinned(), Pin: file.Revision, Soak: file.Promotion.Soak,
		Proposes: file.Promotion.Mode == promotion.ModePullRequest, File: fingerprint(file), Branch: c.Branch,
		Calendar: calendar, Approval: file.Promotion.Approval.Required > 0, PHI: file.Data == promotion.DataPHI,
		Signed:     file.Requires(promotion.RequireSigned),
		MaxReverts: file.MaxRevertsPerDay, OnFailure: file.OnFailure, Drift: file.Drift, Watch: file.Verify.Watch,
	}
}

// closed is a calendar that is frozen for as long as anybody will look.
var closed = func() promotion.Calendar {
	calendar, err := promotion.CalendarOf(promotion.Promotion{Freezes: []promotion.Window{
		{Name: "calendar unreadable", From: time.Unix(0, 0).UTC(), To: time.Date(2199, 1, 1, 0, 0, 0, 0, time.UTC)},
	}})
	if err != nil {
		//lint:panic because two dates written here are a valid freeze
		panic(err)
	}
	return calendar
}()

// fingerprint changes with anything that an environment's file says.
func fingerprint(file promotion.Environment) string {
	text, err := json.Marshal(file)
	if err != nil {
		return ""
	}
	return fmt.Sprintf("%x", sha256.Sum256(text))[:16]
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
