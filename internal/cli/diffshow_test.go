package cli

import (
	"encoding/json"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestDiffForPrograms(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	s.apply()
	s.app("two", canary)
	out, _ := s.diff(exitNo, "-o", "json")
	var result struct {
		Environment, Digest string
		Counts              map[string]int
		Changes             []struct {
			Object        map[string]string
			Action, Stage string
			Fields        []map[string]string
		}
	}
	if err := json.Unmarshal([]byte(out), &result); err != nil || len(result.Changes) != 1 {
		t.Fatalf("%v\n%s", err, out)
	}
	if result.Environment != "shop/staging" || !strings.HasPrefix(result.Digest, "sha256:") || result.Counts["update"] != 1 || result.Counts["unchanged"] != 1 {
		t.Errorf("%s", out)
	}
	l := result.Changes[0]
	if l.Action != "update" || l.Stage != "configuration" || l.Object["kind"] != "ConfigMap" || l.Object["name"] != "app" || l.Object["namespace"] != s.target {
		t.Errorf("%s", out)
	}
	if len(l.Fields) != 1 || l.Fields[0]["path"] != "data.greeting" || l.Fields[0]["old"] != `"one"` || l.Fields[0]["new"] != `"two"` {
		t.Errorf("fields: %s", out)
	}
	if out, _ := s.diff(exitNo, "-o", "yaml"); !strings.Contains(out, "\n- action: update\n") {
		t.Errorf("as YAML:\n%s", out)
	}
}

// A refusal is in what programs read, with its reason and the objects.
func TestDiffRefusedForPrograms(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	s.write("overlays/shop/staging/kustomization.yaml", "resources: [elsewhere.yaml]\n")
	s.write("overlays/shop/staging/elsewhere.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: app, namespace: kube-system}\n")
	out, _ := s.diff(exitNo, "-o", "json")
	var result struct {
		Refused struct {
			Reason, Text string
			Objects      []struct{ Object map[string]string }
		}
	}
	if err := json.Unmarshal([]byte(out), &result); err != nil || result.Refused.Reason == "" || len(result.Refused.Objects) != 1 ||
		result.Refused.Objects[0].Object["namespace"] != "kube-system" {
		t.Errorf("%v\n%s", err, out)
	}
}

// As version control shows it: hunks of YAML, in the fields that are ours.
func TestDiffAsHunks(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	out, _ := s.diff(exitNo, "-o", "diff")
	for _, want := range []string{"# shop/staging: 2 create\n# create ConfigMap/" + s.target + "/app\n--- /dev/null\n+++ ConfigMap/" + s.target + "/app to be\n@@ -0,0 +1,",
		"\n+data:\n+  greeting: one\n", "\n+kind: Secret\n", "\n+  token: <redacted "} {
		if !strings.Contains(out, want) {
			t.Errorf("before it runs: no %q in\n%s", want, out)
		}
	}
	s.apply()
	// What others write is theirs, and no part of it.
	client := s.cluster.Client().CoreV1().ConfigMaps(s.target)
	app, err := client.Get(t.Context(), "app", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	app.Data["theirs"] = "foreign"
	if _, err := client.Update(t.Context(), app, metav1.UpdateOptions{FieldManager: "somebody"}); err != nil {
		t.Fatal(err)
	}
	s.app("two", canary+"-changed")
	out, _ = s.diff(exitNo, "-o", "diff")
	for _, want := range []string{"--- ConfigMap/" + s.target + "/app on the cluster\n", "\n-  greeting: one\n+  greeting: two\n", "\n-  token: <redacted ", "\n+  token: <redacted "} {
		if !strings.Contains(out, want) {
			t.Errorf("with a change: no %q in\n%s", want, out)
		}
	}
	if strings.Contains(out, "foreign") {
		t.Errorf("shows what is not ours:\n%s", out)
	}
	s.kustomization("app.yaml")
	out, _ = s.diff(exitNo, "-o", "diff")
	if !strings.Contains(out, "# delete Secret/"+s.target+"/app\n--- Secret/"+s.target+"/app on the cluster\n+++ /dev/null\n") || !strings.Contains(out, "\n-  token: <redacted ") {
		t.Errorf("with an object gone:\n%s", out)
	}
	code, out, _ := run(t, Streams{Terminal: true}, "diff", "shop/staging", "--repo", s.repo, "--kubeconfig", s.cluster.Kubeconfig,
		"--namespace", s.namespace, "-o", "diff")
	if code != exitNo || !strings.Contains(out, "\n"+green+"+  greeting: two"+plain+"\n") || strings.Contains(out, canary) {
		t.Errorf("on a terminal: exit code %d\n%q", code, out)
	}
}
