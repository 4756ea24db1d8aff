package app

import (
	"context"
	"fmt"
	"strconv"

	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/policy/rego"
	"chaperone.dev/chaperone/internal/source"
	"chaperone.dev/chaperone/internal/state"
)

// markStore is where a daemon that starts again finds which policies were in
// force. Both may be repeated.
type markStore interface {
	PolicyMark(ctx context.Context) (state.PolicyMark, error)
	SetPolicyMark(ctx context.Context, mark state.PolicyMark) error
}

// marks are those of one place that policies come from: another place begins anew.
type marks struct {
	store markStore // nil: nothing outlasts this process
	from  string
	known state.PolicyMark // as last read or written
	read  bool
}

// recall reads the mark, once, and again where something was refused by it: a
// person may have taken it away.
func (m *marks) recall(ctx context.Context, again bool) (changed bool, err error) {
	if m.store == nil || m.read && !again {
		return false, nil
	}
	found, err := m.store.PolicyMark(ctx)
	if err != nil {
		return false, fmt.Errorf("recall which policies were in force: %w", err)
	}
	if found.From != m.from {
		found = state.PolicyMark{}
	}
	changed = !m.read || found != m.known
	m.known, m.read = found, true
	return changed, nil
}

func (m *marks) set(ctx context.Context, revision, digest string) error {
	mark := state.PolicyMark{From: m.from, Revision: revision, Digest: digest}
	if mark == m.known {
		return nil
	}
	if m.store != nil {
		if err := m.store.SetPolicyMark(ctx, mark); err != nil {
			return fmt.Errorf("note which policies are in force: %w", err)
		}
	}
	m.known = mark
	return nil
}

// recallSeen tells the store of an archive's policies what was in force before.
func (m *marks) recallSeen(ctx context.Context, store *rego.Store) error {
	changed, err := m.recall(ctx, store.Status().Err != nil)
	if err != nil || !changed {
		return err
	}
	revision, _ := strconv.ParseInt(m.known.Revision, 10, 64)
	store.Recall(rego.Seen{Revision: revision, Digest: manifest.Digest(m.known.Digest)})
	return nil
}

func (m *marks) setSeen(ctx context.Context, seen rego.Seen) error {
	if seen.Revision == 0 {
		return nil
	}
	return m.set(ctx, strconv.FormatInt(seen.Revision, 10), string(seen.Digest))
}

// ahead refuses a branch that does not hold any more what was in force: policies
// that were made stricter since would be loosened by a push over them.
func (m *marks) ahead(ctx context.Context, holds func(context.Context, source.Revision) (bool, error), refused bool) error {
	if _, err := m.recall(ctx, refused); err != nil {
		return err
	}
	before := source.Revision(m.known.Revision)
	if before == "" {
		return nil
	}
	held, err := holds(ctx, before)
	if err != nil {
		return err
	}
	if !held {
		return fmt.Errorf("the branch does not hold %s any more, of which policies were in force: it was pushed over; bring it back, or delete the Secret %s to take what is there",
			before.Short(), state.PolicyMarkName)
	}
	return nil
}
