package plan

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/promotion"
)

// managersOn lists who manages an object, and what: "helm Update a,b".
func managersOn(o *manifest.Object) []string {
	var all []string
	for _, one := range writersOf(o) {
		name := one.entry.Manager + " " + string(one.entry.Operation)
		if one.entry.Subresource != "" {
			name += " of " + one.entry.Subresource
		}
		var fields []string
		for _, path := range strings.Fields(strings.NewReplacer("\n", " ", "\t", " ").Replace(one.fields.String())) {
			fields = append(fields, path)
		}
		slices.Sort(fields)
		all = append(all, name+": "+strings.Join(fields, " "))
	}
	slices.Sort(all)
	return all
}

const inData = `{"f:data":{"f:%s":{}}}`

func TestWhatIsInherited(t *testing.T) {
	t.Parallel()
	data := func(key string) string { return fmt.Sprintf(inData, key) }
	kubectl := []promotion.Tool{promotion.ToolKubectl}
	for name, c := range map[string]struct {
		adopt   []promotion.Tool
		marked  bool
		version string
		entries [][4]string // manager, operation, subresource, fields
		want    string
	}{
		"nothing is adopted": {nil, false, "v1", [][4]string{{"kubectl", "Apply", "", data("a")}}, ""},
		"of another tool":    {[]promotion.Tool{promotion.ToolHelm}, false, "v1", [][4]string{{"kubectl", "Apply", "", data("a")}}, ""},
		"by apply and by update": {kubectl, false, "v1", [][4]string{{"kubectl", "Apply", "", data("a")}, {"kubectl-client-side-apply", "Update", "", data("b")}},
			"chaperone Apply: .data.a .data.b"},
		"onto what is the daemon's already": {kubectl, false, "v1", [][4]string{{"chaperone", "Apply", "", data("a")}, {"kubectl-edit", "Update", "", data("b")}},
			"chaperone Apply: .data.a .data.b"},
		"everybody else's stays": {kubectl, false, "v1", [][4]string{{"kubectl", "Apply", "", data("a")}, {"kube-controller-manager", "Update", "", data("b")},
			{"kubectl", "Update", "scale", data("c")}, {"kubectl-rollout", "Update", "", data("d")}, {"some-operator", "Update", "", data("e")}},
			"chaperone Apply: .data.a; kube-controller-manager Update: .data.b; kubectl Update of scale: .data.c; kubectl-rollout Update: .data.d; some-operator Update: .data.e"},
		"before anybody recorded it": {kubectl, false, "v1", [][4]string{{"before-first-apply", "Update", "", data("a")}}, "chaperone Apply: .data.a"},
		"a scale stays ownerless":    {kubectl, false, "v1", [][4]string{{"kubectl", "Apply", "", `{"f:spec":{"f:replicas":{},"f:paused":{}}}`}}, "chaperone Apply: .spec.paused"},
		"hand edits of its own object are left": {kubectl, true, "v1", [][4]string{{"chaperone", "Apply", "", data("a")}, {"kubectl-edit", "Update", "", data("b")},
			{"kubectl", "Apply", "", data("c")}}, "chaperone Apply: .data.a .data.c; kubectl-edit Update: .data.b"},
		"an operator on its own object": {[]promotion.Tool{promotion.ToolOther}, true, "v1", [][4]string{{"chaperone", "Apply", "", data("a")}, {"some-operator", "Apply", "", data("b")}}, ""},
		"written in another version":    {kubectl, false, "v2", [][4]string{{"kubectl", "Apply", "", `{"f:data":{"f:a":{},"f:gone":{}}}`}}, "chaperone Apply: .data.a"},
		"what cannot be read":           {kubectl, false, "v1", [][4]string{{"kubectl", "Apply", "", `{"f:data":3}`}}, ""},
	} {
		live := object(t, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: shop}\ndata: {a: '1', b: '1', c: '1', d: '1', e: '1'}\nspec: {replicas: 3, paused: true}")
		if c.marked {
			if err := owner.Mark(live); err != nil {
				t.Fatal(err)
			}
		}
		for _, e := range c.entries {
			live = wrote(live, e[0], e[1], e[2], e[3])
		}
		live.SetAPIVersion(c.version)
		w := owner
		w.Adopt = c.adopt
		inherited, heir, err := w.Inherit(live)
		if err != nil || heir != (c.want != "") {
			t.Errorf("%s: heir %v, %v", name, heir, err)
			continue
		}
		if got := strings.Join(managersOn(inherited), "; "); heir && got != c.want {
			t.Errorf("%s: %s\nwant %s", name, got, c.want)
		}
	}
}

// Marks that nobody is recorded for are taken over too, so that they go.
func TestMarksAreInheritedFromNobody(t *testing.T) {
	t.Parallel()
	live := object(t, named("ConfigMap", "a", "meta.helm.sh/release-name: api, meta.helm.sh/release-namespace: shop, example.org/note: x"))
	w := owner
	w.Adopt = []promotion.Tool{promotion.ToolHelm}
	inherited, heir, err := w.Inherit(live)
	want := `chaperone Apply: .metadata.annotations.meta.helm.sh/release-name .metadata.annotations.meta.helm.sh/release-namespace`
	if got := strings.Join(managersOn(inherited), "; "); err != nil || !heir || got != want {
		t.Errorf("%s (%v, %v), want %s", got, heir, err, want)
	}
	if len(live.GetManagedFields()) != 0 {
		t.Error("the object itself was changed")
	}
}

// Whoever wrote an object, and whatever is adopted: nobody else loses a field,
// nothing of ours is lost, the owner may have it afterwards exactly if it might
// before, and doing it twice does nothing more.
func TestInheritingTakesFromTheNamedAlone(t *testing.T) {
	t.Parallel()
	all := []promotion.Tool{promotion.ToolKubectl, promotion.ToolHelm, promotion.ToolFlux, promotion.ToolArgoCD, promotion.ToolOther}
	names := []string{"chaperone", "kubectl", "kubectl-edit", "kubectl-rollout", "helm", "kustomize-controller", "argocd-controller", "kube-controller-manager", "x", "before-first-apply"}
	rapid.Check(t, func(r *rapid.T) {
		live := object(t, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: shop}\ndata: {a: '1', b: '1', c: '1'}")
		if rapid.Bool().Draw(r, "marked") {
			if err := owner.Mark(live); err != nil {
				r.Fatal(err)
			}
		}
		for _, name := range rapid.SliceOfDistinct(rapid.SampledFrom(names), rapid.ID[string]).Draw(r, "managers") {
			operation := rapid.SampledFrom([]string{"Apply", "Update"}).Draw(r, name)
			subresource := rapid.SampledFrom([]string{"", "", "scale"}).Draw(r, name)
			live = wrote(live, name, operation, subresource, rapid.SampledFrom([]string{fmt.Sprintf(inData, "a"), fmt.Sprintf(inData, "b"), fmt.Sprintf(inData, "c"),
				`{"f:status":{"f:phase":{}}}`, `{"f:metadata":{"f:finalizers":{".":{}}},"f:data":{"f:a":{}}}`, `{}`}).Draw(r, name))
		}
		w := owner
		w.Adopt = rapid.SliceOfDistinct(rapid.SampledFrom(all), rapid.ID[promotion.Tool]).Draw(r, "adopt")
		before, err := json.Marshal(live)
		if err != nil {
			r.Fatal(err)
		}
		inherited, heir, err := w.Inherit(live)
		if err != nil {
			r.Fatal(err)
		}
		if after, err := json.Marshal(live); err != nil || string(after) != string(before) {
			r.Fatalf("the object was changed: %s (%v)", after, err)
		}
		now := managersOn(inherited)
		for _, one := range writersOf(live) {
			named := one.tool != "" && slices.Contains(w.Adopt, one.tool) || one.entry.Manager == beforeFirstApply
			ours := one.entry.Manager == FieldManager
			if text := managersOn(withManagers(live, live.GetManagedFields()[indexOf(live, one):][:1])); !named && !ours && !slices.Contains(now, text[0]) {
				r.Fatalf("%s was taken from: %v", one.entry.Manager, now)
			}
			if ours && heir && managed(live, FieldManager) != nil && !managed(live, FieldManager).Difference(managed(inherited, FieldManager)).Empty() {
				r.Fatalf("a field of ours was lost: %v", now)
			}
		}
		had, has := orEmpty(managed(live, FieldManager)), orEmpty(managed(inherited, FieldManager))
		has.Iterate(func(path fieldpath.Path) {
			if isControllers(path) && !had.Has(path) {
				r.Fatalf("%s was taken over: %v", path, now)
			}
		})
		if (w.Other(live) == "") && w.Other(inherited) != "" {
			r.Fatalf("after it the object belongs to %s", w.Other(inherited))
		}
		if _, again, err := w.Inherit(inherited); again || err != nil {
			r.Fatalf("there is more to take over: %v, %v", now, err)
		}
	})
}

func orEmpty(set *fieldpath.Set) *fieldpath.Set {
	if set == nil {
		return fieldpath.NewSet()
	}
	return set
}

func indexOf(o *manifest.Object, one writer) int {
	for i, entry := range o.GetManagedFields() {
		if entry.Manager == one.entry.Manager {
			return i
		}
	}
	return -1
}

func TestStrippedLeavesWhatOthersHold(t *testing.T) {
	t.Parallel()
	base := object(t, `apiVersion: apps/v1
kind: Deployment
metadata: {name: api, namespace: shop, labels: {app: api, team: before}, finalizers: [a.example.org/x, b.example.org/y]}
spec:
  paused: true
  template:
    spec:
      nodeSelector: {pool: x}
      containers:
      - {name: app, image: i, env: [{name: STAYS, value: a}, {name: GOES, value: b}]}
      - {name: sidecar, image: s}
      - {name: shared, image: s, command: [x]}
`)
	inherited := wrote(base, FieldManager, "Apply", "", `{"f:metadata":{"f:labels":{".":{},"f:app":{},"f:team":{}},"f:finalizers":{".":{},"v:\"a.example.org/x\"":{}}},
"f:spec":{"f:paused":{},"f:template":{"f:spec":{"f:nodeSelector":{},"f:containers":{
"k:{\"name\":\"app\"}":{".":{},"f:name":{},"f:image":{},"f:env":{".":{},"k:{\"name\":\"STAYS\"}":{".":{},"f:name":{},"f:value":{}},"k:{\"name\":\"GOES\"}":{".":{},"f:name":{},"f:value":{}}}},
"k:{\"name\":\"sidecar\"}":{".":{},"f:name":{},"f:image":{}},"k:{\"name\":\"shared\"}":{".":{},"f:name":{},"f:image":{},"f:command":{}}}}}}}`)
	inherited = wrote(inherited, "kube-controller-manager", "Update", "", `{"f:metadata":{"f:finalizers":{"v:\"b.example.org/y\"":{}}},
"f:spec":{"f:template":{"f:spec":{"f:containers":{"k:{\"name\":\"shared\"}":{".":{},"f:name":{},"f:image":{}}}}}}}`)
	tried := wrote(base, FieldManager, "Apply", "", `{"f:metadata":{"f:labels":{"f:app":{}}},"f:spec":{"f:template":{"f:spec":{"f:containers":{
"k:{\"name\":\"app\"}":{".":{},"f:name":{},"f:image":{},"f:env":{"k:{\"name\":\"STAYS\"}":{".":{},"f:name":{},"f:value":{}}}}}}}}}`)
	want := object(t, `apiVersion: apps/v1
kind: Deployment
metadata: {name: api, namespace: shop, labels: {app: api}, finalizers: [b.example.org/y]}
spec:
  template:
    spec:
      containers:
      - {name: app, image: i, env: [{name: STAYS, value: a}]}
      - {name: shared, image: s}
`)
	got := Stripped(inherited, tried)
	got = withManagers(got, nil)
	a, errA := json.Marshal(got.Object)
	b, errB := json.Marshal(want.Object)
	if errA != nil || errB != nil || string(a) != string(b) {
		t.Errorf("stripped to\n%s\nwant\n%s", a, b)
	}
	if text, err := json.Marshal(withManagers(tried, nil).Object); err != nil || !strings.Contains(string(text), "GOES") {
		t.Errorf("what was tried is changed: %s, %v", text, err)
	}
}
