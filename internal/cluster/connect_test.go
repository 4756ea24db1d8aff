package cluster

import (
	"errors"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"

	"chaperone.dev/chaperone/internal/fault"
	"chaperone.dev/chaperone/internal/inventory"
	"chaperone.dev/chaperone/internal/testkit/localcluster"
)

func TestKubeconfigConnects(t *testing.T) {
	t.Parallel()
	local := localcluster.Start(t)
	kubeconfig, err := os.ReadFile(local.Kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	c, err := ConnectKubeconfig(kubeconfig, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.kinds.refresh(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestKubeconfigIsNotTrusted(t *testing.T) {
	t.Parallel()
	const canary = "canary-2c9e"
	config := func(user string) string {
		return "apiVersion: v1\nkind: Config\ncurrent-context: c\ncontexts: [{name: c, context: {cluster: c, user: u}}]\n" +
			"clusters: [{name: c, cluster: {server: 'https://127.0.0.1:1'}}]\nusers: [{name: u, user: {" + user + "}}]\n"
	}
	for name, test := range map[string]struct{ text, want string }{
		"runs a program":    {config("exec: {command: /bin/true, apiVersion: client.authentication.k8s.io/v1}"), "credential plugins are not run"},
		"reads a token":     {config("tokenFile: /etc/hostname"), "refers to files"},
		"reads a key":       {config("client-key: /etc/hostname"), "refers to files"},
		"reads a CA":        {strings.Replace(config("token: x"), "server:", "certificate-authority: /etc/hostname, server:", 1), "refers to a file"},
		"is no kubeconfig":  {"token: [" + canary, "not a valid kubeconfig"},
		"has an odd field":  {"users: " + canary, "not a valid kubeconfig"},
		"has no context":    {"apiVersion: v1\nkind: Config\n", "read kubeconfig"},
		"is a fine example": {config("token: " + canary), ""},
	} {
		_, err := ConnectKubeconfig([]byte(test.text), Options{})
		if (err != nil) != (test.want != "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("kubeconfig that %s: %v, want %q", name, err, test.want)
		}
		if err != nil && strings.Contains(err.Error(), canary) {
			t.Errorf("kubeconfig that %s: the error quotes it: %v", name, err)
		}
	}
}

func TestUnreachableServerIsRetryable(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	config := f.local.Config()
	config.Host = "https://127.0.0.1:1"
	c, err := Connect(config, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Plan(t.Context(), f.owner, f.set(configMap("a", "b", "c"))); err == nil || fault.IsTerminal(err) {
		t.Errorf("plan: %v, want a retryable error", err)
	}
}

func TestRequestsAreDescribed(t *testing.T) {
	t.Parallel()
	apply := http.Header{"Content-Type": {"application/apply-patch+yaml"}}
	for _, test := range []struct {
		method, path string
		header       http.Header
		want         string
	}{
		{"GET", "/api/v1/namespaces/a/configmaps", nil, "list configmaps"},
		{"GET", "/api/v1/namespaces/a/configmaps/b", nil, "get configmaps"},
		{"GET", "/api/v1/configmaps?watch=true", nil, "watch configmaps"},
		{"GET", "/api/v1/namespaces/a", nil, "get namespaces"},
		{"GET", "/apis/apps/v1/namespaces/a/deployments/b/status", nil, "get deployments"},
		{"PATCH", "/apis/apps/v1/namespaces/a/deployments/b?force=true", apply, "apply deployments"},
		{"PATCH", "/apis/apps/v1/namespaces/a/deployments/b", nil, "patch deployments"},
		{"POST", "/apis/batch/v1/namespaces/a/jobs", nil, "create jobs"},
		{"PUT", "/api/v1/namespaces/a/configmaps/b", nil, "update configmaps"},
		{"DELETE", "/apis/rbac.authorization.k8s.io/v1/clusterroles/b", nil, "delete clusterroles"},
		{"GET", "/apis", nil, "get discovery"},
		{"GET", "/api/v1", nil, "get discovery"},
		{"GET", "/", nil, "get discovery"},
	} {
		address, err := url.Parse("https://host" + test.path)
		if err != nil {
			t.Fatal(err)
		}
		verb, resource := describe(&http.Request{Method: test.method, URL: address, Header: test.header})
		if got := verb + " " + resource; got != test.want {
			t.Errorf("%s %s is %q, want %q", test.method, test.path, got, test.want)
		}
	}
}

// Two daemons that both think they know what an environment owns: the second
// to write finds out.
func TestInventoryIsWrittenOverWhatWasRead(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.release(f.set(configMap("a", "b", "c")))
	first, err := f.c.loadInventory(t.Context(), f.owner)
	if err != nil {
		t.Fatal(err)
	}
	second := first
	more := first.Merge([]inventory.Entry{{ID: inventoryID(f.owner, "more"), Version: "v1"}})
	if _, err := f.c.saveInventory(t.Context(), f.owner, first, more); err != nil {
		t.Fatal(err)
	}
	_, err = f.c.saveInventory(t.Context(), f.owner, second, second.Merge([]inventory.Entry{{ID: inventoryID(f.owner, "lost")}}))
	if err == nil || fault.IsTerminal(err) {
		t.Errorf("second writer: %v, want a retryable error", err)
	}
	if _, found := mustInventory(f).Get(inventoryID(f.owner, "more")); !found {
		t.Error("what the first writer wrote is lost")
	}
}

func TestInventoryOfAnotherEnvironmentIsNotTaken(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.owner.Environment.Pipeline, f.owner.Environment.Name = "a-b", "c"
	f.release(f.set(configMap("x", "y", "z")))
	other := *f
	other.owner.Environment.Pipeline, other.owner.Environment.Name = "a", "b-c" // the same ConfigMap name
	_, err := other.c.Plan(t.Context(), other.owner, f.set(configMap("more", "y", "z")))
	if err == nil || !fault.IsTerminal(err) || !strings.Contains(err.Error(), `belongs to environment "a-b/c"`) {
		t.Errorf("plan with another's inventory: %v, want a terminal error", err)
	}
}

func TestOwnerWithoutNamespaceIsRefused(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.owner.Namespace = ""
	if _, err := f.c.Plan(t.Context(), f.owner, f.set(configMap("a", "b", "c"))); err == nil || !fault.IsTerminal(err) {
		t.Errorf("plan without a target namespace: %v", err)
	}
}

func TestSecretsOfOtherKindsOfErrorsAreWithheld(t *testing.T) {
	t.Parallel()
	id := inventoryID(Owner{Namespace: "shop"}, "login")
	id.Kind = "Secret"
	if err := answer(id, errors.New("decode canary-77")); strings.Contains(err.Error(), "canary-77") {
		t.Errorf("answer about a Secret: %v", err)
	}
	id.Group = "example.org" // another group's Secret is nobody's business here
	if err := answer(id, errors.New("decode this")); err.Error() != "decode this" {
		t.Errorf("answer about another kind: %v", err)
	}
}
