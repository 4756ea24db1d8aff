package cli

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/policy/rego"
	"chaperone.dev/chaperone/internal/preview"
	"chaperone.dev/chaperone/internal/preview/between"
	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/render"
	"chaperone.dev/chaperone/internal/source"
	"chaperone.dev/chaperone/internal/source/gogit"
	"chaperone.dev/chaperone/internal/source/worktree"
)

// formatMarkdown is for the comment on a pull request.
const formatMarkdown format = "markdown"

type previewFlags struct {
	repo, branch, base, head, policies string
	limit                              int
	clusterFlags
}

func newPreview(c *command) *cobra.Command {
	var flags previewFlags
	var output format
	cmd := &cobra.Command{
		Use: "preview", Short: "Show what merging a change would do",
		Long: `Preview compares two revisions of the repository and shows what merging head
into base would do in each environment that it touches: the rendered difference,
what policies say of it and whether they said so before, what is deleted, what
cannot be taken back, who gets it in which order, and which gates it meets. An
environment that is pinned stays as it is until it is promoted; it shows what a
promotion to head brings. Nothing but the repository is asked; with --kubeconfig
or --context, the daemon's records as well: what holds an environment now, and what
upstream has verified.

Head is the files as they are, by default, and base what head and the followed
branch have in common. Both are judged by the policies of base, so that a change
cannot weaken its own judges; --policies names others. Values of Secrets are
never shown.

It prints Markdown that is safe to post as a comment, whatever the repository
holds, and no longer than --limit. It answers no (exit code 1) when a policy
denies the change in an environment, now or once it is promoted, or cannot be
asked, when a guard would refuse it, and when an environment's file or manifests
are wrong because of it.
` + exitHelp,
		Example: "  chaperone preview\n  chaperone preview --base origin/main --head HEAD > comment.md\n" +
			"  chaperone preview --head fix-probes -o json",
		Args: exactly(0, "no arguments; --base and --head name the revisions"), ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			found, err := flags.run(cmd.Context(), c)
			if err != nil {
				return err
			}
			err = c.print(output, found, func(w io.Writer) { fmt.Fprint(w, found.Markdown(preview.Layout{Limit: flags.limit})) })
			if err == nil && found.Refused() {
				return no()
			}
			return err
		},
	}
	cmd.Flags().StringVar(&flags.repo, "repo", ".", "directory of the repository")
	cmd.Flags().StringVar(&flags.branch, "branch", "main", "the branch that the daemon follows; the remote's, where it is known here")
	cmd.Flags().StringVar(&flags.base, "base", "", "commit to merge into; default what head and the branch have in common")
	cmd.Flags().StringVar(&flags.head, "head", "", "commit to merge; default the files as they are")
	cmd.Flags().StringVar(&flags.policies, "policies", "", "directory of the policies; default policies/ of base, or of head where base has none")
	flags.clusterFlags.add(cmd, askSoon)
	cmd.Flags().Lookup("kubeconfig").Usage = "kubeconfig file of the daemon's cluster; default nobody is asked"
	cmd.Flags().IntVar(&flags.limit, "limit", preview.Limit, "bytes of Markdown, at most")
	formatFlag(cmd, &output, formatMarkdown, formatJSON, formatYAML)
	return cmd
}

func (f *previewFlags) run(ctx context.Context, c *command) (preview.Preview, error) {
	defer c.progress("")
	if remote(f.repo) {
		return preview.Preview{}, fmt.Errorf("--repo %s: want the directory of a clone, not a URL", f.repo)
	}
	local, err := gogit.OpenLocal(f.repo, gogit.Limits{})
	if err != nil {
		return preview.Preview{}, err
	}
	defer local.Close()
	sides, err := f.sides(ctx, local)
	if err != nil {
		return preview.Preview{}, err
	}
	defer sides.close()
	c.progress("testing the policies")
	asker, err := f.asker(ctx, local, sides)
	if err != nil {
		return preview.Preview{}, err
	}
	if asker.Known, err = f.known(ctx, c); err != nil {
		return preview.Preview{}, err
	}
	asker.Progress = func(environment string) { c.progress("comparing " + environment) }
	return asker.Ask(ctx, sides.base, sides.head)
}

// sides are the two revisions, and the head of the followed branch, if any.
type sides struct {
	base, head between.Side
	branch     source.Revision
	close      func()
}

func (f *previewFlags) sides(ctx context.Context, local *gogit.Local) (s sides, err error) {
	s.close = func() {}
	head := f.head
	if head == "" {
		head = "HEAD"
	}
	revision, err := resolve(local, head)
	if err != nil {
		return s, fmt.Errorf("--head: %w", err)
	}
	base, err := f.mergeBase(ctx, local, revision, &s)
	if err != nil {
		return s, err
	}
	if s.base, err = openSide(local, base, nil); err != nil {
		return s, fmt.Errorf("base %s: %w", base.Short(), err)
	}
	if f.head != "" {
		s.head, err = openSide(local, revision, nil)
		return s, err
	}
	files, err := worktree.Open(f.repo)
	if err != nil {
		return s, err
	}
	s.close = func() { _ = files.Close() }
	if s.head, err = openSide(local, revision, files); err != nil {
		s.close()
	}
	return s, err
}

// mergeBase is where the comparison starts: the commit that is named, or what
// head has in common with the followed branch.
func (f *previewFlags) mergeBase(ctx context.Context, local *gogit.Local, head source.Revision, s *sides) (source.Revision, error) {
	for _, name := range []string{"refs/remotes/origin/" + f.branch, f.branch} {
		if revision, err := local.Resolve(name); err == nil {
			s.branch = revision
			break
		}
	}
	switch {
	case f.base != "":
		base, err := resolve(local, f.base)
		if err != nil {
			err = fmt.Errorf("--base: %w", err)
		}
		return base, err
	case s.branch == "":
		return "", fmt.Errorf("no branch %s here, nor of the remote origin; want --branch, the one that the daemon follows, or --base", f.branch)
	}
	base, err := local.MergeBase(ctx, s.branch, head)
	if err != nil {
		err = fmt.Errorf("%w; a shallow clone may lack it (`git fetch --unshallow`), and --base names another", err)
	}
	return base, err
}

// openSide reads a commit, or the files as they are on top of it.
func openSide(local *gogit.Local, revision source.Revision, files source.Snapshot) (between.Side, error) {
	commit, err := local.Commit(revision)
	if err != nil {
		return between.Side{}, err
	}
	if files != nil {
		commit.Message = "" // what is not committed has said nothing yet
		return between.Open(files, commit)
	}
	snapshot, err := local.Snapshot(revision)
	if err != nil {
		return between.Side{}, err
	}
	return between.Open(snapshot, commit)
}

func (f *previewFlags) asker(ctx context.Context, local *gogit.Local, s sides) (*between.Asker, error) {
	bundle, from, err := f.bundle(ctx, s)
	if err != nil {
		return nil, err
	}
	salt := make([]byte, 32)
	rand.Read(salt)
	return &between.Asker{
		Source: clonedSource{local}, Renderer: rendering{render.New(render.DefaultLimits())}, Policies: bundle,
		Judges: from, Bundle: policiesDir, Branch: s.branch, Redact: manifest.NewRedactor(salt), Now: time.Now(),
	}, nil
}

// known is what the daemon adds, where it is to be asked.
func (f *previewFlags) known(ctx context.Context, c *command) (func(preview.Environment) []string, error) {
	if f.kubeconfig == "" && f.context == "" {
		return nil, nil
	}
	c.progress("asking the daemon's cluster")
	all, err := f.everything(ctx, c)
	if err != nil {
		return nil, err
	}
	records := map[promotion.ID]preview.Record{}
	for _, r := range all {
		if r.Unreadable == nil {
			records[r.ID] = preview.Record{Status: r.Status, Message: r.Message, Journal: r.Journal}
		}
	}
	return func(e preview.Environment) []string { return e.Known(records) }, nil
}

// policiesDir is where a repository has its policies.
const policiesDir = "policies"

// bundle is what judges both sides. Whoever writes a change must not choose it.
func (f *previewFlags) bundle(ctx context.Context, s sides) (*rego.Bundle, string, error) {
	if f.policies != "" {
		b, err := rego.LoadDir(ctx, f.policies, rego.DefaultLimits())
		return b, f.policies, err
	}
	for _, side := range []between.Side{s.base, s.head} {
		if _, err := fs.Stat(side.Snapshot, policiesDir); errors.Is(err, fs.ErrNotExist) {
			continue
		}
		files, err := fs.Sub(side.Snapshot, policiesDir)
		if err != nil {
			return nil, "", err
		}
		b, err := rego.Load(ctx, files, rego.DefaultLimits())
		if err != nil {
			err = fmt.Errorf("%s at %s: %w", policiesDir, side.Snapshot.Revision().Short(), err)
		}
		return b, policiesDir + " at " + side.Snapshot.Revision().Short(), err
	}
	return nil, "", fmt.Errorf("no %s/ in this repository; want --policies, their directory: a change that nobody judged is not fit", policiesDir)
}

// clonedSource is a clone as a comparison reads it.
type clonedSource struct{ *gogit.Local }

func (s clonedSource) Snapshot(revision source.Revision) (source.Snapshot, error) {
	return s.Local.Snapshot(revision)
}

// rendering is a renderer as a comparison knows it.
type rendering struct{ *render.Renderer }

func (r rendering) Render(ctx context.Context, snap source.Snapshot, dir string) (manifest.Set, manifest.Digest, error) {
	result, err := r.Renderer.Render(ctx, snap, strings.TrimSuffix(dir, "/"))
	return result.Set, result.Digest, err
}
