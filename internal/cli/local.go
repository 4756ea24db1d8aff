package cli

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"chaperone.dev/chaperone/internal/evidence"
	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/render"
	"chaperone.dev/chaperone/internal/source"
	"chaperone.dev/chaperone/internal/source/gogit"
	"chaperone.dev/chaperone/internal/source/worktree"
)

// repoFlags say which files a local command looks at.
type repoFlags struct {
	repo, branch, revision string
	credentialFlags
}

func (f *repoFlags) add(cmd *cobra.Command, c *command) {
	cmd.Flags().StringVar(&f.repo, "repo", ".", "directory or URL of the repository")
	cmd.Flags().StringVar(&f.branch, "branch", "", "branch, with --revision or a URL; default the one checked out, or main")
	cmd.Flags().StringVar(&f.revision, "revision", "", "commit, or head for the branch's newest; default the files as they are, or head of a URL")
	f.credentialFlags.add(cmd, c)
}

// credentialFlags are how a server lets us in. They name files, as the
// daemon's settings do, and take their defaults from the same variables.
type credentialFlags struct{ gogit.Credentials }

func (f *credentialFlags) add(cmd *cobra.Command, c *command) {
	fileFlags(cmd, c, []fileFlag{
		{&f.TokenFile, "token-file", "CHAPERONE_SOURCE_TOKEN_FILE", "file with the token for https"},
		{&f.SSHKeyFile, "ssh-key-file", "CHAPERONE_SOURCE_SSH_KEY_FILE", "file with the private key for ssh"},
		{&f.KnownHostsFile, "known-hosts-file", "CHAPERONE_SOURCE_KNOWN_HOSTS_FILE", "file with the host keys that ssh accepts"},
		{&f.PasswordFile, "password-file", "CHAPERONE_SOURCE_PASSWORD_FILE", "file with the password for https"},
		{&f.SSHPassphraseFile, "ssh-passphrase-file", "CHAPERONE_SOURCE_SSH_PASSPHRASE_FILE", "file with that key's passphrase"},
	})
}

// check looks at the files before anybody is asked: what is wrong with them
// will not pass.
func (f *credentialFlags) check() error {
	for _, name := range []string{f.TokenFile, f.SSHKeyFile, f.KnownHostsFile, f.PasswordFile, f.SSHPassphraseFile} {
		if name == "" {
			continue
		}
		file, err := os.Open(name)
		if err != nil {
			return fmt.Errorf("credentials: %w", err)
		}
		_ = file.Close()
	}
	return nil
}

// signingFlags are what commits are signed with, as the daemon's are. Without
// them Git's configuration decides.
type signingFlags struct{ gogit.Signing }

func (f *signingFlags) add(cmd *cobra.Command, c *command) {
	fileFlags(cmd, c, []fileFlag{
		{&f.KeyFile, "signing-key-file", "CHAPERONE_AUTHOR_SIGNING_KEY_FILE", "file with the private key, OpenPGP or SSH, to sign commits with"},
		{&f.PassphraseFile, "passphrase-file", "CHAPERONE_AUTHOR_PASSPHRASE_FILE", "file with that key's passphrase"},
	})
}

// fileFlag names a file, by default the one that a variable names.
type fileFlag struct {
	value              *string
	name, env, meaning string
}

func fileFlags(cmd *cobra.Command, c *command, flags []fileFlag) {
	for _, flag := range flags {
		*flag.value = c.environ(flag.env)
		cmd.Flags().Var(unshown{flag.value}, flag.name, flag.meaning+"; default $"+flag.env)
	}
}

// unshown is a text whose default depends on the surroundings, so that help
// does not.
type unshown struct{ value *string }

func (u unshown) String() string     { return "" }
func (u unshown) Type() string       { return "string" }
func (u unshown) Set(s string) error { *u.value = s; return nil }

// tree is a snapshot and the environments that its files define.
type tree struct {
	snapshot source.Snapshot
	newest   source.Snapshot // the branch's head, where environments and evidence stand; nil where it is the same
	commit   source.Commit   // zero for the working tree
	set      promotion.Set
	close    func()
}

func (f *repoFlags) load(ctx context.Context, c *command) (*tree, error) {
	switch {
	case remote(f.repo):
		if err := f.check(); err != nil {
			return nil, err
		}
		c.progress("fetching the repository")
		defer c.progress("")
		return f.loadCommit(ctx)
	case f.revision != "":
		return f.loadCommit(ctx)
	case f.branch != "":
		return nil, errors.New("--branch: the files as they are have none; want --revision, too, such as --revision head")
	}
	return loadWorkTree(f.repo)
}

// remote tells a URL or host:path from a directory, as git does.
func remote(repo string) bool {
	if strings.Contains(repo, "://") {
		return true
	}
	host, _, found := strings.Cut(repo, ":")
	if !found || strings.Contains(host, "/") {
		return false
	}
	_, err := os.Lstat(repo)
	return err != nil
}

func loadWorkTree(dir string) (*tree, error) {
	snapshot, err := worktree.Open(dir)
	if err != nil {
		return nil, err
	}
	t := &tree{snapshot: snapshot, close: func() { snapshot.Close() }}
	if t.set, err = promotion.Load(snapshot); err != nil {
		t.close()
		if errors.Is(err, promotion.ErrNoEnvironments) {
			return nil, fmt.Errorf("%s: %w; --repo names the repository's directory, and --revision head reads a bare one", dir, err)
		}
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	return t, nil
}

// commits is where a tree is read from: a repository of this machine in place,
// or one elsewhere through a mirror.
type commits interface {
	Commit(source.Revision) (source.Commit, error)
	Snapshot(source.Revision) (*gogit.Snapshot, error)
}

// opened is a repository with the commits that were asked for.
type opened struct {
	commits
	head, revision source.Revision
	close          func()
}

// loadCommit reads a commit. A repository elsewhere is fetched into a
// directory that is removed afterwards.
func (f *repoFlags) loadCommit(ctx context.Context) (*tree, error) {
	open := f.openLocal
	if remote(f.repo) {
		open = f.fetch
	}
	from, err := open(ctx)
	if err != nil {
		return nil, err
	}
	t := &tree{close: from.close}
	if err := t.read(from); err != nil {
		t.close()
		return nil, err
	}
	return t, nil
}

func (f *repoFlags) openLocal(context.Context) (opened, error) {
	local, err := gogit.OpenLocal(f.repo, gogit.Limits{})
	if err != nil {
		return opened{}, err
	}
	branch := f.branch
	if branch == "" {
		branch = local.Branch()
	}
	head, err := local.Head(branch)
	revision := head
	if err == nil && !strings.EqualFold(f.revision, "head") {
		revision, err = resolve(local, f.revision)
	}
	if err != nil {
		local.Close()
		return opened{}, err
	}
	return opened{local, head, revision, local.Close}, nil
}

func (f *repoFlags) fetch(ctx context.Context) (from opened, err error) {
	cache, err := os.MkdirTemp("", "chaperone-")
	if err != nil {
		return opened{}, err
	}
	discard := func() { os.RemoveAll(cache) }
	defer func() {
		if err != nil {
			discard()
		}
	}()
	branch := f.branch
	if branch == "" {
		branch = "main"
	}
	repository, err := gogit.Open(ctx, gogit.Options{
		URL: f.repo, Branch: branch, CacheDir: filepath.Join(cache, "mirror"), Credentials: f.Credentials})
	if err != nil {
		return opened{}, err
	}
	discard = func() { repository.Close(); os.RemoveAll(cache) }
	newest, err := repository.Poll(ctx)
	if err != nil {
		return opened{}, err
	}
	revision := newest.Revision
	if f.revision != "" && !strings.EqualFold(f.revision, "head") {
		revision, err = source.ParseRevision(f.revision)
	}
	return opened{repository, newest.Revision, revision, discard}, err
}

// read takes what a commit holds. Which environments exist is what the branch
// says now; what they run is the revision's.
func (t *tree) read(from opened) error {
	var err error
	if t.commit, err = from.Commit(from.revision); err != nil {
		return err
	}
	snapshot, err := from.Snapshot(from.revision)
	if err != nil {
		return err
	}
	t.snapshot = snapshot
	newest, err := from.Snapshot(from.head)
	if err != nil {
		return err
	}
	t.newest = newest
	t.set, err = promotion.Load(newest)
	return err
}

// evidence of images stands beside the environments.
func (t *tree) evidence(pipeline string) (evidence.Folder, error) {
	if t.newest != nil {
		return evidence.List(t.newest, pipeline)
	}
	return evidence.List(t.snapshot, pipeline)
}

// environment finds one by name; its file's faults are the error.
func (t *tree) environment(name string) (promotion.Environment, error) {
	id, err := promotion.ParseID(name)
	if err != nil {
		return promotion.Environment{}, err
	}
	if env, found := t.set.Environments[id]; found {
		return env, nil
	}
	if fault, found := t.set.Fault(id); found {
		return promotion.Environment{}, &brokenEnvironment{id, fault}
	}
	return promotion.Environment{}, fmt.Errorf("environment %s: no file environments/%s.yaml; there are %s", id, id, listed(t.set.IDs()))
}

// brokenEnvironment is what is wrong with an environment's file: several
// things stand on lines of their own.
type brokenEnvironment struct {
	id    promotion.ID
	fault promotion.Fault
}

func (b *brokenEnvironment) Error() string {
	text := b.fault.Err.Error()
	if strings.Contains(text, "\n") {
		text = "\n  " + strings.ReplaceAll(text, "\n", "\n  ")
	} else {
		text = " " + text
	}
	return fmt.Sprintf("%s: %s:%s", b.id, b.fault.Reason, text)
}

func (b *brokenEnvironment) Unwrap() error { return b.fault.Err }

// listed names environments for a message, not without end.
func listed(ids []promotion.ID) string {
	const most = 20
	var names []string
	for i, id := range ids {
		if i == most {
			names = append(names, fmt.Sprintf("and %d more", len(ids)-most))
			break
		}
		names = append(names, id.String())
	}
	return strings.Join(names, ", ")
}

// environments are those named, or all; the faults of broken files are joined.
func (t *tree) environments(names []string) ([]promotion.Environment, error) {
	var chosen []promotion.Environment
	var faults error
	if len(names) > 0 {
		for _, name := range names {
			env, err := t.environment(name)
			faults = errors.Join(faults, err)
			chosen = append(chosen, env)
		}
		return chosen, faults
	}
	for _, id := range t.set.IDs() {
		if fault, broken := t.set.Faults[id]; broken {
			faults = errors.Join(faults, &brokenEnvironment{id, fault})
		}
	}
	for _, pipeline := range slices.Sorted(maps.Keys(t.set.Unreadable)) {
		faults = errors.Join(faults, t.set.Unreadable[pipeline])
	}
	for _, id := range promotionOrder(t.set) {
		chosen = append(chosen, t.set.Environments[id])
	}
	return chosen, errors.Join(errors.Join(t.set.Misplaced...), faults)
}

// promotionOrder are the valid environments as a change passes through them,
// one pipeline after the other.
func promotionOrder(set promotion.Set) []promotion.ID {
	var ids []promotion.ID
	for _, pipeline := range set.Pipelines() {
		ids = append(ids, set.Order(pipeline)...)
	}
	return ids
}

// render builds an environment from the tree, whatever it is pinned to.
func (t *tree) render(ctx context.Context, renderer *render.Renderer, env promotion.Environment) (render.Result, error) {
	return renderer.Render(ctx, t.snapshot, env.Path)
}
