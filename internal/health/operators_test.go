package health

import (
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/promotion"
)

const unreported = "no controller has reported on it"

var operatorTests = []struct {
	name, kind, rest string
	state            State
	definitive       bool
	message          string
}{
	{"rollout new", "argoproj.io/v1alpha1 Rollout", `spec: {replicas: 0}`, Unknown, false, unreported},
	{"rollout healthy", "argoproj.io/v1alpha1 Rollout", `status: {phase: Healthy, observedGeneration: "2"}`, Current, false, "is Healthy"},
	{"rollout healthy before this change", "argoproj.io/v1alpha1 Rollout", `status: {phase: Healthy, observedGeneration: "1"}`, InProgress, false, "status is of generation 1, the object of 2"},
	{"rollout progressing", "argoproj.io/v1alpha1 Rollout", `status: {phase: Progressing, message: more replicas need to be updated, observedGeneration: "2"}`, InProgress, false, "is Progressing: more replicas"},
	{"rollout paused", "argoproj.io/v1alpha1 Rollout", `status: {phase: Paused, message: CanaryPauseStep, observedGeneration: "2"}`, Unknown, false, "is paused: CanaryPauseStep"},
	{"rollout aborted", "argoproj.io/v1alpha1 Rollout", `status: {phase: Degraded, abort: true, message: "RolloutAborted: metric \"errors\" assessed Failed", observedGeneration: "2"}`, Failed, true, "was aborted: RolloutAborted"},
	{"rollout that gave up", "argoproj.io/v1alpha1 Rollout", `status: {phase: Degraded, observedGeneration: "2", conditions: [{type: Progressing, status: "False", reason: ProgressDeadlineExceeded}]}`, Failed, true, "is Degraded"},
	{"rollout degraded", "argoproj.io/v1alpha1 Rollout", `status: {phase: Degraded, observedGeneration: "2"}`, Failed, false, "is Degraded"},
	{"rollout invalid", "argoproj.io/v1alpha1 Rollout", `status: {phase: Degraded, observedGeneration: "2", conditions: [{type: InvalidSpec, status: "True"}]}`, Failed, true, "is Degraded"},

	{"canary new", "flagger.app/v1beta1 Canary", ``, Unknown, false, unreported},
	{"canary initialized", "flagger.app/v1beta1 Canary", `status: {phase: Initialized}`, Current, false, "is Initialized"},
	{"canary promoting", "flagger.app/v1beta1 Canary", `status: {phase: Promoting, conditions: [{type: Promoted, status: Unknown, reason: Promoting}]}`, InProgress, false, "is Promoting: Promoting"},
	{"canary waits for a person", "flagger.app/v1beta1 Canary", `status: {phase: WaitingPromotion}`, Unknown, false, "waits for an approval"},
	{"canary rolled back", "flagger.app/v1beta1 Canary", `status: {phase: Failed, conditions: [{type: Promoted, status: "False", reason: Failed, message: Canary analysis failed}]}`, Failed, false, "was not promoted: Failed: Canary analysis failed"},
	{"canary suspended", "flagger.app/v1beta1 Canary", `spec: {suspend: true}`, Current, false, "is suspended"},

	{"certificate new", "cert-manager.io/v1 Certificate", ``, Unknown, false, unreported},
	{"certificate being issued", "cert-manager.io/v1 Certificate", `status: {conditions: [{type: Ready, status: "False", reason: DoesNotExist, observedGeneration: 2}, {type: Issuing, status: "True"}]}`, InProgress, false, "is not Ready: DoesNotExist"},
	{"certificate refused", "cert-manager.io/v1 Certificate", `status: {conditions: [{type: Ready, status: "False"}, {type: Issuing, status: "False", reason: Failed, message: order is invalid}]}`, Failed, false, "could not be issued: Failed: order is invalid"},
	{"certificate ready", "cert-manager.io/v1 Certificate", `status: {conditions: [{type: Ready, status: "True", observedGeneration: 2}]}`, Current, false, "is Ready"},
	{"certificate ready before this change", "cert-manager.io/v1 Certificate", `status: {conditions: [{type: Ready, status: "True", observedGeneration: 1}]}`, InProgress, false, "condition Ready is of generation 1"},
	{"issuer", "cert-manager.io/v1 ClusterIssuer", `status: {conditions: [{type: Ready, status: "False", reason: ErrInitIssuer}]}`, InProgress, false, "is not Ready: ErrInitIssuer"},

	{"secret of a store", "external-secrets.io/v1 ExternalSecret", `status: {syncedResourceVersion: 2-abc, conditions: [{type: Ready, status: "True", reason: SecretSynced}]}`, Current, false, "is Ready"},
	{"secret synced before this change", "external-secrets.io/v1 ExternalSecret", `status: {syncedResourceVersion: 1-abc, conditions: [{type: Ready, status: "True"}]}`, InProgress, false, "was synced at generation 1"},
	{"secret that is not there", "external-secrets.io/v1 ExternalSecret", `status: {conditions: [{type: Ready, status: "False", reason: SecretSyncedError}]}`, InProgress, false, "is not Ready: SecretSyncedError"},
	{"store", "external-secrets.io/v1 SecretStore", `status: {conditions: [{type: Ready, status: "True", reason: Valid}]}`, Current, false, "is Ready"},

	{"gateway class unknown", "gateway.networking.k8s.io/v1 GatewayClass", `status: {conditions: [{type: Accepted, status: Unknown, reason: Pending}]}`, Unknown, false, unreported},
	{"gateway accepted only", "gateway.networking.k8s.io/v1 Gateway", `status: {conditions: [{type: Accepted, status: "True", observedGeneration: 2}]}`, Unknown, false, unreported},
	{"gateway programmed", "gateway.networking.k8s.io/v1 Gateway", `status: {conditions: [{type: Accepted, status: "True", observedGeneration: 2}, {type: Programmed, status: "True", observedGeneration: 2}]}`, Current, false, "is Accepted and Programmed"},
	{"gateway programmed before this change", "gateway.networking.k8s.io/v1 Gateway", `status: {conditions: [{type: Accepted, status: "True", observedGeneration: 2}, {type: Programmed, status: "True", observedGeneration: 1}]}`, InProgress, false, "condition Programmed is of generation 1"},

	{"route new", "gateway.networking.k8s.io/v1 HTTPRoute", `spec: {parentRefs: [{name: web}]}`, Unknown, false, "no gateway has reported on its parent web"},
	{"route accepted", "gateway.networking.k8s.io/v1 HTTPRoute", `spec: {parentRefs: [{name: web}]}, status: {parents: [` + accepted("web", 2) + `]}`, Current, false, "accepted"},
	{"route of two, one of them silent", "gateway.networking.k8s.io/v1 HTTPRoute", `spec: {parentRefs: [{name: web}, {name: inner}]}, status: {parents: [` + accepted("web", 2) + `]}`, Unknown, false, "parent inner"},
	{"route of two, one of them behind", "gateway.networking.k8s.io/v1 HTTPRoute", `spec: {parentRefs: [{name: web}, {name: inner}]}, status: {parents: [` + accepted("web", 2) + `, ` + accepted("inner", 1) + `]}`, InProgress, false, "parent inner has looked at generation 1"},
	{"route refused", "gateway.networking.k8s.io/v1 HTTPRoute", `spec: {parentRefs: [{name: web}]}, status: {parents: [{parentRef: {name: web}, conditions: [{type: Accepted, status: "False", reason: NotAllowedByListeners}]}]}`, InProgress, false, "at parent web: is not Accepted: NotAllowedByListeners"},
	{"route to nothing", "gateway.networking.k8s.io/v1 HTTPRoute", `spec: {parentRefs: [{name: web}]}, status: {parents: [{parentRef: {name: web, kind: Gateway, group: gateway.networking.k8s.io},
		conditions: [{type: Accepted, status: "True"}, {type: ResolvedRefs, status: "False", reason: BackendNotFound}]}]}`, InProgress, false, "is not ResolvedRefs: BackendNotFound"},
	{"route of another section", "gateway.networking.k8s.io/v1 HTTPRoute", `spec: {parentRefs: [{name: web, sectionName: https}]}, status: {parents: [` + accepted("web", 2) + `]}`, Unknown, false, "parent web"},

	{"backup new", "velero.io/v1 Backup", `status: {phase: New}`, Unknown, false, unreported},
	{"backup running", "velero.io/v1 Backup", `status: {phase: FinalizingPartiallyFailed}`, InProgress, false, "is FinalizingPartiallyFailed"},
	{"backup done", "velero.io/v1 Backup", `status: {phase: Completed}`, Current, false, "is Completed"},
	{"backup done in part", "velero.io/v1 Backup", `status: {phase: PartiallyFailed, failureReason: a volume was left out}`, Failed, true, "is PartiallyFailed: a volume was left out"},
	{"backup of a later version", "velero.io/v1 Backup", `status: {phase: Pondering}`, Unknown, false, "phase Pondering, which says nothing"},
	{"schedule enabled", "velero.io/v1 Schedule", `status: {phase: Enabled}`, Current, false, "is Enabled"},
	{"schedule of no times", "velero.io/v1 Schedule", `status: {phase: FailedValidation, validationErrors: [invalid schedule]}`, Failed, false, "is FailedValidation: invalid schedule"},
	{"schedule paused", "velero.io/v1 Schedule", `spec: {paused: true}`, Current, false, "is paused"},
	{"location", "velero.io/v1 BackupStorageLocation", `status: {phase: Available}`, Current, false, "is Available"},
	{"location away", "velero.io/v1 BackupStorageLocation", `status: {phase: Unavailable, message: no such bucket}`, InProgress, false, "is Unavailable: no such bucket"},

	{"database new", "postgresql.cnpg.io/v1 Cluster", `spec: {instances: 3}`, Unknown, false, unreported},
	{"database healthy", "postgresql.cnpg.io/v1 Cluster", `spec: {instances: 3}, status: {phase: Cluster in healthy state, readyInstances: 3}`, Current, false, "3 of 3 instances"},
	{"database one short", "postgresql.cnpg.io/v1 Cluster", `spec: {instances: 3}, status: {phase: Cluster in healthy state, readyInstances: 2}`, InProgress, false, "2 of 3 instances"},
	{"database upgrading", "postgresql.cnpg.io/v1 Cluster", `status: {phase: Upgrading cluster, phaseReason: new image}`, InProgress, false, "Upgrading cluster: new image"},
	{"database waits for a person", "postgresql.cnpg.io/v1 Cluster", `status: {phase: Waiting for user action}`, Unknown, false, "waits for a person"},
	{"database lost", "postgresql.cnpg.io/v1 Cluster", `status: {phase: "Cluster is unrecoverable and needs manual intervention"}`, Failed, true, "unrecoverable"},
	{"another Cluster", "example.org/v1 Cluster", ``, Current, false, ""},
}

func accepted(parent string, generation int) string {
	at := string(rune('0' + generation))
	return `{parentRef: {name: ` + parent + `}, controllerName: example.org/gateway, conditions: [{type: Accepted, status: "True", observedGeneration: ` + at +
		`}, {type: ResolvedRefs, status: "True", observedGeneration: ` + at + `}]}`
}

func operated(t testing.TB, kind, rest string) *manifest.Object {
	t.Helper()
	version, name, _ := strings.Cut(kind, " ")
	return object(t, "{apiVersion: "+version+", kind: "+name+", metadata: {name: a, namespace: novamind, generation: 2}, "+rest+"}")
}

func TestOfOperators(t *testing.T) {
	t.Parallel()
	shown := map[schema.GroupKind][]State{}
	for _, test := range operatorTests {
		o := operated(t, test.kind, test.rest)
		got := Of(o)
		if got.State != test.state || got.Definitive != test.definitive || !strings.Contains(got.Message, test.message) {
			t.Errorf("%s: got %+v, want %s, %v, %q", test.name, got, test.state, test.definitive, test.message)
		}
		gk := o.GroupVersionKind().GroupKind()
		shown[gk] = append(shown[gk], got.State)
	}
	for gk := range shown {
		if _, known := operators[gk]; !known {
			continue
		}
		if !slices.Contains(shown[gk], Current) && gk.Kind != "GatewayClass" && gk.Kind != "ClusterIssuer" {
			t.Errorf("%s is never ready here", gk)
		}
	}
}

// Right after an apply nobody has looked yet. Of kinds whose controllers always
// report, silence is no health (kargo#41, argo-rollouts#771).
func TestPitfall25_SilenceOfAnOperatorIsNotHealth(t *testing.T) {
	t.Parallel()
	for gk := range operators {
		if gk.Kind == "ScheduledBackup" {
			continue // it has nothing to say before its first time
		}
		rest := "spec: {}"
		if strings.HasSuffix(gk.Kind, "Route") {
			rest = "spec: {parentRefs: [{name: web}]}"
		}
		for _, status := range []string{"", ", status: {}", ", status: {conditions: []}", ", status: {conditions: {}, phase: 3, parents: x}"} {
			if got := Of(operated(t, gk.Group+"/v1 "+gk.Kind, rest+status)); got.State != Unknown {
				t.Errorf("%s with%s: %+v", gk, status, got)
			}
		}
	}
}

func TestRulesOfAnEnvironment(t *testing.T) {
	t.Parallel()
	rules, err := NewRules([]promotion.HealthRule{
		{Group: "example.org", Kind: "Widget", Ready: "self.status.phase == 'Ready'", Failed: "self.?status.phase.orValue('') == 'Broken'"},
		{Group: "apps", Kind: "Deployment", Ready: "self.status.availableReplicas >= 1"},
	})
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, kind, rest string
		state            State
		definitive       bool
		message          string
	}{
		{"ready", "example.org/v1 Widget", "status: {phase: Ready}", Current, false, "is ready, as its rule"},
		{"not yet", "example.org/v1 Widget", "status: {phase: Starting}", InProgress, false, "is not ready, as its rule"},
		{"failed", "example.org/v1 Widget", "status: {phase: Broken, observedGeneration: 2}", Failed, true, "has failed, as its rule"},
		{"failed, perhaps before this change", "example.org/v1 Widget", "status: {phase: Broken}", Failed, false, "has failed, as its rule"},
		{"silent", "example.org/v1 Widget", "spec: {}", Unknown, false, "whether it is ready cannot be told: no such key"},
		{"of another shape", "example.org/v1 Widget", "status: {phase: [1]}", Unknown, false, ""},
		{"of an older generation", "example.org/v1 Widget", "status: {phase: Ready, observedGeneration: 1}", InProgress, false, "status is of generation 1"},
		{"no rule", "example.org/v1 Gadget", "spec: {}", Current, false, ""},
		{"instead of our own", "apps/v1 Deployment", "spec: {replicas: 9}, status: {observedGeneration: 2, availableReplicas: 1}", Current, false, "as its rule"},
	}
	for _, test := range tests {
		got := rules.Of(operated(t, test.kind, test.rest))
		if test.name == "of another shape" {
			if got.State == Current {
				t.Errorf("%s: %+v", test.name, got)
			}
			continue
		}
		if got.State != test.state || got.Definitive != test.definitive || !strings.Contains(got.Message, test.message) {
			t.Errorf("%s: got %+v, want %s, %v, %q", test.name, got, test.state, test.definitive, test.message)
		}
	}
	if got := rules.Of(nil); got.State != Unknown {
		t.Errorf("nothing: %+v", got)
	}
	if _, err := NewRules([]promotion.HealthRule{{Kind: "Widget", Ready: "1 +"}}); err == nil || !strings.Contains(err.Error(), "health of Widget: ready: at character") {
		t.Errorf("a rule that does not parse: %v", err)
	}
}
