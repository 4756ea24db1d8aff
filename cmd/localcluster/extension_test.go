package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	webhooksv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"chaperone.dev/chaperone/cmd/localcluster/internal/crds"
	"chaperone.dev/chaperone/cmd/localcluster/internal/pki"
	"chaperone.dev/chaperone/cmd/localcluster/internal/usage"
)

func TestCustomResourceDefinition(t *testing.T) {
	t.Parallel()
	c := sharedCluster(t)
	ns := c.namespace(t)
	group := ns + ".example.org"
	definitions := c.dyn.Resource(schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"})
	must1[*unstructured.Unstructured](t)(definitions.Create(t.Context(), &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
		"metadata": map[string]any{"name": "widgets." + group},
		"spec": map[string]any{
			"group": group, "scope": "Namespaced",
			"names": map[string]any{"kind": "Widget", "listKind": "WidgetList", "plural": "widgets", "singular": "widget"},
			"versions": []any{map[string]any{
				"name": "v1", "served": true, "storage": true, "subresources": map[string]any{"status": map[string]any{}},
				"schema": map[string]any{"openAPIV3Schema": map[string]any{"type": "object", "properties": map[string]any{
					"spec": map[string]any{"type": "object", "required": []any{"size"}, "properties": map[string]any{
						"size":  map[string]any{"type": "integer", "minimum": int64(1)},
						"shape": map[string]any{"type": "string", "default": "round"},
					}},
					"status": map[string]any{"type": "object", "x-kubernetes-preserve-unknown-fields": true},
				}}},
			}},
		},
	}}, metav1.CreateOptions{}))
	widgets := c.dyn.Resource(schema.GroupVersionResource{Group: group, Version: "v1", Resource: "widgets"}).Namespace(ns)
	widget := func(name string, size int64) *unstructured.Unstructured {
		return &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": group + "/v1", "kind": "Widget",
			"metadata": map[string]any{"name": name}, "spec": map[string]any{"size": size},
		}}
	}
	eventually(t, "the new kind is served", func(ctx context.Context) error {
		_, err := widgets.Create(ctx, widget("good", 2), metav1.CreateOptions{})
		if apierrors.IsAlreadyExists(err) {
			return nil
		}
		return err
	})
	got := must1[*unstructured.Unstructured](t)(widgets.Get(t.Context(), "good", metav1.GetOptions{}))
	if shape, _, _ := unstructured.NestedString(got.Object, "spec", "shape"); shape != "round" {
		t.Errorf("default is not set: %v", got.Object["spec"])
	}
	if _, err := widgets.Create(t.Context(), widget("bad", 0), metav1.CreateOptions{}); !apierrors.IsInvalid(err) {
		t.Errorf("an invalid resource: %v, want a rejection", err)
	}
}

func TestInstalledDefinitionsAreServed(t *testing.T) {
	t.Parallel()
	c := sharedCluster(t)
	ns := c.namespace(t)
	for _, d := range crds.Definitions() {
		for _, version := range d.Versions {
			resources := c.dyn.Resource(schema.GroupVersionResource{Group: d.Group, Version: version, Resource: d.Plural})
			if _, err := resources.List(t.Context(), metav1.ListOptions{}); err != nil {
				t.Errorf("%s %s: %v", d.Name(), version, err)
			}
		}
	}
	routes := c.dyn.Resource(schema.GroupVersionResource{Group: "gateway.networking.k8s.io", Version: "v1", Resource: "httproutes"}).Namespace(ns)
	route := func(name string, hostnames any) *unstructured.Unstructured {
		return &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "metadata": map[string]any{"name": name},
			"spec": map[string]any{"parentRefs": []any{map[string]any{"name": "public"}}, "hostnames": hostnames},
		}}
	}
	made := must1[*unstructured.Unstructured](t)(routes.Create(t.Context(), route("web", []any{"web.example.org"}), metav1.CreateOptions{}))
	parents, _, _ := unstructured.NestedSlice(made.Object, "spec", "parentRefs")
	if len(parents) != 1 || parents[0].(map[string]any)["kind"] != "Gateway" {
		t.Errorf("the defaults of the Gateway API are not set: %v", parents)
	}
	if _, err := routes.Create(t.Context(), route("bad", "web.example.org"), metav1.CreateOptions{}); !apierrors.IsInvalid(err) {
		t.Errorf("a route with hostnames that are no list: %v, want a rejection", err)
	}
}

func TestExternalSecretGetsItsSecret(t *testing.T) {
	t.Parallel()
	c := sharedCluster(t)
	ns := c.namespace(t)
	external := c.dyn.Resource(schema.GroupVersionResource{Group: "external-secrets.io", Version: "v1", Resource: "externalsecrets"}).Namespace(ns)
	made := must1[*unstructured.Unstructured](t)(external.Create(t.Context(), &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "external-secrets.io/v1", "kind": "ExternalSecret", "metadata": map[string]any{"name": "db"},
		"spec": map[string]any{
			"secretStoreRef": map[string]any{"name": "vault", "kind": "ClusterSecretStore"},
			"target":         map[string]any{"name": "db-credentials"},
			"data": []any{
				map[string]any{"secretKey": "username", "remoteRef": map[string]any{"key": "db", "property": "user"}},
				map[string]any{"secretKey": "password", "remoteRef": map[string]any{"key": "db", "property": "password"}},
			},
		},
	}}, metav1.CreateOptions{}))
	eventually(t, "secret", func(ctx context.Context) error {
		secret, err := c.client.CoreV1().Secrets(ns).Get(ctx, "db-credentials", metav1.GetOptions{})
		if err != nil {
			return err
		}
		if len(secret.Data["username"]) < 16 || len(secret.Data["password"]) < 16 || string(secret.Data["username"]) == string(secret.Data["password"]) {
			t.Fatalf("values are missing, short or the same")
		}
		if len(secret.OwnerReferences) != 1 || secret.OwnerReferences[0].UID != made.GetUID() {
			t.Fatalf("owners %+v", secret.OwnerReferences)
		}
		return nil
	})
	eventually(t, "external secret is ready", func(ctx context.Context) error {
		got, err := external.Get(ctx, "db", metav1.GetOptions{})
		if err != nil {
			return err
		}
		conditions, _, err := unstructured.NestedSlice(got.Object, "status", "conditions")
		if err == nil && (len(conditions) == 0 || conditions[0].(map[string]any)["status"] != "True") {
			err = fmt.Errorf("%v", conditions)
		}
		return err
	})
}

// denier is a validating webhook that refuses every object with the label "forbidden".
func denier(w http.ResponseWriter, r *http.Request) {
	var review admissionv1.AdmissionReview
	if err := json.NewDecoder(r.Body).Decode(&review); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	var object metav1.PartialObjectMetadata
	if err := json.Unmarshal(review.Request.Object.Raw, &object); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	_, forbidden := object.Labels["forbidden"]
	review.Response = &admissionv1.AdmissionResponse{UID: review.Request.UID, Allowed: !forbidden}
	if forbidden {
		review.Response.Result = &metav1.Status{Message: "the label is forbidden"}
	}
	_ = json.NewEncoder(w).Encode(review)
}

func TestValidatingWebhook(t *testing.T) {
	t.Parallel()
	c := sharedCluster(t)
	ns := c.namespace(t)
	authority := must1[*pki.Authority](t)(pki.OpenAuthority(t.TempDir(), "webhook-ca"))
	pair := must1[pki.Pair](t)(authority.Issue("webhook", pki.Subject{Name: "webhook", Hosts: []string{"127.0.0.1"}}))
	server := httptest.NewUnstartedServer(http.HandlerFunc(denier))
	server.TLS = &tls.Config{Certificates: []tls.Certificate{must1[tls.Certificate](t)(tls.LoadX509KeyPair(pair.Cert, pair.Key))}}
	server.StartTLS()
	defer server.Close()
	bundle := must1[[]byte](t)(os.ReadFile(authority.File()))
	none, fail := webhooksv1.SideEffectClassNone, webhooksv1.Fail
	configurations := c.client.AdmissionregistrationV1().ValidatingWebhookConfigurations()
	must1[*webhooksv1.ValidatingWebhookConfiguration](t)(configurations.Create(t.Context(), &webhooksv1.ValidatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: ns},
		Webhooks: []webhooksv1.ValidatingWebhook{{
			Name: "deny.example.org", SideEffects: &none, FailurePolicy: &fail, AdmissionReviewVersions: []string{"v1"},
			ClientConfig:      webhooksv1.WebhookClientConfig{URL: &server.URL, CABundle: bundle},
			NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{corev1.LabelMetadataName: ns}},
			Rules: []webhooksv1.RuleWithOperations{{
				Operations: []webhooksv1.OperationType{webhooksv1.Create},
				Rule:       webhooksv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"configmaps"}},
			}},
		}},
	}, metav1.CreateOptions{}))
	defer func() { _ = configurations.Delete(context.Background(), ns, metav1.DeleteOptions{}) }()
	create := func(ctx context.Context, labels map[string]string) error {
		_, err := c.client.CoreV1().ConfigMaps(ns).Create(ctx, &corev1.ConfigMap{
			ObjectMeta: metav1.ObjectMeta{GenerateName: "try-", Labels: labels},
		}, metav1.CreateOptions{})
		return err
	}
	eventually(t, "the webhook denies", func(ctx context.Context) error {
		err := create(ctx, map[string]string{"forbidden": "yes"})
		if err == nil || !strings.Contains(err.Error(), "the label is forbidden") {
			return fmt.Errorf("answer %v", err)
		}
		return nil
	})
	if err := create(t.Context(), nil); err != nil {
		t.Errorf("an object that the webhook allows: %v", err)
	}
	if err := create(t.Context(), map[string]string{"forbidden": "yes"}); err == nil {
		t.Error("the webhook denies only now and then")
	}
}

func TestAutoscalerWritesReplicas(t *testing.T) {
	t.Parallel()
	c := sharedCluster(t)
	ns := c.namespace(t)
	c.deploy(t, ns, deployment("web", "web:1", 2)) // each pod requests 500m
	c.ready(t, ns, "web")
	target, least := int32(50), int32(2)
	must1[*autoscalingv2.HorizontalPodAutoscaler](t)(c.client.AutoscalingV2().HorizontalPodAutoscalers(ns).Create(t.Context(), &autoscalingv2.HorizontalPodAutoscaler{
		ObjectMeta: metav1.ObjectMeta{Name: "web"},
		Spec: autoscalingv2.HorizontalPodAutoscalerSpec{
			ScaleTargetRef: autoscalingv2.CrossVersionObjectReference{APIVersion: "apps/v1", Kind: "Deployment", Name: "web"},
			MinReplicas:    &least, MaxReplicas: 4,
			Metrics: []autoscalingv2.MetricSpec{{Type: autoscalingv2.ResourceMetricSourceType, Resource: &autoscalingv2.ResourceMetricSource{
				Name: corev1.ResourceCPU, Target: autoscalingv2.MetricTarget{Type: autoscalingv2.UtilizationMetricType, AverageUtilization: &target},
			}}},
		},
	}, metav1.CreateOptions{}))
	eventually(t, "the autoscaler reads the quiet share", func(ctx context.Context) error {
		h, err := c.client.AutoscalingV2().HorizontalPodAutoscalers(ns).Get(ctx, "web", metav1.GetOptions{})
		if err != nil {
			return err
		}
		if len(h.Status.CurrentMetrics) != 1 || h.Status.CurrentMetrics[0].Resource == nil {
			return fmt.Errorf("%+v", h.Status)
		}
		if got := *h.Status.CurrentMetrics[0].Resource.Current.AverageUtilization; got != 30 {
			return fmt.Errorf("utilization %d %%, want 30 %%", got)
		}
		return nil
	})
	for _, pod := range c.pods(t, ns) {
		patch := fmt.Appendf(nil, `{"metadata":{"annotations":{%q:"490m"}}}`, usage.CPUAnnotation)
		must1[*corev1.Pod](t)(c.client.CoreV1().Pods(ns).Patch(t.Context(), pod.Name, types.MergePatchType, patch, metav1.PatchOptions{}))
	}
	eventually(t, "more replicas", func(ctx context.Context) error {
		d, err := c.client.AppsV1().Deployments(ns).Get(ctx, "web", metav1.GetOptions{})
		if err == nil && *d.Spec.Replicas <= 2 {
			err = fmt.Errorf("%d replicas", *d.Spec.Replicas)
		}
		return err
	})
	c.ready(t, ns, "web")
}

func TestImpersonationIsLimitedByRBAC(t *testing.T) {
	t.Parallel()
	c := sharedCluster(t)
	own, other := c.namespace(t), c.namespace(t)
	must1[*corev1.ServiceAccount](t)(c.client.CoreV1().ServiceAccounts(own).Create(t.Context(), &corev1.ServiceAccount{
		ObjectMeta: metav1.ObjectMeta{Name: "deployer"},
	}, metav1.CreateOptions{}))
	must1[*rbacv1.RoleBinding](t)(c.client.RbacV1().RoleBindings(own).Create(t.Context(), &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "deployer"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "edit"},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: own, Name: "deployer"}},
	}, metav1.CreateOptions{}))
	config := rest.CopyConfig(c.config)
	config.Impersonate = rest.ImpersonationConfig{
		UserName: "system:serviceaccount:" + own + ":deployer",
		Groups:   []string{"system:serviceaccounts", "system:serviceaccounts:" + own, "system:authenticated"},
	}
	deployer := must1[*kubernetes.Clientset](t)(kubernetes.NewForConfig(config))
	eventually(t, "the account may deploy at home", func(ctx context.Context) error {
		_, err := deployer.AppsV1().Deployments(own).Create(ctx, deployment("web", "web:1", 1), metav1.CreateOptions{})
		return err
	})
	_, err := deployer.AppsV1().Deployments(other).Create(t.Context(), deployment("web", "web:1", 1), metav1.CreateOptions{})
	if !apierrors.IsForbidden(err) {
		t.Errorf("deploy elsewhere: %v, want forbidden", err)
	}
	if _, err := deployer.CoreV1().Nodes().List(t.Context(), metav1.ListOptions{}); !apierrors.IsForbidden(err) {
		t.Errorf("list nodes: %v, want forbidden", err)
	}
}

// The token of a service account is a credential of its own, which the API server checks.
func TestServiceAccountToken(t *testing.T) {
	t.Parallel()
	c := sharedCluster(t)
	ns := c.namespace(t)
	config := rest.AnonymousClientConfig(c.config)
	eventually(t, "token", func(ctx context.Context) error {
		token, err := c.client.CoreV1().ServiceAccounts(ns).CreateToken(ctx, "default", tokenRequest(time.Hour), metav1.CreateOptions{})
		if err == nil {
			config.BearerToken = token.Status.Token
		}
		return err
	})
	pod := must1[*kubernetes.Clientset](t)(kubernetes.NewForConfig(config))
	if _, err := pod.Discovery().ServerVersion(); err != nil {
		t.Errorf("version with a token: %v", err)
	}
	if _, err := pod.AppsV1().Deployments(ns).List(t.Context(), metav1.ListOptions{}); !apierrors.IsForbidden(err) {
		t.Errorf("list deployments: %v, want forbidden", err)
	}
	config.BearerToken += "x"
	forged := must1[*kubernetes.Clientset](t)(kubernetes.NewForConfig(config))
	if _, err := forged.CoreV1().Pods(ns).List(t.Context(), metav1.ListOptions{}); !apierrors.IsUnauthorized(err) {
		t.Errorf("forged token: %v, want unauthorized", err)
	}
}

// Objects go with their owner, and everything goes with its namespace.
func TestDeletionCascades(t *testing.T) {
	t.Parallel()
	c := sharedCluster(t)
	ns := c.namespace(t)
	c.deploy(t, ns, deployment("web", "web:1", 2))
	c.ready(t, ns, "web")
	if err := c.client.AppsV1().Deployments(ns).Delete(t.Context(), "web", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "pods go", func(context.Context) error {
		if n := len(c.pods(t, ns)); n > 0 {
			return fmt.Errorf("%d pods", n)
		}
		return nil
	})
	must1[*appsv1.Deployment](t)(c.client.AppsV1().Deployments(ns).Create(t.Context(), deployment("again", "web:1", 1), metav1.CreateOptions{}))
	c.ready(t, ns, "again")
	if err := c.client.CoreV1().Namespaces().Delete(t.Context(), ns, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the namespace goes", func(ctx context.Context) error {
		found, err := c.client.CoreV1().Namespaces().Get(ctx, ns, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return nil
		}
		return fmt.Errorf("%+v, %v", found.Status, err)
	})
}
