package gogit

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
)

var (
	errRefMoved  = errors.New("the branch moved meanwhile")
	errRefLocked = errors.New("the branch is locked by another Git process")
)

// refLock holds a branch in Git's own way: while <ref>.lock is there, no Git
// moves it.
type refLock struct {
	name string
	file *os.File
}

func lockRef(gitDir string, ref plumbing.ReferenceName) (*refLock, error) {
	name := filepath.Join(gitDir, filepath.FromSlash(ref.String()))
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return nil, err
	}
	file, err := os.OpenFile(name+".lock", os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("%s: %w", ref.Short(), errRefLocked)
	}
	if err != nil {
		return nil, err
	}
	return &refLock{name, file}, nil
}

// set moves the branch and gives it free.
func (l *refLock) set(to plumbing.Hash) error {
	file := l.file
	l.file = nil
	_, err := fmt.Fprintln(file, to)
	if err := errors.Join(err, file.Close()); err != nil {
		return errors.Join(err, os.Remove(file.Name()))
	}
	return os.Rename(file.Name(), l.name)
}

// release gives the branch free as it is; after set it is free already.
func (l *refLock) release() {
	if l.file == nil {
		return
	}
	_ = l.file.Close()
	_ = os.Remove(l.file.Name())
}

// readRef looks where Git does: at the loose ref, then among the packed ones.
func readRef(gitDir string, ref plumbing.ReferenceName) (plumbing.Hash, error) {
	content, err := os.ReadFile(filepath.Join(gitDir, filepath.FromSlash(ref.String())))
	if err == nil {
		text := strings.TrimSpace(string(content))
		if !plumbing.IsHash(text) {
			return plumbing.ZeroHash, fmt.Errorf("%s does not hold a commit", ref)
		}
		return plumbing.NewHash(text), nil
	}
	all, err := os.ReadFile(filepath.Join(gitDir, "packed-refs"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return plumbing.ZeroHash, err
	}
	for line := range strings.Lines(string(all)) {
		hash, name, found := strings.Cut(strings.TrimSpace(line), " ")
		if found && name == ref.String() && plumbing.IsHash(hash) {
			return plumbing.NewHash(hash), nil
		}
	}
	return plumbing.ZeroHash, fmt.Errorf("%s: %w", ref.Short(), plumbing.ErrReferenceNotFound)
}
