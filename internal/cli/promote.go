package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/reconcile"
	"chaperone.dev/chaperone/internal/source"
	"chaperone.dev/chaperone/internal/source/gogit"
	"chaperone.dev/chaperone/internal/state"
)

// askSoon is how long commands wait for a cluster that they can do without.
const askSoon = 15 * time.Second

type promoteFlags struct {
	pinFlags
	revision, override string
	overriding         bool
}

func newPromote(c *command) *cobra.Command {
	var flags promoteFlags
	var output format
	cmd := &cobra.Command{
		Use: "promote ENV", Short: "Move an environment's pin to what upstream verified",
		Long: `Promote writes the commit that moves the pin of an environment, and nothing else
of its file: on the branch chaperone/promote/<pipeline>/<name>, whose merge is the
promotion, or with --direct on the followed branch itself.

Without --revision it takes the newest commit that every environment in "after"
has verified and that changes something here; for that it asks the daemon's
cluster. It writes nothing and answers no (exit code 1) where the promotion would
be refused: an environment that follows the branch, a commit that is not on it or
does not render, one that failed there before, one that upstream never verified.
The last of these --override lets pass: the commit then carries the reason as a
Chaperone-Override, which opens the gates of provenance, soak and windows, and
counts only when somebody other than its author merges it.
` + exitHelp,
		Example: `  chaperone promote novamind/production --push
  chaperone promote novamind/production --revision 3c9e21f7 --direct --branch main`,
		Args: exactly(1, "one environment, such as novamind/production"), ValidArgsFunction: completeEnvironments(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			flags.overriding = cmd.Flags().Changed("override")
			done, err := flags.run(cmd.Context(), c, args[0])
			if err != nil {
				return pinFault(err)
			}
			return c.printMoved(output, done)
		},
	}
	flags.add(cmd, c)
	cmd.Flags().StringVar(&flags.revision, "revision", "", "commit to promote; default the newest that upstream verified")
	cmd.Flags().StringVar(&flags.override, "override", "", "break-glass: why gates that are closed are to be opened")
	outputFlag(cmd, &output)
	return cmd
}

func (f *promoteFlags) run(ctx context.Context, c *command, name string) (moved, error) {
	if err := f.checkOverride(); err != nil {
		return moved{}, err
	}
	b, err := f.open(ctx, c, name)
	if err != nil {
		return moved{}, err
	}
	defer b.Close()
	if !b.env.Pinned() {
		return moved{}, refusal("%s follows %s: what is merged there is promoted by itself; to promote by hand, write `mode: pull-request` "+
			"below `promotion` in %s", b.env.ID, b.branch, b.env.File)
	}
	c.progress("looking at what upstream verified")
	defer c.progress("")
	to, err := f.target(ctx, b)
	if err != nil {
		return moved{}, err
	}
	if to == b.env.Revision {
		return moved{Outcome: gogit.Obsolete, Environment: b.env.ID.String(), From: to, To: to}, nil
	}
	evidence, notes, err := f.judge(ctx, b, to)
	if err != nil {
		return moved{}, err
	}
	m, err := f.move(ctx, b, to, source.PromoteNote{Evidence: evidence, Override: strings.TrimSpace(f.override)})
	m.Notes = notes
	return m, err
}

const maxOverride = 500

// checkOverride wants a reason that one line of a commit's message holds.
func (f *promoteFlags) checkOverride() error {
	reason := strings.TrimSpace(f.override)
	switch {
	case !f.overriding:
		return nil
	case reason == "":
		return errors.New("--override: want a reason, in one sentence; it is recorded")
	case len(reason) > maxOverride || clean(reason) != reason:
		return fmt.Errorf("--override: want one line of text, at most %d bytes", maxOverride)
	case f.direct:
		return errors.New("--override with --direct: an override counts only when somebody else merges it; want a pull request, without --direct")
	}
	return nil
}

// target is the commit to promote.
func (f *promoteFlags) target(ctx context.Context, b *bench) (source.Revision, error) {
	switch {
	case f.revision != "":
		return b.resolve(ctx, "--revision", f.revision)
	case len(b.env.After) == 0:
		return "", fmt.Errorf("%s has no environment before it that could verify anything; want --revision", b.env.ID)
	case b.offline != nil:
		return "", offline(b, "what upstream verified is not known", "--revision")
	}
	return b.newest(ctx)
}

// offline says what cannot be done without the daemon's records.
func offline(b *bench, what, flag string) error {
	err := fmt.Errorf("%s, and so what is meant has to be said with %s: %w", what, flag, b.offline)
	var coded *exitError
	if errors.As(b.offline, &coded) || unreachable(b.offline) {
		return notAsked(err)
	}
	return err
}

// judge refuses what the daemon would refuse, and tells what there is to know.
func (f *promoteFlags) judge(ctx context.Context, b *bench, to source.Revision) (evidence string, notes []string, err error) {
	digest, err := b.digest(ctx, b.env, to)
	if errors.Is(err, errNoRender) {
		return "", nil, refusal("%w", err)
	}
	if err != nil {
		return "", nil, err
	}
	record, known := b.record(b.env.ID)
	if !known {
		return "", []string{fmt.Sprintf("whether upstream verified it is not known here; the daemon looks before it applies it (%v)", b.offline)}, nil
	}
	if failedHere(record, digest) {
		return "", nil, refusal("%s failed in %s before, and is not applied there again; promote a fix, or lift that with `chaperone retry %s --digest %s`",
			to.Short(), b.env.ID, b.env.ID, shortDigest(digest))
	}
	stands, err := b.upstreamAt(ctx, to)
	if err != nil {
		return "", nil, err
	}
	var verified, missing []string
	reason, state := promotion.WaitingForUpstream, "well in"
	for _, s := range stands {
		if s.verified && !s.failing {
			verified = append(verified, fmt.Sprintf("%s verified it at %s", s.id, s.at.UTC().Format(time.RFC3339)))
		} else {
			missing = append(missing, s.String())
			if !s.verified {
				reason, state = promotion.UnverifiedRevision, "verified by"
			}
		}
	}
	if len(missing) > 0 && !f.overriding {
		return "", nil, refusal("%s is not %s every environment before %s: %s; the daemon would refuse it (%s). Want a commit that is verified, "+
			"or --override REASON, which has to be merged by somebody else", to.Short(), state, b.env.ID, strings.Join(missing, "; "), reason)
	}
	return strings.Join(verified, "; "), b.notes(to, digest, stands), nil
}

// notes are what follows from the time, and from where the pin is.
func (b *bench) notes(to source.Revision, digest reconcile.Digest, stands []standing) []string {
	var notes []string
	if old, pin := b.place(to), b.place(b.env.Revision); old > pin && pin >= 0 {
		notes = append(notes, fmt.Sprintf("%s is older than what it is pinned to; `chaperone rollback` looks whether it was good here", to.Short()))
	}
	if record, _ := b.record(b.env.ID); digest == record.Journal.LastGood.Digest {
		notes = append(notes, "it changes nothing of what runs there")
	}
	soaked := time.Time{}
	for _, s := range stands {
		if until := s.at.Add(b.env.Promotion.Soak); s.verified && until.After(soaked) {
			soaked = until
		}
	}
	if soaked.After(time.Now()) {
		notes = append(notes, fmt.Sprintf("it soaks upstream until %s, and is applied after that", stamp(soaked)))
	}
	return notes
}

// standing is whether one upstream environment verified what it would run at a
// commit.
type standing struct {
	id       promotion.ID
	verified bool
	failing  bool // since it verified it
	at       time.Time
	record   state.Record
}

func (s standing) String() string {
	if s.record.ID == (promotion.ID{}) {
		return fmt.Sprintf("the daemon does not know %s", s.id)
	}
	if s.failing {
		return fmt.Sprintf("in %s it passed, and fails its checks since (%s)", s.id, promotion.Regressed)
	}
	return fmt.Sprintf("%s is %s (%s) with %s", s.id, s.record.Status.Phase, s.record.Status.Reason, orDash(s.record.Journal.LastGood.Revision.Short()))
}

func (b *bench) upstreamAt(ctx context.Context, at source.Revision) ([]standing, error) {
	var all []standing
	for _, id := range b.env.After {
		s := standing{id: id}
		s.record, _ = b.record(id)
		if env, valid := b.set.Environments[id]; valid {
			digest, err := b.digest(ctx, env, at)
			if err != nil && !errors.Is(err, errNoRender) {
				return nil, err
			}
			s.at, s.verified = verifiedAt(s.record, digest)
			s.failing = failing(s.record) && digest == s.record.Journal.LastGood.Digest
		}
		all = append(all, s)
	}
	return all, nil
}

// verifiedAt is when an environment verified a release, if it did.
func verifiedAt(r state.Record, d reconcile.Digest) (time.Time, bool) {
	for _, v := range r.Journal.Verified {
		if v.Digest == d && d != "" {
			return v.At, true
		}
	}
	return time.Time{}, false
}

// maxCandidates bounds the commits that are looked at for one to promote.
const maxCandidates = 60

// newest is the newest commit after the pin that all upstream environments
// verified and that changes something: what the daemon proposes.
func (b *bench) newest(ctx context.Context) (source.Revision, error) {
	record, _ := b.record(b.env.ID)
	var pinned reconcile.Digest
	if b.env.Revision != "" {
		var err error
		if pinned, err = b.digest(ctx, b.env, b.env.Revision); err != nil && !errors.Is(err, errNoRender) && !errors.Is(err, source.ErrUnknownRevision) {
			return "", err
		}
	}
	looked := 0
	for i, commit := range b.line {
		if commit.Revision == b.env.Revision || looked == maxCandidates {
			break
		}
		if i > 0 && !b.verifiedByName(commit.Revision) {
			continue
		}
		looked++
		digest, err := b.digest(ctx, b.env, commit.Revision)
		if err != nil && !errors.Is(err, errNoRender) {
			return "", err
		}
		if digest != "" && digest == pinned {
			break // nothing that is not there
		}
		if digest == "" || failedHere(record, digest) {
			continue
		}
		stands, err := b.upstreamAt(ctx, commit.Revision)
		if err != nil {
			return "", err
		}
		if !slices.ContainsFunc(stands, func(s standing) bool { return !s.verified || s.failing }) {
			return commit.Revision, nil
		}
	}
	return "", b.nothingNewer(ctx)
}

func (b *bench) verifiedByName(revision source.Revision) bool {
	return slices.ContainsFunc(b.env.After, func(id promotion.ID) bool {
		up, _ := b.record(id)
		return slices.ContainsFunc(up.Journal.Verified, func(v reconcile.Verified) bool { return v.Revision == revision })
	})
}

func (b *bench) nothingNewer(ctx context.Context) error {
	stands, err := b.upstreamAt(ctx, b.head)
	if err != nil {
		return err
	}
	var where []string
	for _, s := range stands {
		where = append(where, s.String())
	}
	pin := "nothing"
	if b.env.Revision != "" {
		pin = b.env.Revision.Short()
	}
	return refusal("there is nothing to promote to %s, which is pinned to %s: no newer commit of %s both changes it and is verified before it; %s",
		b.env.ID, pin, b.branch, strings.Join(where, "; "))
}
