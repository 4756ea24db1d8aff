package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/plan"
	"chaperone.dev/chaperone/internal/promotion"
)

func rule(group, resource, verbs string, names ...string) rbacv1.PolicyRule {
	return rbacv1.PolicyRule{APIGroups: []string{group}, Resources: strings.Fields(resource), Verbs: strings.Fields(verbs), ResourceNames: names}
}

const allVerbs = "get list watch create update patch delete"

// everyday is what every account of these tests may do.
var everyday = rule("", "configmaps", allVerbs)

// grant gives the fixture's deployer a role of the name in its namespace.
func (f *fixture) grant(name string, rules ...rbacv1.PolicyRule) {
	f.Helper()
	space, client := f.owner.Namespace, f.local.Client().RbacV1()
	role := &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Name: name}, Rules: rules}
	if _, err := client.Roles(space).Create(f.Context(), role, metav1.CreateOptions{}); err != nil {
		f.Fatal(err)
	}
	binding := &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Name: name}, Subjects: f.deployer(),
		RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: name}}
	if _, err := client.RoleBindings(space).Create(f.Context(), binding, metav1.CreateOptions{}); err != nil {
		f.Fatal(err)
	}
}

func (f *fixture) deployer() []rbacv1.Subject {
	return []rbacv1.Subject{{Kind: "ServiceAccount", Name: "deployer", Namespace: f.owner.Namespace}}
}

func (f *fixture) user() string {
	return "system:serviceaccount:" + f.owner.Namespace + ":deployer"
}

// grantCluster gives the deployer a cluster role.
func (f *fixture) grantCluster(rules ...rbacv1.PolicyRule) {
	f.Helper()
	name, client := "deployer-"+f.owner.Namespace, f.local.Client().RbacV1()
	if _, err := client.ClusterRoles().Create(f.Context(), &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: name}, Rules: rules}, metav1.CreateOptions{}); err != nil {
		f.Fatal(err)
	}
	binding := &rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: name}, Subjects: f.deployer(),
		RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: name}}
	if _, err := client.ClusterRoleBindings().Create(f.Context(), binding, metav1.CreateOptions{}); err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { // the cluster ends by itself
		_ = client.ClusterRoleBindings().Delete(context.WithoutCancel(f.Context()), name, metav1.DeleteOptions{})
		_ = client.ClusterRoles().Delete(context.WithoutCancel(f.Context()), name, metav1.DeleteOptions{})
	})
}

// requests returns the counts by verb and resource, and begins anew.
func (y *tally) requests() map[string]int {
	y.mu.Lock()
	defer y.mu.Unlock()
	taken := y.counts
	y.counts = nil
	return taken
}

// asDeployer is the fixture seen as its account, which has the given rules
// beside the everyday one, with a count of its requests.
func (f *fixture) asDeployer(rules ...rbacv1.PolicyRule) (*fixture, *tally) {
	f.Helper()
	f.grant("deployer", append(rules, everyday)...)
	counted := &tally{}
	restricted := f.with(Options{Impersonate: f.user(), OnRequest: counted.count})
	waitFor(f.T, "the account's rights", func() bool {
		_, err := restricted.c.Plan(f.Context(), f.owner, f.set(configMap("first", "a", "b")))
		return err == nil
	})
	counted.take()
	return restricted, counted
}

func (f *fixture) refusedPlan(set manifest.Set) *plan.Refusal {
	f.Helper()
	p, err := f.c.Plan(f.Context(), f.owner, set)
	var refusal *plan.Refusal
	if !errors.As(err, &refusal) || refusal.Reason != promotion.ApplyRejected {
		f.Fatalf("plan: %v, want it refused", err)
	}
	if _, err := f.c.Apply(f.Context(), f.owner, p, nil); !errors.As(err, &refusal) {
		f.Errorf("apply of a refused plan: %v", err)
	}
	return refusal
}

func TestKindThatTheAccountMayNotTouchIsSaidBeforeAnything(t *testing.T) {
	t.Parallel()
	f, _ := newFixture(t).asDeployer(rule("", "services", "get"))
	set := f.set(configMap("settings", "a", "b"), service("a"), service("b"), deployment("api", "r/api:1"))
	refusal := f.refusedPlan(set)
	var texts []string
	for _, o := range refusal.Objects {
		texts = append(texts, o.ID.String()+": "+o.Text)
	}
	space := f.owner.Namespace
	want := []string{
		"Service/" + space + "/a: " + f.user() + " may not create, patch services in namespace " + space +
			" (and 1 more of the kind); add to a Role there: {apiGroups: [\"\"], resources: [services], verbs: [create, patch]}",
		"Deployment.apps/" + space + "/api: " + f.user() + " may not get, create, patch deployments.apps in namespace " + space +
			"; add to a Role there: {apiGroups: [apps], resources: [deployments], verbs: [get, create, patch]}",
	}
	slices.Sort(texts)
	slices.Sort(want)
	if !slices.Equal(texts, want) {
		t.Errorf("refused with\n%s\nwant\n%s", strings.Join(texts, "\n"), strings.Join(want, "\n"))
	}
	f.exists("ConfigMap", "settings", false)
	// What is asked for is enough.
	f.grant("more", rule("", "services", "patch create"), rule("apps", "deployments", "get patch create"))
	waitFor(t, "the rights that were asked for", func() bool {
		_, err := f.c.Plan(t.Context(), f.owner, set)
		return err == nil
	})
	f.release(set)
}

func TestDeletionThatTheAccountMayNotDoIsSaidBeforeAnything(t *testing.T) {
	t.Parallel()
	f, _ := newFixture(t).asDeployer(rule("", "services", "get list create patch"))
	f.release(f.set(configMap("keep", "a", "b"), service("drop")))
	less := f.set(configMap("keep", "a", "c"))
	refusal := f.refusedPlan(less)
	if len(refusal.Objects) != 1 || !strings.Contains(refusal.Objects[0].Text, "may not delete services") {
		t.Errorf("refused with %v", refusal)
	}
	if drift, err := f.drifted(less); err != nil || len(drift) != 1 {
		t.Errorf("drift: %v, %v; what is to be deleted later is none of it", drift, err)
	}
	for name, change := range map[string]func(*Owner){
		"without prune": func(w *Owner) { w.Prune = false },
		"a restore":     func(w *Owner) { w.Restoring = true },
		"protected":     func(w *Owner) { w.Protect = []promotion.Protection{{Kind: "Service"}} },
	} {
		other := *f
		change(&other.owner)
		if _, err := other.c.Plan(t.Context(), other.owner, less); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Rights to named objects are rights, for namespaced and cluster-scoped kinds.
func TestRightsToNamedObjectsAreAskedForByName(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	roles := "rbac.authorization.k8s.io"
	name := "viewer-" + f.owner.Namespace
	f.grantCluster(rule(roles, "clusterroles", "get patch create delete", name), rule("", "nodes", "get"))
	f.owner.Allow = []promotion.Allowance{{Group: roles, Kind: "ClusterRole", Name: name}, {Group: roles, Kind: "ClusterRole", Name: name + "-2"}}
	t.Cleanup(func() { // the cluster ends by itself
		_ = f.local.Client().RbacV1().ClusterRoles().Delete(context.WithoutCancel(f.Context()), name, metav1.DeleteOptions{})
	})
	f, _ = f.asDeployer(rule("", "secrets", "get patch create", "login"))
	secret := func(name string) string {
		return "apiVersion: v1\nkind: Secret\nmetadata: {name: " + name + "}\nstringData: {a: b}"
	}
	clusterRole := func(name string) string {
		return "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {name: " + name + "}\nrules: [{apiGroups: [\"\"], resources: [nodes], verbs: [get]}]"
	}
	set := f.set(configMap("first", "a", "b"), secret("login"), clusterRole(name))
	f.release(set)
	refusal := f.refusedPlan(f.set(configMap("first", "a", "b"), secret("login"), secret("other"), clusterRole(name), clusterRole(name+"-2")))
	if len(refusal.Objects) != 2 {
		t.Errorf("refused with %v, want one Secret and one ClusterRole", refusal)
	}
	for _, want := range []string{"Secret/" + f.owner.Namespace + "/other: ", "ClusterRole." + roles + "/" + name + "-2: ",
		"resources: [clusterroles], resourceNames: [" + name + "-2], verbs: [get, create, patch]"} {
		if !strings.Contains(refusal.Error(), want) {
			t.Errorf("refusal %q does not say %q", refusal, want)
		}
	}
}

// An object that is there needs no right to create it.
func TestRightToCreateIsNeededOnlyForWhatIsNew(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.owner.Adopt = []promotion.Tool{promotion.ToolKubectl}
	f.create("Service", service("there"), nil)
	f, _ = f.asDeployer(rule("", "services", "get list patch"))
	f.plan(f.set(service("there")))
	refusal := f.refusedPlan(f.set(service("there"), service("new")))
	if len(refusal.Objects) != 1 || refusal.Objects[0].ID.Name != "new" || !strings.Contains(refusal.Error(), "may not create services") {
		t.Errorf("refused with %v", refusal)
	}
}

// A kind that comes with the release: its definition would be applied, and then
// its resources refused.
func TestKindThatComesWithTheReleaseIsReviewedToo(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	group := f.owner.Namespace + ".example.org"
	crd := "widgets." + group
	f.grantCluster(rule("apiextensions.k8s.io", "customresourcedefinitions", "get patch create", crd))
	f.owner.Allow = []promotion.Allowance{{Group: "apiextensions.k8s.io", Kind: "CustomResourceDefinition", Name: crd}}
	dropDefinition(f, crd)
	f, _ = f.asDeployer()
	refusal := f.refusedPlan(f.set(definition(group, "Widget", "widgets"), fmt.Sprintf("apiVersion: %s/v1\nkind: Widget\nmetadata: {name: w}", group)))
	if len(refusal.Objects) != 1 || !strings.Contains(refusal.Error(), "may not get, create, patch widgets."+group) {
		t.Errorf("refused with %v", refusal)
	}
}

// An entry of the inventory that may not even be looked at any more.
func TestOwnedObjectOutOfSightIsSaid(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.release(f.set(configMap("keep", "a", "b"), service("drop")))
	f.grant("deployer", everyday)
	restricted := f.with(Options{Impersonate: f.user()})
	waitFor(t, "the refusal", func() bool {
		p, err := restricted.c.Plan(t.Context(), f.owner, f.set(configMap("keep", "a", "b")))
		if p.Count(plan.Forget) > 0 {
			t.Fatalf("forgotten: %v", p.Changes)
		}
		return err != nil && strings.Contains(err.Error(), "may not get services")
	})
	if len(f.owned()) != 2 {
		t.Errorf("inventory is %v", f.owned())
	}
}

// A review that cannot be asked, or that an authorizer could not judge, is no
// denial: the dry run decides.
func TestReviewWithoutAnAnswerIsNoDenial(t *testing.T) {
	t.Parallel()
	restricted, _ := newFixture(t).asDeployer()
	set := restricted.set(configMap("settings", "a", "b"), service("a"))
	for name, status := range map[string]string{
		"forbidden":        `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Forbidden","message":"no","code":403}`,
		"evaluation error": `{"kind":"SelfSubjectAccessReview","apiVersion":"authorization.k8s.io/v1","status":{"allowed":false,"evaluationError":"webhook is down"}}`,
	} {
		f := restricted.connectThrough(func(request *http.Request) (*http.Response, error) {
			request.Header.Set("Impersonate-User", restricted.user())
			if request.Method != http.MethodPost || !strings.Contains(request.URL.Path, "selfsubject") {
				return nil, nil
			}
			answer := statusAnswer(request, 403)
			if !strings.Contains(status, "403") {
				answer.StatusCode = http.StatusCreated
			}
			answer.Body, answer.ContentLength = io.NopCloser(strings.NewReader(status)), int64(len(status))
			return answer, nil
		})
		_, err := f.c.Plan(t.Context(), f.owner, set)
		var rejected *plan.Rejected
		if !errors.As(err, &rejected) || len(rejected.Objects) != 1 || rejected.Objects[0].ID.Kind != "Service" {
			t.Errorf("%s: %v, want the Service rejected by its dry run", name, err)
		}
	}
}

// Rights are asked for once, and again when the server has said no.
func TestRightsAreRememberedUntilTheServerSaysNo(t *testing.T) {
	t.Parallel()
	f, counted := newFixture(t).asDeployer(rule("", "services", allVerbs), rule("apps", "deployments", allVerbs))
	set := f.set(configMap("settings", "a", "b"), service("a"), service("b"), deployment("api", "r/api:1", "replicas: 0"))
	f.plan(set)
	reviews := func() map[string]int {
		seen := counted.requests()
		maps.DeleteFunc(seen, func(request string, _ int) bool { return !strings.Contains(request, "selfsubject") })
		return seen
	}
	first := 0
	for _, n := range reviews() {
		first += n
	}
	if first == 0 || first > 4 {
		t.Errorf("%d reviews for 4 objects of 3 kinds, want few", first)
	}
	f.release(set)
	f.plan(set)
	if again := reviews(); len(again) > 0 {
		t.Errorf("asked again: %v", again)
	}
	// A right is taken away: the dry run meets that, and from then on it is asked for.
	client := f.local.Client().RbacV1().Roles(f.owner.Namespace)
	role, err := client.Get(t.Context(), "deployer", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	role.Rules = []rbacv1.PolicyRule{everyday, rule("apps", "deployments", allVerbs)}
	if _, err := client.Update(t.Context(), role, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	next := f.set(configMap("settings", "a", "b"), service("a"), service("new"), deployment("api", "r/api:1", "replicas: 0"))
	waitFor(t, "the refusal", func() bool {
		_, err := f.c.Plan(t.Context(), f.owner, next)
		var refusal *plan.Refusal
		return errors.As(err, &refusal) && strings.Contains(err.Error(), "services in namespace")
	})
}

// What a release grants cannot be known before: the rights in a namespace that
// comes with it are not reviewed then.
func TestRightsThatTheReleaseGrantsAreNotReviewed(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	namespace := "apiVersion: v1\nkind: Namespace\nmetadata: {name: coming}"
	inside := strings.Replace(configMap("inside", "a", "b"), "name: inside", "name: inside, namespace: coming", 1)
	binding := "apiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\nmetadata: {name: b, namespace: coming}\nroleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: edit}"
	for _, test := range []struct {
		texts          []string
		inside, beside bool
	}{
		{[]string{namespace, inside, configMap("beside", "a", "b")}, true, true},
		{[]string{namespace, inside, configMap("beside", "a", "b"), binding}, false, true},
		{[]string{inside, configMap("beside", "a", "b"), binding}, true, true},
	} {
		r, err := f.c.resolve(t.Context(), f.owner, f.set(test.texts...))
		if err != nil {
			t.Fatal(err)
		}
		in := r.reviewable(manifest.ID{Kind: "ConfigMap", Namespace: "coming", Name: "inside"})
		out := r.reviewable(manifest.ID{Kind: "ConfigMap", Namespace: f.owner.Namespace, Name: "beside"})
		if in != test.inside || out != test.beside {
			t.Errorf("%d manifests: reviewed inside %v, beside %v; want %v and %v", len(test.texts), in, out, test.inside, test.beside)
		}
	}
}
