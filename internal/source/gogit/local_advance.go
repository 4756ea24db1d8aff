package gogit

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/go-git/go-git/v5/plumbing"
)

const inTheWayText = "these files are not as committed, or are converted when checked out: commit or stash them first"

// advance moves a branch of this repository from one commit, or from nowhere,
// to the planned one. If the branch is checked out here, files and index
// follow; where changes that are not committed are in the way, it names them
// and touches nothing.
func (l *Local) advance(ref plumbing.ReferenceName, from plumbing.Hash, p *plan, by signer, verb string) (inTheWay []string, err error) {
	lock, err := lockRef(l.commonDir, ref)
	if err != nil {
		return nil, err
	}
	defer lock.release()
	if now, err := l.tip(ref); err != nil || now != from {
		return nil, errors.Join(errRefMoved, err)
	}
	tree := plumbing.ZeroHash
	if !from.IsZero() {
		c, err := l.commitAt(from)
		if err != nil {
			return nil, err
		}
		tree = c.tree
	}
	files, err := l.prepareFiles(ref, tree, p)
	if err != nil {
		return nil, err
	}
	if files != nil {
		defer files.release()
		if len(files.inTheWay) > 0 {
			return files.inTheWay, nil
		}
	}
	if err := p.made.save(); err != nil {
		return nil, err
	}
	if err := files.apply(); err != nil {
		return nil, fmt.Errorf("%w; `git status` shows what is changed, the branch is not moved", err)
	}
	if err := lock.set(p.commit); err != nil {
		return nil, err
	}
	l.log(ref, from, p.commit, by, verb)
	return nil, nil
}

// tip is where a branch is, zero if there is no such branch.
func (l *Local) tip(ref plumbing.ReferenceName) (plumbing.Hash, error) {
	hash, err := readRef(l.commonDir, ref)
	if errors.Is(err, plumbing.ErrReferenceNotFound) {
		return plumbing.ZeroHash, nil
	}
	return hash, err
}

// log adds to the logs that `git reflog` shows, where there are any: a person
// may want to go back.
func (l *Local) log(ref plumbing.ReferenceName, from, to plumbing.Hash, by signer, verb string) {
	who := by.signature()
	line := fmt.Sprintf("%s %s %s <%s> %d %s\t%s: by chaperone\n",
		from, to, who.Name, who.Email, who.When.Unix(), who.When.Format("-0700"), verb)
	logs := []string{filepath.Join(l.commonDir, "logs", filepath.FromSlash(ref.String()))}
	if l.Branch() == ref.Short() {
		logs = append(logs, filepath.Join(l.gitDir, "logs", "HEAD"))
	}
	for _, name := range logs {
		file, err := os.OpenFile(name, os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			continue // no log is kept
		}
		_, _ = file.WriteString(line)
		_ = file.Close()
	}
}
