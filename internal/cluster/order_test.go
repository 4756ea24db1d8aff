package cluster

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"chaperone.dev/chaperone/internal/fault"
	"chaperone.dev/chaperone/internal/health"
	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/plan"
	"chaperone.dev/chaperone/internal/promotion"
)

func dependsOn(text, on string) string {
	return strings.Replace(text, "metadata: {", fmt.Sprintf("metadata: {annotations: {%s: %q}, ", manifest.AnnotationDependsOn, on), 1)
}

// applied is the order in which a release is applied; each sees every object
// right after it was.
func (f *fixture) applied(set manifest.Set, each func(plan.Change)) []string {
	f.Helper()
	var order []string
	_, err := f.c.Apply(f.Context(), f.owner, f.plan(set), func(c plan.Change, err error) {
		order = append(order, c.ID.Name)
		each(c)
	})
	if err != nil {
		f.Fatalf("apply: %v", err)
	}
	return order
}

func (f *fixture) ready(name string) bool {
	f.Helper()
	o := f.live("Deployment", name)
	return o != nil && health.Of(o).State == health.Current
}

func TestDependencyIsReadyFirst(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	ns := f.owner.Namespace
	set := f.set(dependsOn(deployment("api", "registry.local/api:1", "replicas: 1"), "/ConfigMap/NS/schema"),
		dependsOn(configMap("schema", "a", "b"), "apps/Deployment/NS/db"), deployment("db", "registry.local/db:1", "replicas: 1"), configMap("plain", "a", "b"))
	order := f.applied(set, func(c plan.Change) {
		if c.ID.Name == "schema" && !f.ready("db") {
			t.Error("schema was applied before db was ready")
		}
	})
	if want := []string{"plain", "db", "schema", "api"}; !slices.Equal(order, want) {
		t.Errorf("applied %v, want %v", order, want)
	}
	if p := f.plan(set); !p.Quiet() {
		t.Errorf("plan afterwards: %v, want nothing to do", p.Applies())
	}
	result := f.prune(f.set(configMap("plain", "a", "b")))
	var deleted []string
	for _, id := range result.Deleted {
		deleted = append(deleted, id.Name)
	}
	if want := []string{"api", "schema", "db"}; !slices.Equal(deleted, want) {
		t.Errorf("deleted %v, want %v", deleted, want)
	}
	// What cannot be is refused before anything is touched.
	_, err := f.c.Plan(t.Context(), f.owner, f.set(dependsOn(configMap("plain", "a", "c"), "apps/Deployment/NS/bd"), deployment("db", "registry.local/db:1", "replicas: 1")))
	var refusal *plan.Refusal
	if !errors.As(err, &refusal) || !strings.Contains(err.Error(), `is not in the release; did you mean "apps/Deployment/`+ns+`/db"?`) {
		t.Errorf("plan: %v, want a refusal that names the nearest object", err)
	}
}

// What is not ready when the time of the apply is over is the release's own
// fault, and said so; an API server that does not answer is not.
func TestApplyHasADeadline(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name    string
		objects []string
		want    string
	}{
		{"what another depends on", []string{dependsOn(configMap("schema", "a", "b"), "apps/Deployment/NS/db"), deployment("db", "registry.local/db:1-never-ready", "replicas: 1")},
			"Deployment.apps/NS/db: wait: not ready within the apply's 3s: "},
		{"a hook", []string{hook("migrate", "pre-deploy", "registry.local/migrate:slow-60000ms"), deployment("api", "registry.local/api:1", "replicas: 0")},
			"Job.batch/NS/migrate: wait: not complete within the apply's 3s: the Job is running with 1 active"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			f.owner.ApplyTimeout = 3 * time.Second
			set := f.set(test.objects...)
			_, err := f.c.Apply(t.Context(), f.owner, f.plan(set), nil)
			want := strings.ReplaceAll(test.want, "NS", f.owner.Namespace)
			if err == nil || !fault.IsTerminal(err) || !strings.Contains(err.Error(), want) {
				t.Fatalf("apply: %v, want a terminal error with %q", err, want)
			}
			var known *fault.Error
			if errors.As(err, &known) && known.Op == "hook" {
				t.Error("it is told as the verdict of a hook")
			}
			f.exists("ConfigMap", "schema", false)
			f.exists("Deployment", "api", false)
			// What was applied is known all the same.
			for _, e := range mustInventory(f).Entries() {
				if (e.Name == "db" || e.Name == "migrate") && e.UID == "" {
					t.Errorf("%s has no UID", e.ID)
				}
			}
		})
	}
}

func TestDeadlineWithoutAnAPIServerIsNotTheReleases(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.owner.ApplyTimeout = 2 * time.Second
	var cut atomic.Bool
	broken := f.connectThrough(func(request *http.Request) (*http.Response, error) {
		if request.Method == http.MethodGet && strings.HasSuffix(request.URL.Path, "/db") && cut.Load() {
			return nil, errors.New("connection refused")
		}
		return nil, nil
	})
	set := f.set(dependsOn(configMap("schema", "a", "b"), "apps/Deployment/NS/db"), deployment("db", "registry.local/db:1-never-ready", "replicas: 1"))
	p := broken.plan(set)
	cut.Store(true)
	if _, err := broken.c.Apply(t.Context(), f.owner, p, nil); err == nil || fault.IsTerminal(err) {
		t.Errorf("apply: %v, want an error that may pass", err)
	}
}

// Last good comes back whatever becomes of what it depends on.
func TestRestoreGoesOnWithoutWhatIsNotReady(t *testing.T) {
	t.Parallel()
	f := newFixture(t).with(Options{PruneWait: 2 * time.Second})
	f.owner.Restoring = true
	f.release(f.set(dependsOn(configMap("schema", "a", "b"), "apps/Deployment/NS/db"), deployment("db", "registry.local/db:1-never-ready", "replicas: 1")))
	f.exists("ConfigMap", "schema", true)
}

// A dependency that has failed for good is not waited for.
func TestFailedDependencyEndsTheApply(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	job := strings.Replace(hook("seed", "x", "registry.local/seed:job-fail"), ", annotations: {chaperone.dev/hook: x}", "", 1)
	_, err := f.c.Apply(t.Context(), f.owner, f.plan(f.set(job, dependsOn(deployment("api", "registry.local/api:1", "replicas: 0"), "batch/Job/NS/seed"))), nil)
	if err == nil || !fault.IsTerminal(err) || !strings.Contains(err.Error(), "seed: wait: failed after 1 failed pod") {
		t.Errorf("apply: %v, want a terminal error about the Job", err)
	}
	f.exists("Deployment", "api", false)
}

func TestWebhookComesAfterWhatServesItAndBeforeWhatItJudges(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	name := "judge-" + f.owner.Namespace
	f.owner.Allow = []promotion.Allowance{{Group: "admissionregistration.k8s.io", Kind: "ValidatingWebhookConfiguration", Name: name}}
	configs := schema.GroupVersionResource{Group: "admissionregistration.k8s.io", Version: "v1", Resource: "validatingwebhookconfigurations"}
	t.Cleanup(func() { _ = f.c.dynamic.Resource(configs).Delete(f.Context(), name, deleteNow) })
	webhook := `apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata: {name: ` + name + `}
webhooks:
- name: judge.example.org
  clientConfig: {service: {namespace: NS, name: judge}}
  rules: [{apiGroups: [""], apiVersions: [v1], operations: [CREATE], resources: [configmaps]}]
  namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: NS}}
  objectSelector: {matchLabels: {judged: "yes"}}
  failurePolicy: Ignore
  timeoutSeconds: 1
  sideEffects: None
  admissionReviewVersions: [v1]
`
	judged := strings.Replace(configMap("judged", "a", "b"), "metadata: {", "metadata: {labels: {judged: 'yes'}, ", 1)
	order := f.applied(f.set(webhook, judged, configMap("plain", "a", "b"), service("judge"), deployment("judge", "registry.local/judge:1", "replicas: 1")), func(c plan.Change) {
		if c.ID.Name == name && !f.ready("judge") {
			t.Error("the webhook was applied before what serves it was ready")
		}
	})
	if got := strings.Join(order, " "); got != "plain judge judge "+name+" judged" && got != "judge plain judge "+name+" judged" {
		t.Errorf("applied %s, want the webhook after what serves it and before what it judges", got)
	}
}

// One object of each kind and no more than two requests for each: a dry run and
// an apply.
func TestPlainReleaseWaitsForNothing(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	var writes, gets atomic.Int32
	counted := f.with(Options{OnRequest: func(verb, resource string, _ int) {
		switch verb {
		case "get":
			gets.Add(1)
		case "apply":
			writes.Add(1)
		}
	}})
	var texts []string
	for i := range 10 {
		texts = append(texts, configMap(fmt.Sprintf("c%d", i), "a", "b"), service(fmt.Sprintf("s%d", i)), deployment(fmt.Sprintf("d%d", i), "registry.local/d:1", "replicas: 0"))
	}
	p := counted.plan(f.set(texts...))
	gets.Store(0)
	if _, err := counted.c.Apply(t.Context(), f.owner, p, nil); err != nil {
		t.Fatal(err)
	}
	if writes.Load() != 60 || gets.Load() > 3 {
		t.Errorf("%d applies and dry runs, %d reads in the apply; want 60, and a few for the inventory", writes.Load(), gets.Load())
	}
}

func (f *fixture) menus(version string) (schema.GroupVersionResource, string, string) {
	group := f.owner.Namespace + ".example.org"
	f.owner.Allow = []promotion.Allowance{{Group: "apiextensions.k8s.io", Kind: "CustomResourceDefinition", Name: "menus." + group}}
	dropDefinition(f, "menus."+group)
	menu := func(name string) string {
		return fmt.Sprintf("apiVersion: %s/%s\nkind: Menu\nmetadata: {name: %s}\nspec: {a: b}", group, version, name)
	}
	return schema.GroupVersionResource{Group: group, Version: version, Resource: "menus"}, definition(group, "Menu", "menus"), menu("lunch")
}

// A CRD and its resources in one release (kc#1194), and a CRD that gains a
// version together with resources in it.
func TestPitfall11_DefinitionAndItsResourcesInOneRelease(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	gvr, crd, menu := f.menus("v1")
	first := f.set(menu, crd, configMap("plain", "a", "b"), deployment("operator", "registry.local/operator:1", "replicas: 0"))
	f.release(first)
	if p := f.plan(first); !p.Quiet() {
		t.Errorf("plan afterwards: %v, want nothing to do", p.Applies())
	}
	added := strings.Replace(crd, "  versions:\n", "  versions:\n  - {name: v2, served: true, storage: false, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}\n", 1)
	if added == crd {
		t.Fatalf("the definition has another form by now: %s", crd)
	}
	second := f.set(added, strings.Replace(menu, "/v1\n", "/v2\n", 1), strings.NewReplacer("/v1\n", "/v2\n", "lunch", "dinner").Replace(menu), configMap("plain", "a", "b"))
	f.release(second)
	gvr.Version = "v2"
	for _, name := range []string{"lunch", "dinner"} {
		if _, err := f.c.dynamic.Resource(gvr).Namespace(f.owner.Namespace).Get(t.Context(), name, metav1.GetOptions{}); err != nil {
			t.Error(err)
		}
	}
	if p := f.plan(second); len(p.Applies()) > 0 {
		t.Errorf("plan with the new version: %v, want nothing to apply", p.Applies())
	}
}

// A CRD was deleted before its custom resources (kc#90), and what finalizes
// those before them.
func TestPitfall11_ResourcesAreDeletedBeforeTheirDefinition(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	gvr, crd, menu := f.menus("v1")
	crd = strings.Replace(crd, "metadata: {", "metadata: {annotations: {chaperone.dev/prune: allow}, ", 1)
	menu = strings.Replace(menu, "metadata: {", "metadata: {finalizers: [example.org/wait], ", 1)
	f.release(f.set(menu, crd, configMap("plain", "a", "b"), deployment("operator", "registry.local/operator:1", "replicas: 0")))
	keep := f.set(configMap("plain", "a", "b"))
	quick := f.with(Options{PruneWait: time.Second})
	result, err := quick.c.Prune(t.Context(), f.owner, keep)
	if err != nil {
		t.Fatal(err)
	}
	var pending []string
	for _, left := range result.Pending {
		pending = append(pending, left.ID.Kind+": "+left.Reason)
	}
	if len(pending) != 2 || !strings.HasPrefix(pending[0], "Menu: not gone after 1s") ||
		pending[1] != "CustomResourceDefinition: is deleted once Menu."+gvr.Group+"/"+f.owner.Namespace+"/lunch is gone" {
		t.Fatalf("pending %q, want the resource, and its definition behind it", pending)
	}
	o, err := f.c.dynamic.Resource(gvr).Namespace(f.owner.Namespace).Get(t.Context(), "lunch", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	o.SetFinalizers(nil)
	if _, err := f.c.dynamic.Resource(gvr).Namespace(f.owner.Namespace).Update(t.Context(), o, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	f.prune(keep)
	if owned := f.owned(); !slices.Equal(owned, []string{"ConfigMap/plain"}) {
		t.Errorf("inventory is %v afterwards", owned)
	}
}
