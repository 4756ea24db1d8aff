package preview

import (
	"slices"
	"strings"
	"testing"
	"time"

	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/plan"
	"chaperone.dev/chaperone/internal/policy"
	"chaperone.dev/chaperone/internal/promotion"
)

// set decodes manifests.
func set(t *testing.T, yaml string) manifest.Set {
	t.Helper()
	objects, err := manifest.Decode("test.yaml", []byte(yaml))
	if err != nil {
		t.Fatal(err)
	}
	s, err := manifest.NewSet(objects)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

var redact = manifest.NewRedactor([]byte("0123456789abcdef"))

func actions(d Difference) (texts []string) {
	for _, o := range d.Objects {
		texts = append(texts, string(o.Action)+" "+o.ID.String())
	}
	return texts
}

const before = `
{apiVersion: v1, kind: ConfigMap, metadata: {name: kept}}
---
{apiVersion: v1, kind: ConfigMap, metadata: {name: settings-bbbbbbbbbb}, data: {a: "1"}}
---
{apiVersion: v1, kind: Secret, metadata: {name: key}, data: {a: Y2FuYXJ5}}
---
{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: data}, spec: {resources: {requests: {storage: 2Gi}}}}
---
{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: gone}}
---
{apiVersion: v1, kind: Service, metadata: {name: old}}
`

const after = `
{apiVersion: v1, kind: ConfigMap, metadata: {name: kept}}
---
{apiVersion: v1, kind: ConfigMap, metadata: {name: settings-cccccccccc}, data: {a: "2"}}
---
{apiVersion: v1, kind: Secret, metadata: {name: key}, data: {a: b3RoZXI=}}
---
{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: data}, spec: {resources: {requests: {storage: 1Gi}}}}
---
{apiVersion: v1, kind: Service, metadata: {name: new}}
`

// What changes is told object by object; what holds data is let go of and kept;
// what is generated anew is one object; secrets are marks, the same in each process.
func TestCompare(t *testing.T) {
	t.Parallel()
	env := promotion.Environment{Prune: true}
	d, refusal := Compare(env, set(t, before), set(t, after), redact)
	if refusal != nil {
		t.Fatal(refusal)
	}
	got := actions(d)
	slices.Sort(got)
	want := []string{"create Service/new", "delete Service/old", "keep PersistentVolumeClaim/gone", "update ConfigMap/settings-cccccccccc",
		"update PersistentVolumeClaim/data", "update Secret/key"}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	for _, o := range d.Objects {
		switch o.ID.Kind {
		case "Secret":
			if want := "@@ data\n data:\n-  a: <secret value 1>\n+  a: <secret value 2>\n kind: Secret\n"; o.Diff != want {
				t.Errorf("%q, want %q", o.Diff, want)
			}
		case "ConfigMap":
			if o.Was != "settings-bbbbbbbbbb" || o.Diff != "@@ data\n data:\n-  a: \"1\"\n+  a: \"2\"\n kind: ConfigMap\n" {
				t.Errorf("%+v", o)
			}
		}
	}
	if len(d.Irreversible) != 1 || !strings.Contains(d.Irreversible[0], "shrinks from 2Gi to 1Gi") {
		t.Errorf("%q", d.Irreversible)
	}
	again, _ := Compare(env, set(t, before), set(t, after), manifest.NewRedactor([]byte("another salt of 16")))
	for i := range d.Objects {
		if d.Objects[i] != again.Objects[i] {
			t.Errorf("another process says %+v, and this one %+v", again.Objects[i], d.Objects[i])
		}
	}
	if _, refusal := Compare(promotion.Environment{Prune: true, MaxDeletes: 1}, set(t, before), manifest.Set{}, redact); refusal == nil ||
		refusal.Reason != promotion.EmptyRender {
		t.Errorf("an empty render: %v", refusal)
	}
}

// A change that deletes too much is refused as the cluster would refuse it.
func TestCompareGuards(t *testing.T) {
	t.Parallel()
	var all strings.Builder
	for _, name := range strings.Fields("a b c d e f g h") {
		all.WriteString("---\n{apiVersion: v1, kind: ConfigMap, metadata: {name: " + name + "}}\n")
	}
	from, to := set(t, all.String()), set(t, "{apiVersion: v1, kind: ConfigMap, metadata: {name: a}}")
	for _, test := range []struct {
		env  promotion.Environment
		want promotion.Reason
	}{
		{promotion.Environment{Prune: true}, promotion.MassDeletion},
		{promotion.Environment{Prune: true, MaxDeletePart: 1}, ""},
		{promotion.Environment{Prune: true, MaxDeletePart: 1, MaxDeletes: 6}, promotion.MassDeletion},
		{promotion.Environment{}, ""},
	} {
		d, refusal := Compare(test.env, from, to, redact)
		got := promotion.Reason("")
		if refusal != nil {
			got = refusal.Reason
		}
		if got != test.want || len(d.Objects) != 7 {
			t.Errorf("%+v: %q and %d objects, want %q", test.env, got, len(d.Objects), test.want)
		}
		for _, o := range d.Objects {
			if deleted := o.Action == plan.Delete; deleted != test.env.Prune {
				t.Errorf("%+v", o)
			}
		}
	}
}

func found(rule, object, path string, action policy.Action) policy.Finding {
	f := policy.Finding{Rule: rule, Path: path, Action: action, Message: "<redacted 01234567> is weak"}
	if object != "" {
		f.Object = &policy.ObjectRef{APIVersion: "v1", Kind: "ConfigMap", Name: object}
	}
	return f
}

func TestJudge(t *testing.T) {
	t.Parallel()
	deny, warn := policy.ActionDeny, policy.ActionWarn
	for name, test := range map[string]struct {
		before, after         []policy.Finding
		fresh, stands, solved int
	}{
		"nothing":              {},
		"new":                  {nil, []policy.Finding{found("a", "x", "p", deny)}, 1, 0, 0},
		"stands":               {[]policy.Finding{found("a", "x", "p", deny)}, []policy.Finding{found("a", "x", "p", deny)}, 0, 1, 0},
		"solved":               {[]policy.Finding{found("a", "x", "p", deny)}, nil, 0, 0, 1},
		"elsewhere":            {[]policy.Finding{found("a", "x", "p", deny)}, []policy.Finding{found("a", "y", "p", deny)}, 1, 0, 1},
		"another path":         {[]policy.Finding{found("a", "x", "p", deny)}, []policy.Finding{found("a", "x", "q", deny)}, 1, 0, 1},
		"moved in a list":      {[]policy.Finding{found("a", "x", "c[0].p", deny)}, []policy.Finding{found("a", "x", "c[1].p", deny)}, 0, 1, 0},
		"one more in a list":   {[]policy.Finding{found("a", "x", "c[0].p", deny)}, []policy.Finding{found("a", "x", "c[0].p", deny), found("a", "x", "c[1].p", deny)}, 1, 1, 0},
		"warned, stops now":    {[]policy.Finding{found("a", "x", "p", warn)}, []policy.Finding{found("a", "x", "p", deny)}, 1, 0, 1},
		"stopped, warns now":   {[]policy.Finding{found("a", "x", "p", deny)}, []policy.Finding{found("a", "x", "p", warn)}, 0, 1, 0},
		"generated anew":       {[]policy.Finding{found("a", "x-bbbbbbbbbb", "p", deny)}, []policy.Finding{found("a", "x-cccccccccc", "p", deny)}, 0, 1, 0},
		"of the release":       {[]policy.Finding{found("a", "", "", deny)}, []policy.Finding{found("a", "", "", deny)}, 0, 1, 0},
		"twice, and once left": {[]policy.Finding{found("a", "x", "p", deny), found("a", "x", "p", deny)}, []policy.Finding{found("a", "x", "p", deny)}, 0, 1, 1},
	} {
		j := Judge(policy.Report{Findings: test.before}, policy.Report{Findings: test.after, Verdict: policy.VerdictAllow})
		if len(j.New) != test.fresh || len(j.Standing) != test.stands || len(j.Solved) != test.solved {
			t.Errorf("%s: %d new, %d standing, %d solved", name, len(j.New), len(j.Standing), len(j.Solved))
		}
		for _, f := range slices.Concat(j.New, j.Standing, j.Solved) {
			if f.Message != "<secret value> is weak" {
				t.Errorf("%s: %q differs from process to process", name, f.Message)
			}
		}
	}
}

func TestGates(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC) // a Sunday
	staging := promotion.Environment{ID: promotion.ID{Pipeline: "shop", Name: "staging"}, After: []promotion.ID{{Pipeline: "shop", Name: "qa"}, {Pipeline: "shop", Name: "uat"}}}
	with := func(p promotion.Promotion) promotion.Environment { e := staging; e.Promotion = p; return e }
	phi := promotion.Environment{Data: promotion.DataPHI}
	for name, test := range map[string]struct {
		question Question
		want     string
	}{
		"none":      {Question{}, ""},
		"upstream":  {Question{Environment: staging}, "WaitingForUpstream: once verified in qa and uat"},
		"soak":      {Question{Environment: with(promotion.Promotion{Soak: 90 * time.Minute})}, "WaitingForUpstream: once verified in qa and uat for 1h30m"},
		"promotion": {Question{Environment: staging, Effect: Promoted}, "UnverifiedRevision: once verified in qa and uat"},
		"override": {Question{Environment: staging, Effect: Promoted, Override: "fire"},
			"Overridden: once verified in qa and uat, or at once where somebody else merges this override: fire"},
		"later": {Question{Environment: promotion.Environment{Promotion: promotion.Promotion{Approval: promotion.Approval{Required: 2, From: []string{"a", "b"}, NotAuthor: true}}}, Effect: Later},
			"WaitingForPromotion! once a promotion is merged; ApprovalRequired: with 2 approvals from a, b (not by who wrote it)"},
		"irreversible":         {Question{Environment: phi, Irreversible: true}, "IrreversibleUnapproved: with an approval, as it cannot be taken back"},
		"irreversible, no phi": {Question{Irreversible: true}, ""},
		"freeze": {Question{Environment: promotion.Environment{Promotion: promotion.Promotion{Freezes: []promotion.Window{
			{Name: "audit", From: now.Add(-time.Hour), To: now.Add(time.Hour)}, {Name: "later", From: now.Add(2 * time.Hour), To: now.Add(3 * time.Hour)}}}}},
			"Frozen! not before the end of the freeze audit at 2026-11-22 13:00 UTC"},
		"open": {Question{Environment: promotion.Environment{Promotion: promotion.Promotion{Windows: []promotion.Window{{Cron: "0 11 * * *", Duration: 2 * time.Hour}}}}},
			"OutsideWindow: in its windows (one is open now)"},
		"shut": {Question{Environment: promotion.Environment{Promotion: promotion.Promotion{Windows: []promotion.Window{{Cron: "0 9 * * MON", Duration: time.Hour}}}}},
			"OutsideWindow! in its windows (next at 2026-11-23 09:00 UTC)"},
		"never": {Question{Environment: promotion.Environment{Promotion: promotion.Promotion{Windows: []promotion.Window{{From: now.Add(-2 * time.Hour), To: now.Add(-time.Hour)}}}}},
			"OutsideWindow! in its windows (none opens again)"},
		"schedule": {Question{Environment: promotion.Environment{Promotion: promotion.Promotion{Schedule: "0 6 * * *", TimeZone: "Europe/Berlin"}}},
			"WaitingForSchedule: on its schedule 0 6 * * * Europe/Berlin (next at 2026-11-23 05:00 UTC)"},
	} {
		test.question.Now = now
		var got []string
		for _, gate := range test.question.Gates() {
			mark := ": "
			if gate.Closed {
				mark = "! "
			}
			got = append(got, string(gate.Reason)+mark+gate.Text)
		}
		if text := strings.Join(got, "; "); text != test.want {
			t.Errorf("%s: %q, want %q", name, text, test.want)
		}
	}
}
