package e2e

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/reconcile"
	"chaperone.dev/chaperone/internal/testkit/localcluster"
)

var far = promotion.ID{Pipeline: "far", Name: "development"}

// readyOnly asks for no answers: the proxy of the tests knows one cluster only.
const readyOnly = "  verify: {timeout: 2m, settle: 300ms}\n"

// remote is a second cluster, which the daemon reaches as an account that may
// impersonate one deployer and nothing else.
type remote struct {
	*world
	cluster   *localcluster.Cluster
	namespace string
}

// farWorld has one environment on the daemon's own cluster and one on another.
func farWorld(t *testing.T) *remote {
	t.Helper()
	stops := []stop{{pipeline: "demo", name: "development", extra: readyOnly}, {pipeline: "far", name: "development", extra: readyOnly}}
	w := newWorld(t, stops)
	r := &remote{world: w, cluster: localcluster.StartOwn(t)}
	r.namespace = r.cluster.Namespace(t)
	r.permit()
	w.first = w.push("another cluster", r.target(stops[1], "far-away"), map[string]string{
		"overlays/far/development/kustomization.yaml": "resources: [../../../base/far]\nnamespace: " + r.namespace + "\n"})
	return r
}

// target is the change that names a kubeconfig Secret.
func (r *remote) target(s stop, secret string) map[string]string {
	text := strings.Replace(s.file(r.namespace, ""), "    namespace: ", "    kubeconfig: "+secret+"\n    serviceAccount: deployer\n    namespace: ", 1)
	return map[string]string{s.path(): text}
}

func (r *remote) permit() {
	r.Helper()
	client, ctx := r.cluster.Client(), r.Context()
	for _, name := range []string{"deployer", "chaperone"} {
		account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: name}}
		if _, err := client.CoreV1().ServiceAccounts(r.namespace).Create(ctx, account, metav1.CreateOptions{}); err != nil {
			r.Fatal(err)
		}
	}
	for account, rule := range map[string]rbacv1.PolicyRule{
		"deployer":  {APIGroups: []string{"", "apps"}, Resources: []string{"deployments", "replicasets", "services", "configmaps", "pods"}, Verbs: []string{"*"}},
		"chaperone": {APIGroups: []string{""}, Resources: []string{"serviceaccounts"}, ResourceNames: []string{"deployer"}, Verbs: []string{"impersonate"}},
	} {
		role := &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Name: account}, Rules: []rbacv1.PolicyRule{rule}}
		if _, err := client.RbacV1().Roles(r.namespace).Create(ctx, role, metav1.CreateOptions{}); err != nil {
			r.Fatal(err)
		}
		binding := &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Name: account},
			RoleRef:  rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: account},
			Subjects: []rbacv1.Subject{{Kind: "ServiceAccount", Name: account, Namespace: r.namespace}}}
		if _, err := client.RbacV1().RoleBindings(r.namespace).Create(ctx, binding, metav1.CreateOptions{}); err != nil {
			r.Fatal(err)
		}
	}
}

// token is a new one of the daemon's account there. It is good as long as the
// Secret of the same name exists.
func (r *remote) token(name string) string {
	r.Helper()
	client, ctx := r.cluster.Client().CoreV1(), r.Context()
	bound, err := client.Secrets(r.namespace).Create(ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
	if err != nil {
		r.Fatal(err)
	}
	request, err := client.ServiceAccounts(r.namespace).CreateToken(ctx, "chaperone", &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{
		BoundObjectRef: &authenticationv1.BoundObjectReference{APIVersion: "v1", Kind: "Secret", Name: name, UID: bound.UID}}}, metav1.CreateOptions{})
	if err != nil {
		r.Fatal(err)
	}
	return request.Status.Token
}

// revoke ends a token, and waits until the server has noticed.
func (r *remote) revoke(name, token string) {
	r.Helper()
	if err := r.cluster.Client().CoreV1().Secrets(r.namespace).Delete(r.Context(), name, metav1.DeleteOptions{}); err != nil {
		r.Fatal(err)
	}
	r.await("the token to be revoked", func() bool {
		review := &authenticationv1.TokenReview{Spec: authenticationv1.TokenReviewSpec{Token: token}}
		review, err := r.cluster.Client().AuthenticationV1().TokenReviews().Create(r.Context(), review, metav1.CreateOptions{})
		return err == nil && !review.Status.Authenticated
	})
}

// kubeconfigOf is how to reach the cluster with a token.
func (r *remote) kubeconfigOf(token string) string {
	r.Helper()
	config := r.cluster.Config()
	ca := config.CAData
	if len(ca) == 0 {
		var err error
		if ca, err = os.ReadFile(config.CAFile); err != nil {
			r.Fatal(err)
		}
	}
	content, err := clientcmd.Write(clientcmdapi.Config{CurrentContext: "far",
		Clusters:  map[string]*clientcmdapi.Cluster{"far": {Server: config.Host, CertificateAuthorityData: ca}},
		AuthInfos: map[string]*clientcmdapi.AuthInfo{"far": {Token: token}},
		Contexts:  map[string]*clientcmdapi.Context{"far": {Cluster: "far", AuthInfo: "far"}}})
	if err != nil {
		r.Fatal(err)
	}
	return string(content)
}

// reach writes the Secret that tells the daemon how.
func (r *remote) reach(kubeconfig string) {
	r.Helper()
	secrets, ctx := r.client.CoreV1().Secrets(r.world.namespace), r.Context()
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "far-away"}, StringData: map[string]string{"kubeconfig": kubeconfig}}
	_, err := secrets.Create(ctx, secret, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		_, err = secrets.Update(ctx, secret, metav1.UpdateOptions{})
	}
	if err != nil {
		r.Fatal(err)
	}
}

// runsFar is the tag of the app that the other cluster is told to run.
func (r *remote) runsFar() string {
	d, err := r.cluster.Client().AppsV1().Deployments(r.namespace).Get(context.Background(), "app", metav1.GetOptions{})
	if err != nil {
		return ""
	}
	return strings.TrimPrefix(d.Spec.Template.Spec.Containers[0].Image, image(""))
}

// editFar has somebody change the app there, and wants that taken back soon.
func (r *remote) editFar(when string) {
	r.Helper()
	patch := []byte(`{"spec":{"template":{"spec":{"containers":[{"name":"app","image":"` + image("9.9.9") + `"}]}}}}`)
	before := r.runsFar()
	if _, err := r.cluster.Client().AppsV1().Deployments(r.namespace).
		Patch(r.Context(), "app", types.StrategicMergePatchType, patch, metav1.PatchOptions{FieldManager: "kubectl-edit"}); err != nil {
		r.Fatal(err)
	}
	began := time.Now()
	r.await("the edit to be taken back "+when, func() bool { return r.runsFar() == before })
	if took := time.Since(began); took > time.Minute {
		r.Errorf("an edit %s was taken back after %s; want it seen when it happens", when, took)
	}
}

// Two clusters at once, one of them through a kubeconfig Secret and an
// impersonated account. A rotated token is used without a restart, also where
// nothing is to be done but to watch.
func TestSeveralClustersAndARotatedToken(t *testing.T) {
	quick(t)
	r := farWorld(t)
	first := r.token("token-1")
	r.reach(r.kubeconfigOf(first))
	daemon := r.spawn(r.settings(nil))
	r.awaitRuns(development, r.first)
	r.awaitRuns(far, r.first)
	if got := r.runsFar(); got != "1.0.0" {
		t.Fatalf("the other cluster runs %q", got)
	}
	r.editFar("with the first token")

	second := r.token("token-2")
	r.reach(r.kubeconfigOf(second))
	r.await("the new kubeconfig to be noticed", func() bool { return contains(r.log, `"msg":"kubeconfig changed; connecting anew"`) })
	r.revoke("token-1", first)
	r.editFar("with the second token")
	next := r.push("say good day", map[string]string{"base/far/deployment.yaml": deployment("1.0.1"), "base/demo/deployment.yaml": deployment("1.0.1")})
	r.awaitRuns(far, next)
	r.awaitRuns(development, next)

	// Revoked first, and replaced after: it says so, and goes on by itself.
	r.revoke("token-2", second)
	next = r.push("again", map[string]string{"base/far/deployment.yaml": deployment("1.0.2")})
	r.await("the revoked token to be told", func() bool {
		record := r.record(far)
		return record.Status.Reason == promotion.ClusterUnavailable && strings.Contains(record.Message, "cluster far-away") &&
			strings.Contains(record.Message, "refuses the credentials")
	})
	r.awaitRuns(development, next)
	third := r.token("token-3")
	r.reach(r.kubeconfigOf(third))
	r.awaitRuns(far, next)
	r.seek(daemon, first, second, third)
}

// A cluster that is gone stops its own environments, with a reason that names
// it; the others go on. When it is back its environments go on by themselves.
func TestOutageOfOneClusterStopsOnlyItsEnvironments(t *testing.T) {
	quick(t)
	r := farWorld(t)
	r.reach(r.kubeconfigOf(r.token("token-1")))
	r.start()
	r.awaitRuns(development, r.first)
	r.awaitRuns(far, r.first)
	r.cluster.Stop(t)
	told := func() bool {
		record := r.record(far)
		return record.Status.Reason == promotion.ClusterUnavailable && record.Status.Phase == reconcile.PhaseWaiting && strings.Contains(record.Message, "cluster far-away")
	}
	r.await("the outage to be told where nothing is to be done", told)
	var next = r.first
	for n := 1; n <= 2; n++ {
		tag := fmt.Sprintf("1.1.%d", n)
		next = r.push("release "+tag, map[string]string{"base/far/deployment.yaml": deployment(tag), "base/demo/deployment.yaml": deployment(tag)})
		r.awaitRuns(development, next)
		r.wantApp(development, tag)
	}
	r.await("the outage to be told", told)
	r.cluster.Restart(t)
	r.awaitRuns(far, next)
	if got := r.runsFar(); got != "1.1.2" {
		t.Errorf("the other cluster runs %q", got)
	}
	r.editFar("after the outage")
	if len(r.reverts()) > 0 {
		t.Errorf("an outage led to reverts: %v", r.reverts())
	}
}

// A kubeconfig that is no good is told in words that say what would be, stops
// its own environments only, and is taken as soon as it is put right.
func TestKubeconfigThatIsNoGood(t *testing.T) {
	quick(t)
	r := farWorld(t)
	token := r.token("token-1")
	good := r.kubeconfigOf(token)
	bad := []struct{ kubeconfig, want string }{
		{strings.Replace(good, "    token: "+token, "    exec: {apiVersion: client.authentication.k8s.io/v1, command: sh, interactiveMode: Never}", 1),
			"credential plugins are not run; want a token or a client certificate"},
		{strings.Replace(good, "    token: "+token, "    tokenFile: /var/run/secrets/token", 1), "refers to files; want the data itself"},
		{strings.Replace(good, "current-context: far", "current-context: nowhere", 1), `current-context "nowhere" is none of its contexts; want one of ["far"]`},
	}
	r.reach(bad[0].kubeconfig)
	daemon := r.spawn(r.settings(nil))
	for _, b := range bad {
		r.reach(b.kubeconfig)
		r.await("what is wrong to be told", func() bool {
			record := r.record(far)
			return record.Status.Reason == promotion.ClusterUnavailable && strings.Contains(record.Message, "far-away") &&
				strings.Contains(record.Message, b.want)
		})
	}
	r.awaitRuns(development, r.first)
	next := r.push("meanwhile", map[string]string{"base/demo/deployment.yaml": deployment("1.0.1")})
	r.awaitRuns(development, next)
	r.reach(good)
	r.awaitRuns(far, next)
	r.seek(daemon, token)
}
