package cluster

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"chaperone.dev/chaperone/internal/fault"
	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/plan"
	"chaperone.dev/chaperone/internal/promotion"
)

func TestReleaseIsAppliedOnceAndThenQuiet(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	set := f.set(configMap("settings", "mode", "a"), service("api"), deployment("api", "registry.local/api:1", "replicas: 1"))
	first := f.plan(set)
	if got := first.Count(plan.Create); got != 3 {
		t.Fatalf("first plan: %s, want 3 create\n%v", first.Summary(), first.Changes)
	}
	f.exists("ConfigMap", "settings", false) // a plan changes nothing
	f.release(set)
	f.exists("ConfigMap", "settings", true)
	o := f.live("Deployment", "api")
	if got, want := o.GetAnnotations()[plan.AnnotationEnvironment], "shop/testing"; got != want {
		t.Errorf("environment annotation is %q, want %q", got, want)
	}
	if got, want := o.GetLabels()[plan.LabelPartOf], f.owner.setID(); got != want {
		t.Errorf("part-of label is %q, want %q", got, want)
	}
	again := f.plan(set)
	if !again.Quiet() || again.Count(plan.Unchanged) != 3 {
		t.Errorf("second plan: %s, want 3 unchanged: %v", again.Summary(), again.Changes)
	}
	changed := f.plan(f.set(configMap("settings", "mode", "b"), service("api"), deployment("api", "registry.local/api:2", "replicas: 1")))
	var fields []string
	for _, c := range changed.Applies() {
		for _, field := range c.Fields {
			fields = append(fields, c.ID.Kind+" "+field.String())
		}
	}
	want := []string{
		`ConfigMap data.mode: "a" -> "b"`,
		`Deployment spec.template.spec.containers[name=app].image: "registry.local/api:1" -> "registry.local/api:2"`,
	}
	if !slices.Equal(fields, want) {
		t.Errorf("changed fields are\n%s\nwant\n%s", strings.Join(fields, "\n"), strings.Join(want, "\n"))
	}
}

func TestRejectedObjectStopsTheReleaseBeforeAnythingIsTouched(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	set := f.set(configMap("settings", "mode", "a"), deployment("api", "registry.local/api:1", "replicas: -1"))
	p, err := f.c.Plan(t.Context(), f.owner, set)
	var rejected *plan.Rejected
	if !errors.As(err, &rejected) || !fault.IsTerminal(err) {
		t.Fatalf("plan: %v, want a terminal *plan.Rejected", err)
	}
	if len(rejected.Objects) != 1 || rejected.Objects[0].ID.Kind != "Deployment" || rejected.Touched {
		t.Errorf("rejected %+v, want the Deployment alone, untouched", rejected)
	}
	if want := "must be greater than or equal to 0"; !strings.Contains(err.Error(), want) {
		t.Errorf("error %q does not quote the server (%q)", err, want)
	}
	// Even a caller that goes on with such a plan gets nowhere.
	if _, err := f.c.Apply(t.Context(), f.owner, p, nil); !errors.As(err, &rejected) {
		t.Errorf("apply of a rejected plan: %v, want *plan.Rejected", err)
	}
	f.exists("ConfigMap", "settings", false)
	if owned := f.owned(); len(owned) > 0 {
		t.Errorf("inventory has %v, want nothing", owned)
	}
}

func TestUnknownFieldAndUnknownKindAreRejected(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for name, text := range map[string]string{
		"field": "apiVersion: v1\nkind: Service\nmetadata: {name: api}\nspec: {ports: [{port: 80}], slector: {a: b}}",
		"kind":  "apiVersion: example.org/v1\nkind: Widget\nmetadata: {name: w}",
	} {
		_, err := f.c.Plan(t.Context(), f.owner, f.set(text))
		var rejected *plan.Rejected
		if !errors.As(err, &rejected) {
			t.Errorf("unknown %s: %v, want *plan.Rejected", name, err)
		}
	}
}

func TestManualEditIsDriftAndIsPutBack(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	set := f.set(configMap("settings", "mode", "a"), deployment("api", "registry.local/api:1", "replicas: 1"), service("api"))
	f.release(set)
	if drift, err := f.drifted(set); err != nil || len(drift) > 0 {
		t.Fatalf("drift right after the apply: %v, %v", drift, err)
	}
	// A field of somebody else's own is none of our business.
	f.edit("Deployment", "api", func(o *unstructured.Unstructured) {
		o.SetAnnotations(map[string]string{"team.example/note": "x", plan.AnnotationEnvironment: "shop/testing"})
	})
	if drift, err := f.drifted(set); err != nil || len(drift) > 0 {
		t.Errorf("drift after a foreign annotation: %v, %v", drift, err)
	}
	f.edit("Deployment", "api", func(o *unstructured.Unstructured) {
		_ = unstructured.SetNestedField(o.Object, int64(4), "spec", "replicas")
	})
	f.edit("ConfigMap", "settings", func(o *unstructured.Unstructured) {
		_ = unstructured.SetNestedField(o.Object, "hand", "data", "mode")
	})
	if err := f.c.dynamic.Resource(gvrs["Service"]).Namespace(f.owner.Namespace).Delete(t.Context(), "api", deleteNow); err != nil {
		t.Fatal(err)
	}
	drift, err := f.drifted(set)
	if err != nil {
		t.Fatal(err)
	}
	var texts []string
	for _, c := range drift {
		texts = append(texts, c.String())
	}
	want := []string{
		"update ConfigMap/" + f.owner.Namespace + "/settings\n  data.mode: \"hand\" -> \"a\"",
		"create Service/" + f.owner.Namespace + "/api",
		"update Deployment.apps/" + f.owner.Namespace + "/api\n  spec.replicas: 4 -> 1",
	}
	if !slices.Equal(texts, want) {
		t.Errorf("drift is\n%s\nwant\n%s", strings.Join(texts, "\n"), strings.Join(want, "\n"))
	}
	f.release(set)
	if replicas, _, _ := unstructured.NestedInt64(f.live("Deployment", "api").Object, "spec", "replicas"); replicas != 1 {
		t.Errorf("replicas are %d after the correction, want 1", replicas)
	}
	f.exists("Service", "api", true)
	if drift, err := f.drifted(set); err != nil || len(drift) > 0 {
		t.Errorf("drift after the correction: %v, %v", drift, err)
	}
}

func TestLabelTakenAwayIsPutBack(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	set := f.set(configMap("settings", "mode", "a"), configMap("more", "mode", "a"), configMap("most", "mode", "a"))
	f.release(set)
	f.edit("ConfigMap", "settings", func(o *unstructured.Unstructured) { o.SetLabels(nil); o.SetAnnotations(nil) })
	drift, err := f.drifted(set)
	if err != nil || len(drift) != 1 || drift[0].Action != plan.Update {
		t.Fatalf("drift is %v, %v; want one update", drift, err)
	}
	f.release(set)
	if got := f.live("ConfigMap", "settings").GetLabels()[plan.LabelPartOf]; got != f.owner.setID() {
		t.Errorf("part-of label is %q after the correction", got)
	}
}

func TestOtherOwnersAreNotRobbed(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.release(f.set(configMap("shared", "from", "first")))
	f.create("ConfigMap", configMap("helms", "a", "b"), nil)
	f.edit("ConfigMap", "helms", func(o *unstructured.Unstructured) {
		o.SetAnnotations(map[string]string{"meta.helm.sh/release-name": "shop"})
	})
	f.create("ConfigMap", configMap("orphan", "a", "b"), nil)
	f.owner.Adopt = []promotion.Tool{promotion.ToolKubectl}
	other := *f
	other.owner.Environment.Name = "staging"
	_, err := other.c.Plan(t.Context(), other.owner, f.set(configMap("shared", "from", "second"), configMap("helms", "a", "c")))
	var refusal *plan.Refusal
	if !errors.As(err, &refusal) || refusal.Reason != "ConflictingOwner" || !fault.IsTerminal(err) {
		t.Fatalf("plan: %v, want a ConflictingOwner refusal", err)
	}
	for _, want := range []string{"environment shop/testing", "Helm release shop"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not name the owner %q", err, want)
		}
	}
	adopt := f.plan(f.set(configMap("shared", "from", "first"), configMap("orphan", "c", "d")))
	if len(adopt.Applies()) != 1 || adopt.Applies()[0].Reason != plan.ReasonAdopted {
		t.Fatalf("plan for an object without an owner: %v", adopt.Changes)
	}
	f.release(f.set(configMap("shared", "from", "first"), configMap("orphan", "c", "d")))
	data, _, _ := unstructured.NestedStringMap(f.live("ConfigMap", "orphan").Object, "data")
	if len(data) != 1 || data["c"] != "d" {
		t.Errorf("adopted ConfigMap holds %v; what it held before should be gone", data)
	}
}

func TestOutsideTheTargetIsRefused(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	_, err := f.c.Plan(t.Context(), f.owner, f.set(
		"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: kube-system}",
		"apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {name: NS-admin}"))
	var refusal *plan.Refusal
	if !errors.As(err, &refusal) || len(refusal.Objects) != 2 {
		t.Fatalf("plan: %v, want both objects refused", err)
	}
	for _, want := range []string{`add "namespace:kube-system" to target.allow`, `add "ClusterRole.rbac.authorization.k8s.io/` + f.owner.Namespace + `-admin" to target.allow`} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not say what would be right: %q", err, want)
		}
	}
}

func TestImmutableFieldIsSaidClearly(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.release(f.set(deployment("api", "registry.local/api:1", "replicas: 0")))
	changed := strings.ReplaceAll(deployment("api", "registry.local/api:1", "replicas: 0"), "app: api", "app: other")
	_, err := f.c.Plan(t.Context(), f.owner, f.set(changed))
	var rejected *plan.Rejected
	if !errors.As(err, &rejected) || !strings.Contains(err.Error(), "spec.selector cannot be changed in place") {
		t.Fatalf("plan: %v, want a rejection that names the field", err)
	}
	allowed := strings.Replace(changed, "metadata: {name: api}", `metadata: {name: api, annotations: {chaperone.dev/replace: allow}}`, 1)
	before := f.live("Deployment", "api").GetUID()
	p := f.plan(f.set(allowed))
	if len(p.Applies()) != 1 || p.Applies()[0].Action != plan.Replace {
		t.Fatalf("plan: %v, want a replacement", p.Changes)
	}
	f.release(f.set(allowed))
	if after := f.live("Deployment", "api").GetUID(); after == before {
		t.Error("the Deployment was not replaced")
	}
	if e, _ := mustInventory(f).Get(manifest.ID{Group: "apps", Kind: "Deployment", Namespace: f.owner.Namespace, Name: "api"}); e.UID != string(f.live("Deployment", "api").GetUID()) {
		t.Errorf("the inventory knows UID %q after the replacement", e.UID)
	}
}
