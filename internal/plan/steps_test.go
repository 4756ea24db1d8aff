package plan

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"chaperone.dev/chaperone/internal/manifest"
)

// changesOf makes a change of every object; those whose names are listed in
// same are unchanged.
func changesOf(t testing.TB, same string, texts ...string) []Change {
	t.Helper()
	var objects []*manifest.Object
	for _, text := range texts {
		objects = append(objects, object(t, text))
	}
	var changes []Change
	for _, o := range renderedSet(t, objects...).Objects() {
		c := Change{ID: manifest.IDOf(o), Action: Create, Stage: manifest.StageOf(o), Object: o}
		if slices.Contains(strings.Fields(same), c.ID.Name) {
			c.Action = Unchanged
		}
		changes = append(changes, c)
	}
	return changes
}

// told are the steps that do something, in words: what is done, and after which
// steps, those that only pass left out.
func told(changes []Change, steps []Step) string {
	name := func(s Step) string {
		switch {
		case s.Change < 0:
			return string(s.Kind)
		case s.Kind == StepAwait:
			return "await " + changes[s.Change].ID.Name + " " + string(s.Until)
		case s.Kind == StepTry:
			return "try " + changes[s.Change].ID.Name
		}
		return changes[s.Change].ID.Name
	}
	seen := map[int][]string{}
	var lines []string
	for i, s := range steps {
		var after []string
		for _, at := range s.After {
			if steps[at].Kind == StepPass {
				after = append(after, seen[at]...)
			} else {
				after = append(after, name(steps[at]))
			}
		}
		slices.Sort(after)
		after = slices.Compact(after)
		if seen[i] = after; s.Kind == StepPass {
			continue
		}
		line := name(s)
		if len(after) > 0 {
			line += " <- " + strings.Join(after, ", ")
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n")
}

const (
	workloadText = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: %s, namespace: shop, annotations: {%s}}\nspec: {template: {metadata: {labels: {app: %s}}, spec: {serviceAccountName: %s}}}"
	crdText      = "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: menus.example.org}\nspec: {group: example.org, names: {kind: Menu, plural: menus}}"
	menuText     = "apiVersion: example.org/v1\nkind: Menu\nmetadata: {name: %s, namespace: shop, annotations: {%s}}"
)

func dep(name, annotations string) string {
	return fmt.Sprintf(workloadText, name, annotations, name, name)
}

func menu(name, annotations string) string { return fmt.Sprintf(menuText, name, annotations) }

func depends(on string) string { return fmt.Sprintf("%s: %q", manifest.AnnotationDependsOn, on) }

func svc(name, app string) string {
	return fmt.Sprintf("apiVersion: v1\nkind: Service\nmetadata: {name: %s, namespace: shop}\nspec: {selector: {app: %s}}", name, app)
}

func hookOf(name, service, group, resources, more string) string {
	return fmt.Sprintf(`apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata: {name: %s}
webhooks:
- clientConfig: {service: {namespace: shop, name: %s}}
  rules: [{apiGroups: [%q], apiVersions: ["*"], operations: [CREATE], resources: [%s]}]
  %s`, name, service, group, resources, more)
}

const namespaceText = "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}"

var waitCases = []struct {
	name, same string
	objects    []string
	staged     string
	want       string
}{
	{
		name:    "plain objects have no wait",
		objects: []string{named("ConfigMap", "a", ""), named("Secret", "b", ""), dep("api", ""), dep("web", "")},
		want:    "a\nb\napi <- a, b\nweb <- a, b",
	},
	{
		name:    "a definition that nothing of is in the release is not awaited",
		objects: []string{crdText, named("ConfigMap", "a", ""), dep("api", "")},
		want:    "menus.example.org\na\napi <- a, menus.example.org",
	},
	{
		name:    "what comes with its kind is tried before anything else is touched",
		objects: []string{crdText, menu("lunch", ""), named("ConfigMap", "a", "")},
		staged:  "lunch",
		want: "menus.example.org\nawait menus.example.org served <- menus.example.org\n" +
			"try lunch <- await menus.example.org served, menus.example.org\na <- try lunch\n" +
			"lunch <- await menus.example.org served, menus.example.org, try lunch",
	},
	{
		name:    "a definition that an attempt before this one left behind is awaited for what it defines",
		same:    "menus.example.org",
		objects: []string{crdText, menu("lunch", "")},
		staged:  "lunch",
		want: "menus.example.org\nawait menus.example.org served <- menus.example.org\n" +
			"try lunch <- await menus.example.org served, menus.example.org\n" +
			"lunch <- await menus.example.org served, menus.example.org, try lunch",
	},
	{
		name:    "what stays as it is asks for no wait",
		same:    "lunch shop",
		objects: []string{namespaceText, crdText, menu("lunch", "")},
		want:    "shop\nmenus.example.org\nlunch <- menus.example.org, shop",
	},
	{
		name:    "a namespace is awaited by what is in it alone",
		objects: []string{namespaceText, named("ConfigMap", "a", ""), strings.Replace(named("ConfigMap", "b", ""), "shop", "other", 1)},
		want:    "shop\nb\nawait shop active <- shop\na <- await shop active, shop",
	},
	{
		name: "roles come before bindings",
		objects: []string{
			"apiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\nmetadata: {name: bind, namespace: shop}\nroleRef: {kind: Role, name: role}",
			"apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {name: role, namespace: shop}", dep("api", "")},
		want: "role\nbind <- role\napi <- bind, role",
	},
	{
		name: "hooks are awaited in their stages, and written down",
		objects: []string{named("ConfigMap", "a", ""), job("migrate", "pre-deploy"), job("smoke", "post-deploy"), dep("api", ""),
			named("ConfigMap", "script", "chaperone.dev/hook: pre-deploy")},
		want: "a\nscript <- a\nmigrate <- a, script\nawait migrate complete <- migrate\n" +
			"record <- await migrate complete, migrate, script\napi <- a, record\n" +
			"smoke <- a, api, migrate, record, script\nawait smoke complete <- smoke\nrecord <- await smoke complete, smoke",
	},
}

func TestStepsWaitOnlyWhereSomethingDepends(t *testing.T) {
	t.Parallel()
	for _, test := range waitCases {
		changes := changesOf(t, test.same, test.objects...)
		for i, c := range changes {
			changes[i].Staged = c.ID.Name == test.staged
		}
		steps, err := Steps(changes)
		if err != nil {
			t.Fatalf("%s: %v", test.name, err)
		}
		if got := told(changes, steps); got != test.want {
			t.Errorf("%s: steps are\n%s\nwant\n%s", test.name, got, test.want)
		}
	}
}
