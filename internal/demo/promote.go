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
	systems := []system{crohns(), novamind()}
	if err := d.first(ctx, append(systems[0].automatic, systems[1].automatic...)); err != nil {
		return "", err
	}
	group, both := errgroup.WithContext(ctx)
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

// walk promotes one system to production.
func (d *demo) walk(ctx context.Context, s system) (string, error) {
	passed := fmt.Sprintf("%s: %s follow the branch", s.name, names(s.automatic))
	for _, id := range s.pinned {
		p, err := d.promote(ctx, id)
		if err != nil {
			return "", err
		}
		if err := d.promoted(ctx, id, p); err != nil {
			return "", err
		}
		passed += fmt.Sprintf("; %s runs %s, which %s merged", id.Name, p.pin.Short(), releaseManager.name)
	}
	return passed, nil
}

func names(ids []promotion.ID) string {
	var all []string
	for _, id := range ids {
		all = append(all, id.Name)
	}
	return strings.Join(all, ", ")
}

// first waits until environments run what they follow.
func (d *demo) first(ctx context.Context, ids []promotion.ID) error {
	_, err := d.until(ctx, list(ids)+" run the branch", 2*patience, ids, func(seen records) (bool, error) {
		for _, id := range ids {
			r := seen[id]
			if stopped(r.Status.Phase) {
				return false, fmt.Errorf("%s is %s", id, r.Status.Phase)
			}
			if r.Journal.LastGood.Revision == "" || !rests(r, r.Journal.LastGood.Revision) {
				return false, nil
			}
		}
		return true, nil
	})
	return err
}

// proposal is what the daemon proposes: a commit on a branch of its own, which
// moves a pin.
type proposal struct {
	branch      string
	commit, pin source.Revision
}

// promote merges what the daemon proposes for an environment, as somebody who
// did not write it.
func (d *demo) promote(ctx context.Context, id promotion.ID) (proposal, error) {
	_, err := d.until(ctx, fmt.Sprintf("a promotion of %s is proposed", id), patience, []promotion.ID{id}, func(seen records) (bool, error) {
		return seen[id].Journal.Proposal.Commit != "", nil
	})
	if err != nil {
		return proposal{}, err
	}
	p, err := d.source.proposed(ctx, id)
	if err != nil {
		return proposal{}, err
	}
	merge, err := d.source.merge(ctx, releaseManager, p.branch)
	if err != nil {
		return proposal{}, fmt.Errorf("promote %s: %w", id, err)
	}
	d.report.say("%s merged %s: %s", releaseManager.name, p.branch, merge.Short())
	return p, nil
}

// promoted waits until an environment runs what was merged, and its branch is
// gone.
func (d *demo) promoted(ctx context.Context, id promotion.ID, p proposal) error {
	if err := d.arrive(ctx, p.pin, id); err != nil {
		return err
	}
	_, err := d.until(ctx, fmt.Sprintf("%s is withdrawn", p.branch), patience, []promotion.ID{id}, func(records) (bool, error) {
		tip, err := d.source.git(ctx, d.source.bare, "for-each-ref", "--format=%(objectname)", "refs/heads/"+p.branch)
		return err == nil && tip != string(p.commit), err
	})
	return err
}

// proposed reads the branch that proposes an environment's next pin, and sees
// that it is one commit which changes one line.
func (r *repository) proposed(ctx context.Context, id promotion.ID) (proposal, error) {
	p := proposal{branch: source.PromotionBranch(id.String())}
	var err error
	if p.commit, err = r.resolve(ctx, r.bare, "refs/heads/"+p.branch); err != nil {
		return p, err
	}
	message, err := r.git(ctx, r.bare, "log", "-1", "--format=%B", string(p.commit))
	if err != nil {
		return p, err
	}
	pin, promotes := source.Commit{Message: message}.Promotes()
	if !promotes {
		return p, fmt.Errorf("%s on %s has no %s trailer:\n%s", p.commit.Short(), p.branch, source.TrailerPromotes, message)
	}
	p.pin = pin
	ahead, err := r.git(ctx, r.bare, "rev-list", "--count", "refs/heads/"+branch+".."+string(p.commit))
	if err != nil {
		return p, err
	}
	changed, err := r.git(ctx, r.bare, "diff", "--numstat", string(p.commit)+"^", string(p.commit))
	if err != nil {
		return p, err
	}
	file := fmt.Sprintf("environments/%s.yaml", id)
	if lines := strings.Fields(changed); ahead != "1" || len(lines) != 3 || lines[0] != "1" || lines[2] != file {
		return p, fmt.Errorf("%s is %s commits ahead of %s and changes %q; want one commit that adds one line to %s", p.branch, ahead, branch, changed, file)
	}
	return p, nil
}

// settle waits until all that follow the branch rest at its head, so that the
// next change is the only one under way. What brings nothing new does not wait
// for a schedule.
func (d *demo) settle(ctx context.Context) error {
	head, err := d.source.head(ctx)
	if err != nil {
		return err
	}
	return d.arrive(ctx, head, append(followers(), scheduled())...)
}
