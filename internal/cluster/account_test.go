package cluster

import (
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"chaperone.dev/chaperone/internal/plan"
	"chaperone.dev/chaperone/internal/promotion"
)

// runsAs is a manifest whose pods have the given fields beside a container.
func runsAs(manifest string, lines ...string) string {
	text := "{" + strings.Join(append(lines, "containers: [{name: app, image: r/app:1}]"), ", ") + "}"
	return strings.ReplaceAll(manifest, "SPEC", text)
}

const (
	template = "{metadata: {labels: {app: one}}, spec: SPEC}"
	deployed = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: one}\nspec: {replicas: 0, selector: {matchLabels: {app: one}}, template: " + template + "}"
	barePod  = "apiVersion: v1\nkind: Pod\nmetadata: {name: one}\nspec: SPEC"
)

// account is what an object's pods run as, by both names of the field.
func (f *fixture) account(resource schema.GroupVersionResource, path ...string) (name, alias string) {
	f.Helper()
	o, err := f.c.dynamic.Resource(resource).Namespace(f.owner.Namespace).Get(f.Context(), "one", metav1.GetOptions{})
	if err != nil {
		f.Fatal(err)
	}
	spec, found, err := unstructured.NestedMap(o.Object, path...)
	if err != nil || !found {
		f.Fatalf("no pod spec at %v", path)
	}
	name, _ = spec["serviceAccountName"].(string)
	alias, _ = spec["serviceAccount"].(string)
	return name, alias
}

func (f *fixture) wantAccount(when, want string) {
	f.Helper()
	if name, alias := f.account(gvrs["Deployment"], "spec", "template", "spec"); name != want || alias != want {
		f.Errorf("%s: runs as %q, by the alias %q; want %q", when, name, alias, want)
	}
}

// quiet checks that nothing is left to do, and that nothing drifts.
func (f *fixture) quiet(when string, manifests ...string) {
	f.Helper()
	set := f.set(manifests...)
	if p := f.plan(set); !p.Quiet() {
		f.Errorf("%s: plan is %v, want nothing to do", when, p.Applies())
	}
	drift, err := f.drifted(set)
	if err != nil || len(drift) > 0 {
		f.Errorf("%s: drift is %v, %v; want none", when, drift, err)
	}
}

// A release that names a service account is taken back: the server kept the
// account, as it reads the name back from its deprecated alias
// (kubernetes#72519).
func TestAccountIsTakenBack(t *testing.T) {
	t.Parallel()
	v1, apps, batch := schema.GroupVersion{Version: "v1"}, schema.GroupVersion{Group: "apps", Version: "v1"}, schema.GroupVersion{Group: "batch", Version: "v1"}
	inTemplate := []string{"spec", "template", "spec"}
	selected := "{selector: {matchLabels: {app: one}}, template: " + template + "}"
	for kind, c := range map[string]struct {
		resource schema.GroupVersionResource
		path     []string
		spec     string
	}{
		"Deployment":            {apps.WithResource("deployments"), inTemplate, selected},
		"StatefulSet":           {apps.WithResource("statefulsets"), inTemplate, selected},
		"DaemonSet":             {apps.WithResource("daemonsets"), inTemplate, selected},
		"ReplicaSet":            {apps.WithResource("replicasets"), inTemplate, selected},
		"ReplicationController": {v1.WithResource("replicationcontrollers"), inTemplate, "{selector: {app: one}, template: " + template + "}"},
		"CronJob": {batch.WithResource("cronjobs"), []string{"spec", "jobTemplate", "spec", "template", "spec"},
			"{schedule: \"0 0 1 1 *\", suspend: true, jobTemplate: {spec: {template: " + template + "}}}"},
	} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			manifest := "apiVersion: " + c.resource.GroupVersion().String() + "\nkind: " + kind + "\nmetadata: {name: one}\nspec: " + c.spec
			restart := "restartPolicy: " + map[bool]string{true: "Never", false: "Always"}[kind == "CronJob"]
			before, after := runsAs(manifest, restart), runsAs(manifest, restart, "serviceAccountName: forgotten")
			f.release(f.set(before))
			f.release(f.set(after))
			if name, _ := f.account(c.resource, c.path...); name != "forgotten" {
				t.Fatalf("runs as %q, want the account of the release", name)
			}
			f.owner.Restoring = true
			f.release(f.set(before))
			if name, alias := f.account(c.resource, c.path...); name != "" || alias != "" {
				t.Errorf("after the restore: runs as %q, by the alias %q; want none", name, alias)
			}
			f.owner.Restoring = false
			f.quiet("after the restore", before)
			f.release(f.set(after))
			if name, _ := f.account(c.resource, c.path...); name != "forgotten" {
				t.Errorf("released again: runs as %q, want the account of the release", name)
			}
		})
	}
}

// What a manager other than the daemon chose is not fought.
func TestAccountOfAnotherManagerStays(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	choose := func(account string) func(*unstructured.Unstructured) {
		return func(o *unstructured.Unstructured) {
			for _, field := range []string{"serviceAccountName", "serviceAccount"} {
				if err := unstructured.SetNestedField(o.Object, account, "spec", "template", "spec", field); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	none, ours := runsAs(deployed), runsAs(deployed, "serviceAccountName: ours")
	f.release(f.set(none))
	f.edit("Deployment", "one", choose("theirs"))
	f.quiet("chosen by another", none)
	f.release(f.set(none))
	f.wantAccount("chosen by another", "theirs")

	f.release(f.set(ours)) // Git has a word in it now
	f.wantAccount("named in Git", "ours")
	f.release(f.set(none))
	f.wantAccount("no longer named in Git", "")
	f.quiet("no longer named in Git", none)

	f.edit("Deployment", "one", choose("theirs")) // and somebody chooses again
	f.quiet("chosen after", none)
	f.wantAccount("chosen after", "theirs")
}

// The deprecated alias alone says it too.
func TestAccountByItsAlias(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for _, c := range []struct{ line, want string }{
		{"serviceAccount: first", "first"},
		{"serviceAccount: second", "second"},
		{"serviceAccountName: third", "third"},
		{"serviceAccount: fourth", "fourth"},
		{"restartPolicy: Always", ""},
		{"serviceAccountName: default", "default"},
		{"serviceAccountName: fifth", "fifth"},
		{`serviceAccountName: ""`, ""},
	} {
		manifest := runsAs(deployed, c.line)
		f.release(f.set(manifest))
		f.wantAccount(c.line, c.want)
		f.quiet(c.line, manifest)
	}
}

// kubectl wrote both fields without server-side apply.
func TestAccountOfAdoptedObject(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.owner.Adopt = []promotion.Tool{promotion.ToolKubectl}
	f.create("Deployment", runsAs(deployed, "serviceAccountName: before"), nil)
	f.release(f.set(runsAs(deployed)))
	f.wantAccount("adopted", "")
	f.quiet("adopted", runsAs(deployed))
}

// Every pod runs as "default" unless something says otherwise: admission wrote
// that, and it cannot be changed.
func TestAccountThatAdmissionChose(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	pods := schema.GroupVersionResource{Version: "v1", Resource: "pods"}
	f.awaitDefaultAccount()
	for _, c := range []string{runsAs(barePod), runsAs(barePod, "serviceAccountName: default"), runsAs(barePod)} {
		f.release(f.set(c))
		if name, _ := f.account(pods, "spec"); name != "default" {
			t.Errorf("the pod runs as %q", name)
		}
		f.quiet("a bare pod", c)
	}
}

// A hook runs again where its account changes, and is remembered as it is
// rendered: it does not run once more when it has left.
func TestAccountOfHook(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.awaitDefaultAccount()
	migrator := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "migrator"}}
	if _, err := f.local.Client().CoreV1().ServiceAccounts(f.owner.Namespace).Create(t.Context(), migrator, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	text := hook("one", "pre-deploy", "registry.local/migrate:1")
	named := strings.Replace(text, "restartPolicy: Never", "restartPolicy: Never\n      serviceAccountName: migrator", 1)
	f.release(f.set(named))
	set := f.set(text)
	if p := f.plan(set); p.Count(plan.Replace) != 1 || p.Count(plan.Update) > 0 {
		t.Fatalf("plan without the account: %v, want the hook replaced", p.Changes)
	}
	f.release(set)
	if name, _ := f.account(gvrs["Job"], "spec", "template", "spec"); name != "" {
		t.Errorf("the hook ran as %q", name)
	}
	f.quiet("after the hook", text)
	if err := f.c.dynamic.Resource(gvrs["Job"]).Namespace(f.owner.Namespace).Delete(t.Context(), "one", deleteNow); err != nil {
		t.Fatal(err)
	}
	f.quiet("when the hook has left", text)
}

// awaitDefaultAccount waits for what a pod needs to be admitted.
func (f *fixture) awaitDefaultAccount() {
	f.Helper()
	for range 200 {
		_, err := f.local.Client().CoreV1().ServiceAccounts(f.owner.Namespace).Get(f.Context(), "default", metav1.GetOptions{})
		if err == nil {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	f.Fatal("the namespace has no default service account")
}
