package demo

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/reconcile"
	"chaperone.dev/chaperone/internal/source"
	"chaperone.dev/chaperone/internal/state"
)

// manualEdit changes an image in production by hand and waits until it is back.
func (d *demo) manualEdit(ctx context.Context) (string, error) {
	const in, name = "novamind-production", "api"
	id := novamind().pinned[1]
	ran, err := d.kube.image(ctx, in, name)
	if err != nil {
		return "", err
	}
	const hotfix = "registry.example.org/novamind/api:hotfix"
	if err := d.kube.setImage(ctx, in, name, hotfix); err != nil {
		return "", err
	}
	began := time.Now()
	d.report.say("set Deployment/%s/%s to %s by hand", in, name, hotfix)
	_, err = d.until(ctx, fmt.Sprintf("Deployment/%s/%s runs %s again", in, name, ran), time.Minute, []promotion.ID{id},
		func(records) (bool, error) {
			runs, err := d.kube.image(ctx, in, name)
			return err == nil && runs == ran, nil //nolint:nilerr // asked again, within the time
		})
	if err != nil {
		return "", err
	}
	took := time.Since(began)
	if _, err := d.until(ctx, fmt.Sprintf("%s is at rest", id), patience, []promotion.ID{id}, func(seen records) (bool, error) {
		return rests(seen[id], seen[id].Journal.LastGood.Revision), nil
	}); err != nil {
		return "", err
	}
	return fmt.Sprintf("Deployment/%s/%s was set to %s by hand, and ran %s again %s later", in, name, hotfix, brief(ran), took.Round(100*time.Millisecond)), nil
}

// prune drops a service from Git and watches when its objects go.
func (d *demo) prune(ctx context.Context) (string, error) {
	const name = "model-training"
	id, in := novamind().automatic[0], "novamind-development"
	there, err := d.kube.exists(ctx, cronJobs, in, name)
	if err != nil {
		return "", err
	}
	if !there {
		return "", fmt.Errorf("CronJob/%s/%s is not there before it is removed from Git", in, name)
	}
	commit, err := d.source.change(ctx, "novamind: retire the model training",
		edit{"base/novamind/kustomization.yaml", func(file []byte) ([]byte, error) { return dropResource(file, name) }})
	if err != nil {
		return "", err
	}
	d.report.say("merged %s, which drops %s", commit.Short(), name)
	present := map[reconcile.Stage]int{} // looks at which it was there, by how far the release was
	_, err = d.until(ctx, fmt.Sprintf("CronJob/%s/%s is deleted", in, name), patience, []promotion.ID{id}, func(seen records) (bool, error) {
		there, err := d.kube.exists(ctx, cronJobs, in, name)
		if err != nil {
			return false, nil //nolint:nilerr // asked again, within the time
		}
		if there {
			if a := seen[id].Journal.Attempt; a.Release.Revision == commit {
				present[a.Stage]++
			}
			return false, nil
		}
		// The journal says that it verified before it is deleted.
		now, err := d.kube.store.Get(ctx, id)
		if err != nil {
			return false, nil //nolint:nilerr // asked again, within the time
		}
		if now.Journal.LastGood.Revision != commit {
			return false, fmt.Errorf("it is gone although %s is not verified there: the journal is %s", commit.Short(), now.Journal.Attempt.Stage)
		}
		return true, nil
	})
	if err != nil {
		return "", err
	}
	if present[reconcile.StageVerifying] == 0 {
		return "", fmt.Errorf("CronJob/%s/%s was not seen while %s was being verified; want it there until then", in, name, commit.Short())
	}
	if err := d.arrive(ctx, commit, followers()...); err != nil {
		return "", err
	}
	return fmt.Sprintf("CronJob/%s/%s was there in all %d looks while %s was verified, and deleted after",
		in, name, present[reconcile.StageVerifying], commit.Short()), nil
}

// train is the label whose value the last step changes on every object.
const train = "release-train"

// killed ends the daemon in the middle of an apply. Where the apply was quicker
// than the kill, another release is tried.
func (d *demo) killed(ctx context.Context) (string, error) {
	const tries = 3
	for n := 1; ; n++ {
		left, err := d.killMidApply(ctx, n)
		if err != nil {
			return "", err
		}
		if err := d.daemon.start(); err != nil {
			return "", err
		}
		d.report.say("started the daemon again")
		if err := d.recovered(ctx, left); err != nil {
			return "", err
		}
		if left.inTheMiddle() {
			return fmt.Sprintf("killed with %d of %d objects applied and the journal at %q; the next daemon completed %s, "+
				"it verified, and no commit followed it", left.applied, left.of, left.stage, left.commit.Short()), nil
		}
		if n == tries {
			return "", fmt.Errorf("%d times the apply was over before the daemon was killed (%d of %d objects, journal at %q)",
				tries, left.applied, left.of, left.stage)
		}
	}
}

// leftover is what the daemon left behind.
type leftover struct {
	commit      source.Revision
	digest      reconcile.Digest
	set         manifest.Set
	value       string // of the label
	stage       reconcile.Stage
	applied, of int
	reverted    reconcile.Revert // the last one before
}

func (c leftover) inTheMiddle() bool {
	return c.stage == reconcile.StageApplying && c.applied > 0 && c.applied < c.of
}

func (d *demo) killMidApply(ctx context.Context, n int) (leftover, error) {
	id, s := crohns().automatic[0], service{"crohns", "core"}
	c := leftover{value: strconv.Itoa(n)}
	watching, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	first := make(chan error, 1)
	go func() { first <- d.kube.firstLabelled(watching, id.Pipeline+"-"+id.Name, train, c.value) }()
	var err error
	c.commit, _, err = d.release(ctx, s, good(s), edit{
		"overlays/crohns/development/kustomization.yaml",
		func(file []byte) ([]byte, error) { return setLabel(file, train, c.value) },
	})
	if err != nil {
		return c, err
	}
	if err := <-first; err != nil {
		seen, lookErr := d.look(ctx)
		return c, errors.Join(d.stuck(fmt.Sprintf("%s applies %s", id, c.commit.Short()), err, seen, []promotion.ID{id}), lookErr)
	}
	if err := d.daemon.kill(); err != nil {
		return c, err
	}
	d.report.say("killed the daemon")
	return c, d.takeStock(ctx, id, &c)
}

// takeStock reads how far the daemon came.
func (d *demo) takeStock(ctx context.Context, id promotion.ID, c *leftover) error {
	record, err := d.kube.store.Get(ctx, id)
	if err != nil {
		return err
	}
	c.stage, c.digest, c.reverted = record.Journal.Attempt.Stage, record.Journal.Running.Digest, record.Journal.LastRevert
	if record.Journal.Running.Revision != c.commit {
		return fmt.Errorf("objects of %s are on the cluster, and the journal says that %s runs %s", c.commit.Short(), id,
			record.Journal.Running.Revision.Short())
	}
	if c.set, err = d.kube.store.Bundle(ctx, id, c.digest); err != nil {
		return err
	}
	c.applied, c.of, err = d.kube.labelled(ctx, c.set, train, c.value)
	return err
}

// recovered sees that the release was completed, and nothing taken back.
func (d *demo) recovered(ctx context.Context, c leftover) error {
	id := crohns().automatic[0]
	if err := d.arrive(ctx, c.commit, followers()...); err != nil {
		return err
	}
	applied, of, err := d.kube.labelled(ctx, c.set, train, c.value)
	if err != nil {
		return err
	}
	if applied != of {
		return fmt.Errorf("%s says that it runs %s, and %d of its %d objects do not carry it", id, c.commit.Short(), of-applied, of)
	}
	later, err := d.source.since(ctx, c.commit)
	if err != nil {
		return err
	}
	if len(later) > 0 {
		return fmt.Errorf("%s %q followed %s; want no commit by anybody", later[0].Revision.Short(), later[0].Subject(), c.commit.Short())
	}
	record, err := d.kube.store.Get(ctx, id)
	if err != nil {
		return err
	}
	if record.Journal.LastRevert != c.reverted || slices.Contains(record.Journal.Quarantine, c.digest) {
		return fmt.Errorf("%s holds %s to be at fault: reverted %s", id, c.commit.Short(), record.Journal.LastRevert.Guilty.Short())
	}
	return d.verifiedOnce(ctx, id, c)
}

// verifiedOnce sees that the release ended as one that verified.
func (d *demo) verifiedOnce(ctx context.Context, id promotion.ID, c leftover) error {
	releases, err := d.kube.store.Releases(ctx, id)
	if err != nil {
		return err
	}
	for _, r := range releases {
		if r.Release.Digest == c.digest && r.Phase != state.ReleaseVerified {
			return fmt.Errorf("%s tells of %s that it is %s; want %s", id, c.commit.Short(), r.Phase, state.ReleaseVerified)
		}
	}
	return nil
}
