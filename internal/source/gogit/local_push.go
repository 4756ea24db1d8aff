package gogit

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/go-git/go-git/v5/plumbing"

	"chaperone.dev/chaperone/internal/source"
)

// destination is where a branch of this repository comes from.
type destination struct {
	branch      string
	credentials Credentials
	timeout     time.Duration
}

// push sends the local branch to the one that it comes from, if nothing would
// be lost there. It says why not if it is refused.
func (l *Local) push(ctx context.Context, where destination, ref plumbing.ReferenceName) (why string, err error) {
	to, err := l.upstream(where)
	if err != nil {
		return "", err
	}
	defer to.close()
	s, err := to.open(ctx, receivePack)
	var no *problem
	if errors.As(err, &no) && no.denied {
		return rejectedPush(to, no.text), nil
	}
	if err != nil {
		return "", err
	}
	defer s.close()
	head, err := readRef(l.commonDir, ref)
	if err != nil || s.tip == head {
		return "", err
	}
	pack, err := l.missing(ctx, head, s.tip)
	if err != nil {
		return rejectedPush(to, err.Error()), nil
	}
	said, err := s.push(to.branch, s.tip, head, pack)
	switch {
	case err == nil && said.accepted:
		return "", nil
	case err == nil:
		return rejectedPush(to, orUnknown(said.reason)), nil
	}
	// The answer got lost; the refs tell.
	if now, listErr := to.open(ctx, uploadPack); listErr == nil {
		defer now.close()
		if now.tip == head {
			return "", nil
		}
	}
	return "", err
}

func rejectedPush(to *remote, why string) string {
	return fmt.Sprintf("the commit is on the local branch; pushing it to %s: %s", to.object(), why)
}

// upstream is where the branch comes from, by Git's configuration.
func (l *Local) upstream(where destination) (*remote, error) {
	name, branch := "origin", where.branch
	if b, found := l.config.Branches[where.branch]; found && b.Remote != "" {
		name = b.Remote
		if b.Merge != "" {
			branch = b.Merge.Short()
		}
	}
	configured, found := l.config.Remotes[name]
	if !found || len(configured.URLs) == 0 {
		return nil, fmt.Errorf("the repository has no remote %q to push to", name)
	}
	timeout := where.timeout
	if timeout <= 0 {
		timeout = defaultTimeout
	}
	to, err := newRemote(configured.URLs[len(configured.URLs)-1], branch, where.credentials, timeout)
	if err != nil {
		return nil, fmt.Errorf("remote %q: %w; `git push %s %s` uses your own credentials", name, err, name, where.branch)
	}
	return to, nil
}

// missing packs what head has and tip does not.
func (l *Local) missing(ctx context.Context, head, tip plumbing.Hash) ([]byte, error) {
	if tip.IsZero() {
		return nil, errors.New("there is no such branch there")
	}
	theirs, err := l.ancestors(ctx, tip, nil)
	if errors.Is(err, errAbsent) {
		return nil, errors.New("it has commits that are not here: pull them first")
	}
	if err != nil {
		return nil, err
	}
	ours, err := l.ancestors(ctx, head, theirs)
	if err != nil {
		return nil, err
	}
	if err := l.reachable(ctx, revisionOf(tip), commit{hash: head}); err != nil {
		return nil, errors.New("it has commits that this branch does not: pull them first")
	}
	send := newWorkspace(l.objects)
	for hash := range ours {
		if err := l.copyCommit(hash, send); err != nil {
			return nil, err
		}
	}
	return send.pack()
}

// ancestors collects from and all that it is made on, down to what is known.
func (o *objects) ancestors(ctx context.Context, from plumbing.Hash, known map[plumbing.Hash]bool) (map[plumbing.Hash]bool, error) {
	found := map[plumbing.Hash]bool{}
	for queue := []plumbing.Hash{from}; len(queue) > 0; queue = queue[1:] {
		if found[queue[0]] || known[queue[0]] {
			continue
		}
		if err := cancelled(ctx, len(found)); err != nil {
			return nil, err
		}
		if len(found) > maxLocalHistory {
			return nil, source.ErrTooFar
		}
		c, err := o.commitAt(queue[0])
		if err != nil {
			return nil, err
		}
		found[queue[0]] = true
		for _, parent := range c.Parents {
			queue = append(queue, plumbing.NewHash(string(parent)))
		}
	}
	return found, nil
}

// maxLocalHistory bounds the walk over a developer's repository.
const maxLocalHistory = 1_000_000

// copyCommit adds a commit and what it brings in over its first parent.
func (o *objects) copyCommit(hash plumbing.Hash, to *workspace) error {
	c, err := o.commitAt(hash)
	if err != nil {
		return err
	}
	before := plumbing.ZeroHash
	if parent, found := c.firstParent(); found {
		p, err := o.commitAt(parent)
		if err != nil {
			return err
		}
		before = p.tree
	}
	if err := o.copyTree(before, c.tree, to); err != nil {
		return err
	}
	content, err := o.read(plumbing.CommitObject, hash, maxCommitBytes)
	to.add(plumbing.CommitObject, content)
	return err
}

func (o *objects) copyTree(before, tree plumbing.Hash, to *workspace) error {
	if before == tree {
		return nil
	}
	old := map[string]node{}
	if !before.IsZero() {
		nodes, err := o.tree(before)
		if err != nil {
			return err
		}
		for _, n := range nodes {
			old[n.name] = n
		}
	}
	nodes, err := o.tree(tree)
	if err != nil {
		return err
	}
	for _, n := range nodes {
		was := old[n.name]
		if was.hash == n.hash || n.kind() == kindModule {
			continue
		}
		if n.kind() == kindTree {
			if was.kind() != kindTree { // a file is no tree to compare with
				was.hash = plumbing.ZeroHash
			}
			if err := o.copyTree(was.hash, n.hash, to); err != nil {
				return err
			}
			continue
		}
		content, err := o.read(plumbing.BlobObject, n.hash, o.limits.Object)
		if err != nil {
			return err
		}
		to.add(plumbing.BlobObject, content)
	}
	content, err := o.read(plumbing.TreeObject, tree, int64(o.limits.TreeEntries)*bytesPerEntry)
	to.add(plumbing.TreeObject, content)
	return err
}
