package e2e

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"

	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/testkit/gitserver"
)

// Values of the Secrets in this file; none may be seen anywhere but in the
// cluster's Secrets.
const (
	canaryFirst  = "canary-first-4be1d0"
	canarySecond = "canary-second-a83c55"
	canaryByHand = "canary-by-hand-e07f21"
)

func secret(value, labels string) map[string]string {
	return map[string]string{
		"base/demo/kustomization.yaml": kustomization("deployment.yaml", "service.yaml", "secret.yaml"),
		"base/demo/secret.yaml": fmt.Sprintf(`apiVersion: v1
kind: Secret
metadata:
  name: credentials
  labels: {%s}
stringData:
  password: %s
data:
  other: %s
`, labels, value, base64.StdEncoding.EncodeToString([]byte(value))),
	}
}

// A Secret passes through everything that the daemon does with objects: it is
// created, changed, drifts, is refused by the server, fails and is taken back.
// Its values are in no output (argo-cd#897, CVE-2023-40029, CVE-2025-23216).
func TestPitfall40_SecretValuesAreNowhere(t *testing.T) {
	quick(t)
	w := newWorld(t, alone(), secret(canaryFirst, ""))
	daemon := w.spawn(w.settings(nil))
	w.awaitRuns(development, w.first)
	second := w.push("another password", secret(canarySecond, "step: two"))
	w.awaitRuns(development, second)

	w.editSecret(development, "password", canaryByHand)
	w.await("the password to be put back", func() bool { return w.password(development) == canarySecond })
	w.awaitRuns(development, second)

	w.push("a label that is none", secret(canaryFirst, `step: "not a label!"`))
	rejected := w.awaitReason(development, promotion.ApplyRejected)
	if !strings.Contains(rejected.Message, "Secret/"+w.namespaces[development.String()]+"/credentials") {
		t.Errorf("rejected with %q; want the object's name in it", rejected.Message)
	}
	good := w.push("a label that is one", secret(canarySecond, "step: three"))
	w.awaitRuns(development, good)
	bad := w.push("break it", secret(canaryFirst, "step: four"), version("2.0.0-errors-100"))
	w.await("a revert", func() bool { return w.head() != bad })
	w.awaitRuns(development, w.head())
	w.wantRevert(bad, good, development, "answered 500")
	if got := w.password(development); got != canarySecond {
		t.Errorf("the password is %q, want last good's", got)
	}
	w.seek(daemon, canaryFirst, canarySecond, canaryByHand)
}

func (w *world) editSecret(id promotion.ID, key, value string) {
	w.Helper()
	secrets := w.client.CoreV1().Secrets(w.namespaces[id.String()])
	s, err := secrets.Get(w.Context(), "credentials", metav1.GetOptions{})
	if err != nil {
		w.Fatal(err)
	}
	s.Data[key] = []byte(value)
	if _, err := secrets.Update(w.Context(), s, metav1.UpdateOptions{FieldManager: "kubectl-edit"}); err != nil {
		w.Fatal(err)
	}
}

func (w *world) password(id promotion.ID) string {
	s, err := w.client.CoreV1().Secrets(w.namespaces[id.String()]).Get(w.Context(), "credentials", metav1.GetOptions{})
	if err != nil {
		return ""
	}
	return string(s.Data["password"])
}

// The token that opens the Git server is in no output, whatever goes wrong
// with it, and in no list of processes.
func TestPitfall41_TokenIsNowhere(t *testing.T) {
	quick(t)
	w := newWorld(t, alone())
	daemon := w.spawn(w.settings(nil))
	w.awaitRuns(development, w.first)
	w.git.SetToken("another") // the server quotes what it is told
	w.awaitReason(development, promotion.SourceUnavailable)
	w.seek(daemon, token)

	write(t, w.tokenFile, "another\n") // rotated
	bad := w.push("break it", version("2.0.0-errors-100"))
	w.git.AnswerPushes(403)
	w.awaitHeld(development, promotion.RevertRejected)
	if w.head() != bad {
		t.Error("pushed all the same")
	}
	for _, file := range []string{"cmdline", "environ"} {
		content, err := os.ReadFile(filepath.Join("/proc", fmt.Sprint(daemon.cmd.Process.Pid), file))
		if err == nil && strings.Contains(string(content), token) {
			t.Errorf("the process's %s shows the token", file)
		}
	}
	w.seek(daemon, token)
	for _, dir := range []string{w.repo.Dir} {
		if out := gitserver.Git(t, dir, "log", "--all", "--format=%B"); strings.Contains(out, token) {
			t.Error("a commit's message shows the token")
		}
	}
}

// seek looks for canaries in everything that the daemon lets people see.
func (w *world) seek(daemon *process, canaries ...string) {
	w.Helper()
	outputs := map[string]string{"log": w.log.String()}
	for _, page := range []string{"/", "/environments.json", "/metrics", "/readyz"} {
		outputs["page "+page] = fetch(w, "http://"+daemon.address()+page)
	}
	outputs["messages of commits"] = gitserver.Git(w, w.repo.Dir, "log", "--all", "--format=%an %ae %B")
	for what, text := range w.stored() {
		outputs[what] = text
	}
	for what, text := range outputs {
		if len(text) < len("ready") {
			w.Errorf("%s holds only %q: nothing was looked at", what, text)
		}
		for _, canary := range canaries {
			for _, form := range []string{canary, base64.StdEncoding.EncodeToString([]byte(canary))} {
				if at := strings.Index(text, form); at >= 0 {
					w.Errorf("%s shows a secret: …%s…", what, text[max(0, at-200):min(len(text), at+len(form)+50)])
				}
			}
		}
	}
}

// stored is what the daemon keeps on the cluster for people to see, and its
// inventory.
func (w *world) stored() map[string]string {
	w.Helper()
	client, err := dynamic.NewForConfig(w.cluster.Config())
	if err != nil {
		w.Fatal(err)
	}
	all := map[string]string{}
	for _, at := range []struct{ group, version, resource, namespace string }{
		{"chaperone.dev", "v1alpha1", "environments", w.namespace},
		{"chaperone.dev", "v1alpha1", "releases", w.namespace},
		{"", "v1", "events", w.namespace},
		{"", "v1", "configmaps", w.namespaces[development.String()]},
	} {
		resource := client.Resource(schema.GroupVersionResource{Group: at.group, Version: at.version, Resource: at.resource})
		list, err := resource.Namespace(at.namespace).List(w.Context(), metav1.ListOptions{})
		if err != nil {
			w.Fatal(err)
		}
		text, err := json.Marshal(list)
		if err != nil {
			w.Fatal(err)
		}
		all["stored "+at.resource] = string(text)
	}
	return all
}
