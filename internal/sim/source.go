package sim

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"chaperone.dev/chaperone/internal/fault"
	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/reconcile"
	"chaperone.dev/chaperone/internal/source"

	"chaperone.dev/chaperone/internal/controller"
)

// How long calls take, about.
const (
	speedLocal   = 60 * time.Microsecond
	speedGit     = 900 * time.Millisecond
	speedRender  = 20 * time.Millisecond
	speedPolicy  = 5 * time.Millisecond
	speedCluster = 60 * time.Millisecond
	speedStore   = 20 * time.Millisecond
)

// daemonEmail signs the daemon's commits.
const daemonEmail = "chaperone@chaperone.invalid"

// mirror is a replica's copy of the repository. It knows what it fetched.
type mirror struct {
	head  source.Revision
	known map[source.Revision]bool
	turn  chan struct{} // held during a conversation with the server
}

func newMirror() *mirror {
	return &mirror{known: map[source.Revision]bool{}, turn: make(chan struct{}, 1)}
}

// sourcePort is the Git repository as one life sees it. It behaves as
// source/gogit does.
type sourcePort struct{ *life }

func (p sourcePort) mirror() *mirror { return p.replica.mirror }

// fetch brings the mirror up to the followed branch. The world is locked.
func (p sourcePort) fetch() (source.Revision, error) {
	g := p.s.git
	head, found := g.refs[mainBranch]
	switch {
	case g.down:
		return "", fault.Retryable("poll", "git", fmt.Errorf("%w: connection refused", source.ErrUnavailable))
	case g.gone || !found:
		return "", fault.Retryable("poll", "git", source.ErrBranchGone)
	}
	if p.s.stale && len(g.heads) > 1 {
		// A replica of the server that lags behind: it may have what it had before.
		head = g.heads[len(g.heads)-2]
	}
	m := p.mirror()
	m.head = head
	for revision := range g.reachable(head) {
		m.known[revision] = true
	}
	p.polled = string(head)
	return head, nil
}

// Poll implements controller.Source.
func (p sourcePort) Poll(ctx context.Context) (head source.Revision, err error) {
	m := p.mirror()
	if err := take(ctx, m); err != nil {
		return "", err
	}
	defer give(m)
	err = p.call(ctx, "Source.Poll", "", speedGit, func() error {
		head, err = p.fetch()
		return err
	})
	if err != nil {
		return "", err
	}
	return head, nil
}

func take(ctx context.Context, m *mirror) error {
	select {
	case m.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func give(m *mirror) { <-m.turn }

// find is a commit that the mirror has. The world is locked.
func (p sourcePort) find(revision source.Revision) (*commit, error) {
	if c, found := p.s.git.commits[revision]; found && p.mirror().known[revision] {
		return c, nil
	}
	return nil, fmt.Errorf("commit %s: %w", revision.Short(), source.ErrUnknownRevision)
}

// Snapshot implements controller.Source.
func (p sourcePort) Snapshot(revision source.Revision) (snap source.Snapshot, err error) {
	err = p.call(context.Background(), "Source.Snapshot", "", speedLocal, func() error {
		c, err := p.find(revision)
		if err == nil {
			snap = c.snapshot
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return snap, nil
}

// Commit implements controller.Source.
func (p sourcePort) Commit(revision source.Revision) (found source.Commit, err error) {
	err = p.call(context.Background(), "Source.Commit", "", speedLocal, func() error {
		c, err := p.find(revision)
		if err == nil {
			found = c.Commit
		}
		return err
	})
	return found, err
}

// FirstParents implements controller.Source.
func (p sourcePort) FirstParents(ctx context.Context, after, upTo source.Revision, max int) (commits []source.Commit, err error) {
	err = p.call(ctx, "Source.FirstParents", "", speedLocal, func() error {
		if _, err := p.find(upTo); err != nil {
			return fmt.Errorf("history: %w", err)
		}
		commits = nil
		for _, c := range p.s.git.line(upTo) {
			if c.Revision == after {
				if len(commits) > max {
					return fmt.Errorf("history of %s: %w", upTo.Short(), source.ErrTooFar)
				}
				return nil
			}
			commits = append(commits, c.Commit)
			if after == "" && len(commits) == max {
				return nil
			}
		}
		if after != "" {
			return fmt.Errorf("history of %s down to %s: %w", upTo.Short(), after.Short(), source.ErrNotAncestor)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return commits, nil
}

// Changed implements controller.Source.
func (p sourcePort) Changed(from, to source.Revision) (paths []string, err error) {
	err = p.call(context.Background(), "Source.Changed", "", speedLocal, func() error {
		before, err := p.find(from)
		if err != nil {
			return err
		}
		after, err := p.find(to)
		if err == nil {
			paths = changedPaths(before.files, after.files)
		}
		return err
	})
	return paths, err
}

// Contains implements controller.Source.
func (p sourcePort) Contains(ctx context.Context, revision source.Revision) (contained bool, err error) {
	err = p.call(ctx, "Source.Contains", "", speedLocal, func() error {
		head := p.mirror().head
		if head == "" {
			return fmt.Errorf("look for %s: %w: no head is known yet", revision.Short(), source.ErrUnavailable)
		}
		contained = p.s.git.reachable(head)[revision]
		return nil
	})
	return contained, err
}

// Beyond implements controller.Source.
func (p sourcePort) Beyond(ctx context.Context, after, upTo source.Revision) (commits []source.Commit, err error) {
	err = p.call(ctx, "Source.Beyond", "", speedLocal, func() error {
		for _, revision := range []source.Revision{after, upTo} {
			if _, err := p.find(revision); err != nil {
				return err
			}
		}
		commits = nil
		for _, c := range p.beyond(after, upTo) {
			commits = append(commits, c.Commit)
		}
		return nil
	})
	return commits, err
}

// Signature implements controller.Source: here people sign by a trailer, which
// says whose key it is.
func (p sourcePort) Signature(revision source.Revision) (s source.Signature, err error) {
	err = p.call(context.Background(), "Source.Signature", "", speedLocal, func() error {
		c, err := p.find(revision)
		if err != nil {
			return err
		}
		s = source.Signature{State: source.SignatureUnsigned, Detail: "it is not signed"}
		for _, by := range c.Trailer("Signed-With") {
			s = source.Signature{State: source.SignatureGood, Signer: []string{by}}
		}
		return nil
	})
	return s, err
}

// Signers implements controller.Source.
func (p sourcePort) Signers() (string, error) { return "everybody", nil }

// Authors implements controller.Source.
func (p sourcePort) Authors(ctx context.Context, after, upTo source.Revision, max int) (people []source.Person, err error) {
	err = p.call(ctx, "Source.Authors", "", speedLocal, func() error {
		last, err := p.find(upTo)
		if err != nil {
			return err
		}
		if after == "" && len(last.Parents) > 1 {
			after = last.Parents[0]
		}
		brought := []*commit{last}
		if after != "" {
			if _, err := p.find(after); err != nil {
				return err
			}
			brought = p.beyond(after, upTo)
		}
		if len(brought) > max {
			return source.ErrTooFar
		}
		people = nil
		for _, c := range brought {
			known := func(other source.Person) bool { return strings.EqualFold(other.Email, c.Author.Email) }
			if p.s.git.writes(c) && !slices.ContainsFunc(people, known) {
				people = append(people, c.Author)
			}
		}
		return nil
	})
	return people, err
}

// writes reports whether a commit holds anything that no parent of it has,
// outside environments/: who only merges, or moves a pin, wrote nothing.
func (g *server) writes(c *commit) bool {
	if len(c.Parents) == 0 {
		return true
	}
	return slices.ContainsFunc(changedPaths(g.parentFiles(c), c.files), func(path string) bool {
		return !strings.HasPrefix(path, promotion.Dir+"/") && !slices.ContainsFunc(c.Parents[1:], func(parent source.Revision) bool {
			theirs, had := g.commits[parent].files[path]
			ours, has := c.files[path]
			return theirs == ours && had == has
		})
	})
}

// beyond is what one commit has and another has not, newest first.
func (p sourcePort) beyond(after, upTo source.Revision) []*commit {
	had := p.s.git.reachable(after)
	var brought []*commit
	for revision := range p.s.git.reachable(upTo) {
		if !had[revision] {
			brought = append(brought, p.s.git.commits[revision])
		}
	}
	slices.SortFunc(brought, func(a, b *commit) int {
		if c := b.Committer.When.Compare(a.Committer.When); c != 0 {
			return c
		}
		return strings.Compare(string(a.Revision), string(b.Revision))
	})
	return brought
}

// pushAttempts is how often a push is tried before it is given up.
const pushAttempts = 5

// Revert implements controller.Source.
func (p sourcePort) Revert(ctx context.Context, guilty source.Revision, note source.RevertNote) (controller.RevertResult, error) {
	m := p.mirror()
	if err := take(ctx, m); err != nil {
		return controller.RevertResult{}, err
	}
	defer give(m)
	p.s.checkReverting(p.life, guilty, note)
	tried := map[source.Revision]bool{}
	refused, reason := 0, ""
	for attempt := range pushAttempts {
		if err := p.pause(ctx, attempt); err != nil {
			return controller.RevertResult{}, err
		}
		var result *controller.RevertResult
		var made *commit
		err := p.call(ctx, "Git.Fetch", note.Environment, speedGit, func() (err error) {
			if _, err = p.fetch(); err == nil {
				made, result, err = p.planRevert(guilty, note, tried)
			}
			return err
		})
		if err != nil {
			return controller.RevertResult{}, classified("revert", err)
		}
		if result != nil {
			return *result, nil
		}
		tried[made.Revision] = true
		accepted, why, err := p.push(ctx, note.Environment, mainBranch, made)
		switch {
		case accepted:
			return controller.RevertResult{Outcome: reconcile.OutcomeDone, Commit: made.Revision}, nil
		case why != "":
			if refused, reason = refused+1, why; refused >= 3 {
				return controller.RevertResult{Outcome: reconcile.OutcomeRejected, Reason: promotion.RevertRejected, Detail: reason}, nil
			}
		case ctx.Err() != nil || errors.Is(err, errGone):
			return controller.RevertResult{}, err
		}
	}
	return controller.RevertResult{}, classified("revert", fmt.Errorf("%w: the branch moved during each attempt", source.ErrUnavailable))
}

func (p sourcePort) pause(ctx context.Context, attempt int) error {
	if attempt == 0 {
		return nil
	}
	return p.travel(ctx, 100*time.Millisecond<<(attempt-1))
}

// classified: what the refs say stays as it is, whatever is tried.
func classified(op string, err error) error {
	for _, final := range []error{source.ErrNotAncestor, source.ErrUnknownRevision, source.ErrTooFar} {
		if errors.Is(err, final) {
			return fault.Terminal(op, "git", err)
		}
	}
	return fault.Retryable(op, "git", err)
}

// push moves a branch from a commit's parent to it, if it is still there. The
// reason is why the server refuses; neither accepted nor a reason means that
// nobody knows.
func (p sourcePort) push(ctx context.Context, object, branch string, c *commit) (accepted bool, reason string, err error) {
	err = p.call(ctx, "Git.Push", object, speedGit, func() error {
		g := p.s.git
		accepted, reason = false, ""
		for _, sneak := range g.between {
			sneak()
		}
		g.between = nil
		switch {
		case g.down:
			return fmt.Errorf("%w: connection refused", source.ErrUnavailable)
		case branch == mainBranch && g.refs[branch] != c.Parents[0]:
			return nil // somebody was faster
		case g.protected != "":
			reason = g.protected
			return nil
		}
		accepted = true
		p.pushed(branch, c)
		return nil
	})
	if err != nil {
		return false, "", err
	}
	return accepted, reason, nil
}

// pushed is a push of the daemon that arrived.
func (p sourcePort) pushed(branch string, c *commit) {
	g := p.s.git
	g.move(branch, c.Revision)
	g.daemon = append(g.daemon, pushed{branch, c.Revision})
	p.s.clusters.countPush(branch, c)
	p.s.touched(nil)
	if branch == mainBranch {
		p.mirror().known[c.Revision], p.mirror().head = true, c.Revision
		p.s.checkReverted(p.life, c)
	}
	p.s.note(p.life, "push", branch, c.Subject())
}

// planRevert decides from the refs alone: a commit to push, or the result.
func (p sourcePort) planRevert(guilty source.Revision, note source.RevertNote, tried map[source.Revision]bool) (*commit, *controller.RevertResult, error) {
	g, head := p.s.git, p.s.git.commits[p.mirror().head]
	bad, err := p.find(guilty)
	if err != nil {
		return nil, nil, err
	}
	earlier, err := findRevert(g, guilty, head)
	switch {
	case err != nil:
		return nil, nil, err
	case earlier != "" && tried[earlier]:
		return nil, &controller.RevertResult{Outcome: reconcile.OutcomeDone, Commit: earlier}, nil
	case earlier != "":
		return nil, &controller.RevertResult{Outcome: reconcile.OutcomeAlready, Commit: earlier}, nil
	}
	if original, is := revertedBy(g, bad); is {
		return nil, &controller.RevertResult{Outcome: reconcile.OutcomeFailed, Reason: promotion.RevertOfRevert,
			Detail: fmt.Sprintf("%s takes %s back; a person has to decide", guilty.Short(), original.Short())}, nil
	}
	merged, conflicts := merge(bad.files, head.files, g.parentFiles(bad))
	switch {
	case len(conflicts) > 0:
		return nil, &controller.RevertResult{Outcome: reconcile.OutcomeConflict, Reason: promotion.RevertConflict, Conflicts: conflicts}, nil
	case len(changedPaths(merged, head.files)) == 0:
		return nil, &controller.RevertResult{Outcome: reconcile.OutcomeAlready}, nil
	}
	return p.sign(source.RevertMessage(bad.Commit, note), head, merged), nil, nil
}

// sign makes a commit of the daemon's.
func (p sourcePort) sign(message string, on *commit, tree files) *commit {
	now := p.s.now().Truncate(time.Second)
	self := source.Person{Name: "Chaperone", Email: daemonEmail, When: now}
	return p.s.git.add(source.Commit{Parents: []source.Revision{on.Revision}, Author: self, Committer: self, Message: message}, tree)
}

// findRevert looks between a head and the guilty commit for one that takes the
// latter back, on the line or merged there directly.
func findRevert(g *server, guilty source.Revision, head *commit) (source.Revision, error) {
	for _, c := range g.line(head.Revision) {
		if c.Revision == guilty {
			return "", nil
		}
		if takesBack(c, guilty) {
			return c.Revision, nil
		}
		for _, parent := range c.Parents[min(1, len(c.Parents)):] {
			if takesBack(g.commits[parent], guilty) {
				return parent, nil
			}
		}
	}
	return "", source.ErrNotAncestor
}

func revertedBy(g *server, c *commit) (source.Revision, bool) {
	if original, found := c.Reverts(); found {
		return original, true
	}
	for _, parent := range c.Parents[min(1, len(c.Parents)):] {
		if original, found := g.commits[parent].Reverts(); found {
			return original, true
		}
	}
	return "", false
}
