package gogit

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	git "github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/config"
	"github.com/go-git/go-git/v5/plumbing"

	"chaperone.dev/chaperone/internal/fault"
	"chaperone.dev/chaperone/internal/source"
)

// Local is a repository on this machine as its owner uses it, bare or checked
// out. It is read in place, without a mirror and without git.
type Local struct {
	*objects
	gitDir    string // of this checkout
	commonDir string // shared by all checkouts of the repository
	workTree  string // empty if bare
	config    *config.Config
}

// OpenLocal opens the repository that dir is in.
func OpenLocal(dir string, limits Limits) (*Local, error) {
	l, err := locate(dir)
	if err == nil {
		l.objects, err = newObjects(limits)
	}
	if err != nil {
		return nil, fault.Terminal("open repository", dir, err)
	}
	l.use(openStorage(l.commonDir))
	if err := l.boundary.load(l.commonDir, l.objects); err != nil {
		l.Close()
		return nil, fault.Terminal("open repository", dir, err)
	}
	if l.config, err = l.storage.Config(); err == nil {
		err = l.supported()
	}
	if err != nil {
		l.Close()
		return nil, fault.Terminal("open repository", dir, err)
	}
	return l, nil
}

// Close releases the repository.
func (l *Local) Close() { l.use(nil) }

// locate finds the repository as git does: .git here or above, or dir itself.
func locate(dir string) (*Local, error) {
	at, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(at); err != nil {
		return nil, pathError(err)
	}
	for {
		dotGit := filepath.Join(at, ".git")
		info, err := os.Stat(dotGit)
		switch {
		case err == nil && info.IsDir():
			return checkout(dotGit, at)
		case err == nil:
			gitDir, err := pointer(dotGit, "gitdir: ")
			if err != nil {
				return nil, err
			}
			return checkout(gitDir, at)
		case isGitDir(at):
			return checkout(at, "")
		}
		if filepath.Dir(at) == at {
			return nil, errors.New("neither this directory nor one above it is a Git repository")
		}
		at = filepath.Dir(at)
	}
}

func isGitDir(dir string) bool {
	for _, name := range []string{"HEAD", "objects", "refs"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			return false
		}
	}
	return true
}

func checkout(gitDir, workTree string) (*Local, error) {
	common, err := pointer(filepath.Join(gitDir, "commondir"), "")
	if errors.Is(err, fs.ErrNotExist) {
		common, err = gitDir, nil
	}
	return &Local{gitDir: gitDir, commonDir: common, workTree: workTree}, err
}

// pointer reads a file that names a directory.
func pointer(name, prefix string) (string, error) {
	content, err := readSmall(name)
	if err != nil {
		return "", err
	}
	dir, found := strings.CutPrefix(strings.TrimSpace(string(content)), prefix)
	if !found {
		return "", fmt.Errorf("%s: want %q and a directory", name, prefix)
	}
	if !filepath.IsAbs(dir) {
		dir = filepath.Join(filepath.Dir(name), dir)
	}
	return dir, nil
}

func (l *Local) supported() error {
	extensions := l.config.Raw.Section("extensions")
	if format := extensions.Option("objectformat"); format != "" && format != "sha1" {
		return errSHA256
	}
	if refs := extensions.Option("refstorage"); refs != "" && refs != "files" {
		return fmt.Errorf("the repository keeps its refs as %q, which is not supported", refs)
	}
	return nil
}

// Branch is the branch that is checked out, or that a bare repository's HEAD
// names; empty if HEAD is on none.
func (l *Local) Branch() string { return headBranch(l.gitDir) }

func headBranch(gitDir string) string {
	content, err := readSmall(filepath.Join(gitDir, "HEAD"))
	if err != nil {
		return ""
	}
	branch, found := strings.CutPrefix(strings.TrimSpace(string(content)), "ref: refs/heads/")
	if !found {
		return ""
	}
	return branch
}

// Head is the commit at the head of a branch, or an error that wraps
// source.ErrBranchGone.
func (l *Local) Head(branch string) (source.Revision, error) {
	ref, err := branchRef(branch)
	if err != nil {
		return "", err
	}
	hash, err := readRef(l.commonDir, ref)
	if errors.Is(err, plumbing.ErrReferenceNotFound) {
		return "", fmt.Errorf("branch %s: %w", branch, source.ErrBranchGone)
	}
	return revisionOf(hash), err
}

// Resolve finds the commit that a person means by a branch, a tag, the
// beginning of a hash, or HEAD~1.
func (l *Local) Resolve(name string) (source.Revision, error) {
	if _, err := source.ParseRevision(name); err == nil {
		c, err := l.commit(source.Revision(name))
		return c.Revision, err
	}
	repository, err := git.Open(l.storage, nil)
	if err != nil {
		return "", fmt.Errorf("resolve %q: %w", name, err)
	}
	wanted := name
	if rest, found := strings.CutPrefix(name, "HEAD"); found && l.gitDir != l.commonDir {
		head, err := l.head()
		if err != nil {
			return "", err
		}
		wanted = head.String() + rest
	}
	l.mu.Lock()
	hash, err := repository.ResolveRevision(plumbing.Revision(wanted))
	l.mu.Unlock()
	if err != nil {
		return "", fmt.Errorf("resolve %q: %w: %w", name, source.ErrUnknownRevision, err)
	}
	c, err := l.commit(revisionOf(*hash))
	return c.Revision, err
}

// head is the commit of this checkout's HEAD.
func (l *Local) head() (plumbing.Hash, error) {
	if branch := l.Branch(); branch != "" {
		return readRef(l.commonDir, plumbing.NewBranchReferenceName(branch))
	}
	content, err := readSmall(filepath.Join(l.gitDir, "HEAD"))
	return plumbing.NewHash(strings.TrimSpace(string(content))), err
}

func (l *Local) signer(given Author, now func() time.Time, signing Signing) signer {
	author := l.author(given)
	return newSigner(author, now, l.signsAs(signing, author))
}

func (l *Local) author(given Author) Author {
	if given != (Author{}) {
		return given
	}
	own := Author{l.config.User.Name, l.config.User.Email}
	if global, err := config.LoadConfig(config.GlobalScope); err == nil {
		if own.Name == "" {
			own.Name = global.User.Name
		}
		if own.Email == "" {
			own.Email = global.User.Email
		}
	}
	return own
}
