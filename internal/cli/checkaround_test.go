package cli

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/policy"
	"chaperone.dev/chaperone/internal/policy/rego"
	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/render"
	"chaperone.dev/chaperone/internal/testkit/racing"
)

// A check knows of other environments what the same tree would run there, and
// says that it is no more than that.
func TestCheckTellsOfOtherEnvironments(t *testing.T) {
	t.Parallel()
	racing.Without(t)
	tree, err := loadWorkTree("../..")
	if err != nil {
		t.Fatal(err)
	}
	defer tree.close()
	bundle, err := rego.LoadDir(t.Context(), "../../policies", rego.DefaultLimits())
	if err != nil {
		t.Fatal(err)
	}
	beside := newAround(tree, render.New(render.DefaultLimits()), bundle)
	env := tree.set.Environments[promotion.ID{Pipeline: "novamind", Name: "staging"}]
	var in policy.Input
	beside.Tell(t.Context(), &in, env)
	orders := map[string]string{}
	for _, n := range in.Pipeline {
		orders[n.Name] = n.Order
		if n.State != policy.StateRendered || len(n.References) == 0 {
			t.Errorf("%s: %s with %d references; want what it renders to", n.Name, n.State, len(n.References))
		}
	}
	if len(orders) != 3 || orders["development"] != "before" || orders["testing"] != "before" || orders["production"] != "after" {
		t.Errorf("pipeline %v", orders)
	}
	if len(in.Upstream) != 1 || in.Upstream[0].State != policy.StateRendered || len(in.Upstream[0].Images) == 0 || len(in.Upstream[0].Workloads) == 0 {
		t.Errorf("upstream %+v", in.Upstream)
	}
	if in.Approval.State != policy.ApprovalProposed || in.LastGood.State != policy.StateUnknown {
		t.Errorf("approval %s, last good %s; want what is not known to be said", in.Approval.State, in.LastGood.State)
	}
	broken := newAround(tree, render.New(render.DefaultLimits()), bundle)
	broken.t.set.Environments[promotion.ID{Pipeline: "novamind", Name: "testing"}] = promotion.Environment{
		ID: promotion.ID{Pipeline: "novamind", Name: "testing"}, Path: "overlays/novamind/nowhere"}
	broken.Tell(t.Context(), &in, env)
	if in.Upstream[0].State != policy.StateUnknown {
		t.Errorf("upstream that does not render: %s, want unknown", in.Upstream[0].State)
	}
	report, err := evaluate(t.Context(), broken, env, manifest.Set{})
	if err != nil || report.Verdict != policy.VerdictDeny {
		t.Errorf("%s, %v; want a denial where nobody can tell", report.Verdict, err)
	}
}

// The sample is allowed in every environment, by the whole pack, without an
// exception: a rule that asks for more than two complete systems have is wrong,
// or they are.
func TestSampleIsAllowedEverywhere(t *testing.T) {
	t.Parallel()
	racing.Without(t)
	flags := checkFlags{repoFlags: repoFlags{repo: "../.."}}
	all, err := flags.run(t.Context(), &command{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 9 {
		t.Errorf("%d environments judged, want all nine", len(all))
	}
	for _, j := range all {
		if j.Verdict != policy.VerdictAllow {
			t.Errorf("%s: %s: %+v %+v", j.Environment, j.Verdict, j.Stopping(), j.Errors)
		}
		for _, f := range j.Findings {
			if f.Exception != nil {
				t.Errorf("%s: %s is waived by %s", j.Environment, f.Rule, f.Exception.Name)
			}
		}
	}
}

// An environment whose file is wrong is there, whatever it is.
func TestCheckTellsOfFilesThatCannotBeRead(t *testing.T) {
	t.Parallel()
	racing.Without(t)
	tree, err := loadWorkTree("../..")
	if err != nil {
		t.Fatal(err)
	}
	defer tree.close()
	bundle, err := rego.LoadDir(t.Context(), "../../policies", rego.DefaultLimits())
	if err != nil {
		t.Fatal(err)
	}
	odd := promotion.ID{Pipeline: "novamind", Name: "odd"}
	tree.set.Faults[odd] = promotion.Fault{Reason: promotion.InvalidEnvironment, Err: errors.New("no environment")}
	for name, want := range map[string]policy.Action{"production": policy.ActionDeny, "staging": policy.ActionDeny, "development": policy.ActionWarn} {
		env := tree.set.Environments[promotion.ID{Pipeline: "novamind", Name: name}]
		report, err := evaluate(t.Context(), newAround(tree, render.New(render.DefaultLimits()), bundle), env, manifest.Set{})
		if err != nil {
			t.Fatal(err)
		}
		for _, rule := range []string{"data/nothing-shared", "data/phi-only-in-production"} {
			if !slices.ContainsFunc(report.Findings, func(f policy.Finding) bool {
				return f.Rule == rule && f.Action == want && strings.Contains(f.Message, "the file of novamind/odd cannot be read")
			}) {
				t.Errorf("%s: %s does not %s for what cannot be read: %+v", name, rule, want, report.Findings)
			}
		}
	}
}
