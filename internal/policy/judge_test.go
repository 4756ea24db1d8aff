package policy

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"chaperone.dev/chaperone/internal/promotion"
)

var (
	now    = time.Date(2026, 5, 20, 12, 0, 0, 0, time.UTC)
	apiRef = ObjectRef{APIVersion: "apps/v1", Kind: "Deployment", Namespace: "novamind", Name: "api"}
	dbRef  = ObjectRef{APIVersion: "apps/v1", Kind: "StatefulSet", Namespace: "novamind", Name: "db"}
)

func rule(id string, severity Severity) Rule {
	return Rule{ID: id, Title: "title of " + id, Severity: severity, Waivable: true,
		Data: []promotion.Data{promotion.DataSynthetic, promotion.DataAnonymized, promotion.DataPHI}}
}

func inputFor(data promotion.Data) Input {
	id := promotion.ID{Pipeline: "novamind", Name: "staging"}
	return Input{Environment: Environment{ID: id, Data: data, Target: Target{Namespace: "novamind"}}, Now: now}
}

func denied(id string, object *ObjectRef) Result {
	return Result{Rule: id, Action: ActionDeny, Object: object, Message: "broken"}
}

func TestSeverityThatStopsDependsOnTheData(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		data     promotion.Data
		severity Severity
		want     Verdict
	}{
		{promotion.DataNone, SeverityCritical, VerdictDeny},
		{promotion.DataNone, SeverityHigh, VerdictAllow},
		{promotion.DataSynthetic, SeverityCritical, VerdictDeny},
		{promotion.DataSynthetic, SeverityHigh, VerdictAllow},
		{promotion.DataAnonymized, SeverityHigh, VerdictDeny},
		{promotion.DataAnonymized, SeverityMedium, VerdictAllow},
		{promotion.DataPHI, SeverityMedium, VerdictDeny},
		{promotion.DataPHI, SeverityLow, VerdictAllow},
		{"something-new", SeverityMedium, VerdictDeny}, // unknown data is taken for the most protected
	} {
		basis := Basis{Rules: []Rule{rule("pod/a", test.severity)}}
		report := Judge(inputFor(test.data), basis, []Result{denied("pod/a", &apiRef)}, nil)
		if report.Verdict != test.want {
			t.Errorf("%s finding with %s data: %s, want %s", test.severity, test.data, report.Verdict, test.want)
		}
		wantAction := ActionWarn
		if test.want == VerdictDeny {
			wantAction = ActionDeny
		}
		if len(report.Findings) != 1 || report.Findings[0].Action != wantAction {
			t.Errorf("%s finding with %s data: %+v, want one of action %s", test.severity, test.data, report.Findings, wantAction)
		}
	}
}

func TestOnlyDenyStops(t *testing.T) {
	t.Parallel()
	basis := Basis{Rules: []Rule{rule("pod/a", SeverityCritical)}}
	for _, action := range []Action{ActionWarn, ActionAudit} {
		report := Judge(inputFor(promotion.DataPHI), basis, []Result{{Rule: "pod/a", Action: action, Object: &apiRef, Message: "m"}}, nil)
		if report.Verdict != VerdictAllow || report.Findings[0].Action != action {
			t.Errorf("%s: %+v, want it reported and allowed", action, report)
		}
	}
}

func TestErrorIsNeverAllow(t *testing.T) {
	t.Parallel()
	basis := Basis{Rules: []Rule{rule("pod/a", SeverityCritical)}}
	for name, report := range map[string]Report{
		"one rule":         Judge(inputFor(promotion.DataPHI), basis, nil, []RuleError{{Rule: "pod/a", Message: "conflict"}}),
		"all rules":        Judge(inputFor(promotion.DataPHI), basis, nil, []RuleError{{Message: "too large"}}),
		"beside a denial":  Judge(inputFor(promotion.DataPHI), basis, []Result{denied("pod/a", nil)}, []RuleError{{Message: "late"}}),
		"unknown rule":     Judge(inputFor(promotion.DataPHI), basis, []Result{denied("pod/z", nil)}, nil),
		"with synthetic":   Judge(inputFor(promotion.DataSynthetic), basis, nil, []RuleError{{Rule: "pod/a", Message: "conflict"}}),
		"of an audit rule": Judge(inputFor(promotion.DataNone), basis, nil, []RuleError{{Rule: "pod/a", Message: "conflict"}}),
	} {
		if report.Verdict != VerdictError {
			t.Errorf("%s: verdict %s, want %s", name, report.Verdict, VerdictError)
		}
	}
}

func exception(change func(*Exception)) Exception {
	e := Exception{
		Name: "legacy", File: "exceptions/legacy.yaml", Line: 6, Rule: "pod/a",
		Environments: []promotion.ID{{Pipeline: "novamind", Name: "staging"}}, Objects: []ObjectRef{apiRef},
		Reason: "r", Ticket: "T-1", Owner: "o", Requester: "q", ApprovedBy: []string{"p"},
		Expires: now.Add(30 * 24 * time.Hour), expiresText: "later",
	}
	if change != nil {
		change(&e)
	}
	return e
}

func TestExceptions(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name    string
		change  func(*Exception)
		object  *ObjectRef
		want    Verdict
		finding string // about the exception itself
	}{
		{"in force", nil, &apiRef, VerdictAllow, ""},
		{"another version of the API", func(e *Exception) { e.Objects[0].APIVersion = "apps/v1beta2" }, &apiRef, VerdictAllow, ""},
		{"another group", func(e *Exception) { e.Objects[0].APIVersion = "example.org/v1" }, &apiRef, VerdictDeny, "exception/unused"},
		{"no namespace, where it lands", func(e *Exception) { e.Objects[0].Namespace = "" }, &apiRef, VerdictAllow, ""},
		{"another namespace", func(e *Exception) { e.Objects[0].Namespace = "elsewhere" }, &apiRef, VerdictDeny, "exception/unused"},
		{"rendered without a namespace", nil, &ObjectRef{APIVersion: "apps/v1", Kind: "Deployment", Name: "api"}, VerdictAllow, ""},
		{"another object", nil, &dbRef, VerdictDeny, "exception/unused"},
		{"no object", nil, nil, VerdictDeny, "exception/unused"},
		{"another rule", func(e *Exception) { e.Rule = "pod/b" }, &apiRef, VerdictDeny, "exception/unused"},
		{"another environment", func(e *Exception) { e.Environments[0].Name = "production" }, &apiRef, VerdictDeny, ""},
		{"another pipeline", func(e *Exception) { e.Environments[0].Pipeline = "crohns" }, &apiRef, VerdictDeny, ""},
		{"of tomorrow", func(e *Exception) { e.Requested = now.Add(time.Hour) }, &apiRef, VerdictDeny, "exception/not-yet"},
		{"last moment", func(e *Exception) { e.Expires = now.Add(time.Nanosecond) }, &apiRef, VerdictAllow, "exception/expires-soon"},
		{"expired this moment", func(e *Exception) { e.Expires = now }, &apiRef, VerdictDeny, "exception/expired"},
		{"expired long ago", func(e *Exception) { e.Expires = now.AddDate(-1, 0, 0) }, &apiRef, VerdictDeny, "exception/expired"},
		{"never set", func(e *Exception) { e.Expires = time.Time{} }, &apiRef, VerdictDeny, "exception/expired"},
		{"a week ahead", func(e *Exception) { e.Expires = now.Add(expiresSoon) }, &apiRef, VerdictAllow, "exception/expires-soon"},
		{"too far ahead", func(e *Exception) { e.Expires = now.AddDate(1, 0, 0) }, &apiRef, VerdictDeny, "exception/too-long"},
	} {
		basis := Basis{Rules: []Rule{rule("pod/a", SeverityCritical), rule("pod/b", SeverityCritical)},
			Exceptions: []Exception{exception(test.change)}}
		report := Judge(inputFor(promotion.DataPHI), basis, []Result{denied("pod/a", test.object)}, nil)
		if report.Verdict != test.want {
			t.Errorf("%s: verdict %s, want %s", test.name, report.Verdict, test.want)
		}
		excepted := report.Findings[0].Exception != nil
		if report.Findings[0].Rule != "pod/a" || report.Findings[0].Action != ActionDeny || excepted != (test.want == VerdictAllow) {
			t.Errorf("%s: first finding %+v; want the denial, reported whether waived or not", test.name, report.Findings[0])
		}
		about := ""
		if len(report.Findings) > 1 {
			about = report.Findings[1].Rule
			if place := report.Findings[1].Source; place == nil || place.String() != "exceptions/legacy.yaml:6" {
				t.Errorf("%s: the finding leads to %v; want the exception's own file", test.name, place)
			}
		}
		if about != test.finding {
			t.Errorf("%s: finding about the exception %q, want %q", test.name, about, test.finding)
		}
	}
}

func TestRuleThatIsNotWaivable(t *testing.T) {
	t.Parallel()
	strict := rule("pod/a", SeverityCritical)
	strict.Waivable = false
	report := Judge(inputFor(promotion.DataPHI), Basis{Rules: []Rule{strict}, Exceptions: []Exception{exception(nil)}},
		[]Result{denied("pod/a", &apiRef)}, nil)
	if report.Verdict != VerdictDeny {
		t.Errorf("verdict %s, want deny", report.Verdict)
	}
}

// A rule that could not be asked says nothing of whether its exceptions are needed.
func TestExceptionOfARuleThatErredIsNotCalledUnused(t *testing.T) {
	t.Parallel()
	basis := Basis{Rules: []Rule{rule("pod/a", SeverityCritical)}, Exceptions: []Exception{exception(nil)}}
	for _, failed := range []string{"pod/a", ""} {
		report := Judge(inputFor(promotion.DataPHI), basis, nil, []RuleError{{Rule: failed, Message: "m"}})
		if len(report.Findings) != 0 {
			t.Errorf("rule %q erred: findings %+v, want none", failed, report.Findings)
		}
	}
	if report := Judge(inputFor(promotion.DataPHI), basis, nil, nil); len(report.Findings) != 1 {
		t.Errorf("no error: findings %+v, want the unused exception", report.Findings)
	}
}

func TestReportDoesNotDependOnTheOrderOfResults(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		ids := []string{"pod/a", "pod/b", "image/c"}
		basis := Basis{Exceptions: []Exception{exception(nil)}}
		for i, id := range ids {
			basis.Rules = append(basis.Rules, rule(id, severities[i]))
		}
		result := rapid.Custom(func(t *rapid.T) Result {
			return Result{
				Rule: rapid.SampledFrom(ids).Draw(t, "rule"), Action: rapid.SampledFrom(actions).Draw(t, "action"),
				Object: rapid.SampledFrom([]*ObjectRef{nil, &apiRef, &dbRef}).Draw(t, "object"),
				Path:   rapid.SampledFrom([]string{"", "spec.a", "spec.b"}).Draw(t, "path"), Message: rapid.StringN(1, 3, 3).Draw(t, "message"),
			}
		})
		results := rapid.SliceOfN(result, 0, 12).Draw(t, "results")
		data := rapid.SampledFrom([]promotion.Data{promotion.DataSynthetic, promotion.DataAnonymized, promotion.DataPHI}).Draw(t, "data")
		want, err := json.Marshal(Judge(inputFor(data), basis, results, nil))
		if err != nil {
			t.Fatal(err)
		}
		shuffled := rapid.Permutation(results).Draw(t, "shuffled")
		got, _ := json.Marshal(Judge(inputFor(data), basis, append(shuffled, shuffled...), nil))
		if string(got) != string(want) {
			t.Fatalf("another order, each twice:\n%s\nwant\n%s", got, want)
		}
	})
}

func TestReportJSON(t *testing.T) {
	t.Parallel()
	r := rule("pod/a", SeverityHigh)
	r.HIPAA, r.Controls = []HIPAA{{Cite: "164.312(a)(1)", Why: "w"}}, []string{"PSS restricted"}
	in := inputFor(promotion.DataPHI)
	in.Release = Release{Revision: "4f2c", Digest: "sha256:1"}
	report := Judge(in, Basis{Rules: []Rule{r}, Digest: "sha256:2"}, []Result{
		{Rule: "pod/a", Action: ActionDeny, Object: &apiRef, Path: "spec.x", Message: "m"},
	}, nil)
	got, err := json.Marshal(report)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"environment":"novamind/staging","revision":"4f2c","digest":"sha256:1","policyDigest":"sha256:2","verdict":"deny",` +
		`"findings":[{"rule":"pod/a","title":"title of pod/a","severity":"high","action":"deny",` +
		`"object":{"apiVersion":"apps/v1","kind":"Deployment","namespace":"novamind","name":"api"},` +
		`"path":"spec.x","message":"m","citations":["45 CFR 164.312(a)(1)","PSS restricted"],"exception":null}]}`
	if string(got) != want {
		t.Errorf("report\n%s\nwant\n%s", got, want)
	}
	empty, _ := json.Marshal(Judge(in, Basis{}, nil, nil))
	if want := `"verdict":"allow","findings":[]}`; fmt.Sprintf("%s", empty)[len(empty)-len(want):] != want {
		t.Errorf("report without findings %s; want it to end in %s", empty, want)
	}
}
