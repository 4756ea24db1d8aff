package health

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"chaperone.dev/chaperone/internal/manifest"
)

// What operators write into the status of their kinds. All of them always write
// something: as long as there is nothing, nobody has looked, and that is no data,
// neither ready nor failed. (kstatus takes an empty status for ready.)

var operators = map[schema.GroupKind]judge{
	{Group: "argoproj.io", Kind: "Rollout"}:                    rollout,
	{Group: "flagger.app", Kind: "Canary"}:                     canary,
	{Group: "cert-manager.io", Kind: "Certificate"}:            certificate,
	{Group: "cert-manager.io", Kind: "Issuer"}:                 mustBe("Ready"),
	{Group: "cert-manager.io", Kind: "ClusterIssuer"}:          mustBe("Ready"),
	{Group: "external-secrets.io", Kind: "ExternalSecret"}:     synced,
	{Group: "external-secrets.io", Kind: "PushSecret"}:         synced,
	{Group: "external-secrets.io", Kind: "SecretStore"}:        mustBe("Ready"),
	{Group: "external-secrets.io", Kind: "ClusterSecretStore"}: mustBe("Ready"),
	{Group: "gateway.networking.k8s.io", Kind: "GatewayClass"}: mustBe("Accepted"),
	{Group: "gateway.networking.k8s.io", Kind: "Gateway"}:      mustBe("Accepted", "Programmed"),
	{Group: "gateway.networking.k8s.io", Kind: "HTTPRoute"}:    route,
	{Group: "gateway.networking.k8s.io", Kind: "GRPCRoute"}:    route,
	{Group: "gateway.networking.k8s.io", Kind: "TLSRoute"}:     route,
	{Group: "gateway.networking.k8s.io", Kind: "TCPRoute"}:     route,
	{Group: "velero.io", Kind: "Backup"}:                       byPhase(veleroRun),
	{Group: "velero.io", Kind: "Restore"}:                      byPhase(veleroRun),
	{Group: "velero.io", Kind: "Schedule"}:                     veleroSchedule,
	{Group: "velero.io", Kind: "BackupStorageLocation"}:        byPhase(map[string]State{"Available": Current, "Unavailable": InProgress}),
	{Group: "postgresql.cnpg.io", Kind: "Cluster"}:             cloudNativePG,
	{Group: "postgresql.cnpg.io", Kind: "ScheduledBackup"}:     present,
}

func unlooked() Status {
	return Status{State: Unknown, Message: "no controller has reported on it"}
}

// present is for kinds that are ready once they are there.
func present(*manifest.Object) (Status, bool) {
	return Status{State: Current, Message: "is there"}, true
}

// mustBe wants conditions that their controller always writes.
func mustBe(types ...string) judge {
	return func(o *manifest.Object) (Status, bool) {
		return conditionsAre(conditions(o), types...), true
	}
}

// conditionsAre takes Unknown, which defaults of the API write too, for nothing
// said.
func conditionsAre(written []condition, types ...string) Status {
	for _, kind := range types {
		at := slices.IndexFunc(written, func(c condition) bool { return c.kind == kind })
		switch {
		case at < 0, written[at].status != "True" && written[at].status != "False":
			return unlooked()
		case written[at].status == "False":
			return Status{State: InProgress, Message: "is not " + kind + written[at].because()}
		}
	}
	return Status{State: Current, Message: "is " + strings.Join(types, " and ")}
}

// phaseOf is status.phase.
func phaseOf(o *manifest.Object) string {
	phase, _, _ := unstructured.NestedString(o.Object, "status", "phase")
	return phase
}

func message(o *manifest.Object, field string) string {
	text, _, _ := unstructured.NestedString(o.Object, "status", field)
	if text = clip(text); text != "" {
		return ": " + text
	}
	return ""
}

// byPhase goes by status.phase. A phase that is not known here says nothing.
func byPhase(phases map[string]State) judge {
	return func(o *manifest.Object) (Status, bool) {
		phase := phaseOf(o)
		if phase == "" || phase == "New" {
			return unlooked(), true
		}
		state, known := phases[phase]
		if !known {
			return Status{State: Unknown, Message: "is in phase " + clip(phase) + ", which says nothing here"}, true
		}
		return Status{State: state, Definitive: state == Failed, Message: "is " + phase + message(o, "message") + message(o, "failureReason")}, true
	}
}

// veleroRun is how a backup or a restore is. One that failed in part is no
// backup to rely on.
var veleroRun = map[string]State{
	"Queued": InProgress, "ReadyToStart": InProgress, "InProgress": InProgress,
	"WaitingForPluginOperations": InProgress, "WaitingForPluginOperationsPartiallyFailed": InProgress,
	"Finalizing": InProgress, "FinalizingPartiallyFailed": InProgress,
	"Completed": Current, "PartiallyFailed": Failed, "Failed": Failed, "FailedValidation": Failed, "Deleting": Terminating,
}

func veleroSchedule(o *manifest.Object) (Status, bool) {
	if paused, _, _ := unstructured.NestedBool(o.Object, "spec", "paused"); paused {
		return Status{State: Current, Message: "is paused, as its spec asks"}, true
	}
	judged, decided := byPhase(map[string]State{"Enabled": Current, "FailedValidation": Failed})(o)
	judged.Definitive = false // it may be of what was written before
	if wrong, _, _ := unstructured.NestedStringSlice(o.Object, "status", "validationErrors"); judged.State == Failed && len(wrong) > 0 {
		judged.Message += ": " + clip(wrong[0])
	}
	return judged, decided
}

// rollout is Argo's. It writes the generation that it looked at as text, which
// kstatus and we read nowhere else. What is paused waits for a time or a person
// of its own: no data, as long as it does.
func rollout(o *manifest.Object) (Status, bool) {
	phase := phaseOf(o)
	if phase == "" {
		return unlooked(), true
	}
	observed, written, _ := unstructured.NestedString(o.Object, "status", "observedGeneration")
	if generation := o.GetGeneration(); written && generation > 0 && observed != strconv.FormatInt(generation, 10) {
		return Status{State: InProgress, Message: fmt.Sprintf("status is of generation %s, the object of %d", clip(observed), generation)}, true
	}
	if aborted, _, _ := unstructured.NestedBool(o.Object, "status", "abort"); aborted {
		return Status{State: Failed, Definitive: true, Message: "was aborted" + message(o, "message")}, true
	}
	switch phase {
	case "Healthy":
		return Status{State: Current, Message: "is Healthy"}, true
	case "Paused":
		return Status{State: Unknown, Message: "is paused" + message(o, "message")}, true
	case "Degraded":
		gaveUp := conditionIs(o, "InvalidSpec", "True") || conditionReason(o, "Progressing") == "ProgressDeadlineExceeded"
		return Status{State: Failed, Definitive: gaveUp, Message: "is Degraded" + message(o, "message")}, true
	}
	return Status{State: InProgress, Message: "is " + clip(phase) + message(o, "message")}, true
}

func conditionReason(o *manifest.Object, kind string) string {
	for _, c := range conditions(o) {
		if c.kind == kind {
			return c.reason
		}
	}
	return ""
}

// canary is Flagger's. It sees a change of its target only when it looks the next
// time, and is until then what it was before: settle has to be longer than its
// interval, and that it failed is not believed before the time is up, or the mend
// of what failed would be taken for a failure.
func canary(o *manifest.Object) (Status, bool) {
	if suspended, _, _ := unstructured.NestedBool(o.Object, "spec", "suspend"); suspended {
		return Status{State: Current, Message: "is suspended, as its spec asks"}, true
	}
	why := ""
	for _, c := range conditions(o) {
		if c.kind == "Promoted" {
			why = c.because()
		}
	}
	switch phase := phaseOf(o); phase {
	case "":
		return unlooked(), true
	case "Initialized", "Succeeded":
		return Status{State: Current, Message: "is " + phase}, true
	case "Failed":
		return Status{State: Failed, Message: "was not promoted" + why}, true
	case "Waiting", "WaitingPromotion":
		return Status{State: Unknown, Message: "waits for an approval of its own" + why}, true
	case "Terminating", "Terminated":
		return Status{State: Terminating, Message: "is " + phase}, true
	default:
		return Status{State: InProgress, Message: "is " + clip(phase) + why}, true
	}
}

// certificate is not ready while it is issued, and says that an issuance failed
// in another condition. It is tried again, so that waiting may help.
func certificate(o *manifest.Object) (Status, bool) {
	judged := conditionsAre(conditions(o), "Ready")
	for _, c := range conditions(o) {
		if judged.State == InProgress && c.kind == "Issuing" && c.status == "False" && c.reason == "Failed" {
			return Status{State: Failed, Message: "could not be issued" + c.because()}, true
		}
	}
	return judged, true
}

// synced is what External Secrets writes: beside the condition, which has no
// generation, what it has synced begins with one.
func synced(o *manifest.Object) (Status, bool) {
	version, _, _ := unstructured.NestedString(o.Object, "status", "syncedResourceVersion")
	of, _, versioned := strings.Cut(version, "-")
	observed, err := strconv.ParseInt(of, 10, 64)
	if generation := o.GetGeneration(); versioned && err == nil && generation > 0 && observed < generation {
		return Status{State: InProgress, Message: fmt.Sprintf("was synced at generation %d, the object is of %d", observed, generation)}, true
	}
	return conditionsAre(conditions(o), "Ready"), true
}

// route wants every parent that it names to have accepted the present
// generation: each gateway reports for itself, and one of several may not have
// looked.
func route(o *manifest.Object) (Status, bool) {
	reports := list(o.Object, "status", "parents")
	for _, parent := range list(o.Object, "spec", "parentRefs") {
		report, found := reportOf(reports, parent)
		if !found {
			judged := unlooked()
			judged.Message = "no gateway has reported on its parent " + clip(text(parent, "name"))
			return judged, true
		}
		written := conditionsIn(list(report, "conditions"))
		for _, c := range written {
			if generation := o.GetGeneration(); c.generation > 0 && c.generation < generation {
				return Status{State: InProgress, Message: fmt.Sprintf("parent %s has looked at generation %d, the object is of %d",
					clip(text(parent, "name")), c.generation, generation)}, true
			}
		}
		if judged := conditionsAre(written, "Accepted", "ResolvedRefs"); judged.State != Current {
			judged.Message = "at parent " + clip(text(parent, "name")) + ": " + judged.Message
			return judged, true
		}
	}
	return Status{State: Current, Message: "is accepted by every parent"}, true
}

// reportOf finds what was reported on a parent. What it leaves out is as the API
// defaults it.
func reportOf(reports []map[string]any, parent map[string]any) (map[string]any, bool) {
	for _, report := range reports {
		same := mapping(report, "parentRef")
		alike := text(same, "name") == text(parent, "name") && text(same, "sectionName") == text(parent, "sectionName")
		for field, otherwise := range map[string]string{"kind": "Gateway", "group": "gateway.networking.k8s.io"} {
			alike = alike && orElse(text(same, field), otherwise) == orElse(text(parent, field), otherwise)
		}
		if namespace := text(parent, "namespace"); namespace != "" && text(same, "namespace") != "" {
			alike = alike && text(same, "namespace") == namespace
		}
		if alike {
			return report, true
		}
	}
	return nil, false
}

// cloudNativePG writes its phase as a sentence.
func cloudNativePG(o *manifest.Object) (Status, bool) {
	phase := phaseOf(o)
	ready, want := number(o, 0, "status", "readyInstances"), number(o, 1, "spec", "instances")
	why := clip(phase) + message(o, "phaseReason")
	switch {
	case phase == "":
		return unlooked(), true
	case o.GetAnnotations()["cnpg.io/hibernation"] == "on" && conditionIs(o, "cnpg.io/hibernation", "True"):
		return Status{State: Current, Message: "is hibernated, as its annotation asks"}, true
	case strings.Contains(phase, "unrecoverable"):
		return Status{State: Failed, Definitive: true, Message: why}, true
	case phase == "Waiting for user action":
		return Status{State: Unknown, Message: "waits for a person" + message(o, "phaseReason")}, true
	case phase != "Cluster in healthy state":
		return Status{State: InProgress, Message: why}, true
	case ready < want || conditionIs(o, "Ready", "False"):
		return Status{State: InProgress, Message: fmt.Sprintf("%d of %d instances ready", ready, want)}, true
	}
	return Status{State: Current, Message: fmt.Sprintf("%d of %d instances ready", ready, want)}, true
}
