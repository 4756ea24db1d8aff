package promotion

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"chaperone.dev/chaperone/internal/fault"
	"chaperone.dev/chaperone/internal/strictyaml"
)

const revision = "4f2c4f2c4f2c4f2c4f2c4f2c4f2c4f2c4f2c4f2c"

// complete has every field that this version enforces, and the others as the
// nothing that is allowed.
const complete = `apiVersion: chaperone.dev/v1alpha1
kind: Environment
metadata:
  name: production
spec:
  path: overlays/novamind/production
  after: [staging]
  revision: ` + revision + `
  data: anonymized
  target:
    kubeconfig: prod-cluster
    namespace: novamind
    previous: leave
    serviceAccount: deployer
    allow: ["namespace:shared", ClusterRole.rbac.authorization.k8s.io/novamind-viewer, Namespace/novamind]
  promotion:
    mode: pull-request
    schedule: ""
    timeZone: Europe/Berlin
    soak: 30m
    windows:
    - {name: evenings, cron: "0 22 * * MON-FRI", duration: 6h}
    - {cron: "@monthly", duration: 1d, timeZone: Etc/GMT+5}
    freezes:
    - {name: turn of the year, from: 2026-12-20, to: 2027-01-02T06:30}
    - {from: "2026-08-01T00:00:00Z", to: 2026-08-02T00:00:30, timeZone: UTC}
    approval: {from: [release-managers, alex@example.org], notAuthor: true}
  access: [operations]
  governance:
    owner: platform@example.org
    recovery: {rto: 4h, rpo: 1h}
    audit: {sink: elasticsearch, retention: 2190d, runtimeSensor: falco}
    backup:
      full: "0 3 * * *"
      incremental: "@hourly"
      retention: 30d
      location: us-west-2
      replica: us-east-1
      encrypted: true
      pointInTime: wal-g
      restoreTested: 2026-01-31
    deidentification: {method: expert-determination, by: Dr. A. Example, date: 2026-01-31}
  prune: false
  drift: report
  maxDeletePart: 25%
  maxDeletes: 7
  protect: [StatefulSet.apps, ConfigMap/settings]
  adopt: [kubectl, other]
  ignoreDrift:
  - {kind: Deployment.apps, name: api, fields: ["spec.template.spec.containers[name=api].image", spec.replicas], managers: [scaler]}
  - {managers: [mesh]}
  apply: {timeout: 5m}
  maxRevertsPerDay: 0
  formerly: [novamind/live, crohns/novamind-production]
  verify:
    timeout: 5m
    settle: 0s
    http:
    - name: readiness
      service: api
      port: 8000
      path: /readyz?full=1
      method: POST
      headers: {Accept: application/json}
      expect: {status: [200, 204], body: ok}
      count: 12
      interval: 5s
      timeout: 2s
      failures: 1%
    - {name: front, url: "https://novamind.example.org/", expect: {status: 301}, failures: 0.01}
    - name: each
      service: api
      port: 80
      count: 20
      expect: {json: [{path: .status, equals: 1}]}
      latency: {under: 500ms}
      endpoints: each
    - {name: secure, url: "https://novamind.example.org/", certificate: {validFor: 14d}}
    health:
    - {kind: Widget.example.org, ready: self.status.ready, failed: "self.status.phase == 'Broken'"}
    restarts: {max: 0, oomKills: 1}
    jobs:
    - {name: smoke, cronJob: smoke-test, timeout: 5m, retries: 1, logs: 0}
    - {name: more, cronJob: smoke-test}
    prometheus: https://prometheus.example.org
    metrics:
    - {name: errors, preset: error-rate, selector: 'job="api"', control: {selector: 'job!="api"'}, for: 20m, every: 1m, max: 1%, failures: 10%}
    - name: latency
      prometheus: http://other:9090
      query: sum(rate(x[5m:1m])) / sum(rate(y[1m]))
      for: 100m
      every: 6m
      min: 0.1
      samples: 12
      stale: 10m
      control: {query: sum(z)}
      baseline: {from: periods, period: 24h, periods: 2, ratio: 2, significance: 0.001, floor: 0.05, worse: lower}
    watch: {for: 24h, every: 10m, revertWithin: 2h}
  onFailure: hold
`

func TestLoadReadsEveryField(t *testing.T) {
	t.Parallel()
	set, err := Load(tree(map[string]string{"novamind/production.yaml": complete, "novamind/staging.yaml": ""}))
	if err != nil || len(set.Faults) != 0 {
		t.Fatal(err, set.Faults)
	}
	want := Environment{
		ID: ID{"novamind", "production"}, File: "environments/novamind/production.yaml", Path: "overlays/novamind/production",
		After: []ID{{"novamind", "staging"}}, Revision: revision, Data: DataAnonymized,
		Target: Target{Kubeconfig: "prod-cluster", Namespace: "novamind", ServiceAccount: "deployer", Allow: []Allowance{
			{Namespace: "shared"}, {Group: "rbac.authorization.k8s.io", Kind: "ClusterRole", Name: "novamind-viewer"},
			{Kind: "Namespace", Name: "novamind"}}, Leave: true},
		Promotion: Promotion{Mode: ModePullRequest, TimeZone: "Europe/Berlin", Soak: 30 * time.Minute,
			Windows: []Window{{Name: "evenings", Cron: "0 22 * * MON-FRI", Duration: 6 * time.Hour, TimeZone: "Europe/Berlin"},
				{Cron: "@monthly", Duration: 24 * time.Hour, TimeZone: "Etc/GMT+5"}},
			Freezes: []Window{
				{Name: "turn of the year", TimeZone: "Europe/Berlin", From: utc("2026-12-19T23:00:00"), To: utc("2027-01-02T05:30:00")},
				{TimeZone: "UTC", From: utc("2026-08-01T00:00:00"), To: utc("2026-08-02T00:00:30")}},
			Approval: Approval{Required: 1, From: []string{"release-managers", "alex@example.org"}, NotAuthor: true}},
		Formerly: []ID{{"novamind", "live"}, {"crohns", "novamind-production"}}, Access: []string{"operations"},
		Governance: Governance{Owner: "platform@example.org", RTO: 4 * time.Hour, RPO: time.Hour, AuditSink: "elasticsearch",
			AuditRetention: 2190 * 24 * time.Hour,
			RuntimeSensor:  "falco",
			Backup: &Backup{Full: "0 3 * * *", Incremental: "@hourly", Retention: 30 * 24 * time.Hour, Location: "us-west-2",
				Replica: "us-east-1", Encrypted: true, PointInTime: "wal-g", RestoreTested: "2026-01-31"},
			Deidentification: &Deidentification{Method: "expert-determination", By: "Dr. A. Example", Date: "2026-01-31"}},
		Drift: DriftReport, MaxDeletePart: 0.25, OnFailure: FailureHold, MaxDeletes: 7, ApplyTimeout: 5 * time.Minute,
		Protect: []Protection{{Group: "apps", Kind: "StatefulSet"}, {Kind: "ConfigMap", Name: "settings"}},
		Adopt:   []Tool{ToolKubectl, ToolOther},
		IgnoreDrift: []Ignore{{Group: "apps", Kind: "Deployment", Name: "api", Managers: []string{"scaler"},
			Fields: []string{"spec.template.spec.containers[name=api].image", "spec.replicas"}}, {Managers: []string{"mesh"}}},
		Verify: Verify{Timeout: 5 * time.Minute, HTTP: []HTTPCheck{
			{Name: "readiness", Service: "api", Port: 8000, Path: "/readyz?full=1", Method: "POST",
				Headers: map[string]string{"Accept": "application/json"}, Status: []int{200, 204}, Body: "ok", Count: 12,
				Interval: 5 * time.Second, Timeout: 2 * time.Second, Failures: 0.01},
			{Name: "front", URL: "https://novamind.example.org/", Path: "/", Method: "GET", Status: []int{301}, Count: DefaultCount,
				Interval: DefaultInterval, Timeout: DefaultTimeout, Failures: 0.01},
			{Name: "each", Service: "api", Port: 80, Path: "/", Method: "GET", Status: []int{200}, Count: 20,
				Interval: DefaultInterval, Timeout: DefaultTimeout, Each: true, JSON: []JSONValue{{Path: ".status", Equals: "1"}},
				Latency: &Latency{Percentile: 95, Under: 500 * time.Millisecond}},
			{Name: "secure", URL: "https://novamind.example.org/", Path: "/", Method: "GET", Status: []int{200}, Count: DefaultCount,
				Interval: DefaultInterval, Timeout: DefaultTimeout, Certificate: 14 * 24 * time.Hour}},
			Health:   []HealthRule{{Group: "example.org", Kind: "Widget", Ready: "self.status.ready", Failed: "self.status.phase == 'Broken'"}},
			Restarts: Restarts{OOMKills: 1, Written: true},
			Jobs: []JobCheck{{Name: "smoke", CronJob: "smoke-test", Timeout: 5 * time.Minute, Retries: 1},
				{Name: "more", CronJob: "smoke-test", Timeout: DefaultJobTimeout, Logs: DefaultLogs}}, Metrics: []MetricCheck{
				{Name: "errors", Prometheus: "https://prometheus.example.org",
					Query:   `(sum(rate(http_requests_total{job="api",code=~"5.."}[1m])) or vector(0)) / sum(rate(http_requests_total{job="api"}[1m]))`,
					Control: `(sum(rate(http_requests_total{job!="api",code=~"5.."}[1m])) or vector(0)) / sum(rate(http_requests_total{job!="api"}[1m]))`,
					Range:   time.Minute, For: 20 * time.Minute, Every: time.Minute, Stale: DefaultStale, Max: number(0.01), Failures: 0.1, Samples: 18},
				{Name: "latency", Prometheus: "http://other:9090", Query: "sum(rate(x[5m:1m])) / sum(rate(y[1m]))", Control: "sum(z)",
					Range: 5 * time.Minute, For: 100 * time.Minute, Every: 6 * time.Minute, Stale: 10 * time.Minute, Min: number(0.1), Samples: 12,
					Baseline: &Baseline{From: BaselinePeriods, Period: 24 * time.Hour, Periods: 2, By: CompareRank, Ratio: 2, Significance: 0.001,
						Floor: number(0.05), Worse: WorseLower}}},
			Watch: Watch{For: 24 * time.Hour, Every: 10 * time.Minute, RevertWithin: 2 * time.Hour}},
	}
	if got := set.Environments[want.ID]; !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func number(x float64) *float64 { return &x }

func TestLoadFillsInDefaults(t *testing.T) {
	t.Parallel()
	set, err := Load(tree(map[string]string{"novamind/staging.yaml": ""}))
	if err != nil {
		t.Fatal(err)
	}
	want := Environment{
		ID: ID{"novamind", "staging"}, File: "environments/novamind/staging.yaml", Path: "overlays/novamind/staging",
		Data: DataNone, Target: Target{Namespace: "novamind"}, Promotion: Promotion{Mode: ModeAutomatic}, Prune: true,
		Drift: DriftCorrect, OnFailure: FailureRevert, MaxDeletePart: 0.5, MaxRevertsPerDay: 3,
		MaxDeletes: 100, ApplyTimeout: 30 * time.Minute,
		Verify: Verify{Timeout: 10 * time.Minute, Settle: time.Minute, Restarts: Restarts{Max: DefaultRestarts}},
	}
	if got := set.Environments[want.ID]; !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func utc(text string) time.Time {
	t, err := time.Parse("2006-01-02T15:04:05", text)
	if err != nil {
		panic(err)
	}
	return t
}

// What is stored of an environment is what its file said, times included.
func TestEnvironmentIsStoredAsJSON(t *testing.T) {
	t.Parallel()
	for _, content := range []string{complete, strings.Replace(valid, "NAME", "production", 1)} {
		d, err := decode(ID{"novamind", "production"}, "f.yaml", []byte(content), false)
		if err != nil {
			t.Fatal(err)
		}
		encoded, err := json.Marshal(d.Environment)
		if err != nil {
			t.Fatal(err)
		}
		var got Environment
		if err := json.Unmarshal(encoded, &got); err != nil || !reflect.DeepEqual(got, d.Environment) {
			t.Errorf("got  %+v, %v\nwant %+v", got, err, d.Environment)
		}
		if _, err := CalendarOf(got.Promotion); err != nil {
			t.Error(err)
		}
	}
}

// A hash may look like a number to YAML; it is a hash all the same.
func TestRevisionThatLooksLikeANumber(t *testing.T) {
	t.Parallel()
	for _, hash := range []string{strings.Repeat("1", 40), "1" + strings.Repeat("0", 36) + "e12", "0" + strings.Repeat("7", 39)} {
		content := strings.Replace(complete, revision, hash, 1)
		set, err := Load(tree(map[string]string{"novamind/production.yaml": content, "novamind/staging.yaml": ""}))
		if err != nil || string(set.Environments[ID{"novamind", "production"}].Revision) != hash {
			t.Errorf("%s: got %v, %v", hash, set, err)
		}
	}
}

// Pitfall 1: what cannot be read is never taken for empty.
func TestLoadNeverTakesTheUnreadableForEmpty(t *testing.T) {
	t.Parallel()
	for name, fsys := range map[string]fs.FS{
		"no directory": fstest.MapFS{"base/a.yaml": {}},
		"no pipeline":  fstest.MapFS{"environments/README.md": {}},
		"no file":      fstest.MapFS{"environments/novamind/README.md": {}, "environments/novamind/.gitkeep": {}},
		"only misplaced": fstest.MapFS{"environments/production.yaml": {}, "environments/novamind/production.yml": {},
			"environments/novamind/eu/production.yaml": {}},
	} {
		set, err := Load(fsys)
		if !errors.Is(err, ErrNoEnvironments) || !fault.IsTerminal(err) || len(set.IDs()) != 0 {
			t.Errorf("%s: got %v, %v, want ErrNoEnvironments", name, set, err)
		}
	}
	for _, broken := range []string{"environments", "environments/novamind", "environments/novamind/staging.yaml"} {
		_, err := Load(failing{tree(map[string]string{"novamind/staging.yaml": "", "crohns/staging.yaml": ""}), broken})
		if !errors.Is(err, errDisk) || errors.Is(err, ErrNoEnvironments) || fault.IsTerminal(err) || !strings.Contains(err.Error(), broken) {
			t.Errorf("%s: got %v, want the disk's error and the name", broken, err)
		}
	}
}

var errDisk = errors.New("object database is corrupt")

// failing is a tree of which one name cannot be opened.
type failing struct {
	fs.FS
	name string
}

func (f failing) Open(name string) (fs.File, error) {
	if name == f.name {
		return nil, &fs.PathError{Op: "open", Path: name, Err: errDisk}
	}
	return f.FS.Open(name)
}

func TestLoadBoundsNamesFilesAndSizes(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("a", 40)
	fsys := tree(map[string]string{
		"novamind/Production.yaml": "", "novamind/two words.yaml": "", "Nova_Mind/staging.yaml": "", "novamind/.hidden.yaml": "",
		long + "/" + long + ".yaml": "", "novamind/-.yaml": "", "novamind/large.yaml": strings.Repeat("#", strictyaml.MaxBytes+1),
		"novamind/staging.yaml": "",
	})
	fsys["environments/novamind/link.yaml"] = &fstest.MapFile{Data: []byte("staging.yaml"), Mode: fs.ModeSymlink}
	set, err := Load(fsys)
	if err != nil || len(set.Environments) != 1 || len(set.Faults) != 7 {
		t.Fatalf("got %v, %v, want one environment and seven faults", set, err)
	}
	for id, f := range set.Faults {
		if f.Reason != InvalidEnvironment || !strings.Contains(f.Err.Error(), "environments/"+id.String()+".yaml: ") ||
			!strings.Contains(f.Err.Error(), "want") {
			t.Errorf("%s: got %s: %v", id, f.Reason, f.Err)
		}
	}
	many := map[string]string{}
	for i := range MaxFiles + 1 {
		many[fmt.Sprintf("novamind/e%d.yaml", i)] = ""
	}
	if _, err := Load(tree(many)); !fault.IsTerminal(err) || !strings.Contains(err.Error(), "more than 10000 environment files") {
		t.Errorf("one file too many: got %v", err)
	}
}

func TestLoadTellsOfMisplacedFiles(t *testing.T) {
	t.Parallel()
	fsys := tree(map[string]string{"novamind/staging.yaml": "", "production.yaml": "", "novamind/production.yml": "", "novamind/eu/a.yaml": "",
		"novamind/evidence/scan.json": ""}) // the last is where it belongs
	fsys["environments/elsewhere"] = &fstest.MapFile{Mode: fs.ModeSymlink}
	set, err := Load(fsys)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, misplaced := range set.Misplaced {
		got = append(got, misplaced.Error())
	}
	want := []string{
		"environments/elsewhere: want it in the directory of its pipeline, environments/<pipeline>/elsewhere.yaml",
		"environments/novamind/eu: directories below a pipeline are not read; want environments/novamind/<name>.yaml",
		"environments/novamind/production.yml: want it named production.yaml",
		"environments/production.yaml: want it in the directory of its pipeline, environments/<pipeline>/production.yaml",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestAllowanceIsReadBack(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"namespace:shared", "Namespace/novamind", "ClusterRole.rbac.authorization.k8s.io/system:viewer"} {
		if a, err := ParseAllowance(text); err != nil || a.String() != text {
			t.Errorf("%s: got %+v, %v", text, a, err)
		}
	}
}

// The sample of this repository is what people copy from.
func TestSampleEnvironmentsAreValid(t *testing.T) {
	t.Parallel()
	set, err := Load(os.DirFS("../.."))
	if err != nil {
		t.Fatal(err)
	}
	for id, f := range set.Faults {
		t.Errorf("%s: %s: %v", id, f.Reason, f.Err)
	}
	for _, err := range set.Misplaced {
		t.Error(err)
	}
	for pipeline, want := range map[string]string{
		"crohns":   "[crohns/development crohns/integration crohns/staging crohns/production]",
		"novamind": "[novamind/development novamind/testing novamind/staging novamind/production]",
	} {
		if got := fmt.Sprint(set.Order(pipeline)); got != want {
			t.Errorf("%s passes %s, want %s", pipeline, got, want)
		}
	}
}

// So is what the documentation shows.
func TestDocumentedEnvironmentsAreValid(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../environments/README.md")
	if err != nil {
		t.Fatal(err)
	}
	examples := strings.Split(string(page), "```yaml\n")[1:]
	if len(examples) < 2 {
		t.Errorf("found %d examples, want more", len(examples))
	}
	for i, example := range examples {
		content, _, _ := strings.Cut(example, "```")
		if fields, isPart := strings.CutPrefix(content, "spec:\n"); isPart {
			content = "apiVersion: chaperone.dev/v1alpha1\nkind: Environment\nmetadata: {name: production}\n" +
				"spec:\n  after: [staging]\n  data: none\n  target: {namespace: novamind}\n" + fields
		}
		set, err := Load(tree(map[string]string{"novamind/production.yaml": content, "novamind/staging.yaml": ""}))
		if err != nil || len(set.Faults) != 0 || len(set.Environments) != 2 {
			t.Errorf("example %d: %v, %v", i, err, set.Faults)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(complete))
	f.Add([]byte(strings.Replace(valid, "NAME", "production", 1)))
	fixtures, err := fs.Glob(os.DirFS("testdata"), "environment.*.yaml")
	if err != nil {
		f.Fatal(err)
	}
	for _, fixture := range fixtures {
		content, err := os.ReadFile("testdata/" + fixture)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(content)
	}
	id := ID{"novamind", "production"}
	f.Fuzz(func(t *testing.T, content []byte) {
		d, err := decode(id, "f.yaml", content, false)
		if err != nil {
			return
		}
		// What is valid keeps the promises that others build on.
		e := d.Environment
		if e.ID != id || !fs.ValidPath(e.Path) || checkLabel(e.Target.Namespace) != nil || len(d.after) != len(e.After) ||
			e.MaxDeletePart <= 0 || e.MaxDeletePart > 1 || e.Verify.Timeout <= 0 || len(d.formerly) != len(e.Formerly) ||
			e.MaxRevertsPerDay < 0 || slices.Contains(e.Formerly, id) {
			t.Fatalf("%q: got %+v", content, e)
		}
		checkPromotion(t, e)
		encoded, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		var back Environment
		if err := json.Unmarshal(encoded, &back); err != nil {
			t.Fatalf("%s: %v", encoded, err)
		}
		for _, check := range e.Verify.HTTP {
			if (check.URL == "") == (check.Service == "") || check.Failures < 0 || check.Failures >= 1 || check.Count < 1 {
				t.Fatalf("%q: got %+v", content, check)
			}
		}
	})
}

// checkPromotion holds a valid file to what the gates rely on.
func checkPromotion(t *testing.T, e Environment) {
	t.Helper()
	p := e.Promotion
	calendar, err := CalendarOf(p)
	if err != nil {
		t.Fatalf("%+v: %v", p, err)
	}
	now := utc("2026-11-22T12:00:00")
	last, next, scheduled := calendar.Fired(now)
	if scheduled != (p.Mode == ModeSchedule) || scheduled && (last.After(now) || !next.After(now)) {
		t.Fatalf("%+v: fired %s, %s, %v", p, last, next, scheduled)
	}
	if until, frozen := calendar.Frozen(now); frozen && (!until.After(now) || len(p.Freezes) == 0) {
		t.Fatalf("%+v: frozen until %s", p, until)
	}
	if next, open := calendar.Open(now); !next.IsZero() && (open || !next.After(now)) || len(p.Windows) == 0 && !open {
		t.Fatalf("%+v: opens at %s, %v", p, next, open)
	}
	asked := len(p.Approval.From) > 0 || p.Approval.NotAuthor
	if p.Approval.Required < 0 || p.Approval.Required > 5 || asked && p.Approval.Required == 0 || p.Approval.Required > 0 && !e.Pinned() {
		t.Fatalf("%+v: got %+v", p, e)
	}
}
