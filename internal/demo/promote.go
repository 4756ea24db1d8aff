package demo

import (
	"context"
	"fmt"
	"strings"

	"golang.org/x/sync/errgroup"

	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/reconcile"
	"chaperone.dev/chaperone/internal/source"
)

// toProduction waits for the environments that follow the branch, and promotes
// to the others, both systems side by side.
func (d *demo) toProduction(ctx context.Context) (string, error) {
	if err := d.foundation(ctx); err != nil {
		return "", err
	}
	group, both := errgroup.WithContext(ctx)
	systems := []system{crohns(), novamind()}
	arrived := make([]string, len(systems))
	for i, s := range systems {
		group.Go(func() error {
			text, err := d.walk(both, s)
			arrived[i] = text
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return "", err
	}
	if err := d.settle(ctx); err != nil {
		return "", err
	}
	return strings.Join(arrived, "\n"), nil
}

// foundation waits for the platform's namespaces and accounts, and then brings
// the systems in.
func (d *demo) foundation(ctx context.Context) error {
	id := []promotion.ID{env("platform", "cluster")}
	if _, err := d.until(ctx, "the daemon has read the repository", firstPoll, id, func(seen records) (bool, error) {
		_, known := seen[id[0]]
		return known, nil
	}); err != nil {
		return err
	}
	if _, err := d.until(ctx, list(id)+" is applied", patience, id, func(seen records) (bool, error) {
		r := seen[id[0]]
		if stopped(r.Status.Phase) {
			return false, fmt.Errorf("%s is %s", id[0], r.Status.Phase)
		}
		return r.Journal.Running.Revision != "" && r.Journal.Attempt.Stage != reconcile.StageApplying, nil
	}); err != nil {
		return err
	}
	commit, err := d.commitSystems(ctx)
	if err == nil {
		d.report.say("merged %s, which brings in crohns and novamind", commit.Short())
	}
	return err
}

// walk brings one system from development to production.
func (d *demo) walk(ctx context.Context, s system) (string, error) {
	verified, err := d.first(ctx, s.automatic)
	if err != nil {
		return "", err
	}
	passed := fmt.Sprintf("%s: %s", s.name, names(s.automatic))
	for _, id := range s.pinned {
		commit, err := d.promote(ctx, id, verified)
		if err != nil {
			return "", err
		}
		if err := d.arrive(ctx, verified, id); err != nil {
			return "", err
		}
		passed += fmt.Sprintf(", %s (promoted by %s)", id.Name, commit.Short())
	}
	return passed + " run " + verified.Short(), nil
}

func names(ids []promotion.ID) string {
	var all []string
	for _, id := range ids {
		all = append(all, id.Name)
	}
	return strings.Join(all, ", ")
}

// first waits until environments that follow the branch run a revision, and
// returns which: the head may move while one waits, as the other system is
// promoted.
func (d *demo) first(ctx context.Context, ids []promotion.ID) (source.Revision, error) {
	last := ids[len(ids)-1]
	seen, err := d.until(ctx, list(ids)+" run the branch", 2*patience, ids, func(seen records) (bool, error) {
		for _, id := range ids {
			r := seen[id]
			if stopped(r.Status.Phase) {
				return false, fmt.Errorf("%s is %s", id, r.Status.Phase)
			}
			if !rests(r, r.Journal.LastGood.Revision) || r.Journal.LastGood.Revision == "" {
				return false, nil
			}
		}
		return true, nil
	})
	if err != nil {
		return "", err
	}
	return seen[last].Journal.LastGood.Revision, nil
}

// promote merges what a pull request would propose: one line.
func (d *demo) promote(ctx context.Context, id promotion.ID, to source.Revision) (source.Revision, error) {
	message := fmt.Sprintf("Promote %s to %s\n\nThe environment before verified %s.", to.Short(), id, to)
	commit, err := d.source.change(ctx, message, edit{
		path:   fmt.Sprintf("environments/%s.yaml", id),
		change: func(file []byte) ([]byte, error) { return promotion.SetRevision(file, to) },
	})
	if err != nil {
		return "", fmt.Errorf("promote %s: %w", id, err)
	}
	d.report.say("merged the promotion of %s to %s", to.Short(), id)
	return commit, nil
}

// settle waits until all that follow the branch rest at its head, so that the
// next change is the only one under way.
func (d *demo) settle(ctx context.Context) error {
	head, err := d.source.head(ctx)
	if err != nil {
		return err
	}
	return d.arrive(ctx, head, followers()...)
}
