package cli

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
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
daemon would. With -f it judges any manifests as if they were in an environment,
beside or in place of what is there: it shows what they bring, and not what the
environment has anyway. It answers no (exit code 1) when a policy denies, or
cannot be asked. An environment whose file or manifests are wrong is told with
exit code 2, after the others.

With one environment named, -o json and yaml print its report, else a list.
` + exitHelp,
		Example: `  chaperone check
  chaperone check novamind/production -o json
  chaperone check -f deployment.yaml --environment novamind/production
  cat deployment.yaml | chaperone check -f - --environment novamind/production`,
		ValidArgsFunction: completeEnvironments(0),
		RunE: func(cmd *cobra.Command, args []string) error {
			names, err := flags.names(args)
			if err != nil {
				return err
			}
			reports, err := flags.run(cmd.Context(), c, names)
			if len(reports) > 0 {
				table := func(w io.Writer) { c.checkTable(w, reports) }
				if printed := c.print(output, oneOrAll(names, reports), table); printed != nil {
					return printed
				}
			}
			if err != nil {
				return err
			}
			return allowed(reports)
		},
	}
	flags.add(cmd, c)
	cmd.Flags().StringVar(&flags.policies, "policies", "", "directory of the policies; default policies/ in the directory --repo")
	cmd.Flags().StringArrayVarP(&flags.files, "file", "f", nil, "manifests to judge instead; - is standard input")
	cmd.Flags().StringVar(&flags.environment, "environment", "", "with -f: the environment they are judged in")
	_ = cmd.RegisterFlagCompletionFunc("environment", completeEnvironments(0))
	outputFlag(cmd, &output)
	return cmd
}

func allowed(reports []policy.Report) error {
	for _, r := range reports {
		if r.Verdict != policy.VerdictAllow {
			return no()
		}
	}
	return nil
}

// names are the environments asked for; none means all.
func (f *checkFlags) names(args []string) ([]string, error) {
	switch {
	case len(f.files) > 0 && len(args) > 0:
		return nil, errors.New("check -f: want --environment instead of arguments")
	case len(f.files) > 0 && f.environment == "":
		return nil, errors.New("check -f: want --environment, as the verdict depends on what an environment holds")
	case len(f.files) > 0:
		return []string{f.environment}, nil
	case f.environment != "":
		return nil, fmt.Errorf("check --environment: only with -f; want `chaperone check %s`", f.environment)
	}
	return args, nil
}

func (f *checkFlags) run(ctx context.Context, c *command, names []string) ([]policy.Report, error) {
	c.progress("testing the policies")
	defer c.progress("")
	bundle, err := f.bundle(ctx)
	if err != nil {
		return nil, err
	}
	t, err := f.load(ctx, c)
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
		c.progress("judging " + env.ID.String())
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

// judge asks the policies about an environment as it is, or with the files in it.
func (f *checkFlags) judge(ctx context.Context, c *command, t *tree, renderer *render.Renderer, bundle *rego.Bundle,
	env promotion.Environment) (policy.Report, error) {
	given, err := f.given(c, env)
	if err != nil {
		return policy.Report{}, err
	}
	result, err := t.render(ctx, renderer, env)
	if err != nil {
		return policy.Report{}, err
	}
	before, err := evaluate(ctx, bundle, t, env, result.Set)
	if err != nil || len(f.files) == 0 {
		return before, err
	}
	with, err := merged(result.Set, given)
	if err != nil {
		return policy.Report{}, err
	}
	after, err := evaluate(ctx, bundle, t, env, with)
	return brought(before, after, given), err
}

func evaluate(ctx context.Context, bundle *rego.Bundle, t *tree, env promotion.Environment, set manifest.Set) (policy.Report, error) {
	digest, err := set.Digest()
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

func (c *command) checkTable(w io.Writer, reports []policy.Report) {
	for i, r := range reports {
		if i > 0 && len(r.Findings)+len(r.Errors)+len(reports[i-1].Findings)+len(reports[i-1].Errors) > 0 {
			fmt.Fprintln(w)
		}
		verdict := c.painted(green, string(r.Verdict))
		if r.Verdict != policy.VerdictAllow {
			verdict = c.painted(red, string(r.Verdict))
		}
		fmt.Fprintf(w, "%s: %s (release %s, policies %s)\n", r.Environment, verdict, r.Digest.Short(), r.PolicyDigest.Short())
		t := table{indent: 2}
		for _, e := range r.Errors {
			t.add("error", e.Error())
		}
		t.write(w)
		findingsTable(w, r.Findings)
	}
}

func findingsTable(w io.Writer, findings []policy.Finding) {
	if len(findings) == 0 {
		return
	}
	t := table{indent: 2, header: []string{"ACTION", "SEVERITY", "RULE", "OBJECT"}}
	for _, f := range findings {
		action, object, why := string(f.Action), "the release", f.Message
		if f.Exception != nil {
			action = "waived"
		}
		if f.Object != nil {
			object = f.Object.String()
		}
		if f.Path != "" {
			why = f.Path + ": " + why
		}
		t.add(action, string(f.Severity), f.Rule, object)
		t.note(why)
		if e := f.Exception; e != nil {
			t.note(fmt.Sprintf("waived until %s by %s (%s)", e.Expires, e.Name, e.File))
		}
	}
	t.write(w)
}
