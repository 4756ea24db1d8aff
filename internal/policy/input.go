package policy

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"time"

	"chaperone.dev/chaperone/internal/evidence"
	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/source"
)

// Input is everything that rules see of one release (design.md §5). Fields are
// always present, empty or null where nothing is known, so that a rule never
// meets an undefined one.
type Input struct {
	Environment Environment        `json:"environment"`
	Objects     []*manifest.Object `json:"objects"` // redacted: see NewInput
	Release     Release            `json:"release"`
	Upstream    []Upstream         `json:"upstream"`
	Pipeline    []Neighbour        `json:"pipeline"` // its other environments
	LastGood    LastGood           `json:"lastGood"`
	Approval    Agreement          `json:"approval"`
	References  []Reference        `json:"references"` // what the objects take from outside
	Schedules   []Schedule         `json:"schedules"`  // of the objects
	Images      []Image            `json:"images"`     // left nil, the bundle fills it in by its own table of pod templates
	Evidence    *evidence.Facts    `json:"evidence"`   // of the images; left nil, the bundle finds it in Recorded by its own keys
	Recorded    evidence.Folder    `json:"-"`
	Now         time.Time          `json:"now"`
}

// Environment has the shape of the environment's file.
type Environment struct {
	ID         promotion.ID   `json:"id"`
	Pipeline   string         `json:"pipeline"`
	Name       string         `json:"name"`
	Data       promotion.Data `json:"data"`
	After      []promotion.ID `json:"after"`
	Promotion  Promotion      `json:"promotion"`
	Target     Target         `json:"target"`
	Access     []string       `json:"access"`
	Require    []string       `json:"require"`
	Governance Governance     `json:"governance"`
	Drift      string         `json:"drift"`
	OnFailure  string         `json:"onFailure"`
	// Imagined: nobody has written a file for it, as in `check --data`; what only
	// a file says cannot be asked for. Never so in the daemon.
	Imagined bool   `json:"imagined"`
	Verify   Verify `json:"verify"`
}

// Verify is what an environment asks of a release after an apply.
type Verify struct {
	Settle string `json:"settle"`
	Checks int    `json:"checks"` // beside that its objects are ready
}

// Promotion is how a change enters. Durations are as time.Duration prints
// them; time.parse_duration_ns reads them.
type Promotion struct {
	Mode     promotion.Mode `json:"mode"`
	Schedule string         `json:"schedule"`
	TimeZone string         `json:"timeZone"`
	Soak     string         `json:"soak"`
	Windows  []Window       `json:"windows"`
	Freezes  []Window       `json:"freezes"`
	Approval Approval       `json:"approval"`
}

// Window is a time that recurs by Cron, or lies between two dates; Duration is
// how long it lasts, of either.
type Window struct {
	Name     string `json:"name"`
	Cron     string `json:"cron"`
	Duration string `json:"duration"`
	TimeZone string `json:"timeZone"`
	From     string `json:"from"` // RFC 3339; "" with Cron
	To       string `json:"to"`
}

// Approval is who must agree.
type Approval struct {
	Required  int      `json:"required"`
	From      []string `json:"from"`
	NotAuthor bool     `json:"notAuthor"`
}

// Target is where the environment runs.
type Target struct {
	Kubeconfig     string      `json:"kubeconfig"`
	Namespace      string      `json:"namespace"`
	ServiceAccount string      `json:"serviceAccount"`
	Allow          []Allowance `json:"allow"`
}

// Allowance is an extra namespace or cluster-scoped object that the
// environment may own.
type Allowance struct {
	Namespace string `json:"namespace"`
	Group     string `json:"group"`
	Kind      string `json:"kind"`
	Name      string `json:"name"`
}

// Governance is what policies ask and no manifest tells.
type Governance struct {
	Owner            string                      `json:"owner"`
	Recovery         Recovery                    `json:"recovery"`
	Audit            Audit                       `json:"audit"`
	Backup           *Backup                     `json:"backup"` // nil: nothing is declared
	Deidentification *promotion.Deidentification `json:"deidentification"`
}

// Recovery is how fast and how completely the environment must come back.
type Recovery struct {
	RTO string `json:"rto"`
	RPO string `json:"rpo"`
}

// Audit is where audit records go and how long they stay.
type Audit struct {
	Sink          string `json:"sink"`
	Retention     string `json:"retention"`
	RuntimeSensor string `json:"runtimeSensor"`
}

// Backup is what is done about volumes by means that are not among the objects.
// The seconds are the longest time between two of them, 0 for none.
type Backup struct {
	Full               string `json:"full"`
	FullSeconds        int64  `json:"fullSeconds"`
	Incremental        string `json:"incremental"`
	IncrementalSeconds int64  `json:"incrementalSeconds"`
	Retention          string `json:"retention"`
	Location           string `json:"location"`
	Replica            string `json:"replica"`
	Encrypted          bool   `json:"encrypted"`
	PointInTime        string `json:"pointInTime"`
	RestoreTested      string `json:"restoreTested"`
}

// Release is what is to run, and who made it so.
type Release struct {
	Revision  source.Revision `json:"revision"`
	Digest    manifest.Digest `json:"digest"`
	Author    Person          `json:"author"`
	Committer Person          `json:"committer"`
	Signature Signature       `json:"signature"` // of Revision
	Changed   []string        `json:"changed"`   // paths that differ from what the environment runs
}

// Person wrote or committed a change.
type Person struct {
	Name  string `json:"name"`
	Email string `json:"email"`
	When  string `json:"when"` // RFC 3339; "" when unknown
}

// PersonOf converts a commit's author or committer.
func PersonOf(p source.Person) Person {
	person := Person{Name: p.Name, Email: p.Email}
	if !p.When.IsZero() {
		person.When = p.When.UTC().Format(time.RFC3339)
	}
	return person
}

// Signature is what is known of a commit's signature.
type Signature struct {
	State    source.SignatureState `json:"state"`    // unchecked in local commands
	Verified bool                  `json:"verified"` // state is good
	Signer   []string              `json:"signer"`   // the addresses that the key goes by, or patterns of these
	Key      string                `json:"key"`      // fingerprint
	Detail   string                `json:"detail"`   // why it is not good
}

// SignatureOf converts what was found out about a commit.
func SignatureOf(s source.Signature) Signature {
	return Signature{State: s.State, Verified: s.Good(), Signer: s.Signer, Key: s.Key, Detail: s.Detail}
}

// NewInput builds what rules see. Values of core Secrets are replaced by marks
// here, before anything is evaluated: a rule, its message, or an error of the
// evaluator cannot tell what it never saw.
func NewInput(env promotion.Environment, set manifest.Set, release Release, upstream []Upstream,
	now time.Time, redactor manifest.Redactor) Input {
	in := Input{Environment: environmentOf(env), Release: release, Upstream: upstream, Now: now.UTC()}
	in.Objects = make([]*manifest.Object, 0, set.Len())
	for _, o := range set.Objects() {
		in.Objects = append(in.Objects, redactor.Object(o))
	}
	in.References = References(env, set, redactor)
	in.Schedules = schedulesOf(set)
	return in
}

func environmentOf(env promotion.Environment) Environment {
	return Environment{
		ID: env.ID, Pipeline: env.ID.Pipeline, Name: env.ID.Name,
		Data: env.Data, After: env.After, Access: env.Access, Require: requirementsOf(env.Require),
		Promotion: Promotion{
			Mode: env.Promotion.Mode, Schedule: env.Promotion.Schedule, TimeZone: env.Promotion.TimeZone,
			Soak:    env.Promotion.Soak.String(),
			Windows: windowsOf(env.Promotion.Windows), Freezes: windowsOf(env.Promotion.Freezes),
			Approval: Approval(env.Promotion.Approval),
		},
		Target: Target{
			Kubeconfig: env.Target.Kubeconfig, Namespace: env.Target.Namespace,
			ServiceAccount: env.Target.ServiceAccount, Allow: allowancesOf(env.Target.Allow),
		},
		Governance: Governance{
			Owner:            env.Governance.Owner,
			Recovery:         Recovery{RTO: env.Governance.RTO.String(), RPO: env.Governance.RPO.String()},
			Audit:            auditOf(env.Governance),
			Backup:           backupOf(env.Governance.Backup),
			Deidentification: env.Governance.Deidentification,
		},
		Drift: string(env.Drift), OnFailure: string(env.OnFailure),
		Verify: Verify{Settle: env.Verify.Settle.String(), Checks: len(env.Verify.HTTP)},
	}
}

func requirementsOf(required []promotion.Requirement) []string {
	out := make([]string, 0, len(required))
	for _, r := range required {
		out = append(out, string(r))
	}
	return out
}

func auditOf(g promotion.Governance) Audit {
	return Audit{Sink: g.AuditSink, Retention: g.AuditRetention.String(), RuntimeSensor: g.RuntimeSensor}
}

func backupOf(b *promotion.Backup) *Backup {
	if b == nil {
		return nil
	}
	return &Backup{
		Full: b.Full, FullSeconds: secondsBetween(b.Full),
		Incremental: b.Incremental, IncrementalSeconds: secondsBetween(b.Incremental),
		Retention: b.Retention.String(), Location: b.Location, Replica: b.Replica, Encrypted: b.Encrypted,
		PointInTime: b.PointInTime, RestoreTested: b.RestoreTested,
	}
}

func windowsOf(windows []promotion.Window) []Window {
	out := make([]Window, 0, len(windows))
	for _, w := range windows {
		window := Window{Name: w.Name, Cron: w.Cron, Duration: w.Duration.String(), TimeZone: w.TimeZone}
		if w.Cron == "" {
			window.From, window.To = w.From.UTC().Format(time.RFC3339), w.To.UTC().Format(time.RFC3339)
			window.Duration = w.To.Sub(w.From).String()
		}
		out = append(out, window)
	}
	return out
}

func allowancesOf(allowances []promotion.Allowance) []Allowance {
	out := make([]Allowance, 0, len(allowances))
	for _, a := range allowances {
		out = append(out, Allowance(a))
	}
	return out
}

// Document is the input as rules see it, made of maps, slices, strings,
// numbers and booleans only. Objects are shared, not copied.
func (in Input) Document() (map[string]any, error) {
	objects := make([]any, 0, len(in.Objects))
	for _, o := range in.Objects {
		objects = append(objects, o.Object)
	}
	in.Objects = nil
	in.fillEmpty()
	encoded, err := json.Marshal(in)
	if err != nil {
		return nil, fmt.Errorf("encode policy input: %w", err)
	}
	decoder := json.NewDecoder(bytes.NewReader(encoded))
	decoder.UseNumber()
	var document map[string]any
	if err := decoder.Decode(&document); err != nil {
		return nil, fmt.Errorf("encode policy input: %w", err)
	}
	document["objects"] = objects
	return document, nil
}

// fillEmpty makes lists that nobody set empty: `null` in a rule that iterates
// it and `[]` behave alike, but a count of null is an error.
func (in *Input) fillEmpty() {
	in.fillFacts()
	filled := evidence.Facts{}.Filled()
	if in.Evidence != nil {
		filled = in.Evidence.Filled()
	}
	in.Evidence = &filled
	notNil(&in.Images)
	notNil(&in.Release.Changed)
	notNil(&in.Release.Signature.Signer)
	in.Release.Signature.State = cmp.Or(in.Release.Signature.State, source.SignatureUnchecked)
	notNil(&in.Environment.After)
	notNil(&in.Environment.Access)
	notNil(&in.Environment.Require)
	notNil(&in.Environment.Promotion.Windows)
	notNil(&in.Environment.Promotion.Freezes)
	notNil(&in.Environment.Promotion.Approval.From)
	notNil(&in.Environment.Target.Allow)
}

func notNil[T any](list *[]T) {
	if *list == nil {
		*list = []T{}
	}
}
