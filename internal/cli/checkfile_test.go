package cli

import (
	"context"
	"errors"
	"slices"
	"testing"

	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/origin"
	"chaperone.dev/chaperone/internal/policy"
	"chaperone.dev/chaperone/internal/preview/between"
	"chaperone.dev/chaperone/internal/promotion"
)

// A file answers for what it brings, wherever that shows, and for nothing else.
func TestBrought(t *testing.T) {
	t.Parallel()
	objects, err := manifest.Decode("given.yaml", []byte("apiVersion: v1\nkind: Service\nmetadata: {name: given}\n"))
	if err != nil {
		t.Fatal(err)
	}
	given, err := manifest.NewSet(objects)
	if err != nil {
		t.Fatal(err)
	}
	on := func(name, message string) policy.Finding {
		object := &policy.ObjectRef{APIVersion: "v1", Kind: "Service", Namespace: "shop", Name: name}
		return policy.Finding{Rule: "a/b", Action: policy.ActionDeny, Object: object, Message: message}
	}
	nothing := policy.Finding{Rule: "a/d", Action: policy.ActionDeny, Message: "the environment"}
	whole := policy.Finding{Rule: "a/c", Action: policy.ActionDeny, Message: "the release"}
	for name, test := range map[string]struct {
		before, after []policy.Finding
		verdict, want policy.Verdict
		left          int
		alone         []policy.Finding
	}{
		"nothing":                         {verdict: policy.VerdictAllow, want: policy.VerdictAllow},
		"what is there anyway":            {[]policy.Finding{on("other", "x"), whole}, []policy.Finding{on("other", "x"), whole}, policy.VerdictDeny, policy.VerdictAllow, 0, nil},
		"its own":                         {nil, []policy.Finding{on("given", "x")}, policy.VerdictDeny, policy.VerdictDeny, 1, nil},
		"its own, as of what it replaces": {[]policy.Finding{on("given", "x")}, []policy.Finding{on("given", "x")}, policy.VerdictDeny, policy.VerdictDeny, 1, nil},
		"another's, because of it":        {[]policy.Finding{on("other", "x")}, []policy.Finding{on("other", "x"), on("other", "y")}, policy.VerdictDeny, policy.VerdictDeny, 1, nil},
		"the whole's, because of it":      {nil, []policy.Finding{whole}, policy.VerdictDeny, policy.VerdictDeny, 1, nil},
		"the whole's, of which it would be guilty alone": {[]policy.Finding{whole}, []policy.Finding{whole}, policy.VerdictDeny, policy.VerdictDeny, 1, []policy.Finding{whole}},
		"where nothing at all may run":                   {[]policy.Finding{whole, nothing}, []policy.Finding{whole, nothing}, policy.VerdictDeny, policy.VerdictDeny, 1, []policy.Finding{nothing}},
		"a rule that could not be asked":                 {nil, nil, policy.VerdictError, policy.VerdictError, 0, nil},
	} {
		compared := comparison{nothing: policy.Report{Findings: []policy.Finding{nothing}}, before: policy.Report{Findings: test.before},
			alone: policy.Report{Findings: test.alone}, after: policy.Report{Findings: test.after, Verdict: test.verdict}}
		got := compared.brought(given, "shop")
		if got.Verdict != test.want || len(got.Findings) != test.left {
			t.Errorf("%s: %s with %d findings, want %s with %d", name, got.Verdict, len(got.Findings), test.want, test.left)
		}
		compared.imagined = true
		for _, f := range compared.brought(given, "shop").Findings {
			if f.Rule == nothing.Rule {
				t.Errorf("%s: %s is said of an environment that nobody has", name, f.Rule)
			}
		}
	}
}

// What is given takes the place of what lands where it does, whichever of the two
// says the namespace.
func TestMergedByWhereItLands(t *testing.T) {
	t.Parallel()
	for _, test := range [][2]string{{"", ", namespace: shop"}, {", namespace: shop", ""}, {"", ""}, {", namespace: shop", ", namespace: shop"}} {
		there, given := setOf(t, "apiVersion: v1\nkind: Service\nmetadata: {name: a"+test[0]+"}\n"), setOf(t, "apiVersion: v1\nkind: Service\nmetadata: {name: a"+test[1]+"}\n")
		with, err := merged(there, given, "shop")
		if err != nil || with.Len() != 1 {
			t.Errorf("%q: %d objects, %v; want one", test, with.Len(), err)
		}
		if with, err = merged(there, given, "elsewhere"); err != nil || with.Len() != 1 && test[0] == test[1] || with.Len() != 2 && test[0] != test[1] {
			t.Errorf("%q elsewhere: %d objects, %v", test, with.Len(), err)
		}
	}
}

func setOf(t *testing.T, text string) manifest.Set {
	t.Helper()
	objects, err := manifest.Decode("a.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	set, err := manifest.NewSet(objects)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// A finding about an exception leads to the exception, and not to its object.
func TestFindingsAboutExceptionsLeadToTheirFiles(t *testing.T) {
	t.Parallel()
	for flags, want := range map[*checkFlags]string{
		{repoFlags: repoFlags{repo: "."}}:                                           "policies/exceptions/a.yaml",
		{repoFlags: repoFlags{repo: "there"}}:                                       "policies/exceptions/a.yaml",
		{repoFlags: repoFlags{repo: "there"}, policies: "there/x"}:                  "x/exceptions/a.yaml",
		{repoFlags: repoFlags{repo: "there"}, policies: "elsewhere"}:                "elsewhere/exceptions/a.yaml",
		{repoFlags: repoFlags{repo: "https://example.org/x"}, policies: "../rules"}: "../rules/exceptions/a.yaml",
	} {
		report := policy.Report{Findings: []policy.Finding{{Rule: "exception/unused", Source: &policy.Place{File: "exceptions/a.yaml", Line: 7, Exact: true}}}}
		places := between.Places{Bundle: flags.bundleDir()}
		if err := places.Locate(t.Context(), promotion.Environment{}, manifest.Set{}, report.Findings); err != nil {
			t.Fatal(err)
		}
		got := report.Findings[0].Source
		if got.String() != want+":7" {
			t.Errorf("%q: %s, want %s:7", flags.repo, got, want)
		}
	}
}

// Looking for lines ends when somebody presses Ctrl-C, and does not go on for ever.
func TestLocatingFindingsEnds(t *testing.T) {
	t.Parallel()
	objects, err := manifest.Decode("given.yaml", []byte("apiVersion: v1\nkind: Service\nmetadata: {name: given}\n"))
	if err != nil {
		t.Fatal(err)
	}
	given, err := manifest.NewSet(objects)
	if err != nil {
		t.Fatal(err)
	}
	id := policy.ObjectRef{Kind: "Service", Name: "given"}
	findings := slices.Repeat([]policy.Finding{{Object: &id}}, maxLocated+1)
	places := between.Places{Max: maxLocated, Given: []*origin.Trace{origin.OfFile("given.yaml", []byte("apiVersion: v1\nkind: Service\nmetadata: {name: given}\n"))}}
	err = places.Locate(t.Context(), promotion.Environment{}, given, findings)
	if err != nil || findings[maxLocated-1].Source == nil || findings[maxLocated].Source != nil {
		t.Errorf("%v, the last: %+v, %+v", err, findings[maxLocated-1].Source, findings[maxLocated].Source)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := places.Locate(ctx, promotion.Environment{}, given, findings); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}
