package cli

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/reconcile"
	"chaperone.dev/chaperone/internal/source"
	"chaperone.dev/chaperone/internal/state"
)

type retryFlags struct {
	requestFlags
	digest, revision string
}

func newRetry(c *command) *cobra.Command {
	var flags retryFlags
	var output format
	cmd := &cobra.Command{
		Use: "retry ENV", Short: "Have the daemon try again what is held or quarantined",
		Long: `Retry lifts, once, what keeps the daemon from trying again: the hold, the
quarantine of one release (the wanted one, or another by --digest or --revision),
the wait between two tries, or the hold after the branch's history was rewritten.
Where a rollback hook failed (RollbackFailed) it runs once more, and last good is
applied after it: put the data right first. Where what runs passed and fails its
checks since (Regressed), the environments after it may have it all the same.
Every gate stays as it is, and what fails again is taken back again.

It answers no (exit code 1) when there is nothing to lift, and says where the
environment is. It waits for the daemon to have taken the request, and says so
(exit code 3) if it has not.
` + exitHelp,
		Example: "  chaperone retry novamind/staging\n  chaperone retry novamind/staging --revision 3c9e21f7",
		Args:    exactly(1, "one environment, such as novamind/production"), ValidArgsFunction: completeEnvironments(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case flags.digest != "" && flags.revision != "":
				return errors.New("retry: want --digest or --revision, not both")
			case flags.wait < 0:
				return flags.check(cmd, args)
			}
			done, err := flags.run(cmd.Context(), c, args)
			if err != nil {
				return err
			}
			return flags.told(c, output, args, []requested{done}, nil)
		},
	}
	flags.add(cmd)
	cmd.Flags().StringVar(&flags.digest, "digest", "", "release to lift the quarantine of, or how it begins")
	cmd.Flags().StringVar(&flags.revision, "revision", "", "the same by its commit, or how that begins")
	outputFlag(cmd, &output)
	return cmd
}

func (f *retryFlags) run(ctx context.Context, c *command, names []string) (requested, error) {
	store, who, before, err := f.openRequest(ctx, c, names)
	if err != nil {
		return requested{}, err
	}
	record := before[0]
	var releases []state.Release
	err = f.ask(ctx, func(ctx context.Context) error {
		releases, err = store.Releases(ctx, record.ID)
		return notAsked(err)
	})
	if err != nil {
		return requested{}, err
	}
	now := time.Now()
	lift, err := f.lift(record, releases, now)
	if err != nil {
		return requested{}, &exitError{exitNo, fmt.Errorf("retry %s: %w", record.ID, err)}
	}
	request := state.Retry{ID: requestID(now), Digest: lift.digest, By: who, At: now}
	if _, err := f.each(ctx, before, func(ctx context.Context, r state.Record) error { return store.SetRetry(ctx, r.ID, request) }); err != nil {
		return requested{}, err
	}
	served := func(r state.Record) bool { return r.Journal.Served == request.ID }
	after := f.heard(ctx, c, store, before, served)[0]
	r := requested{Environment: record.ID.String(), Outcome: "Retried", Request: request.ID, Noted: served(after)}
	r.now(after)
	r.text = "is tried again: " + lift.what + " is lifted"
	if !r.Noted {
		r.text = "is to be tried again: " + lift.what + " is to be lifted"
	}
	return r, nil
}

// requestID is one that no request before it had.
func requestID(now time.Time) string {
	random := make([]byte, 4)
	rand.Read(random)
	return now.UTC().Format("20060102T150405Z") + "-" + hex.EncodeToString(random)
}

// lifting is what a retry takes away.
type lifting struct {
	digest reconcile.Digest // "" is what the environment waits for now
	what   string
}

// lift finds out what there is to lift. Its errors are the answer no.
func (f *retryFlags) lift(r state.Record, releases []state.Release, now time.Time) (lifting, error) {
	switch pause := r.Requests.Pause; {
	case r.Unreadable != nil:
		return lifting{}, r.Unreadable
	case pause != nil && !over(pause, now):
		return lifting{}, fmt.Errorf("it is paused%s; `chaperone resume %s` first", pausedBy(*pause), r.ID)
	case invalid(r):
		return lifting{}, fmt.Errorf("nothing is tried while it is %s (%s): %s", r.Status.Phase, r.Status.Reason, orExplained(r))
	}
	known := releaseNames{r, releases}
	if f.digest == "" && f.revision == "" {
		return liftWanted(r, known, now)
	}
	digest, err := f.chosen(known, liftable(r, now))
	if err != nil {
		return lifting{}, err
	}
	if slices.Contains(r.Journal.Quarantine, digest) {
		return lifting{digest, "the quarantine of " + known.of(digest)}, nil
	}
	if failing(r) && digest == r.Journal.LastGood.Digest {
		return lifting{digest, "the alarm (Regressed) of " + known.of(digest)}, nil
	}
	return lifting{digest, "the hold of " + known.of(digest)}, nil
}

func orExplained(r state.Record) string {
	if r.Message != "" {
		return r.Message
	}
	return r.Status.Reason.Explain()
}

// liftWanted is for what the environment waits for now.
func liftWanted(r state.Record, known releaseNames, now time.Time) (lifting, error) {
	j := r.Journal
	switch {
	case j.Hold.Reason != "":
		return lifting{j.Hold.Digest, "the hold (" + string(j.Hold.Reason) + ")"}, nil
	case slices.Contains(j.Quarantine, r.Status.Wanted.Digest):
		return lifting{r.Status.Wanted.Digest, "the quarantine of " + known.of(r.Status.Wanted.Digest)}, nil
	case r.Status.Reason == promotion.HistoryRewritten:
		return lifting{what: "the hold (HistoryRewritten)"}, nil
	case failing(r):
		return lifting{j.LastGood.Digest, "the alarm (Regressed), for the environments after it,"}, nil
	case j.Retry.At.After(now):
		return lifting{what: fmt.Sprintf("the wait until %s (%s)", stamp(j.Retry.At), j.Retry.Reason)}, nil
	case len(j.Quarantine) > 0:
		return lifting{}, fmt.Errorf("nothing holds it: it is %s (%s): %s; quarantined are other releases: %s; want one of them by --digest or --revision",
			r.Status.Phase, r.Status.Reason, orExplained(r), known.list(j.Quarantine))
	}
	return lifting{}, fmt.Errorf("there is nothing to try again: it is %s (%s): %s", r.Status.Phase, r.Status.Reason, orExplained(r))
}

// failing: what passed there fails since, and keeps it from going on.
func failing(r state.Record) bool {
	e := reconcile.Environment{Journal: r.Journal}
	return e.Failing(r.Journal.LastGood.Digest)
}

// liftable are the releases that a request by name can be about.
func liftable(r state.Record, now time.Time) []reconcile.Digest {
	digests := slices.Clone(r.Journal.Quarantine)
	add := func(d reconcile.Digest) {
		if d != "" && !slices.Contains(digests, d) {
			digests = append(digests, d)
		}
	}
	add(r.Journal.Hold.Digest)
	if failing(r) {
		add(r.Journal.LastGood.Digest)
	}
	if r.Journal.Retry.At.After(now) {
		add(r.Journal.Retry.Digest)
	}
	return digests
}

// chosen is the one release that --digest or --revision means.
func (f *retryFlags) chosen(known releaseNames, liftable []reconcile.Digest) (reconcile.Digest, error) {
	asked, flag := strings.TrimPrefix(f.digest, "sha256:"), "--digest "+f.digest
	means := func(d reconcile.Digest) bool {
		return strings.HasPrefix(strings.TrimPrefix(string(d), "sha256:"), asked)
	}
	if f.revision != "" {
		asked, flag = f.revision, "--revision "+f.revision
		means = func(d reconcile.Digest) bool {
			return slices.ContainsFunc(known.revisions(d), func(r source.Revision) bool { return strings.HasPrefix(string(r), asked) })
		}
	}
	var found []reconcile.Digest
	for _, d := range liftable {
		if means(d) {
			found = append(found, d)
		}
	}
	switch {
	case len(found) == 1 && len(asked) >= shortestPrefix:
		return found[0], nil
	case len(liftable) == 0:
		return "", fmt.Errorf("%s: nothing is quarantined or held there: it is %s (%s)", flag, known.record.Status.Phase, known.record.Status.Reason)
	case len(found) > 0:
		return "", fmt.Errorf("%s: that could be %s; want more of it", flag, known.list(found))
	}
	return "", fmt.Errorf("%s: that is neither quarantined nor held there; these are: %s", flag, known.list(liftable))
}

// shortestPrefix keeps a slip of the finger from meaning something.
const shortestPrefix = 4

// releaseNames finds the commits that releases are known by.
type releaseNames struct {
	record   state.Record
	releases []state.Release
}

// revisions are the commits that are known to give a digest, the newest names first.
func (n releaseNames) revisions(d reconcile.Digest) []source.Revision {
	j := n.record.Journal
	all := []reconcile.Release{n.record.Status.Wanted, j.Running, j.LastGood, j.Attempt.Release, j.Search.Failed}
	for _, s := range j.Search.Suspects {
		all = append(all, reconcile.Release{Revision: s.Revision, Digest: s.Digest})
	}
	all = append(all, reconcile.Release{Revision: j.Proposal.Revision, Digest: j.Proposal.Digest},
		reconcile.Release{Revision: j.LastRevert.Guilty, Digest: j.LastRevert.Digest})
	for _, r := range n.releases {
		all = append(all, r.Release)
	}
	var revisions []source.Revision
	for _, r := range all {
		if r.Digest == d && r.Revision != "" && !slices.Contains(revisions, r.Revision) {
			revisions = append(revisions, r.Revision)
		}
	}
	return revisions
}

// of names a release for a person: by its commit, where that is known.
func (n releaseNames) of(d reconcile.Digest) string {
	short := manifest.Digest(d).Short()
	if revisions := n.revisions(d); len(revisions) > 0 {
		return fmt.Sprintf("%s (%s)", revisions[0].Short(), short)
	}
	return short
}

func (n releaseNames) list(digests []reconcile.Digest) string {
	const most = 10
	var texts []string
	for i, d := range digests {
		if i == most {
			texts = append(texts, fmt.Sprintf("and %d more", len(digests)-most))
			break
		}
		texts = append(texts, n.of(d))
	}
	return strings.Join(texts, ", ")
}
