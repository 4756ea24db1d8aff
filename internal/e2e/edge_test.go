package e2e

import (
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"chaperone.dev/chaperone/internal/promotion"
)

// A first release that fails has nothing to go back to: it is held, the branch
// is left alone, and a fix gets through.
func TestFirstReleaseThatFailsIsHeld(t *testing.T) {
	quick(t)
	w := newWorld(t, alone(), version("1.0.0-errors-100"))
	daemon := w.start()
	r := w.awaitHeld(development, promotion.NoLastGood)
	if !strings.Contains(r.Message, "answered 500") {
		t.Errorf("status says %q; want what was measured in it", r.Message)
	}
	daemon.stop()
	w.start()
	w.never("it was tried again", 2*time.Second, func() bool { return w.record(development).Journal.Attempt.Stage != "" })
	fixed := w.push("fix it", version("1.0.1"))
	w.awaitRuns(development, fixed)
	w.wantApp(development, "1.0.1")
	if len(w.reverts()) != 0 {
		t.Errorf("reverted: %v", w.reverts())
	}
}

// With `onFailure: hold` the cluster goes back and Git does not.
func TestFailureThatIsToBeHeld(t *testing.T) {
	quick(t)
	stops := []stop{{pipeline: "demo", name: "development", extra: usualVerify + "  onFailure: hold\n"}}
	w := newWorld(t, stops)
	w.start()
	w.awaitRuns(development, w.first)
	bad := badStory.begin(w)
	r := w.awaitHeld(development, promotion.RevertDisabled)
	if !strings.Contains(r.Message, "answered 500") || r.Journal.LastGood.Revision != w.first {
		t.Errorf("status says %q, last good is %s", r.Message, r.Journal.LastGood.Revision)
	}
	w.wantApp(development, "1.0.0")
	if w.head() != bad {
		t.Errorf("head is %s, want %s", w.head(), bad)
	}
	// The very same content again is in quarantine.
	again := w.push("once more", map[string]string{"NOTES.md": "please\n"})
	w.never("what failed was applied again", 2*time.Second, func() bool { return w.runs(development) != "1.0.0" })
	if w.head() != again {
		t.Errorf("head is %s, want %s", w.head(), again)
	}
}

// An environment whose file is gone keeps what it runs; retiring it is no
// order to delete it.
func TestRemovedEnvironmentKeepsWhatItRuns(t *testing.T) {
	quick(t)
	other := promotion.ID{Pipeline: "other", Name: "development"}
	stops := append(alone(), stop{pipeline: "other", name: "development"})
	w := newWorld(t, stops)
	daemon := w.start()
	w.awaitRuns(development, w.first)
	w.awaitRuns(other, w.first)
	before := w.uids(other)
	next := w.push("retire the other", map[string]string{stops[1].path(): ""}, version("2.0.0"))
	w.awaitRuns(development, next)
	w.awaitHeld(other, promotion.Removed)
	daemon.stop()
	w.start()
	w.never("something was deleted", 2*time.Second, func() bool { return w.uids(other) != before })
	w.awaitHeld(other, promotion.Removed)
	back := w.push("bring it back", map[string]string{stops[1].path(): stops[1].file(w.namespaces[other.String()], "")})
	w.awaitRuns(other, back)
	if after := w.uids(other); after != before {
		t.Errorf("objects were %s, are %s", before, after)
	}
}

// An environment can do no more than the account that it names, and says what
// it lacks. Once that is granted it goes on by itself.
func TestEnvironmentCanDoWhatItsAccountMay(t *testing.T) {
	quick(t)
	stops := []stop{{pipeline: "demo", name: "development"}}
	w := newWorld(t, stops)
	namespace := w.namespaces[development.String()]
	w.allow(namespace, "apps/deployments", "/services", "/configmaps", "/pods", "apps/replicasets")
	named := strings.Replace(stops[0].file(namespace, ""), "    namespace: "+namespace, "    namespace: "+namespace+"\n    serviceAccount: deployer", 1)
	w.first = w.push("name an account", map[string]string{stops[0].path(): named})
	w.start()
	w.awaitRuns(development, w.first)

	next := w.push("add a budget", map[string]string{
		"base/demo/kustomization.yaml": kustomization("deployment.yaml", "service.yaml", "budget.yaml"),
		"base/demo/budget.yaml": `apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: app}
spec:
  minAvailable: 1
  selector: {matchLabels: {app: app}}
`})
	r := w.awaitReason(development, promotion.ApplyRejected)
	for _, part := range []string{"PodDisruptionBudget.policy/" + namespace + "/app", "may not get, create, patch poddisruptionbudgets.policy", "deployer"} {
		if !strings.Contains(r.Message, part) {
			t.Errorf("status says %q; want %q in it", r.Message, part)
		}
	}
	w.wantApp(development, "1.0.0")
	w.allow(namespace, "policy/poddisruptionbudgets")
	w.awaitRuns(development, next)
}

// An environment may run on another cluster. The Secret that says how to get
// there is read anew, and never shown.
func TestTargetOfAKubeconfigSecret(t *testing.T) {
	quick(t)
	const canary = "kubeconfig-canary-5d20"
	stops := []stop{{pipeline: "demo", name: "development"}}
	w := newWorld(t, stops)
	namespace := w.namespaces[development.String()]
	elsewhere := strings.Replace(stops[0].file(namespace, ""), "    namespace: ", "    kubeconfig: far-away\n    namespace: ", 1)
	w.first = w.push("move it", map[string]string{stops[0].path(): elsewhere})
	daemon := w.spawn(w.settings(nil))
	w.await("the missing Secret to be named", func() bool {
		return strings.Contains(w.record(development).Message, "Secret/"+w.namespace+"/far-away")
	})

	reach := func(address string) *corev1.Secret {
		content := strings.Replace(w.kubeconfig(), "user: {}", "user: {token: "+canary+"}", 1)
		if address != "" {
			content = regexp.MustCompile(`http://[0-9.:]+`).ReplaceAllString(content, address)
		}
		return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "far-away"}, StringData: map[string]string{"kubeconfig": content}}
	}
	secrets := w.client.CoreV1().Secrets(w.namespace)
	if _, err := secrets.Create(t.Context(), reach("http://127.0.0.1:1"), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	r := w.awaitReason(development, promotion.ClusterUnavailable)
	if w.app(development) != nil {
		t.Errorf("it runs though the cluster cannot be reached: %s", r.Message)
	}
	if _, err := secrets.Update(t.Context(), reach(""), metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	w.awaitRuns(development, w.first)
	w.wantApp(development, "1.0.0")
	w.seek(daemon, canary)
}

func (w *world) kubeconfig() string {
	w.Helper()
	content, err := os.ReadFile(w.api.Kubeconfig)
	if err != nil {
		w.Fatal(err)
	}
	return string(content)
}

// allow grants an account all rights on resources ("group/resource") of a namespace.
func (w *world) allow(namespace string, resources ...string) {
	w.Helper()
	const account = "deployer"
	_, err := w.client.CoreV1().ServiceAccounts(namespace).Create(w.Context(),
		&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: account}}, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		w.Fatal(err)
	}
	role := &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{GenerateName: account + "-"}}
	for _, resource := range resources {
		group, name, _ := strings.Cut(resource, "/")
		role.Rules = append(role.Rules, rbacv1.PolicyRule{APIGroups: []string{group}, Resources: []string{name}, Verbs: []string{"*"}})
	}
	if role, err = w.client.RbacV1().Roles(namespace).Create(w.Context(), role, metav1.CreateOptions{}); err != nil {
		w.Fatal(err)
	}
	_, err = w.client.RbacV1().RoleBindings(namespace).Create(w.Context(), &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: role.Name},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: role.Name},
		Subjects:   []rbacv1.Subject{{Kind: "ServiceAccount", Name: account, Namespace: namespace}},
	}, metav1.CreateOptions{})
	if err != nil {
		w.Fatal(err)
	}
}
