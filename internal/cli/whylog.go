package cli

import (
	"context"
	"slices"
	"strings"

	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/reconcile"
	"chaperone.dev/chaperone/internal/state"
)

// maxWhyLines is how much of a log `why` shows; `history` shows all that is kept.
const maxWhyLines = 40

// logsOf are the last lines of what failed where an environment is because of it.
func (f *clusterFlags) logsOf(ctx context.Context, c *command, records []state.Record) (map[promotion.ID]string, error) {
	failed := slices.DeleteFunc(slices.Clone(records), func(r state.Record) bool { return len(failedOf(r)) == 0 })
	if len(failed) == 0 {
		return nil, nil
	}
	found := map[promotion.ID]string{}
	err := f.asked(ctx, c, func(ctx context.Context, store *state.Store) error {
		for _, r := range failed {
			logs, err := store.Logs(ctx, r.ID)
			if err != nil {
				return notAsked(err)
			}
			if len(logs) == 0 {
				continue
			}
			releases, err := store.Releases(ctx, r.ID)
			if err != nil {
				return notAsked(err)
			}
			found[r.ID] = newestLog(releases, logs, failedOf(r))
		}
		return nil
	})
	return found, err
}

// failedOf are the releases whose failure says why an environment is where it is.
func failedOf(r state.Record) []reconcile.Digest {
	j := &r.Journal
	var digests []reconcile.Digest
	add := func(d reconcile.Digest) {
		if d != "" {
			digests = append(digests, d)
		}
	}
	if r.Unreadable != nil {
		return nil
	}
	if measured(r) {
		add(j.Attempt.Release.Digest)
		add(j.Hold.Digest)
		add(j.Undo.Release.Digest)
	}
	if slices.Contains(j.Quarantine, r.Status.Wanted.Digest) {
		add(r.Status.Wanted.Digest)
	}
	return digests
}

// newestLog is that of the newest release of these that has one; releases are
// newest first.
func newestLog(releases []state.Release, logs map[string]string, of []reconcile.Digest) string {
	for _, r := range releases {
		text := state.LogOf(logs, r)
		if text == "" || !slices.Contains(of, r.Release.Digest) {
			continue
		}
		lines := strings.Split(text, "\n")
		return strings.Join(lines[max(0, len(lines)-maxWhyLines):], "\n")
	}
	return ""
}
