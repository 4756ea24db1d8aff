package demo

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/reconcile"
	"chaperone.dev/chaperone/internal/source"
)

// several are versions that are merged together, one of which answers nothing
// but 500.
type several struct {
	services []service
	bad      int
	commits  []source.Revision
	wanted   []string // images, once the bad one is taken back
}

// oneOfThree merges three changes at once and sees that the bad one alone is
// taken back.
func (d *demo) oneOfThree(ctx context.Context) (string, error) {
	id := crohns().automatic[0]
	s := &several{services: []service{{"crohns", "a2a-service"}, {"crohns", "core"}, {"crohns", "trial-engine"}}, bad: 1}
	before, err := d.look(ctx)
	if err != nil {
		return "", err
	}
	if err := d.mergeTogether(ctx, id, s); err != nil {
		return "", err
	}
	began := time.Now()
	tried, err := d.search(ctx, id, s)
	if err != nil {
		return "", err
	}
	revert, err := d.onlyRevert(ctx, s)
	if err != nil {
		return "", err
	}
	if err := d.arrive(ctx, revert, followers()...); err != nil {
		return "", err
	}
	if err := d.cameForward(ctx, id, s, before); err != nil {
		return "", err
	}
	guilty, newest := s.commits[s.bad], s.commits[len(s.commits)-1]
	told, err := d.historyOf(ctx, id, guilty, revert, "500")
	return fmt.Sprintf("%s failed; %d more releases found the guilty commit, %s, which %s takes back; the other two run, %s after the merge.\n%s",
		newest.Short(), tried, guilty.Short(), revert.Short(), time.Since(began).Round(time.Second), told), err
}

// mergeTogether pushes all of them at once, so that the daemon meets them
// together.
func (d *demo) mergeTogether(ctx context.Context, id promotion.ID, s *several) error {
	var all []work
	for i, one := range s.services {
		other := good(one)
		if i == s.bad {
			other = bad(one, "errors-100")
		}
		w, err := d.upgrade(ctx, one, other)
		if err != nil {
			return err
		}
		runs, err := d.kube.image(ctx, id.Pipeline+"-"+id.Name, one.name)
		if err != nil {
			return err
		}
		if i != s.bad {
			runs = tagged(runs, w.message)
		}
		all, s.wanted = append(all, w), append(s.wanted, brief(runs))
	}
	var err error
	s.commits, err = d.source.changes(ctx, all...)
	for i, commit := range s.commits {
		d.report.say("merged %s %q", commit.Short(), all[i].message)
	}
	return err
}

// tagged is an image with the version that a commit's subject ends with.
func tagged(image, subject string) string {
	name := brief(image)
	return name[:strings.LastIndexByte(name, ':')+1] + subject[strings.LastIndexByte(subject, ' ')+1:]
}

// search waits for the end of the search, and counts what was deployed by
// itself for it.
func (d *demo) search(ctx context.Context, id promotion.ID, s *several) (int, error) {
	guilty := s.commits[s.bad]
	var tried []source.Revision
	_, err := d.until(ctx, fmt.Sprintf("%s took %s back", id, guilty.Short()), patience, []promotion.ID{id}, func(seen records) (bool, error) {
		r := seen[id]
		a, last := r.Journal.Attempt, r.Journal.LastRevert
		if a.Probe && a.Stage != reconcile.StageNone && !slices.Contains(tried, a.Release.Revision) {
			tried = append(tried, a.Release.Revision)
		}
		switch {
		case stopped(r.Status.Phase):
			return false, fmt.Errorf("%s is %s", id, r.Status.Phase)
		case slices.Contains(s.commits, last.Guilty) && last.Guilty != guilty:
			return false, fmt.Errorf("%s took %s back; want %s", id, last.Guilty.Short(), guilty.Short())
		}
		return last.Guilty == guilty && last.Commit != "", nil
	})
	if err == nil && len(tried) == 0 {
		err = fmt.Errorf("%s found %s without deploying any commit by itself", id, guilty.Short())
	}
	return len(tried), err
}

// onlyRevert sees that one commit followed, that it takes the bad one back, and
// that it changes nothing else.
func (d *demo) onlyRevert(ctx context.Context, s *several) (source.Revision, error) {
	guilty, last := s.commits[s.bad], s.commits[len(s.commits)-1]
	revert, err := d.revertAfter(ctx, last, guilty)
	if err != nil {
		return "", err
	}
	file := s.services[s.bad].kustomization()
	changed, err := d.source.git(ctx, d.source.bare, "diff", "--name-only", string(last), string(revert))
	if err != nil {
		return "", err
	}
	if changed != file {
		return "", fmt.Errorf("%s changes %q; want %s alone", revert.Short(), changed, file)
	}
	changed, err = d.source.git(ctx, d.source.bare, "diff", "--name-only", string(guilty)+"^", string(revert), "--", file)
	if err == nil && changed != "" {
		err = fmt.Errorf("%s does not leave %s as it was before %s", revert.Short(), file, guilty.Short())
	}
	return revert, err
}

// cameForward sees that the good versions run, with what ran before in place of
// the bad one, and that the bad one came no further.
func (d *demo) cameForward(ctx context.Context, id promotion.ID, s *several, before records) error {
	for i, one := range s.services {
		runs, err := d.kube.image(ctx, id.Pipeline+"-"+id.Name, one.name)
		if err != nil {
			return err
		}
		if brief(runs) != s.wanted[i] {
			return fmt.Errorf("%s runs %s; want %s", id, brief(runs), s.wanted[i])
		}
	}
	core := s.services[s.bad].name
	next := scheduled()
	runs, err := d.kube.image(ctx, next.Pipeline+"-"+next.Name, core)
	if err == nil && brief(runs) != s.wanted[s.bad] {
		err = fmt.Errorf("%s runs %s; want %s, as before", next, brief(runs), s.wanted[s.bad])
	}
	if err != nil {
		return err
	}
	return d.undisturbed(ctx, before, novamind().automatic)
}
