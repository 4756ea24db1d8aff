package cli

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/policy"
	"chaperone.dev/chaperone/internal/policy/rego"
	"chaperone.dev/chaperone/internal/preview/between"
	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/render"
	"chaperone.dev/chaperone/internal/source"
	"chaperone.dev/chaperone/internal/strategy"
)

type checkFlags struct {
	repoFlags
	policies    string
	keyFile     string // of an archive of policies
	files       []string
	environment string
	data        string
}

// judged is a report with what is told beside it.
type judged struct {
	policy.Report
	data  promotion.Data
	rules []policy.Rule
}

func newCheck(c *command) *cobra.Command {
	var flags checkFlags
	var output format
	cmd := &cobra.Command{
		Use: "check [ENV…]", Short: "Ask the policies whether environments may run",
		Long: `Check renders environments (all of them by default) and judges each as the
daemon would. Each finding names the line to change: of the base, the patch or
the directive of a kustomization that sets the field, or ("near") of what is
closest to a field that nobody sets.

With -f it judges any manifests as if they were in an environment, beside or in
place of what is there: it shows what they bring, and not what the environment
has anyway, unless nothing at all may run there. With --data in place of
--environment no repository is needed, only policies. It answers no (exit code
1) when a policy denies, or cannot be asked.
An environment whose file or manifests are wrong is told with exit code 2, after
the others.

With one environment named, -o json and yaml print its report, else a list. For
others to read, -o sarif prints SARIF 2.1.0, with one run for each environment,
and -o junit one test for each environment and rule.
` + exitHelp,
		Example: `  chaperone check
  chaperone check novamind/production -o json
  chaperone check --revision head -o sarif > chaperone.sarif
  chaperone check -f deployment.yaml --environment novamind/production
  helm template chart | chaperone check -f - --data phi --policies policies`,
		ValidArgsFunction: completeEnvironments(0),
		RunE: func(cmd *cobra.Command, args []string) error {
			names, err := flags.names(args)
			if err != nil {
				return err
			}
			all, err := flags.run(cmd.Context(), c, names)
			if len(all) > 0 {
				if printed := c.printJudged(output, names, all); printed != nil {
					return printed
				}
			}
			if err != nil {
				return err
			}
			return allowed(all)
		},
	}
	flags.add(cmd, c)
	cmd.Flags().StringVar(&flags.policies, "policies", "", "directory of the policies, or their signed archive (.tar.gz); default policies/ in the directory --repo")
	cmd.Flags().StringVar(&flags.keyFile, "policies-key-file", "", "file with the public key (PEM) that an archive must be signed for")
	cmd.Flags().StringArrayVarP(&flags.files, "file", "f", nil, "manifests to judge instead; - is standard input")
	cmd.Flags().StringVar(&flags.environment, "environment", "", "with -f: the environment they are judged in")
	cmd.Flags().StringVar(&flags.data, "data", "", "with -f: judge them in any environment that holds such data: "+strings.Join(dataClasses, ", "))
	_ = cmd.RegisterFlagCompletionFunc("environment", completeEnvironments(0))
	_ = cmd.RegisterFlagCompletionFunc("data", cobra.FixedCompletions(dataClasses, cobra.ShellCompDirectiveNoFileComp))
	formatFlag(cmd, &output, formatTable, formatJSON, formatYAML, formatSARIF, formatJUnit)
	return cmd
}

func allowed(all []judged) error {
	for _, j := range all {
		if j.Verdict != policy.VerdictAllow {
			return no()
		}
	}
	return nil
}

func (c *command) printJudged(output format, names []string, all []judged) error {
	switch output {
	case formatSARIF:
		return c.print(formatJSON, sarifOf(all), nil)
	case formatJUnit:
		return writeJUnit(c.Out, all)
	}
	reports := make([]policy.Report, 0, len(all))
	for _, j := range all {
		reports = append(reports, j.Report)
	}
	return c.print(output, oneOrAll(names, reports), func(w io.Writer) { c.checkTable(w, reports) })
}

// names are the environments asked for; none means all.
func (f *checkFlags) names(args []string) ([]string, error) {
	given := len(f.files) > 0
	switch {
	case given && len(args) > 0:
		return nil, errors.New("check -f: want --environment instead of arguments")
	case given && f.data != "" && f.environment != "":
		return nil, errors.New("check -f: want --environment or --data, not both: an environment's file says what it holds")
	case given && f.data != "" && !slices.Contains(dataClasses, f.data):
		return nil, fmt.Errorf("check --data: want %s, not %q", strings.Join(dataClasses, ", "), f.data)
	case given && f.data != "":
		return []string{""}, nil
	case given && f.environment == "":
		return nil, errors.New("check -f: want --environment or --data, as the verdict depends on what an environment holds")
	case given:
		return []string{f.environment}, nil
	case f.environment != "":
		return nil, fmt.Errorf("check --environment: only with -f; want `chaperone check %s`", f.environment)
	case f.data != "":
		return nil, errors.New("check --data: only with -f; an environment's file says what it holds")
	}
	return args, nil
}

func (f *checkFlags) run(ctx context.Context, c *command, names []string) ([]judged, error) {
	c.progress("testing the policies")
	defer c.progress("")
	bundle, err := f.bundle(ctx)
	if err != nil {
		return nil, err
	}
	if f.data != "" {
		j, err := f.judgeAnywhere(ctx, c, bundle)
		if err != nil {
			return nil, err
		}
		return []judged{j}, nil
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
	beside := newAround(t, render.New(render.DefaultLimits()), bundle)
	var all []judged
	for _, env := range environments {
		c.progress("judging " + env.ID.String())
		report, err := f.judge(ctx, c, beside, env)
		if err != nil {
			faults = errors.Join(faults, fmt.Errorf("%s: %w", env.ID, err))
			continue
		}
		all = append(all, judged{report, env.Data, bundle.Rules()})
	}
	return all, faults
}

// judge asks the policies about an environment as it is, or with the files in it.
func (f *checkFlags) judge(ctx context.Context, c *command, beside *around, env promotion.Environment) (policy.Report, error) {
	given, err := f.given(c)
	if err != nil {
		return policy.Report{}, err
	}
	result, err := beside.t.render(ctx, beside.renderer, env)
	if err != nil {
		return policy.Report{}, err
	}
	if err := possible(env, result.Set); err != nil {
		return policy.Report{}, err
	}
	before, err := evaluate(ctx, beside, env, result.Set)
	if err != nil {
		return before, err
	}
	places := between.Places{Tree: beside.t.snapshot, Settings: beside.t.snapshot, Bundle: f.bundleDir(), Max: maxLocated}
	if len(f.files) == 0 {
		return before, places.Locate(ctx, env, result.Set, before.Findings)
	}
	with, err := merged(result.Set, given.Set, env.Target.Namespace)
	if err != nil {
		return policy.Report{}, err
	}
	places.Given = given.traces
	compared := comparison{before: before}
	if compared.nothing, err = evaluate(ctx, beside, env, manifest.Set{}); err != nil {
		return compared.nothing, err
	}
	if compared.alone, err = evaluate(ctx, beside, env, given.Set); err != nil {
		return compared.alone, err
	}
	if compared.after, err = evaluate(ctx, beside, env, with); err != nil {
		return compared.after, err
	}
	brought := compared.brought(given.Set, env.Target.Namespace)
	return brought, places.Locate(ctx, env, with, brought.Findings)
}

// possible tells what of the strategies cannot be done with these objects, whatever
// runs now. The rest depends on last good, and is told by previews.
func possible(env promotion.Environment, set manifest.Set) error {
	_, err := strategy.Steps(strategy.Release{After: set, Namespace: env.Target.Namespace, Strategies: env.Strategies})
	if err != nil {
		return fmt.Errorf("%s: %s: strategies: %w", promotion.StrategyImpossible, env.File, err)
	}
	return nil
}

// maxLocated bounds how many findings are looked for in files. Nobody works off
// so many.
const maxLocated = 20_000

// anywhere are environments that nobody has written a file for: nothing is known
// of them but what they hold.
var anywhere = map[string]promotion.Environment{
	"none": {ID: promotion.ID{Pipeline: "any", Name: "development"}}, "synthetic": {ID: promotion.ID{Pipeline: "any", Name: "development"}},
	"anonymized": {ID: promotion.ID{Pipeline: "any", Name: "staging"}}, "phi": {ID: promotion.ID{Pipeline: "any", Name: "production"}},
}

var dataClasses = []string{"none", "synthetic", "anonymized", "phi"}

// judgeAnywhere judges the files by themselves, and leaves out what is said of
// an environment with nothing in it.
func (f *checkFlags) judgeAnywhere(ctx context.Context, c *command, bundle *rego.Bundle) (judged, error) {
	env := anywhere[f.data]
	env.Data, env.Target.Namespace = promotion.Data(f.data), env.ID.Pipeline
	given, err := f.given(c)
	if err != nil {
		return judged{}, err
	}
	nowhere := newAround(&tree{snapshot: noSource{}}, nil, bundle)
	nothing, err := evaluate(ctx, nowhere, env, manifest.Set{})
	if err != nil {
		return judged{}, err
	}
	after, err := evaluate(ctx, nowhere, env, given.Set)
	if err != nil {
		return judged{}, err
	}
	places := between.Places{Given: given.traces, Bundle: f.bundleDir(), Max: maxLocated}
	report := comparison{nothing, nothing, after, after, true}.brought(given.Set, env.Target.Namespace)
	return judged{report, env.Data, bundle.Rules()}, places.Locate(ctx, env, given.Set, report.Findings)
}

// noSource is a tree of no repository: nothing stands in it.
type noSource struct{ source.Snapshot }

func (noSource) Revision() source.Revision   { return source.WorkingTree }
func (noSource) Hash(string) (string, error) { return "", nil }

// around is what environments of one tree are judged by, and with.
type around struct {
	between.Around
	t        *tree
	renderer *render.Renderer
	bundle   *rego.Bundle
}

func newAround(t *tree, renderer *render.Renderer, bundle *rego.Bundle) *around {
	salt := make([]byte, 32)
	rand.Read(salt)
	a := &around{t: t, renderer: renderer, bundle: bundle}
	a.Around = between.Around{Set: t.set, Revision: t.snapshot.Revision(), Policies: bundle, Redact: manifest.NewRedactor(salt),
		Render: func(ctx context.Context, env promotion.Environment) (manifest.Set, error) {
			result, err := t.render(ctx, renderer, env)
			return result.Set, err
		}}
	return a
}

func evaluate(ctx context.Context, beside *around, env promotion.Environment, set manifest.Set) (policy.Report, error) {
	digest, err := set.Digest()
	if err != nil {
		return policy.Report{}, err
	}
	t := beside.t
	in := policy.NewInput(env, set, policy.Release{
		Revision: t.snapshot.Revision(), Digest: digest,
		Author: policy.PersonOf(t.commit.Author), Committer: policy.PersonOf(t.commit.Committer),
	}, nil, time.Now(), beside.Redact)
	in.Environment.Imagined = anywhere[string(env.Data)].ID == env.ID && env.File == ""
	beside.Tell(ctx, &in, env)
	if in.Recorded, err = t.evidence(env.ID.Pipeline); err != nil {
		return policy.Report{}, err
	}
	return beside.bundle.Evaluate(ctx, in)
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
		if f.Source != nil {
			t.note(f.Source.String())
		}
		if e := f.Exception; e != nil {
			t.note(fmt.Sprintf("waived until %s by %s (%s)", e.Expires, e.Name, e.File))
		}
	}
	t.write(w)
}
