package demo

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/source"
	"chaperone.dev/chaperone/internal/state"
)

// service is one whose version the demo changes.
type service struct{ system, name string }

func (s service) kustomization() string {
	return fmt.Sprintf("base/%s/%s/kustomization.yaml", s.system, s.name)
}

// upgrade is the change of a service to another version.
func (d *demo) upgrade(ctx context.Context, s service, other func(version) (version, error), more ...edit) (work, error) {
	file, err := d.source.read(ctx, s.kustomization())
	if err != nil {
		return work{}, err
	}
	now, err := versionIn(file)
	if err != nil {
		return work{}, fmt.Errorf("%s: %w", s.kustomization(), err)
	}
	next, err := other(now)
	if err != nil {
		return work{}, fmt.Errorf("%s: %w", s.kustomization(), err)
	}
	return work{
		message: fmt.Sprintf("%s: run %s %s", s.system, s.name, next.tag),
		edits:   append([]edit{{s.kustomization(), func(file []byte) ([]byte, error) { return setVersion(file, next) }}}, more...),
	}, nil
}

// release merges another version of a service.
func (d *demo) release(ctx context.Context, s service, other func(version) (version, error), more ...edit) (source.Revision, string, error) {
	w, err := d.upgrade(ctx, s, other, more...)
	if err != nil {
		return "", "", err
	}
	commit, err := d.source.change(ctx, w.message, w.edits...)
	if err == nil {
		d.report.say("merged %s %q", commit.Short(), w.message)
	}
	return commit, w.message, err
}

// good is the next patch release of a service.
func good(s service) func(version) (version, error) {
	return func(v version) (version, error) { return v.next(s.system + "/" + s.name) }
}

// bad is that release, built so that it behaves.
func bad(s service, behaves string) func(version) (version, error) {
	return func(v version) (version, error) {
		next, err := v.next(s.system + "/" + s.name)
		return next.that(behaves), err
	}
}

// policyViolation merges a change that must be held, and a good one after it
// that must not.
func (d *demo) policyViolation(ctx context.Context) (string, error) {
	held := novamind().automatic
	before, err := d.look(ctx)
	if err != nil {
		return "", err
	}
	violation, err := d.source.change(ctx, "novamind: let the API see the node, for five minutes",
		edit{"base/novamind/api/deployment.yaml", makePrivileged})
	if err != nil {
		return "", err
	}
	d.report.say("merged %s, which makes novamind's api privileged", violation.Short())
	s := service{"crohns", "data-services"}
	commit, message, err := d.release(ctx, s, good(s))
	if err != nil {
		return "", err
	}
	if err := d.arrive(ctx, commit, crohns().automatic[0]); err != nil {
		return "", err
	}
	told, err := d.heldByPolicy(ctx, held[0], before)
	if err != nil {
		return "", err
	}
	d.show(ctx, chaperone("why", held[0].String()))
	undone, err := d.source.takeBack(ctx, violation)
	if err != nil {
		return "", err
	}
	d.report.say("the developer took %s back: %s", violation.Short(), undone.Short())
	if err := d.arrive(ctx, undone, followers()...); err != nil {
		return "", err
	}
	return fmt.Sprintf("%s held %s (PolicyDenied): %s\nMeanwhile %s got %s %q.",
		held[0], violation.Short(), told, crohns().automatic[0], commit.Short(), message), nil
}

// heldByPolicy waits for the refusal and sees that what runs is what ran.
func (d *demo) heldByPolicy(ctx context.Context, id promotion.ID, before records) (string, error) {
	want := []string{"pod/privileged", "Deployment", "api", "spec.template.spec.containers[0].securityContext.privileged"}
	seen, err := d.until(ctx, fmt.Sprintf("%s is held by a policy", id), patience, []promotion.ID{id}, func(seen records) (bool, error) {
		return seen[id].Status.Reason == promotion.PolicyDenied, nil
	})
	if err != nil {
		return "", err
	}
	r := seen[id]
	for _, part := range want {
		if !strings.Contains(r.Message, part) {
			return "", fmt.Errorf("%s is held by a policy, and its message does not name %s: %s", id, part, r.Message)
		}
	}
	for _, id := range novamind().automatic {
		if ran, runs := before[id].Journal.Running.Digest, seen[id].Journal.Running.Digest; ran != runs {
			return "", fmt.Errorf("%s ran %s and now runs %s; want it left as it was", id, ran, runs)
		}
	}
	return r.Message, nil
}

// neverReady merges a version whose pods never get ready.
func (d *demo) neverReady(ctx context.Context) (string, error) {
	id := novamind().automatic[0]
	shorter, err := d.source.change(ctx, "novamind: give a release 20 s to get ready in development",
		edit{"environments/novamind/development.yaml", func(file []byte) ([]byte, error) { return setVerifyTimeout(file, "20s") }})
	if err != nil {
		return "", err
	}
	if err := d.arrive(ctx, shorter, followers()...); err != nil {
		return "", err
	}
	return d.takenBack(ctx, id, service{"novamind", "api"}, "never-ready", "ready")
}

// takenBack merges a version that must fail in an environment, and sees that
// the cluster is restored, the commit reverted, and both said.
func (d *demo) takenBack(ctx context.Context, id promotion.ID, s service, behaves, evidence string) (string, error) {
	before, err := d.look(ctx)
	if err != nil {
		return "", err
	}
	in := id.Pipeline + "-" + id.Name
	ran, err := d.kube.image(ctx, in, s.name)
	if err != nil {
		return "", err
	}
	guilty, _, err := d.release(ctx, s, bad(s, behaves))
	if err != nil {
		return "", err
	}
	began := time.Now()
	if _, err := d.until(ctx, fmt.Sprintf("%s took %s back", id, guilty.Short()), patience, []promotion.ID{id}, func(seen records) (bool, error) {
		r := seen[id]
		switch {
		case stopped(r.Status.Phase):
			return false, fmt.Errorf("%s is %s", id, r.Status.Phase)
		case r.Journal.LastGood.Revision == guilty:
			return false, fmt.Errorf("%s verified %s; want it to fail", id, guilty.Short())
		}
		return r.Journal.LastRevert.Guilty == guilty && r.Journal.LastRevert.Commit != "", nil
	}); err != nil {
		return "", err
	}
	took := time.Since(began)
	revert, err := d.reverted(ctx, guilty)
	if err != nil {
		return "", err
	}
	if err := d.arrive(ctx, revert, followers()...); err != nil {
		return "", err
	}
	if err := d.restored(ctx, id, s, ran, before); err != nil {
		return "", err
	}
	told, err := d.historyOf(ctx, id, guilty, revert, evidence)
	return fmt.Sprintf("%s runs %s again, and %s was reverted by %s within %s; the branch holds what it held before.\n%s",
		id, brief(ran), guilty.Short(), revert.Short(), took.Round(time.Second), told), err
}

// reverted sees that exactly one commit followed the guilty one, that it says
// to be its revert, and that the branch's files are what they were.
func (d *demo) reverted(ctx context.Context, guilty source.Revision) (source.Revision, error) {
	revert, err := d.revertAfter(ctx, guilty, guilty)
	if err != nil {
		return "", err
	}
	same, err := d.source.sameTree(ctx, string(guilty)+"^", string(revert))
	if err == nil && !same {
		err = fmt.Errorf("%s leaves other files than there were before %s", revert.Short(), guilty.Short())
	}
	return revert, err
}

// revertAfter sees that exactly one commit followed the last one, and that it
// says to be the revert of the guilty one.
func (d *demo) revertAfter(ctx context.Context, last, guilty source.Revision) (source.Revision, error) {
	commits, err := d.source.since(ctx, last)
	if err != nil {
		return "", err
	}
	if len(commits) != 1 {
		return "", fmt.Errorf("%d commits follow %s on the branch; want the revert of %s alone", len(commits), last.Short(), guilty.Short())
	}
	revert := commits[0]
	if takes, is := revert.Reverts(); !is || takes != guilty {
		return "", fmt.Errorf("%s follows %s, and does not say in a %s trailer that it takes %s back",
			revert.Revision.Short(), last.Short(), source.TrailerReverts, guilty.Short())
	}
	return revert.Revision, nil
}

// restored sees that the cluster runs what it ran, and that nobody downstream
// got what failed.
func (d *demo) restored(ctx context.Context, id promotion.ID, s service, ran string, before records) error {
	runs, err := d.kube.image(ctx, id.Pipeline+"-"+id.Name, s.name)
	if err != nil {
		return err
	}
	if runs != ran {
		return fmt.Errorf("%s runs %s; want what it ran before, %s", id, runs, ran)
	}
	return d.undisturbed(ctx, before, append(followers(), scheduled()))
}

// undisturbed sees that environments run what they ran.
func (d *demo) undisturbed(ctx context.Context, before records, ids []promotion.ID) error {
	after, err := d.look(ctx)
	if err != nil {
		return err
	}
	for _, id := range ids {
		if was, is := before[id].Journal.Running.Digest, after[id].Journal.Running.Digest; was != is {
			return fmt.Errorf("%s ran %s and now runs %s; want the same", id, was, is)
		}
	}
	return nil
}

// past is one release, as far as `history -o json` is looked at here.
type past struct {
	Revision source.Revision `json:"revision"`
	Phase    string          `json:"phase"`
	Subject  string          `json:"subject"`
	Evidence string          `json:"evidence"`
	Guilty   source.Revision `json:"guilty"`
	Revert   source.Revision `json:"revert"`
}

// historyOf sees that the history command tells of a release that was taken
// back, because of which commit, by what, and why.
func (d *demo) historyOf(ctx context.Context, id promotion.ID, guilty, revert source.Revision, evidence string) (string, error) {
	printed, err := d.run(ctx, chaperone("history", id.String(), "-o", "json"))
	if err != nil {
		return "", err
	}
	var all []past
	if err := json.Unmarshal([]byte(printed), &all); err != nil {
		return "", fmt.Errorf("read what chaperone history printed: %w", err)
	}
	for _, release := range all {
		if release.Guilty != guilty || release.Phase != string(state.ReleaseReverted) {
			continue
		}
		if release.Revert != revert || !strings.Contains(release.Evidence, evidence) {
			break
		}
		return fmt.Sprintf("chaperone history %s: %s %q %s; %s took back %s: %s", id, release.Revision.Short(), release.Subject,
			strings.ToLower(release.Phase), revert.Short(), guilty.Short(), release.Evidence), nil
	}
	return "", fmt.Errorf("chaperone history %s does not tell of a release that failed because of %s, which %s reverts, with evidence that names %q:\n%s",
		id, guilty.Short(), revert.Short(), evidence, printed)
}
