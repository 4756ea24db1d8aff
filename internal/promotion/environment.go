// Package promotion holds the environments of a source, as their files say, the
// order in which a change passes through them, and the times at which it may. It
// guarantees that an Environment in a Set is valid, its defaults filled in, and
// that the pipelines it belongs to are directed graphs without cycles; a file
// that is not, stops that environment (or that pipeline) and no other. A Calendar
// answers for a time that it is given and reads no clock.
package promotion

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"chaperone.dev/chaperone/internal/source"
)

// ID names an environment: pipeline and name.
type ID struct {
	Pipeline string
	Name     string
}

func (id ID) String() string { return id.Pipeline + "/" + id.Name }

// MarshalText makes an ID a map key and a string in JSON.
func (id ID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (id *ID) UnmarshalText(text []byte) error {
	parsed, err := ParseID(string(text))
	*id = parsed
	return err
}

// ParseID reads "pipeline/name".
func ParseID(s string) (ID, error) {
	pipeline, name, found := strings.Cut(s, "/")
	if !found || pipeline == "" || name == "" || strings.Contains(name, "/") {
		return ID{}, fmt.Errorf("environment %q: want pipeline/name, such as novamind/production", s)
	}
	return ID{Pipeline: pipeline, Name: name}, nil
}

// Compare orders IDs for stable output.
func (id ID) Compare(other ID) int {
	if c := strings.Compare(id.Pipeline, other.Pipeline); c != 0 {
		return c
	}
	return strings.Compare(id.Name, other.Name)
}

// Data says what an environment holds; policies depend on it.
type Data string

// The data classes, least protected first.
const (
	DataNone       Data = "none"
	DataSynthetic  Data = "synthetic"
	DataAnonymized Data = "anonymized"
	DataPHI        Data = "phi"
)

// Mode is how a change enters an environment.
type Mode string

// The modes of promotion.
const (
	ModeAutomatic   Mode = "automatic"
	ModePullRequest Mode = "pull-request"
	ModeSchedule    Mode = "schedule"
)

// OnFailure is what follows a failed verification once last good is restored.
type OnFailure string

// The two answers to a failed verification.
const (
	FailureRevert OnFailure = "revert"
	FailureHold   OnFailure = "hold"
)

// Drift is what follows when owned fields were changed on the cluster.
type Drift string

// The two answers to drift.
const (
	DriftCorrect Drift = "correct"
	DriftReport  Drift = "report"
)

// Environment is one stop on the way to production, as its file at the
// branch's head says, with defaults filled in (design.md §2).
type Environment struct {
	ID            ID
	File          string          // environments/<pipeline>/<name>.yaml
	Path          string          // directory to build; default overlays/<pipeline>/<name>
	After         []ID            // verified there first; same pipeline
	Revision      source.Revision // pinned; "" follows the branch
	Data          Data            // default none
	Target        Target
	Promotion     Promotion
	Access        []string
	Require       []Requirement // what a release must have, beside what policies ask
	Governance    Governance
	Prune         bool  // default true
	Drift         Drift // default correct
	Verify        Verify
	Strategies    []Strategy // workloads that are not rolled
	OnFailure     OnFailure  // default revert
	MaxDeletePart float64    // largest share of the inventory one release may prune, as 0.25 or 25%; default 0.5
	// MaxDeletes is how many objects one release may prune; 1 to 100,000, default 100.
	MaxDeletes int
	// Protect are kinds and objects that are never deleted, whatever they say themselves.
	Protect []Protection
	// Adopt are the tools whose objects the environment takes over as it applies
	// them. What another tool wrote is refused otherwise.
	Adopt []Tool
	// IgnoreDrift are the fields that belong to others once others have written them.
	IgnoreDrift []Ignore
	// ApplyTimeout bounds the apply of one release, hooks and waits included;
	// `apply.timeout`, 1m to 24h, default 30m.
	ApplyTimeout time.Duration
	// MaxRevertsPerDay is how many commits may be reverted for this environment
	// within a day, before it holds (TooManyReverts); 0 to 100, default 3.
	MaxRevertsPerDay int
	// Formerly are the names that this environment had: it takes over what they
	// own. None of them may have a file any more.
	Formerly []ID
}

// Requirement is what a release must have to enter.
type Requirement string

// RequireSigned: what brings it is signed by somebody known to the daemon.
const RequireSigned Requirement = "signed"

// Requires reports whether a release must have something.
func (e Environment) Requires(what Requirement) bool { return slices.Contains(e.Require, what) }

// Pinned reports whether the environment runs a revision of its own, or waits
// for its first.
func (e Environment) Pinned() bool {
	return e.Revision != "" || e.Promotion.Mode == ModePullRequest
}

// Target is where an environment runs.
type Target struct {
	Kubeconfig     string      // name of a Secret in the daemon's namespace; "" is the daemon's own cluster
	Namespace      string      // default namespace, and the only one it may touch unless Allow says more
	ServiceAccount string      // in Namespace; impersonated
	Allow          []Allowance // extra namespaces and cluster-scoped objects
	Leave          bool        // target.previous: leave; when the target moves, what runs in the old place is let go of
}

// Allowance is one entry of target.allow: "namespace:NAME", or a cluster-scoped
// object as "Kind/name" or "Kind.group/name".
type Allowance struct {
	Namespace string
	Group     string
	Kind      string
	Name      string
}

// Protection is one entry of protect: "Kind", "Kind.group", "Kind/name" or
// "Kind.group/name".
type Protection struct {
	Group string
	Kind  string
	Name  string // "" is every object of the kind
}

// Tool is what applied an object before: whose marks or managed fields it has.
type Tool string

// The tools that an environment may take objects over from.
const (
	ToolKubectl Tool = "kubectl" // client-side and server-side
	ToolHelm    Tool = "helm"
	ToolFlux    Tool = "flux"
	ToolArgoCD  Tool = "argocd"
	ToolOther   Tool = "other" // whatever else wrote fields of it
)

// Ignore is one entry of ignoreDrift. An object must match all that is given,
// and so must a field. At least one of Fields and Managers is given.
type Ignore struct {
	Group    string   // with Kind: kind: Deployment.apps
	Kind     string   // "" is every kind
	Name     string   // "" is every object
	Fields   []string // paths such as spec.replicas or spec.template.spec.containers[name=api].image; empty: all
	Managers []string // field managers who may change them; empty: any
}

// Promotion is how a change enters. CalendarOf answers what it says about times.
type Promotion struct {
	Mode     Mode          // default automatic
	Schedule string        // when changes start, as cron; with mode schedule, and only then
	TimeZone string        // of Schedule, and of windows and freezes without their own; "" is UTC
	Soak     time.Duration // the upstream environments must have been verified this long; default 0
	Windows  []Window      // changes start only while one is open; none: at any time
	Freezes  []Window      // while one is on, nothing is applied, promoted or reverted
	Approval Approval
}

// Window is a span of time: either one that recurs, which begins by Cron and
// lasts for Duration, or one between two dates.
type Window struct {
	Name     string
	Cron     string        // five fields (minute, hour, day of the month, month, day of the week), or @daily and the like
	Duration time.Duration // from 1m to 365d; longer than the time between two beginnings: always
	TimeZone string        // IANA name; as decoded, never empty
	// From and To are stored in UTC. The file has them as 2026-12-20,
	// 2026-12-20T18:00 (both on the clocks of TimeZone) or as RFC 3339. To is the
	// first instant outside; a day without a time is its first instant, so that
	// `to: 2027-01-02` ends with the first of January.
	From, To time.Time
}

// Approval is who must agree before a release enters a pinned environment.
type Approval struct {
	Required  int      // how many people, 0 to 5; default 1 where From or NotAuthor is given, else 0
	From      []string // their e-mail addresses, or names of groups of the daemon's configuration; none: anyone
	NotAuthor bool     // nobody approves what they wrote; default false
}

// Governance is what policies ask and no manifest tells.
type Governance struct {
	Owner            string            `json:"owner,omitempty"`
	RTO              time.Duration     `json:"rto,omitempty"`
	RPO              time.Duration     `json:"rpo,omitempty"`
	AuditSink        string            `json:"auditSink,omitempty"`
	AuditRetention   time.Duration     `json:"auditRetention,omitempty"`
	RuntimeSensor    string            `json:"runtimeSensor,omitempty"`
	Backup           *Backup           `json:"backup,omitempty"`
	Deidentification *Deidentification `json:"deidentification,omitempty"`
}

// Backup declares what is done about the volumes by means that are not among
// the environment's objects, such as a cloud's own.
type Backup struct {
	Full          string        `json:"full,omitempty"`        // when, as cron
	Incremental   string        `json:"incremental,omitempty"` // likewise
	Retention     time.Duration `json:"retention,omitempty"`
	Location      string        `json:"location,omitempty"` // where they are kept; Replica is where else
	Replica       string        `json:"replica,omitempty"`
	Encrypted     bool          `json:"encrypted,omitempty"`
	PointInTime   string        `json:"pointInTime,omitempty"`   // by what databases go back to any moment
	RestoreTested string        `json:"restoreTested,omitempty"` // YYYY-MM-DD of the last restore that was tried
}

// Deidentification attests how patient data was made anonymous
// (45 CFR 164.514(a)-(b)).
type Deidentification struct {
	Method string `json:"method"` // safe-harbor | expert-determination
	By     string `json:"by"`
	Date   string `json:"date"` // YYYY-MM-DD
}

// Verify is what must hold after an apply.
type Verify struct {
	Timeout time.Duration // objects ready within; default 10m
	Settle  time.Duration // and still so after; default 1m
	HTTP    []HTTPCheck
	Metrics []MetricCheck
	Watch   Watch
	Health  []HealthRule // for kinds whose status does not say by itself whether they are ready
	// Restarts are how often containers of the release's new pods may start again.
	Restarts Restarts
	Jobs     []JobCheck
}

// Restarts bounds how often each container of a new pod may end while it is
// verified.
type Restarts struct {
	Max      int  // of each container; 0 to 1,000, default 2
	OOMKills int  // and how many of them because it used too much memory; default 0
	Written  bool // in the file: then it is an error when it cannot be told
}

// JobCheck is a smoke test: a Job made of a CronJob of the release, which is
// suspended there.
type JobCheck struct {
	Name    string
	CronJob string        // in the target namespace
	Timeout time.Duration // for all its tries; default 10m
	Retries int           // of a pod that failed; 0 to 10, default 0
	// Logs is how many of its last lines are kept when it does not pass; 0 to 100,
	// default 20, and none where data is phi: they may hold a patient's.
	Logs int
}

// Watch is how the checks go on after they passed.
type Watch struct {
	For   time.Duration // how long; 0 is not at all
	Every time.Duration // between two looks; default 5m
	// RevertWithin is how long after it passed a release may still be taken back,
	// where a control says that the fault is its own; default 0: never.
	RevertWithin time.Duration
}

// Looks is how often checks of that length are made meanwhile.
func (w Watch) Looks(length time.Duration) int {
	return 1 + int(w.For/max(time.Second, w.Every+length))
}

// HealthRule says by two conditions in CEL, over the object as `self`, how
// objects of a kind are. The first that is true decides; neither is not yet.
type HealthRule struct {
	Group, Kind string
	Failed      string // they never will be ready; "" is never
	Ready       string
}

// HTTPCheck asks an endpoint a number of times.
type HTTPCheck struct {
	Name     string
	URL      string // or Service and Port
	Service  string // in the target namespace
	Port     int
	Path     string            // default /
	Method   string            // default GET
	Headers  map[string]string // sent as they are
	Status   []int             // expect.status: any of these; default 200
	Body     string            // expect.body: a substring; "" is any
	Count    int               // requests; default 10
	Interval time.Duration     // between requests; default 1s
	Timeout  time.Duration     // for each; default 5s
	Failures float64           // allowed share of failures, as 0.01 or 1%; at least 0 and below 1, default 0
	JSON     []JSONValue       // expect.json: what the body must hold, as JSON
	Latency  *Latency          // nil is any
	// Certificate is certificate.validFor: how long the server's must be valid yet; 0 does not ask.
	Certificate time.Duration
	// Each asks every ready endpoint of Service by itself (endpoints: each), and
	// not whichever the Service picks.
	Each bool
	// Control is what no release of the environment changes, and is asked the same at
	// the same time: where it fails as well the release is not at fault. nil: none.
	Control *Endpoint
}

// Endpoint is where to ask.
type Endpoint struct {
	URL     string // or Service and Port
	Service string // in the target namespace
	Port    int
	Path    string // default /
}

// JSONValue is one value that the body of an answer must have.
type JSONValue struct {
	Path   string // as kubectl's -o jsonpath has it: .status or {.checks[0].state}
	Equals string // the value as text
}

// Latency bounds how long answers may take: of Percentile in a hundred, less
// than Under.
type Latency struct {
	Percentile int // 50 to 99
	Under      time.Duration
}
