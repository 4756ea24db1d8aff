package plan

import (
	"errors"
	"strings"
	"testing"

	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/promotion"
)

func TestParseDependsOn(t *testing.T) {
	t.Parallel()
	got, err := ParseDependsOn("apps/Deployment/shop/db, /ConfigMap/shop/settings,rbac.authorization.k8s.io/ClusterRole//system:reader")
	want := []manifest.ID{{Group: "apps", Kind: "Deployment", Namespace: "shop", Name: "db"}, {Kind: "ConfigMap", Namespace: "shop", Name: "settings"},
		{Group: "rbac.authorization.k8s.io", Kind: "ClusterRole", Name: "system:reader"}}
	if err != nil || len(got) != 3 || got[0] != want[0] || got[1] != want[1] || got[2] != want[2] {
		t.Fatalf("got %v, %v; want %v", got, err, want)
	}
	for text, want := range map[string]string{
		"":                                    `entry 1 "": is empty; want group/Kind/namespace/name`,
		"/ConfigMap/shop/a,":                  `entry 2 "": is empty`,
		"/ConfigMap/shop/a,/ConfigMap/shop/a": `entry 2 "/ConfigMap/shop/a": is listed twice; keep one`,
		"ConfigMap/shop/a":                    `has no group; want "/ConfigMap/shop/a" if it is of the core group`,
		"Deployment.apps/shop/db":             `want "apps/Deployment/shop/db"`,
		"apps/v1/Deployment/shop/db":          `has a version, which does not count; want "apps/Deployment/shop/db"`,
		"v1/ConfigMap/shop/a":                 `the core group is empty; want "/ConfigMap/shop/a"`,
		"Apps/Deployment/shop/db":             `"Apps" is no API group`,
		"apps/De ployment/shop/db":            `"De ployment" is no kind`,
		"apps/Deployment/Shop/db":             `"Shop" is no namespace`,
		"apps/Deployment/shop/":               `has no valid name`,
		"apps/Deployment":                     `has 2 parts; want group/Kind/namespace/name`,
		strings.Repeat("/A/b/c,", 101):        `names 102 objects; want at most 100`,
	} {
		if _, err := ParseDependsOn(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60q: %v, want %q", text, err, want)
		}
	}
}

func FuzzParseDependsOn(f *testing.F) {
	for _, seed := range []string{"apps/Deployment/shop/db, /ConfigMap/shop/a", "//", "Deployment.apps/a/b", "a/v1/B/c/d", ",,", "\xff/A//\x00"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		ids, err := ParseDependsOn(text)
		if err != nil {
			if len(err.Error()) > 2000 {
				t.Errorf("an error of %d bytes", len(err.Error()))
			}
			return
		}
		var again []string
		for _, id := range ids {
			if id.Kind == "" || id.Name == "" {
				t.Errorf("accepted %+v", id)
			}
			again = append(again, Dependency(id))
		}
		back, err := ParseDependsOn(strings.Join(again, ","))
		if err != nil || len(back) != len(ids) {
			t.Fatalf("what was read does not read back: %v, %v", back, err)
		}
		for i := range ids {
			if ids[i] != back[i] {
				t.Errorf("%+v reads back as %+v", ids[i], back[i])
			}
		}
	})
}

func TestDependsOnIsRefused(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name    string
		objects []string
		want    string
	}{
		{"no such object", []string{menu("lunch", depends("apps/Deployment/shop/bd")), dep("db", "")},
			`Menu.example.org/shop/lunch: chaperone.dev/depends-on: entry 1 "apps/Deployment/shop/bd": is not in the release; did you mean "apps/Deployment/shop/db"?`},
		{"another namespace", []string{menu("lunch", depends("apps/Deployment//db")), dep("db", "")}, `did you mean "apps/Deployment/shop/db"?`},
		{"another group", []string{menu("lunch", depends("/Deployment/shop/db")), dep("db", "")}, `did you mean "apps/Deployment/shop/db"?`},
		{"nothing near", []string{menu("lunch", depends("/Secret/shop/some-password")), dep("db", "")}, `is not in the release; name an object that it renders`},
		{"malformed", []string{menu("lunch", depends("Deployment/db"))}, `Menu.example.org/shop/lunch: chaperone.dev/depends-on: entry 1 "Deployment/db": has 2 parts`},
		{"itself", []string{dep("db", depends("apps/Deployment/shop/db"))}, `is the object itself`},
		{"a rollback hook", []string{dep("db", depends("batch/Job/shop/undo")), job("undo", "rollback")}, `is a rollback hook`},
		{"a cycle of two", []string{dep("a", depends("apps/Deployment/shop/b")), dep("b", depends("apps/Deployment/shop/a"))},
			`Deployment.apps/shop/a depends on Deployment.apps/shop/b, which depends on Deployment.apps/shop/a; take one of them out of chaperone.dev/depends-on`},
		{"a cycle with a reference", []string{named("ServiceAccount", "a", depends("apps/Deployment/shop/a")), dep("a", "")},
			`ServiceAccount/shop/a depends on Deployment.apps/shop/a, which refers to ServiceAccount/shop/a`},
		{"a cycle with hooks", []string{strings.Replace(job("migrate", "pre-deploy"), "annotations: {", "annotations: {"+depends("apps/Deployment/shop/a")+", ", 1), dep("a", "")},
			`Job.batch/shop/migrate depends on Deployment.apps/shop/a, which comes after the pre-deploy hooks, which include Job.batch/shop/migrate`},
	} {
		var objects []*manifest.Object
		for _, text := range test.objects {
			objects = append(objects, prepared(t, text))
		}
		_, err := build(t, Input{Desired: renderedSet(t, objects...)})
		var refusal *Refusal
		if !errors.As(err, &refusal) || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", test.name, err, test.want)
			continue
		}
		if refusal.Reason != promotion.ApplyRejected {
			t.Errorf("%s: reason %s", test.name, refusal.Reason)
		}
		// What the release alone tells is found without a cluster, in the same words.
		alone := Disorder(renderedSet(t, objects...))
		if told := strings.HasPrefix(test.name, "a cycle") || test.name == "malformed"; told != (len(alone) == 1) {
			t.Errorf("%s: without a cluster: %+v", test.name, alone)
		} else if told && !strings.Contains(alone[0].ID.String()+": "+alone[0].Text, test.want) {
			t.Errorf("%s: without a cluster: %+v, want %q", test.name, alone[0], test.want)
		}
	}
}

func TestCycleWithADefinitionIsRefused(t *testing.T) {
	t.Parallel()
	crd := strings.Replace(crdText, "{name: menus.example.org}", "{name: menus.example.org, annotations: {"+depends("example.org/Menu/shop/lunch")+"}}", 1)
	_, err := Steps(changesOf(t, "", crd, menu("lunch", "")))
	const want = "CustomResourceDefinition.apiextensions.k8s.io/menus.example.org depends on Menu.example.org/shop/lunch, " +
		"which is defined by CustomResourceDefinition.apiextensions.k8s.io/menus.example.org"
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want %q", err, want)
	}
}
