package plan

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"chaperone.dev/chaperone/internal/manifest"
)

// orderCases say which of the objects come after which, waits included.
var orderCases = []struct {
	name, same string
	objects    []string
	want       string
}{
	{
		name:    "what a workload serves comes after it, and what that judges after that",
		objects: []string{hookOf("judge", "web", "example.org", "menus", ""), svc("web", "judge"), dep("judge", ""), menu("lunch", ""), named("ServiceAccount", "judge", ""), dep("other", "")},
		want: "judge\nweb\njudge <- judge, web\nawait judge ready <- judge\njudge <- await judge ready, judge, web\n" +
			"lunch <- judge\nother <- judge, lunch, web",
	},
	{
		name:    "one that is there and stays holds nothing up",
		same:    "judge web",
		objects: []string{hookOf("judge", "web", "example.org", "menus", ""), svc("web", "judge"), dep("judge", ""), menu("lunch", "")},
		want:    "web\njudge <- web\njudge <- judge\nlunch <- judge",
	},
	{
		name: "what the server itself needs is not held back",
		objects: []string{hookOf("judge", "web", "", "configmaps, secrets", ""), svc("web", "judge"), named("ConfigMap", "settings", ""), named("Secret", "cert", ""),
			strings.Replace(dep("judge", ""), "serviceAccountName: judge", "volumes: [{secret: {secretName: cert}}]", 1)},
		want: "cert\nweb\njudge <- cert, web\nawait judge ready <- judge\njudge <- await judge ready, cert, judge, web\nsettings <- judge",
	},
	{
		name:    "two that judge each other's settings both start",
		objects: []string{hookOf("a", "a", "*", `"*"`, ""), svc("a", "a"), dep("a", ""), hookOf("b", "b", "*", `"*"`, ""), svc("b", "b"), dep("b", "")},
		want: "a\na <- a\nawait a ready <- a\na <- a, await a ready\nb <- a\nb <- a, b\nawait b ready <- b\n" +
			"b <- a, await b ready, b",
	},
	{
		name:    "a selector narrows what is judged",
		objects: []string{hookOf("judge", "web", "example.org", "menus", "objectSelector: {matchLabels: {judged: 'yes'}}"), svc("web", "judge"), dep("judge", ""), menu("lunch", "")},
		want:    "web\nlunch\njudge <- lunch, web\nawait judge ready <- judge\njudge <- await judge ready, judge, lunch, web",
	},
	{
		name: "an API comes after what serves it, and its kinds after it",
		objects: []string{"apiVersion: apiregistration.k8s.io/v1\nkind: APIService\nmetadata: {name: v1.example.org}\nspec: {group: example.org, version: v1, service: {namespace: shop, name: web}}",
			svc("web", "api"), dep("api", ""), menu("lunch", "")},
		want: "web\napi <- web\nawait api ready <- api\nv1.example.org <- api, await api ready, web\n" +
			"await v1.example.org available <- v1.example.org\nlunch <- await v1.example.org available, v1.example.org",
	},
	{
		name: "what is converted comes after what converts it",
		objects: []string{strings.TrimSuffix(crdText, "}") + ", conversion: {strategy: Webhook, webhook: {clientConfig: {service: {namespace: shop, name: web}}}}}",
			svc("web", "api"), dep("api", ""), menu("lunch", "")},
		want: "menus.example.org\nweb\napi <- menus.example.org, web\nawait menus.example.org served <- menus.example.org\n" +
			"await api ready <- api\nlunch <- api, await api ready, await menus.example.org served, menus.example.org",
	},
	{
		name:    "an object comes after those that it depends on are ready",
		objects: []string{dep("api", depends("apps/Deployment/shop/db, example.org/Menu/shop/lunch")), dep("db", ""), menu("lunch", depends("apps/Deployment/shop/db")), dep("web", "")},
		want: "db\nawait db ready <- db\nlunch <- await db ready, db\nawait lunch ready <- lunch\n" +
			"api <- await db ready, await lunch ready, db, lunch\nweb <- lunch",
	},
	{
		name:    "also after one that stays as it is",
		same:    "db",
		objects: []string{dep("api", depends("apps/Deployment/shop/db")), dep("db", "")},
		want:    "db\nawait db ready <- db\napi <- await db ready, db",
	},
	{
		name:    "an object that stays as it is waits for nothing",
		same:    "api",
		objects: []string{dep("api", depends("apps/Deployment/shop/db")), dep("db", "")},
		want:    "db\napi <- db",
	},
}

func TestOrder(t *testing.T) {
	t.Parallel()
	for _, test := range orderCases {
		changes := changesOf(t, test.same, test.objects...)
		steps, err := Steps(changes)
		if err != nil {
			t.Errorf("%s: %v", test.name, err)
			continue
		}
		if got := told(changes, steps); got != test.want {
			t.Errorf("%s: steps are\n%s\nwant\n%s", test.name, got, test.want)
		}
	}
}

// release draws objects of all stages that depend on each other without cycles.
func drawChanges(rt *rapid.T) []Change {
	kinds := []string{"v1/ConfigMap", "v1/Namespace", "example.org/v1/Menu", "apps/v1/Deployment", "batch/v1/Job", "apiextensions.k8s.io/v1/CustomResourceDefinition",
		"admissionregistration.k8s.io/v1/ValidatingWebhookConfiguration", "v1/Service", "apiregistration.k8s.io/v1/APIService"}
	n := rapid.IntRange(1, 14).Draw(rt, "objects")
	var changes []Change
	for i := range n {
		at := rapid.SampledFrom(kinds).Draw(rt, "kind")
		cut := strings.LastIndex(at, "/")
		o := &manifest.Object{Object: map[string]any{"apiVersion": at[:cut], "kind": at[cut+1:]}}
		name := fmt.Sprintf("o%d", i)
		o.SetName(name)
		if cluster := []string{"Namespace", "CustomResourceDefinition", "ValidatingWebhookConfiguration", "APIService"}; !slices.Contains(cluster, o.GetKind()) {
			o.SetNamespace("shop")
		} else if o.GetKind() == "Namespace" && i == 0 {
			o.SetName("shop")
		}
		annotations := map[string]string{}
		if o.GetKind() == "Job" {
			if hook := rapid.SampledFrom([]string{"", "pre-deploy", "post-deploy"}).Draw(rt, "hook"); hook != "" {
				annotations[manifest.AnnotationHook] = hook
			}
		}
		if i > 0 && rapid.IntRange(0, 2).Draw(rt, "depends") == 0 {
			annotations[manifest.AnnotationDependsOn] = Dependency(changes[rapid.IntRange(0, i-1).Draw(rt, "on")].ID)
		}
		o.SetAnnotations(annotations)
		fillIn(o, rapid.IntRange(0, 2).Draw(rt, "app"))
		changes = append(changes, Change{ID: manifest.IDOf(o), Stage: manifest.StageOf(o), Object: o,
			Action: rapid.SampledFrom([]Action{Create, Update, Unchanged}).Draw(rt, "action"), Staged: rapid.Bool().Draw(rt, "staged")})
	}
	return changes
}

func fillIn(o *manifest.Object, app int) {
	labels := map[string]any{"app": fmt.Sprint(app)}
	service := map[string]any{"namespace": "shop", "name": fmt.Sprintf("o%d", app)}
	switch o.GetKind() {
	case "Deployment":
		o.Object["spec"] = map[string]any{"template": map[string]any{"metadata": map[string]any{"labels": labels}}}
	case "Service":
		o.Object["spec"] = map[string]any{"selector": labels}
	case "CustomResourceDefinition":
		o.Object["spec"] = map[string]any{"group": "example.org", "names": map[string]any{"kind": "Menu", "plural": "menus"}}
	case "APIService":
		o.Object["spec"] = map[string]any{"group": "example.org", "service": service}
	case "ValidatingWebhookConfiguration":
		o.Object["webhooks"] = []any{map[string]any{"clientConfig": map[string]any{"service": service},
			"rules": []any{map[string]any{"apiGroups": []any{"*"}, "operations": []any{"*"}, "resources": []any{"*"}}}}}
	}
}

// Every object once, every dependency before what depends on it, the same order
// every time, and no wait for what nothing waits for.
func TestOrderKeepsDependencies(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		changes := drawChanges(rt)
		steps, err := Steps(changes)
		if err != nil {
			return // a cycle with the built-in order, said so
		}
		again, err := Steps(changes)
		if err != nil || !reflect.DeepEqual(steps, again) {
			rt.Fatalf("the same changes gave other steps: %v", err)
		}
		applied, before := map[int]int{}, make([]map[int]bool, len(steps))
		for i, s := range steps {
			before[i] = map[int]bool{}
			for _, at := range s.After {
				if at < 0 || at >= i {
					rt.Fatalf("step %d is after %d", i, at)
				}
				before[i][at] = true
				for earlier := range before[at] {
					before[i][earlier] = true
				}
			}
			if s.Kind == StepApply {
				if _, twice := applied[s.Change]; twice {
					rt.Fatalf("%s is applied twice", changes[s.Change].ID)
				}
				applied[s.Change] = i
			}
		}
		if len(applied) != len(changes) {
			rt.Fatalf("%d of %d changes are applied", len(applied), len(changes))
		}
		checkDependencies(rt, changes, steps, applied, before)
	})
}

func checkDependencies(rt *rapid.T, changes []Change, steps []Step, applied map[int]int, before []map[int]bool) {
	index := map[manifest.ID]int{}
	for i, c := range changes {
		index[c.ID] = i
	}
	awaited := func(change, by int) bool {
		return slices.ContainsFunc(steps, func(s Step) bool { return s.Kind == StepAwait && s.Change == change }) &&
			func() bool {
				for i, s := range steps {
					if s.Kind == StepAwait && s.Change == change && before[by][i] {
						return true
					}
				}
				return false
			}()
	}
	for i, c := range changes {
		ids, _ := dependsOn(c.Object)
		if at, found := index[manifest.ID{Kind: "Namespace", Name: c.ID.Namespace}]; found && c.ID.Namespace != "" {
			if !before[applied[i]][applied[at]] {
				rt.Fatalf("%s is not after its namespace", c.ID)
			}
			if changes[at].Action != Unchanged && c.Action != Unchanged && !awaited(at, applied[i]) {
				rt.Fatalf("%s does not wait for its namespace", c.ID)
			}
		}
		for _, id := range ids {
			if at := index[id]; !before[applied[i]][applied[at]] || c.Action != Unchanged && !awaited(at, applied[i]) {
				rt.Fatalf("%s does not wait for %s", c.ID, id)
			}
		}
		if c.Stage != manifest.StageWorkload {
			continue
		}
		for j, hook := range changes {
			if hook.Stage == manifest.StagePreDeploy && IsHook(hook.Object) && !awaited(j, applied[i]) {
				rt.Fatalf("%s does not wait for the hook %s", c.ID, hook.ID)
			}
		}
	}
}

func BenchmarkSteps(b *testing.B) {
	var texts []string
	for i := range 2000 {
		switch i % 4 {
		case 0, 1:
			texts = append(texts, named("ConfigMap", fmt.Sprintf("c%d", i), ""))
		case 2:
			texts = append(texts, svc(fmt.Sprintf("s%d", i), "a"))
		default:
			texts = append(texts, dep(fmt.Sprintf("d%d", i), ""))
		}
	}
	changes := changesOf(b, "", texts...)
	b.ResetTimer()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Steps(changes); err != nil {
			b.Fatal(err)
		}
	}
}
