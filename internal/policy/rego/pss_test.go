package rego

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	pssapi "k8s.io/pod-security-admission/api"
	psspolicy "k8s.io/pod-security-admission/policy"
	sigsyaml "sigs.k8s.io/yaml"

	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/policy"
	"chaperone.dev/chaperone/internal/promotion"
)

// kinds that a template is tried in, and where it stands in them. "" is a pod,
// which is a template itself.
var kinds = []struct{ apiVersion, kind, path string }{
	{"v1", "Pod", ""},
	{"v1", "PodTemplate", "template"},
	{"v1", "ReplicationController", "spec.template"},
	{"apps/v1", "Deployment", "spec.template"},
	{"apps/v1", "StatefulSet", "spec.template"},
	{"apps/v1", "DaemonSet", "spec.template"},
	{"apps/v1", "ReplicaSet", "spec.template"},
	{"batch/v1", "Job", "spec.template"},
	{"batch/v1", "CronJob", "spec.jobTemplate.spec.template"},
	{"argoproj.io/v1alpha1", "Rollout", "spec.template"},
	{"serving.knative.dev/v1", "Service", "spec.template"},
	// A kind that nobody has named counts where containers stand.
	{"example.org/v1", "Scaler", "spec.jobTargetRef.template"},
}

// wrap puts a template into an object of a kind.
func wrap(kind int, name string, template fields) *object {
	k := kinds[kind]
	spec, _ := template["spec"].(fields)
	if _, found := spec["containers"]; !found && k.apiVersion == "example.org/v1" {
		k = kinds[3]
	}
	content := maps.Clone(template)
	if k.path != "" {
		steps := strings.Split(k.path, ".")
		for _, step := range slices.Backward(steps) {
			content = fields{step: content}
		}
	}
	metadata := fields{"name": name}
	if own, ok := content["metadata"].(fields); ok {
		maps.Copy(metadata, own)
		metadata["name"] = name
	}
	content["metadata"], content["apiVersion"], content["kind"] = metadata, k.apiVersion, k.kind
	return &object{Object: content}
}

// podJudge asks the rules and upstream about the same pods.
type podJudge struct {
	version string
	bundles map[promotion.Data]*Bundle
	oracle  oracle
}

// newPodJudge compiles the bundles without their own tests and examples, which
// TestPodSecurityVersionMayBeSet runs. For synthetic data there are only the
// rules that then judge otherwise.
func newPodJudge(t testing.TB, version pssapi.Version) podJudge {
	t.Helper()
	j := podJudge{version: fmt.Sprintf("%d.%d", version.Major(), version.Minor()), oracle: newOracle(t, version)}
	limits := Limits{Results: 1 << 20}.withDefaults()
	j.bundles = map[promotion.Data]*Bundle{}
	for _, data := range []promotion.Data{promotion.DataPHI, promotion.DataSynthetic} {
		files, err := readFiles(podFiles(t, j.version, func(id string) bool {
			return slices.ContainsFunc(controls[:], func(c control) bool { return c.rule == id && c.data == data })
		}), limits)
		if err != nil {
			t.Fatal(err)
		}
		bundle, _, err := compile(t.Context(), files, limits)
		if err != nil {
			t.Fatal(err)
		}
		j.bundles[data] = bundle
	}
	return j
}

// tried is a template, and the kind of object that it is tried in.
type tried struct {
	template fields
	kind     int
	from     string // how to get it again
}

// judged tells which rules deny which of the objects, in an environment with
// this data.
func (j podJudge) judged(t testing.TB, data promotion.Data, objects []*object) (map[string]map[string]bool, error) {
	set, err := manifest.NewSet(objects)
	if err != nil {
		return nil, err
	}
	env := promotion.Environment{ID: promotion.ID{Pipeline: "novamind", Name: "production"}, Data: data}
	in := policy.NewInput(env, set, policy.Release{}, nil, testNow, manifest.NewRedactor([]byte("0123456789abcdef")))
	report, err := j.bundles[data].Evaluate(t.Context(), in)
	if err != nil {
		return nil, err
	}
	if len(report.Errors) > 0 {
		return nil, fmt.Errorf("rule %s, object %v: %s", report.Errors[0].Rule, report.Errors[0].Object, report.Errors[0].Message)
	}
	denied := map[string]map[string]bool{}
	for _, f := range report.Findings {
		if denied[f.Object.Name] == nil {
			denied[f.Object.Name] = map[string]bool{}
		}
		denied[f.Object.Name][f.Rule] = true
	}
	return denied, nil
}

// disagreement is one control about which rule and upstream differ.
type disagreement struct {
	control  int
	tried    tried
	upstream map[psspolicy.CheckID]bool
	denied   bool // by the rule
}

// compare judges pods, all at once, and counts for each control how many it denied.
func (j podJudge) compare(t testing.TB, pods []tried, tally *tally) ([]disagreement, error) {
	objects := make([]*object, 0, len(pods))
	for i, pod := range pods {
		objects = append(objects, wrap(pod.kind, fmt.Sprintf("pod-%d", i), pod.template))
	}
	denied := map[promotion.Data]map[string]map[string]bool{}
	for data := range j.bundles {
		var err error
		if denied[data], err = j.judged(t, data, objects); err != nil {
			return nil, err
		}
	}
	var found []disagreement
	for i, pod := range pods {
		decoded, err := typed(pod.template)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", pod.from, err)
		}
		upstream := j.oracle.ask(decoded)
		for c, control := range controls {
			want, got := denies(upstream, control.checks), denied[control.data][objects[i].GetName()][control.rule]
			tally.add(c, want)
			if want != got {
				found = append(found, disagreement{c, pod, upstream, got})
			}
		}
	}
	return found, nil
}

// report makes a pod smaller as long as the two disagree, and shows it.
func (j podJudge) report(t testing.TB, d disagreement) {
	differs := func(template fields) bool {
		found, err := j.compare(t, []tried{{template, d.tried.kind, d.tried.from}}, &tally{})
		return err == nil && slices.ContainsFunc(found, func(f disagreement) bool { return f.control == d.control })
	}
	small := shrink(d.tried.template, differs)
	shown, err := sigsyaml.Marshal(wrap(d.tried.kind, "pod", small).Object)
	if err != nil {
		t.Error(err)
	}
	whole, err := sigsyaml.Marshal(wrap(d.tried.kind, "pod", d.tried.template).Object)
	if err != nil {
		t.Error(err)
	}
	control := controls[d.control]
	t.Errorf("%s, version %s, %s data: %s %s, upstream's %v %s:\n%s\n--- made smaller from\n%s", d.tried.from, j.version, control.data,
		control.rule, verdictText(d.denied), control.checks, verdictText(denies(d.upstream, control.checks)), shown, whole)
}

func verdictText(denies bool) string {
	if denies {
		return "denies"
	}
	return "allows"
}

// tally counts what upstream said of each control.
type tally struct {
	mu      sync.Mutex
	allowed [len(controls)]int
	denied  [len(controls)]int
}

func (y *tally) add(control int, denies bool) {
	y.mu.Lock()
	defer y.mu.Unlock()
	if denies {
		y.denied[control]++
	} else {
		y.allowed[control]++
	}
}

// shrink takes fields and entries away, one at a time and the large ones
// first, for as long as what is left still differs.
func shrink(template fields, differs func(fields) bool) fields {
	for range 100 {
		smaller := false
		for _, path := range pathsIn(template, nil) {
			next, _ := without(template, path).(fields)
			if smaller = next["spec"] != nil && differs(next); smaller {
				template = next
				break
			}
		}
		if !smaller {
			break
		}
	}
	return template
}

// pathsIn are all fields and entries below a value, those further out first.
func pathsIn(value any, path []any) [][]any {
	var own, below [][]any
	visit := func(key, value any) {
		next := append(slices.Clone(path), key)
		own = append(own, next)
		below = append(below, pathsIn(value, next)...)
	}
	switch value := value.(type) {
	case fields:
		for _, key := range slices.Sorted(maps.Keys(value)) {
			visit(key, value[key])
		}
	case []any:
		for i, entry := range value {
			visit(i, entry)
		}
	}
	return append(own, below...)
}

func without(value any, path []any) any {
	switch value := value.(type) {
	case fields:
		value = maps.Clone(value)
		key := path[0].(string)
		if len(path) == 1 {
			delete(value, key)
		} else {
			value[key] = without(value[key], path[1:])
		}
		return value
	case []any:
		value = slices.Clone(value)
		i := path[0].(int)
		if len(path) == 1 {
			return slices.Delete(value, i, i+1)
		}
		value[i] = without(value[i], path[1:])
		return value
	}
	return value
}
