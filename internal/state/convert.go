package state

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"chaperone.dev/chaperone/internal/fault"
	"chaperone.dev/chaperone/internal/policy"
	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/reconcile"
	"chaperone.dev/chaperone/internal/source"
	"chaperone.dev/chaperone/internal/state/v1alpha1"
)

// maxText bounds what is kept of a message: evidence can quote a whole page.
const maxText = 4 << 10

// ObjectName is how an environment is called in the cluster.
func ObjectName(id promotion.ID) string { return id.Pipeline + "." + id.Name }

func clip(text string) string {
	if len(text) <= maxText {
		return text
	}
	return strings.ToValidUTF8(text[:maxText], "") + "…"
}

// specOf mirrors an environment's file.
func specOf(id promotion.ID, file promotion.Environment) (v1alpha1.EnvironmentSpec, error) {
	definition := []byte("{}")
	if file.ID == id { // else its file was never valid yet
		var err error
		if definition, err = json.Marshal(file); err != nil {
			return v1alpha1.EnvironmentSpec{}, fmt.Errorf("encode environment %s: %w", id, err)
		}
	}
	spec := v1alpha1.EnvironmentSpec{
		Pipeline: id.Pipeline, Name: id.Name, Path: file.Path, Revision: string(file.Revision),
		Data: string(file.Data), Namespace: file.Target.Namespace, Definition: runtime.RawExtension{Raw: definition},
	}
	for _, after := range file.After {
		spec.After = append(spec.After, after.Name)
	}
	return spec, nil
}

// statusOf is what is shown and kept of a record. Conditions that keep their
// status keep their transition time.
func statusOf(r Record, old v1alpha1.EnvironmentStatus, generation int64, now time.Time) (v1alpha1.EnvironmentStatus, error) {
	journal, err := json.Marshal(r.Journal)
	if err != nil {
		return old, fmt.Errorf("encode journal of %s: %w", r.ID, err)
	}
	status := v1alpha1.EnvironmentStatus{
		ObservedGeneration: generation,
		Phase:              string(r.Status.Phase), Reason: string(r.Status.Reason), Message: clip(r.Message),
		Since: timeOf(r.Since), Until: timeOf(r.Status.Until),
		Running: revisionOf(r.Journal.Running), Wanted: revisionOf(r.Status.Wanted), LastGood: revisionOf(r.Journal.LastGood),
		Evidence: clip(r.Evidence), Journal: runtime.RawExtension{Raw: journal},
	}
	status.Drill = drillOf(r.Drill)
	for _, v := range r.Journal.Verified {
		if v.Digest == r.Journal.LastGood.Digest {
			status.LastGoodAt = timeOf(v.At)
		}
	}
	if e := r.Excepted; e != nil {
		status.Exception = &v1alpha1.ExceptionCountdown{Name: e.Exception, Rule: e.Rule, Expires: metav1.NewTime(e.Expires.UTC())}
	}
	status.Conditions = conditionsOf(r, old.Conditions, generation, now)
	return status, nil
}

// conditionsOf follows the conventions of kstatus: Ready for waiting on,
// Reconciling and Stalled true only while they are.
func conditionsOf(r Record, old []metav1.Condition, generation int64, now time.Time) []metav1.Condition {
	reason := string(r.Status.Reason)
	if reason == "" {
		reason = "Unknown"
	}
	truth := func(holds bool) metav1.ConditionStatus {
		if holds {
			return metav1.ConditionTrue
		}
		return metav1.ConditionFalse
	}
	phase := r.Status.Phase
	conditions := []metav1.Condition{
		{Type: "Ready", Status: truth(phase == reconcile.PhaseReady)},
		{Type: "Reconciling", Status: truth(phase == reconcile.PhaseProgressing)},
		{Type: "Stalled", Status: truth(phase == reconcile.PhaseHeld || phase == reconcile.PhaseInvalid)},
	}
	for i := range conditions {
		conditions[i].Reason, conditions[i].Message = reason, clip(r.Message)
	}
	if tried, has := restorable(r); has {
		conditions = append(conditions, tried)
	}
	for i := range conditions {
		c := &conditions[i]
		c.ObservedGeneration = generation
		c.LastTransitionTime = metav1.NewTime(now.UTC().Truncate(time.Second))
		for _, before := range old {
			if before.Type == c.Type && before.Status == c.Status {
				c.LastTransitionTime = before.LastTransitionTime
			}
		}
	}
	return conditions
}

func timeOf(t time.Time) *metav1.Time {
	if t.IsZero() {
		return nil
	}
	converted := metav1.NewTime(t.UTC())
	return &converted
}

func revisionOf(r reconcile.Release) *v1alpha1.Revision {
	if r == (reconcile.Release{}) {
		return nil
	}
	return &v1alpha1.Revision{
		Revision: string(r.Revision), Short: r.Revision.Short(), Digest: string(r.Digest), PolicyDigest: string(r.Policy),
	}
}

func releaseOf(r *v1alpha1.Revision) reconcile.Release {
	if r == nil {
		return reconcile.Release{}
	}
	return reconcile.Release{
		Revision: source.Revision(r.Revision), Digest: reconcile.Digest(r.Digest), Policy: reconcile.Digest(r.PolicyDigest),
	}
}

// idFrom is the environment whose object has this name. Where none can be, the
// name stands for itself and ok is false.
func idFrom(object string) (id promotion.ID, ok bool) {
	pipeline, name, _ := strings.Cut(object, ".")
	if pipeline == "" || name == "" || strings.Contains(name, ".") {
		return promotion.ID{Name: object}, false
	}
	return promotion.ID{Pipeline: pipeline, Name: name}, true
}

// recordOf reads back what specOf and statusOf wrote.
func recordOf(e v1alpha1.Environment) Record {
	id, named := idFrom(e.Name)
	bare := Record{ID: id, Version: e.ResourceVersion, Requests: requestsOf(e.Name, e.Annotations)}
	r := bare
	r.Message, r.Evidence = e.Status.Message, e.Status.Evidence
	if err := cmp.Or(checkName(e, id, named), decode("spec.definition", e.Spec.Definition.Raw, &r.Environment),
		decode("status.journal", e.Status.Journal.Raw, &r.Journal)); err != nil {
		bare.Unreadable = unreadable(e.Name, err)
		return bare
	}
	r.Status = reconcile.Status{
		Environment: r.ID, Phase: reconcile.Phase(e.Status.Phase), Reason: promotion.Reason(e.Status.Reason),
		Wanted: releaseOf(e.Status.Wanted),
	}
	if e.Status.Since != nil {
		r.Since = e.Status.Since.Time
	}
	if x := e.Status.Exception; x != nil {
		r.Excepted = &policy.Countdown{Exception: x.Name, Rule: x.Rule, Expires: x.Expires.UTC()}
	}
	r.Drill = drillFrom(e.Status.Drill)
	if e.Status.Until != nil {
		r.Status.Until = e.Status.Until.UTC()
	}
	return r
}

// checkName: the object's name is the key that everything is written under. A
// copy under another name must not pass for the environment it was copied from.
func checkName(e v1alpha1.Environment, id promotion.ID, named bool) error {
	spec := promotion.ID{Pipeline: e.Spec.Pipeline, Name: e.Spec.Name}
	switch {
	case !named:
		return errors.New("metadata.name: no environment is called so; want <pipeline>.<name>")
	case spec != id:
		return fmt.Errorf("spec.pipeline and spec.name: %.80q and %.80q; want %q and %q as in the object's name",
			spec.Pipeline, spec.Name, id.Pipeline, id.Name)
	}
	return nil
}

func decode(field string, raw []byte, into any) error {
	if len(raw) == 0 {
		return nil
	}
	if err := json.Unmarshal(raw, into); err != nil {
		return fmt.Errorf("%s: %w; want it as the daemon wrote it", field, err)
	}
	return nil
}

func unreadable(name string, err error) error {
	return fault.Terminal("read", "Environment/"+name,
		fmt.Errorf("%w; mend it, or delete the object to begin anew (its history is forgotten, what runs stays)", err))
}

// releaseObject is the custom resource of a release.
func releaseObject(r Release) v1alpha1.Release {
	object := v1alpha1.Release{
		TypeMeta: metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: "Release"},
		ObjectMeta: metav1.ObjectMeta{
			Name:   fmt.Sprintf("%s-%d", ObjectName(r.Environment), r.Started.UnixMicro()),
			Labels: labelsOf(r.Environment),
		},
		Spec: v1alpha1.ReleaseSpec{
			Environment: r.Environment.String(), Release: *revisionOf(r.Release),
			Author: r.Author.String(), Subject: clip(r.Subject), Started: metav1.NewMicroTime(r.Started.UTC()),
		},
		Status: v1alpha1.ReleaseStatus{
			Phase: string(r.Phase), Reason: string(r.Reason), Evidence: clip(r.Evidence),
			Guilty: string(r.Guilty), Revert: string(r.Revert), Ended: timeOf(r.Ended),
			ApprovedBy: r.ApprovedBy, MergedBy: r.MergedBy, PullRequest: r.PullRequest,
		},
	}
	if r.Author.Name == "" {
		object.Spec.Author = ""
	}
	if r.Log != "" {
		object.Status.Log = object.Name + logSuffix
	}
	return object
}

func releaseFrom(o v1alpha1.Release) (Release, error) {
	id, err := promotion.ParseID(o.Spec.Environment)
	if err != nil {
		return Release{}, fmt.Errorf("Release/%s: %w", o.Name, err)
	}
	r := Release{
		Environment: id, Release: releaseOf(&o.Spec.Release), Phase: cmp.Or(ReleasePhase(o.Status.Phase), firstPhase),
		Reason: promotion.Reason(o.Status.Reason), Subject: o.Spec.Subject, Evidence: o.Status.Evidence,
		Guilty: source.Revision(o.Status.Guilty), Revert: source.Revision(o.Status.Revert), Started: o.Spec.Started.Time,
		ApprovedBy: o.Status.ApprovedBy, MergedBy: o.Status.MergedBy, PullRequest: o.Status.PullRequest,
	}
	name, email, found := strings.Cut(strings.TrimSuffix(o.Spec.Author, ">"), " <")
	if found {
		r.Author = source.Person{Name: name, Email: email}
	}
	if o.Status.Ended != nil {
		r.Ended = o.Status.Ended.Time
	}
	return r, nil
}

// labelsOf select everything that belongs to an environment.
func labelsOf(id promotion.ID) map[string]string {
	return map[string]string{"chaperone.dev/pipeline": id.Pipeline, "chaperone.dev/environment": id.Name}
}
