package rego

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	pssapi "k8s.io/pod-security-admission/api"
	psspolicy "k8s.io/pod-security-admission/policy"

	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/testkit/racing"
)

// newestPSS is the version that the module's newest checks and fixtures are of.
var newestPSS = pssapi.MajorMinorVersion(1, 37)

// control is a rule judging in an environment with this data, and the checks.
type control struct {
	rule   string
	data   promotion.Data
	checks []psspolicy.CheckID
}

// controls says which rule answers for which of upstream's checks. Of two
// checks for one subject the first that the version has is what counts, as
// upstream's overrides have it: restricted is what pods with people's data must
// be, the baseline is enough for others.
var controls = [...]control{
	{"pod/added-capabilities", promotion.DataPHI, []psspolicy.CheckID{"capabilities_baseline"}},
	{"pod/apparmor", promotion.DataPHI, []psspolicy.CheckID{"appArmorProfile"}},
	{"pod/capabilities", promotion.DataPHI, []psspolicy.CheckID{"capabilities_restricted"}},
	{"pod/host-namespaces", promotion.DataPHI, []psspolicy.CheckID{"hostNamespaces"}},
	{"pod/host-path", promotion.DataPHI, []psspolicy.CheckID{"hostPathVolumes"}},
	{"pod/host-ports", promotion.DataPHI, []psspolicy.CheckID{"hostPorts"}},
	{"pod/privilege-escalation", promotion.DataPHI, []psspolicy.CheckID{"allowPrivilegeEscalation"}},
	{"pod/privileged", promotion.DataPHI, []psspolicy.CheckID{"privileged"}},
	{"pod/probe-hosts", promotion.DataPHI, []psspolicy.CheckID{"hostProbesAndHostLifecycle"}},
	{"pod/proc-mount", promotion.DataPHI, []psspolicy.CheckID{"procMount_restricted", "procMount"}},
	{"pod/proc-mount", promotion.DataSynthetic, []psspolicy.CheckID{"procMount"}},
	{"pod/run-as-non-root", promotion.DataPHI, []psspolicy.CheckID{"runAsNonRoot"}},
	{"pod/run-as-user", promotion.DataPHI, []psspolicy.CheckID{"runAsUser"}},
	{"pod/seccomp", promotion.DataPHI, []psspolicy.CheckID{"seccompProfile_restricted", "seccompProfile_baseline"}},
	{"pod/seccomp", promotion.DataSynthetic, []psspolicy.CheckID{"seccompProfile_baseline"}},
	{"pod/selinux", promotion.DataPHI, []psspolicy.CheckID{"seLinuxOptions"}},
	{"pod/sysctls", promotion.DataPHI, []psspolicy.CheckID{"sysctls"}},
	{"pod/volume-types", promotion.DataPHI, []psspolicy.CheckID{"restrictedVolumes"}},
	{"pod/windows-host-process", promotion.DataPHI, []psspolicy.CheckID{"windowsHostProcess"}},
}

// stricter are the rules about pods that the standards have nothing like.
var stricter = []string{"pod/read-only-root-filesystem"}

// Every check has a rule, and every rule about pods a check.
func TestPodSecurityControls(t *testing.T) {
	t.Parallel()
	racing.Without(t)
	answered, answering := map[psspolicy.CheckID]bool{}, map[string]bool{}
	for _, control := range controls {
		answering[control.rule] = true
		for _, check := range control.checks {
			answered[check] = true
		}
	}
	for _, check := range psspolicy.DefaultChecks() {
		if !answered[check.ID] {
			t.Errorf("no rule answers for the check %s", check.ID)
		}
		delete(answered, check.ID)
	}
	if len(answered) > 0 {
		t.Errorf("no check is called %v", slices.Sorted(maps.Keys(answered)))
	}
	for _, r := range loadSample(t).Rules() {
		if path := r.ID[:4]; path == "pod/" && answering[r.ID] == slices.Contains(stricter, r.ID) {
			t.Errorf("%s answers for no check and is not listed as stricter, or both", r.ID)
		}
	}
}

// oracle is upstream's evaluator, telling the checks apart.
type oracle struct {
	evaluator psspolicy.Evaluator
	version   pssapi.Version
}

// newOracle has every check answer with its name, and none override another, so
// that one call gives all answers of the restricted level and of the baseline.
func newOracle(t testing.TB, version pssapi.Version) oracle {
	t.Helper()
	checks := psspolicy.DefaultChecks()
	for i, check := range checks {
		for v := range check.Versions {
			ask := check.Versions[v].CheckPod
			check.Versions[v].CheckPod = func(metadata *metav1.ObjectMeta, spec *corev1.PodSpec) psspolicy.CheckResult {
				result := ask(metadata, spec)
				result.ForbiddenReason = string(check.ID)
				return result
			}
			checks[i].Versions[v].OverrideCheckIDs = nil
		}
	}
	evaluator, err := psspolicy.NewEvaluator(checks, nil)
	if err != nil {
		t.Fatal(err)
	}
	return oracle{evaluator, version}
}

// ask tells of every check that the version has whether it allows the pod.
func (o oracle) ask(pod *corev1.Pod) map[psspolicy.CheckID]bool {
	level := pssapi.LevelVersion{Level: pssapi.LevelRestricted, Version: o.version}
	allowed := map[psspolicy.CheckID]bool{}
	for _, result := range o.evaluator.EvaluatePod(level, &pod.ObjectMeta, &pod.Spec) {
		allowed[psspolicy.CheckID(result.ForbiddenReason)] = result.Allowed
	}
	return allowed
}

// denies is what a rule is to say: what the first of its checks says that the
// version has, and nothing when it has none.
func denies(allowed map[psspolicy.CheckID]bool, checks []psspolicy.CheckID) bool {
	for _, check := range checks {
		if ok, found := allowed[check]; found {
			return !ok
		}
	}
	return false
}

// typed reads a template as the API server reads a pod, with the one default
// that a check sees: a volume without a source is an emptyDir, while the
// evaluator by itself takes it for one of a type that it does not know.
//
// The API server also gives hostPort to the ports of a pod with hostNetwork.
// That is left out: pod/host-namespaces denies such a pod already, and a second
// finding about a field that nobody wrote would only be puzzling.
func typed(template map[string]any) (*corev1.Pod, error) {
	encoded, err := json.Marshal(withDefaults(template))
	if err != nil {
		return nil, err
	}
	pod := &corev1.Pod{}
	if err := utiljson.Unmarshal(encoded, pod); err != nil {
		return nil, fmt.Errorf("no API server would take it: %w", err)
	}
	return pod, nil
}

func withDefaults(template map[string]any) map[string]any {
	spec, _ := template["spec"].(map[string]any)
	volumes, ok := spec["volumes"].([]any)
	if !ok {
		return template
	}
	defaulted := make([]any, 0, len(volumes))
	for _, entry := range volumes {
		volume := map[string]any{}
		if named, ok := entry.(map[string]any); ok {
			volume = maps.Clone(named)
		}
		hasSource := false
		for field, value := range volume {
			hasSource = hasSource || field != "name" && value != nil
		}
		if !hasSource {
			volume["emptyDir"] = map[string]any{}
		}
		defaulted = append(defaulted, volume)
	}
	spec = maps.Clone(spec)
	spec["volumes"] = defaulted
	template = maps.Clone(template)
	template["spec"] = spec
	return template
}
