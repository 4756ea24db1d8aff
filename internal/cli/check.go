package cli

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/policy"
	"chaperone.dev/chaperone/internal/policy/rego"
	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/render"
)

type checkFlags struct {
	repoFlags
	policies    string
	files       []string
	environment string
}

func newCheck(c *command) *cobra.Command {
	var flags checkFlags
	var output format
	cmd := &cobra.Command{
		Use: "check [ENV…]", Short: "Ask the policies whether environments may run",
		Long: `Check renders environments (all of them by default) and judges each as the
daemon would. With -f it judges any manifests as if they were in an environment.
It answers no (exit code 1) when a policy denies, or cannot be asked.
` + exitHelp,
		Example: `  chaperone check
  chaperone check novamind/production -o json
  chaperone check -f deployment.yaml --environment novamind/production
  cat deployment.yaml | chaperone check -f - --environment novamind/production`,
		RunE: func(cmd *cobra.Command, args []string) error {
			reports, err := flags.run(cmd.Context(), c, args)
			if len(reports) > 0 {
				if printed := c.print(output, reports, func(w io.Writer) { c.checkTable(w, reports) }); printed != nil {
					return printed
				}
			}
			if err != nil {
				return err
			}
			for _, r := range reports {
				if r.Verdict != policy.VerdictAllow {
					return no()
				}
			}
			return nil
		},
	}
	flags.add(cmd)
	cmd.Flags().StringVar(&flags.policies, "policies", "", "directory of the policies; default policies/ of the repository")
	cmd.Flags().StringArrayVarP(&flags.files, "file", "f", nil, "manifests to judge instead; - is standard input")
	cmd.Flags().StringVar(&flags.environment, "environment", "", "with -f: the environment they are judged in")
	outputFlag(cmd, &output)
	return cmd
}

func (f *checkFlags) run(ctx context.Context, c *command, names []string) ([]policy.Report, error) {
	switch {
	case len(f.files) > 0 && f.environment == "":
		return nil, errors.New("check -f: want --environment, as the verdict depends on what an environment holds")
	case len(f.files) > 0 && len(names) > 0:
		return nil, errors.New("check -f: want --environment instead of arguments")
	case len(f.files) > 0:
		names = []string{f.environment}
	}
	bundle, err := f.bundle(ctx)
	if err != nil {
		return nil, err
	}
	t, err := f.load(ctx)
	if err != nil {
		return nil, err
	}
	defer t.close()
	environments, faults := t.environments(names)
	if faults != nil && len(names) > 0 {
		return nil, faults
	}
	renderer := render.New(render.DefaultLimits())
	var reports []policy.Report
	for _, env := range environments {
		report, err := f.judge(ctx, c, t, renderer, bundle, env)
		if err != nil {
			faults = errors.Join(faults, fmt.Errorf("%s: %w", env.ID, err))
			continue
		}
		reports = append(reports, report)
	}
	return reports, faults
}

func (f *checkFlags) bundle(ctx context.Context) (*rego.Bundle, error) {
	dir := f.policies
	if dir == "" {
		if remote(f.repo) {
			return nil, errors.New("check: want --policies with a repository elsewhere: whoever writes a release must not choose its judge")
		}
		dir = filepath.Join(f.repo, "policies")
	}
	return rego.LoadDir(ctx, dir, rego.DefaultLimits())
}

func (f *checkFlags) judge(ctx context.Context, c *command, t *tree, renderer *render.Renderer, bundle *rego.Bundle,
	env promotion.Environment) (policy.Report, error) {
	set, digest, err := f.objects(ctx, c, t, renderer, env)
	if err != nil {
		return policy.Report{}, err
	}
	salt := make([]byte, 32)
	rand.Read(salt)
	in := policy.NewInput(env, set, policy.Release{
		Revision: t.snapshot.Revision(), Digest: digest,
		Author: policy.PersonOf(t.commit.Author), Committer: policy.PersonOf(t.commit.Committer),
	}, nil, time.Now(), manifest.NewRedactor(salt))
	return bundle.Evaluate(ctx, in)
}

func (f *checkFlags) objects(ctx context.Context, c *command, t *tree, renderer *render.Renderer,
	env promotion.Environment) (manifest.Set, manifest.Digest, error) {
	if len(f.files) == 0 {
		result, err := t.render(ctx, renderer, env)
		return result.Set, result.Digest, err
	}
	const longest = 32 << 20
	var objects []*manifest.Object
	for _, name := range f.files {
		content, err := readFile(c, name, longest)
		if err != nil {
			return manifest.Set{}, "", err
		}
		decoded, err := manifest.Decode(name, content)
		if err != nil {
			return manifest.Set{}, "", err
		}
		objects = append(objects, decoded...)
	}
	if len(objects) == 0 {
		return manifest.Set{}, "", errors.New("no object in the files given; nothing to judge is not a pass")
	}
	for _, o := range objects {
		if o.GetNamespace() == "" {
			o.SetNamespace(env.Target.Namespace)
		}
	}
	set, err := manifest.NewSet(objects)
	if err != nil {
		return set, "", err
	}
	digest, err := set.Digest()
	return set, digest, err
}

func readFile(c *command, name string, longest int64) ([]byte, error) {
	var from io.Reader = c.In
	if name != "-" {
		file, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		defer file.Close()
		from = file
	}
	content, err := io.ReadAll(io.LimitReader(from, longest+1))
	if err == nil && int64(len(content)) > longest {
		err = fmt.Errorf("%s: more than %d bytes", name, longest)
	}
	return content, err
}

func (c *command) checkTable(w io.Writer, reports []policy.Report) {
	for i, r := range reports {
		if i > 0 {
			fmt.Fprintln(w)
		}
		fmt.Fprintf(w, "%s: %s (release %s, policies %s)\n", r.Environment, c.verdict(r.Verdict), r.Digest.Short(), r.PolicyDigest.Short())
		for _, e := range r.Errors {
			fmt.Fprintln(w, "  error:", e.Error())
		}
		if len(r.Findings) == 0 {
			continue
		}
		t := table{header: []string{"  ACTION", "SEVERITY", "RULE", "WHERE AND WHY"}}
		for _, f := range r.Findings {
			where := ""
			if f.Object != nil {
				where = f.Object.String() + " "
			}
			if f.Path != "" {
				where += f.Path + ": "
			}
			action := string(f.Action)
			if f.Exception != nil {
				action = "waived"
			}
			t.add("  "+action, string(f.Severity), f.Rule, where+f.Message)
		}
		t.write(w)
	}
}

func (c *command) verdict(v policy.Verdict) string {
	if !c.Terminal {
		return string(v)
	}
	if v == policy.VerdictAllow {
		return "\x1b[32m" + string(v) + "\x1b[0m"
	}
	return "\x1b[31m" + string(v) + "\x1b[0m"
}
