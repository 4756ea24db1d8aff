package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/reconcile"
	"chaperone.dev/chaperone/internal/source"
	"chaperone.dev/chaperone/internal/state"
)

// traceFlags say which commit to look for, and where.
type traceFlags struct {
	clusterFlags
	repo, branch, revision string
	explicit               bool // the clone was named
}

// arrivalState is how far a commit has come in one environment.
type arrivalState string

const (
	arrivalVerified  arrivalState = "Verified"    // runs there, and passed its checks
	arrivalUnderway  arrivalState = "Underway"    // is being applied or verified
	arrivalWaiting   arrivalState = "Waiting"     // will come when a gate opens
	arrivalFailed    arrivalState = "Failed"      // failed there
	arrivalTakenBack arrivalState = "TakenBack"   // was there, and is not any more
	arrivalReverted  arrivalState = "Reverted"    // taken back before it came there
	arrivalUnchanged arrivalState = "Unchanged"   // changes nothing there
	arrivalAbsent    arrivalState = "NotOnBranch" // no commit of the branch
	arrivalUnknown   arrivalState = "Unknown"     // cannot be told from what there is
)

// arrival is one environment of `why --revision -o json`.
type arrival struct {
	Environment string          `json:"environment"`
	State       arrivalState    `json:"state"`
	Since       time.Time       `json:"since,omitzero"`
	Message     string          `json:"message"`
	Phase       reconcile.Phase `json:"phase,omitempty"`
	Reason      string          `json:"reason,omitempty"`
	Unblock     string          `json:"unblock,omitempty"`
	RevertedBy  source.Revision `json:"revertedBy,omitempty"`
	MovesPinTo  source.Revision `json:"movesPinTo,omitempty"`
}

// there reports whether the commit is where it should be.
func (a arrival) there() bool { return a.State == arrivalVerified || a.State == arrivalUnchanged }

// journey is what `why --revision -o json` prints.
type journey struct {
	Revision     source.Revision `json:"revision"`
	Subject      string          `json:"subject,omitempty"`
	Author       string          `json:"author,omitempty"`
	Branch       string          `json:"branch,omitempty"`
	RevertedBy   source.Revision `json:"revertedBy,omitempty"` // on the branch, and not brought back since
	Environments []arrival       `json:"environments"`
}

func (f *traceFlags) trace(ctx context.Context, c *command, output format, names []string) error {
	t, err := f.open(ctx, c)
	if err != nil {
		return err
	}
	defer t.close()
	records, err := f.everything(ctx, c)
	if err != nil {
		return err
	}
	t.records = records
	c.progress("looking for " + f.revision)
	defer c.progress("")
	if err := t.find(ctx, f.revision); err != nil {
		return err
	}
	ids, err := t.chosen(names)
	if err != nil {
		return err
	}
	j, err := t.journey(ctx, ids)
	if err != nil {
		return err
	}
	if err := c.print(output, j, func(w io.Writer) { c.journeyTable(w, j, t.clone != nil) }); err != nil {
		return err
	}
	if len(j.Environments) == 0 || slices.ContainsFunc(j.Environments, func(a arrival) bool { return !a.there() }) {
		return no()
	}
	return nil
}

// open reads the clone, where there is one: without, the records alone answer.
func (f *traceFlags) open(ctx context.Context, c *command) (*tracer, error) {
	c.progress("reading the clone")
	defer c.progress("")
	repository, err := openClone(ctx, f.repo, f.branch)
	switch {
	case err == nil:
		return &tracer{clone: repository}, nil
	case !f.explicit && (errors.Is(err, errNoClone) || errors.Is(err, promotion.ErrNoEnvironments)):
		return &tracer{}, nil // some other directory: nobody said that this is a clone
	}
	return nil, err
}

// tracer looks where one commit is.
type tracer struct {
	*clone   // nil: the records alone answer
	records  []state.Record
	commit   source.Commit
	onBranch bool
	carrier  source.Revision // the first commit of the branch's line that has it
	turns    []turn
}

func (t *tracer) close() {
	if t.clone != nil {
		t.Close()
	}
}

func (t *tracer) find(ctx context.Context, name string) (err error) {
	if t.clone == nil {
		if t.commit.Revision, err = source.ParseRevision(name); err != nil {
			t.commit.Revision, err = recorded(t.records, name)
		}
		return err
	}
	revision, err := resolve(t.Local, name)
	if errors.Is(err, source.ErrUnknownRevision) {
		// It may be the clone that is behind, or of something else altogether.
		if known, missing := recorded(t.records, name); missing == nil {
			t.close()
			t.clone, t.commit.Revision = nil, known
			return nil
		}
	}
	if err != nil {
		return err
	}
	if t.commit, err = t.Commit(revision); err != nil {
		return err
	}
	if t.onBranch, err = t.Contains(ctx, revision, t.head); err != nil || !t.onBranch {
		return err
	}
	return t.follow(ctx)
}

// recorded finds a commit that the records name.
func recorded(records []state.Record, name string) (source.Revision, error) {
	var found []source.Revision
	for _, r := range records {
		for _, revision := range mentioned(r) {
			if strings.HasPrefix(string(revision), name) && !slices.Contains(found, revision) {
				found = append(found, revision)
			}
		}
	}
	switch {
	case len(found) == 1 && len(name) >= shortestPrefix:
		return found[0], nil
	case len(found) > 1:
		return "", fmt.Errorf("--revision %s: that could be %s; want more of it", name, shorts(found))
	}
	return "", fmt.Errorf("--revision %s: no record of the daemon's names such a commit; want a full hash, or --repo with a clone", name)
}

// mentioned are the commits that a record names.
func mentioned(r state.Record) []source.Revision {
	j := r.Journal
	all := []source.Revision{j.Running.Revision, j.LastGood.Revision, r.Status.Wanted.Revision, j.Attempt.Release.Revision,
		j.LastRevert.Guilty, j.Proposal.Revision}
	for _, v := range j.Verified {
		all = append(all, v.Revision)
	}
	for _, s := range j.Search.Suspects {
		all = append(all, s.Revision)
	}
	return slices.DeleteFunc(all, func(r source.Revision) bool { return r == "" })
}

// environments are those that the branch and the daemon know, as a change
// passes through them.
func (t *tracer) environments() (ids []promotion.ID, known map[promotion.ID]promotion.Environment) {
	known = map[promotion.ID]promotion.Environment{}
	set := promotion.Set{Environments: known}
	for _, r := range t.records {
		known[r.ID] = r.Environment
	}
	if t.clone != nil {
		for id, env := range t.set.Environments {
			known[id] = env
		}
	}
	ids = promotionOrder(set)
	for _, r := range t.records { // those in a circle of files of different times
		if !slices.Contains(ids, r.ID) {
			ids = append(ids, r.ID)
		}
	}
	return ids, known
}

// chosen are the environments and pipelines that the arguments name.
func (t *tracer) chosen(names []string) ([]promotion.ID, error) {
	all, _ := t.environments()
	if len(names) == 0 {
		return all, nil
	}
	matched := map[promotion.ID]bool{}
	for _, name := range names {
		found := false
		for _, id := range all {
			if id.String() == name || id.Pipeline == name {
				matched[id], found = true, true
			}
		}
		if !found {
			return nil, fmt.Errorf("%q is neither an environment nor a pipeline; there are %s", name, listed(all))
		}
	}
	return slices.DeleteFunc(all, func(id promotion.ID) bool { return !matched[id] }), nil
}

func (t *tracer) journey(ctx context.Context, ids []promotion.ID) (journey, error) {
	j := journey{Revision: t.commit.Revision, Subject: t.commit.Subject(), Environments: []arrival{}}
	if t.clone != nil {
		j.Branch, j.Author = t.branch, t.commit.Author.String()
		j.RevertedBy = t.takenBackBy()
	}
	order, known := t.environments()
	arrivals := map[promotion.ID]arrival{}
	for _, id := range order {
		if !slices.ContainsFunc(ids, func(wanted promotion.ID) bool { return wanted.Pipeline == id.Pipeline }) {
			continue // what holds up an environment may be before it, in the same pipeline
		}
		a, err := t.arrive(ctx, known[id], arrivals)
		if err != nil {
			return j, fmt.Errorf("%s: %w", id, err)
		}
		arrivals[id] = a
		if slices.Contains(ids, id) {
			j.Environments = append(j.Environments, a)
		}
	}
	return j, nil
}

func (c *command) journeyTable(w io.Writer, j journey, clone bool) {
	title := string(j.Revision)
	if j.Subject != "" {
		title += fmt.Sprintf(" %q by %s", j.Subject, j.Author)
	}
	if j.RevertedBy != "" {
		title += fmt.Sprintf("; taken back on %s by %s", j.Branch, j.RevertedBy.Short())
	}
	for _, line := range wrapText(title, tableWidth) {
		fmt.Fprintln(w, line)
	}
	if !clone {
		fmt.Fprintln(w, "(from the daemon's records alone, as this is no clone that has it: --repo names one)")
	}
	t := table{header: []string{"ENVIRONMENT", "STATE", "SINCE", "WHAT"}, paint: func(column int, text string) string {
		if column != 1 {
			return text
		}
		return c.painted(arrivalColours[arrivalState(text)], text)
	}}
	for _, a := range j.Environments {
		what := a.Message
		if a.Reason != "" {
			what = a.Reason + ": " + what
		}
		t.add(a.Environment, string(a.State), ago(a.Since, time.Now()), what)
		if a.Unblock != "" {
			t.note("unblock: " + a.Unblock)
		}
	}
	t.write(w)
}

var arrivalColours = map[arrivalState]string{
	arrivalVerified: green, arrivalUnderway: cyan, arrivalWaiting: yellow, arrivalFailed: red, arrivalTakenBack: red,
	arrivalReverted: red, arrivalAbsent: red,
}

// errBehind: the daemon is further than the clone.
var errBehind = errors.New("this clone does not have it")
