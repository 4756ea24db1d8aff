package promotion

import (
	"fmt"
	"path"
	"slices"
	"time"

	"chaperone.dev/chaperone/internal/source"
	"chaperone.dev/chaperone/internal/strictyaml"
)

// The only version and kind of an environment file.
const (
	APIVersion = "chaperone.dev/v1alpha1"
	Kind       = "Environment"
)

// Defaults of an environment file, and bounds that keep a slip of the pen from
// making a wait endless.
const (
	DefaultVerifyTimeout    = 10 * time.Minute
	DefaultSettle           = time.Minute
	DefaultMaxDeletePart    = 0.5
	DefaultMaxRevertsPerDay = 3
	DefaultMaxDeletes       = 100
	DefaultApplyTimeout     = 30 * time.Minute

	maxSoak          = 365 * 24 * time.Hour
	maxVerify        = 24 * time.Hour
	maxAfter         = 50
	maxFormerly      = 20
	maxAllow         = 200
	maxAccess        = 100
	maxRevertsPerDay = 100
	maxDeletes       = 100_000
	minApplyTimeout  = time.Minute
	maxApplyTimeout  = 24 * time.Hour
	maxTimeSpan      = 100 * 365 * 24 * time.Hour
)

// draft is an environment whose `after` and `formerly` have not been looked up yet.
type draft struct {
	Environment
	after    []strictyaml.Value // places of After
	formerly []strictyaml.Value // places of Formerly
}

// decode reads one file whole; the error has all that is wrong with it. Of
// history it says nothing that was right once: `data` had not to be there.
func decode(id ID, file string, content []byte, history bool) (draft, error) {
	document := strictyaml.Parse(file, content)
	root := document.Root()
	root.Require("apiVersion", "want "+APIVersion)
	strictyaml.Enum(root, "apiVersion", APIVersion, APIVersion)
	root.Require("kind", "want "+Kind)
	strictyaml.Enum(root, "kind", Kind, Kind)
	decodeName(root.Object("metadata"), id, file)

	d := draft{Environment: Environment{ID: id, File: file}}
	spec := root.Object("spec")
	d.decodeSpec(spec)
	if !history {
		spec.Require("data", "want what it holds, by which it is judged: none, synthetic, anonymized or phi")
	}
	return d, document.Err()
}

func decodeName(metadata *strictyaml.Object, id ID, file string) {
	metadata.Require("name", "want "+id.Name+", as the file is named")
	if v := metadata.Value("name"); v.Present() {
		if name := metadata.String("name", id.Name); name != id.Name {
			v.Problem("want %q, as the file is named, not %q; or move the file to %s",
				id.Name, name, path.Join(path.Dir(file), name+".yaml"))
		}
	}
}

func (d *draft) decodeSpec(spec *strictyaml.Object) {
	d.Path = spec.String("path", path.Join("overlays", d.ID.Pipeline, d.ID.Name), checkPath)
	d.decodeAfter(spec)
	d.Revision = decodeRevision(spec)
	d.Data = strictyaml.Enum(spec, "data", DataNone, DataNone, DataSynthetic, DataAnonymized, DataPHI)
	d.Target = decodeTarget(spec.Object("target"))
	d.Promotion = decodePromotion(spec.Object("promotion"), len(d.after) > 0, d.Revision != "")
	d.Access = spec.Strings("access", checkGroup)
	limit(spec.Value("access"), maxAccess)
	for _, what := range spec.Strings("require", checkRequirement) {
		d.Require = append(d.Require, Requirement(what))
	}
	d.Governance = decodeGovernance(spec.Object("governance"))
	d.Prune = spec.Bool("prune", true)
	d.MaxDeletePart = decodeMaxDeletePart(spec)
	d.MaxDeletes = spec.Int("maxDeletes", DefaultMaxDeletes, 1, maxDeletes)
	d.Protect = decodeProtect(spec.Value("protect"))
	d.Adopt = decodeAdopt(spec.Value("adopt"))
	d.IgnoreDrift = decodeIgnoreDrift(spec)
	d.ApplyTimeout = spec.Object("apply").Duration("timeout", DefaultApplyTimeout, minApplyTimeout, maxApplyTimeout)
	d.MaxRevertsPerDay = spec.Int("maxRevertsPerDay", DefaultMaxRevertsPerDay, 0, maxRevertsPerDay)
	d.decodeFormerly(spec)
	d.Drift = strictyaml.Enum(spec, "drift", DriftCorrect, DriftCorrect, DriftReport)
	d.Verify = decodeVerify(spec.Object("verify"), d.Data)
	d.Strategies = decodeStrategies(spec, d.Verify.CheckNames())
	d.OnFailure = strictyaml.Enum(spec, "onFailure", FailureRevert, FailureRevert, FailureHold)
}

func checkRequirement(s string) error {
	if s != string(RequireSigned) {
		return fmt.Errorf("want %s, not %.40q", RequireSigned, s)
	}
	return nil
}

func (d *draft) decodeAfter(spec *strictyaml.Object) {
	names := spec.Strings("after", checkUpstream)
	limit(spec.Value("after"), maxAfter)
	for _, name := range names {
		d.After = append(d.After, ID{Pipeline: d.ID.Pipeline, Name: name})
	}
	if spec.Value("after").IsList() {
		d.after = spec.Value("after").List()
	}
}

// decodeFormerly keeps only what is valid, with its place.
func (d *draft) decodeFormerly(spec *strictyaml.Object) {
	limit(spec.Value("formerly"), maxFormerly)
	for _, v := range spec.Value("formerly").List() {
		text, written := v.Scalar()
		if !written {
			continue
		}
		id, err := ParseID(text)
		if err == nil {
			err = checkID(id)
		}
		switch {
		case err != nil:
			v.Problem("%v", err)
		case id == d.ID:
			v.Problem("%s is this environment's own name; want the one that it had before", id)
		case slices.Contains(d.Formerly, id):
			v.Problem("%q is listed twice; keep one", text)
		default:
			d.Formerly, d.formerly = append(d.Formerly, id), append(d.formerly, v)
		}
	}
}

// decodeRevision takes the text as it is written: YAML takes some hashes, such
// as forty digits with one e among them, for a number.
func decodeRevision(spec *strictyaml.Object) source.Revision {
	v := spec.Value("revision")
	text, written := v.Scalar()
	if !written {
		return ""
	}
	revision, err := source.ParseRevision(text)
	if err != nil {
		v.Problem("%v; `git rev-parse COMMIT` prints it", err)
	}
	return revision
}

// previousLeave is the only word for what becomes of the old place when a target
// moves: nothing there is deleted because a line of a file changed.
const previousLeave = "leave"

func decodeTarget(target *strictyaml.Object) Target {
	target.Require("namespace", "want the name of the namespace to apply to")
	t := Target{
		Kubeconfig:     target.String("kubeconfig", "", checkSecret),
		Namespace:      target.String("namespace", "", checkLabel),
		ServiceAccount: target.String("serviceAccount", "", checkSubdomain),
		Leave:          strictyaml.Enum(target, "previous", "", previousLeave) == previousLeave,
	}
	v := target.Value("allow")
	limit(v, maxAllow)
	seen := map[Allowance]bool{}
	for _, entry := range v.List() {
		text, ok := entry.Scalar()
		allowance, err := ParseAllowance(text)
		switch {
		case !ok: // reported already
		case err != nil:
			entry.Problem("%v", err)
		case seen[allowance]:
			entry.Problem("%q is listed twice; keep one", text)
		default:
			seen[allowance] = true
			t.Allow = append(t.Allow, allowance)
		}
	}
	return t
}

func decodeGovernance(governance *strictyaml.Object) Governance {
	recovery, audit := governance.Object("recovery"), governance.Object("audit")
	g := Governance{
		Owner:          governance.String("owner", "", checkLine),
		RTO:            recovery.Duration("rto", 0, 0, maxTimeSpan),
		RPO:            recovery.Duration("rpo", 0, 0, maxTimeSpan),
		AuditSink:      audit.String("sink", "", checkLine),
		AuditRetention: audit.Duration("retention", 0, 0, maxTimeSpan),
		RuntimeSensor:  audit.String("runtimeSensor", "", checkLine),
		Backup:         decodeBackup(governance.Object("backup")),
	}
	d := governance.Object("deidentification")
	method := strictyaml.Enum(d, "method", "", "safe-harbor", "expert-determination")
	by, date := d.String("by", "", checkLine), decodeDate(d.Value("date"))
	if d.Present() {
		d.Require("method", "want safe-harbor or expert-determination")
		d.Require("by", "want who attests it")
		d.Require("date", "want the day of the attestation, such as 2026-01-31")
		g.Deidentification = &Deidentification{Method: method, By: by, Date: date}
	}
	return g
}

func decodeBackup(o *strictyaml.Object) *Backup {
	b := Backup{
		Full: o.String("full", "", checkInterval), Incremental: o.String("incremental", "", checkInterval),
		Retention: o.Duration("retention", 0, 0, maxTimeSpan),
		Location:  o.String("location", "", checkLine), Replica: o.String("replica", "", checkLine),
		Encrypted: o.Bool("encrypted", false), PointInTime: o.String("pointInTime", "", checkLine),
		RestoreTested: decodeDate(o.Value("restoreTested")),
	}
	if !o.Present() {
		return nil
	}
	return &b
}

func checkInterval(expression string) error {
	_, err := Interval(expression)
	return err
}

func decodeDate(v strictyaml.Value) string {
	text, written := v.Scalar()
	if !written {
		return ""
	}
	if _, err := time.Parse(time.DateOnly, text); err != nil {
		v.Problem("want a day such as 2026-01-31, not %.40q", text)
	}
	return text
}

func decodeMaxDeletePart(spec *strictyaml.Object) float64 {
	v := spec.Value("maxDeletePart")
	part, err := decodePart(v, DefaultMaxDeletePart)
	switch {
	case err != nil:
		v.Problem("%v", err)
	case part <= 0 || part > 1:
		v.Problem("want more than 0 and at most 1 (100%%); to delete nothing write prune: false")
	}
	return part
}

func limit(v strictyaml.Value, most int) {
	if v.IsList() && len(v.List()) > most {
		v.Problem("want at most %d entries, not %d", most, len(v.List()))
	}
}
