package app

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"chaperone.dev/chaperone/internal/config"
	"chaperone.dev/chaperone/internal/policy/oci"
	"chaperone.dev/chaperone/internal/policy/rego"
	"chaperone.dev/chaperone/internal/source"
	"chaperone.dev/chaperone/internal/source/gogit"
)

// policySource looks once whether there are other policies, and offers them to
// the store. The error says that it could not look; that policies were refused is
// in the store's status.
type policySource interface {
	poll(ctx context.Context, store *rego.Store) (changed bool, err error)
}

// firstPolicyPoll is how long the loop waits for policies before it begins.
const firstPolicyPoll = 30 * time.Second

// maxPolicyPoll bounds the time between two looks that fail.
const maxPolicyPoll = 15 * time.Minute

// remotePolicies are those of another repository or an archive.
type remotePolicies struct {
	store    *rego.Store
	from     string
	source   policySource
	interval time.Duration
}

// openPolicies says where policies come from that are neither mounted nor the
// source's own.
func (a *App) openPolicies(ctx context.Context) (*remotePolicies, error) {
	c := a.config.Policies
	r := &remotePolicies{store: rego.NewStore(c.Directory, rego.DefaultLimits()), interval: c.PollInterval}
	if c.URL != "" {
		tokens, err := appTokens(c.GitHubApp)
		if err != nil {
			return nil, fmt.Errorf("open policies: %w", err)
		}
		repository, err := gogit.Open(ctx, gogit.Options{
			URL: c.URL, Branch: c.Branch, CacheDir: filepath.Join(a.config.Source.CacheDir, "policies"), Timeout: a.config.Source.Timeout,
			Credentials: gogit.Credentials{
				TokenFile: c.TokenFile, Username: c.Username, SSHKeyFile: c.SSHKeyFile, KnownHostsFile: c.KnownHostsFile,
				SSHPassphraseFile: c.SSHPassphraseFile, PasswordFile: c.PasswordFile, Tokens: tokens,
			},
			Logger: a.log,
		})
		if err != nil {
			return nil, fmt.Errorf("open policies: %w", err)
		}
		a.later("policies", func() error { repository.Close(); return nil })
		r.from, r.source = c.URL+" "+c.Branch, &gitPolicies{repository: repository, path: c.Path,
			marks: marks{store: a.marks, from: c.URL + " " + c.Branch + " " + c.Path}}
		return r, nil
	}
	r.from = c.Archive
	archive := &archivePolicies{path: c.Archive, keyFile: c.KeyFile, marks: marks{store: a.marks, from: c.Archive}}
	r.source = archive
	if strings.HasPrefix(c.Archive, oci.Scheme) {
		artifact, err := oci.New(artifactOptions(a.config))
		if err != nil {
			return nil, fmt.Errorf("policies.archive: %w", err)
		}
		archive.fetch = artifact.Poll
	}
	return r, nil
}

func artifactOptions(c config.Config) oci.Options {
	return oci.Options{Address: c.Policies.Archive, Username: c.Policies.Username, TokenFile: c.Policies.TokenFile,
		MaxBytes: rego.DefaultLimits().Bytes, Timeout: c.Source.Timeout}
}

// first looks once, for a while, and reports whether anything changed. Whoever does
// not answer within it does not keep the loop from what needs no new policies.
func (r *remotePolicies) first(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, firstPolicyPoll)
	defer cancel()
	changed, _ := r.look(ctx) // follow looks again, and tells
	return changed
}

// follow looks every interval, and less often while looking fails. It calls
// changed whenever the status is another one.
func (r *remotePolicies) follow(ctx context.Context, changed func(rego.Status)) {
	failures := 0
	for {
		different, err := r.look(ctx)
		if different && ctx.Err() == nil {
			changed(r.store.Status())
		}
		if failures++; err == nil {
			failures = 0
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(nextLook(r.interval, failures)):
		}
	}
}

func (r *remotePolicies) look(ctx context.Context) (changed bool, err error) {
	changed, err = r.source.poll(ctx, r.store)
	if err != nil && ctx.Err() == nil {
		return r.store.Unavailable(r.from, err), err
	}
	return changed, err
}

// nextLook doubles with each failure, from the interval up to a quarter of an hour.
func nextLook(interval time.Duration, failures int) time.Duration {
	most := max(interval, maxPolicyPoll)
	for ; failures > 0 && interval < most; failures-- {
		interval *= 2
	}
	return min(interval, most)
}

// gitPolicies are a directory of a repository.
type gitPolicies struct {
	repository *gogit.Repository
	path       string
	offered    source.Revision
	marks      marks
}

func (g *gitPolicies) poll(ctx context.Context, store *rego.Store) (bool, error) {
	head, err := g.repository.Poll(ctx)
	if err != nil {
		return false, err
	}
	refused := store.Status().Err != nil
	if head.Revision == g.offered && !refused {
		return false, g.marks.set(ctx, string(g.offered), "")
	}
	if err := g.marks.ahead(ctx, g.repository.Contains, refused); err != nil {
		return false, err
	}
	snapshot, err := g.repository.Snapshot(head.Revision)
	if err != nil {
		return false, err
	}
	dir, err := fs.Sub(snapshot, g.path)
	if err != nil {
		return false, err
	}
	changed, err := store.Offer(ctx, dir, g.path+" at "+head.Revision.Short())
	if err != nil {
		return changed, nil // it is in the store's status
	}
	g.offered = head.Revision
	return changed, g.marks.set(ctx, string(g.offered), "")
}

// archivePolicies are a signed archive.
type archivePolicies struct {
	path    string
	keyFile string
	marks   marks
	fetch   func(context.Context) ([]byte, error) // from a registry; nil: path is a file
	last    []byte                                // what fetch gave when there was something new
}

func (p *archivePolicies) poll(ctx context.Context, store *rego.Store) (bool, error) {
	encoded, err := os.ReadFile(p.keyFile)
	if err != nil {
		return false, fmt.Errorf("read key: %w", err)
	}
	key, err := rego.ParseKey(encoded)
	if err != nil {
		return false, fmt.Errorf("key %s: %w", p.keyFile, err)
	}
	archive, err := p.read(ctx)
	if err != nil {
		return false, err
	}
	if err := p.marks.recallSeen(ctx, store); err != nil {
		return false, err
	}
	changed, err := store.OfferSigned(ctx, archive, key, p.path)
	if err != nil {
		return changed, nil // it is in the store's status
	}
	return changed, p.marks.setSeen(ctx, store.Seen())
}

// read is the archive, also when it is the one from before: whether it is signed
// by who counts may have changed.
func (p *archivePolicies) read(ctx context.Context) ([]byte, error) {
	if p.fetch == nil {
		return readArchiveFile(p.path, rego.DefaultLimits().Bytes)
	}
	archive, err := p.fetch(ctx)
	if err == nil && archive != nil {
		p.last = archive
	}
	return p.last, err
}

func readArchiveFile(path string, limit int64) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Size() > limit {
		return nil, fmt.Errorf("%s: %d bytes; want at most %d", path, info.Size(), limit)
	}
	return os.ReadFile(path)
}
