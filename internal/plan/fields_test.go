package plan

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"chaperone.dev/chaperone/internal/manifest"
)

const deploymentText = `apiVersion: apps/v1
kind: Deployment
metadata: {name: api, namespace: shop}
spec:
  replicas: 2
  template:
    spec:
      initContainers: [{name: one, image: i}, {name: two, image: i}]
      containers: [{name: api, image: a, ports: [{containerPort: 80}], args: [x, y]}]
      volumes: [{name: tmp, emptyDir: {}}]
`

// What a server records for deploymentText with the owner's marks.
const deploymentFields = `{"f:metadata":{"f:annotations":{"f:chaperone.dev/environment":{}},"f:labels":{"f:applyset.kubernetes.io/part-of":{}}},
"f:spec":{"f:replicas":{},"f:template":{"f:spec":{
"f:initContainers":{"k:{\"name\":\"one\"}":{".":{},"f:image":{},"f:name":{}},"k:{\"name\":\"two\"}":{".":{},"f:image":{},"f:name":{}}},
"f:containers":{"k:{\"name\":\"api\"}":{".":{},"f:args":{},"f:image":{},"f:name":{},"f:ports":{"k:{\"containerPort\":80,\"protocol\":\"TCP\"}":{".":{},"f:containerPort":{}}}}},
"f:volumes":{"k:{\"name\":\"tmp\"}":{".":{},"f:emptyDir":{},"f:name":{}}}}}}}`

func TestSameIsCertain(t *testing.T) {
	t.Parallel()
	sent := prepared(t, deploymentText)
	live := applied(sent, manager, deploymentFields)
	if !Same(live, sent, manager) {
		t.Fatal("what was applied is not the same")
	}
	defaulted := object(t, strings.Replace(deploymentText, "containerPort: 80", "containerPort: 80, protocol: TCP", 1))
	if err := owner.Mark(defaulted); err != nil {
		t.Fatal(err)
	}
	if !Same(applied(defaulted, manager, deploymentFields), sent, manager) {
		t.Error("a default that the server wrote makes it different")
	}
	for name, change := range map[string][2]string{
		"value":         {"replicas: 2", "replicas: 3"},
		"new field":     {"replicas: 2", "replicas: 2, paused: true"},
		"lost field":    {"  replicas: 2\n", ""},
		"image":         {"image: a", "image: b"},
		"atomic list":   {"[x, y]", "[x, z]"},
		"new item":      {"[{name: tmp, emptyDir: {}}]", "[{name: tmp, emptyDir: {}}, {name: more, emptyDir: {}}]"},
		"lost item":     {"{name: one, image: i}, ", ""},
		"other order":   {"{name: one, image: i}, {name: two, image: i}", "{name: two, image: i}, {name: one, image: i}"},
		"other port":    {"containerPort: 80", "containerPort: 81"},
		"other default": {"containerPort: 80", "containerPort: 80, protocol: UDP"},
		"new label":     {"namespace: shop", "namespace: shop, labels: {a: b}"},
	} {
		text := strings.Replace(deploymentText, change[0], change[1], 1)
		if name == "new field" {
			text = strings.Replace(deploymentText, "  replicas: 2\n", "  replicas: 2\n  paused: true\n", 1)
		}
		if text == deploymentText {
			t.Fatalf("%s: the test changes nothing", name)
		}
		if Same(live, prepared(t, text), manager) {
			t.Errorf("%s: taken for the same", name)
		}
	}
	if Same(live, sent, "somebody") {
		t.Error("what another manager applied is the same")
	}
}

func TestSameSeesEveryEditOfOurFields(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		data := rapid.MapOfN(rapid.StringMatching(`[a-c]`), rapid.StringMatching(`[xy]`), 1, 3).Draw(t, "data")
		edited := rapid.MapOfN(rapid.StringMatching(`[a-e]`), rapid.StringMatching(`[xy]`), 0, 5).Draw(t, "edited")
		sent, live := configMapOf(data), configMapOf(edited)
		fields := make([]string, 0, len(data))
		for key := range data {
			fields = append(fields, `"f:`+key+`":{}`)
		}
		live = applied(live, manager, `{"f:data":{`+strings.Join(fields, ",")+`}}`)
		want := true
		for key, value := range data {
			want = want && edited[key] == value
		}
		if got := Same(live, sent, manager); got != want {
			t.Fatalf("sent %v, there is %v: Same is %v", data, edited, got)
		}
	})
}

func configMapOf(data map[string]string) *manifest.Object {
	values := map[string]any{}
	for key, value := range data {
		values[key] = value
	}
	o := &manifest.Object{Object: map[string]any{"apiVersion": "v1", "kind": "ConfigMap", "data": values}}
	o.SetName("c")
	return o
}

func TestCompareCountsOwnFieldsOnly(t *testing.T) {
	t.Parallel()
	live := applied(configMapOf(map[string]string{"ours": "1", "theirs": "1", "dropped": "1"}), manager, `{"f:data":{"f:ours":{},"f:dropped":{}}}`)
	webhook := applied(configMapOf(map[string]string{"ours": "1", "theirs": "2", "dropped": "1"}), manager, `{"f:data":{"f:ours":{},"f:dropped":{}}}`)
	if fields, changed := Compare(live, webhook, manager, redact); changed {
		t.Errorf("what a webhook wrote is a change: %v", fields)
	}
	tried := applied(configMapOf(map[string]string{"ours": "2", "theirs": "1", "added": "1"}), manager, `{"f:data":{"f:ours":{},"f:added":{}}}`)
	fields, changed := Compare(live, tried, manager, redact)
	var texts []string
	for _, f := range fields {
		texts = append(texts, f.String())
	}
	want := []string{`data.added: (none) -> "1"`, `data.dropped: "1" -> (none)`, `data.ours: "1" -> "2"`}
	if !changed || !slices.Equal(texts, want) {
		t.Errorf("changed %v: %v, want %v", changed, texts, want)
	}
	// Dropping a field that somebody else holds too changes who owns it.
	yielded := applied(configMapOf(map[string]string{"ours": "1", "theirs": "1", "dropped": "1"}), manager, `{"f:data":{"f:ours":{}}}`)
	if fields, changed := Compare(live, yielded, manager, redact); !changed || len(fields) > 0 {
		t.Errorf("yielding a field: changed %v, %v", changed, fields)
	}
}

func TestPitfall40_ComparedSecretsAreRedacted(t *testing.T) {
	t.Parallel()
	secret := func(value string) *manifest.Object {
		o := configMapOf(map[string]string{"password": value, "same": "c2FtZQ=="})
		o.SetKind("Secret")
		return applied(o, manager, `{"f:data":{"f:password":{},"f:same":{}}}`)
	}
	fields, changed := Compare(secret("b2xk"), secret("bmV3"), manager, redact)
	if !changed || len(fields) != 1 || fields[0].Path != "data.password" || fields[0].Old == fields[0].New {
		t.Fatalf("fields are %v, want the password as changed", fields)
	}
	if text := fields[0].String(); strings.Contains(text, "b2xk") || strings.Contains(text, "bmV3") {
		t.Errorf("values show in %q", text)
	}
}

func TestPathsReadLikePeopleWriteThem(t *testing.T) {
	t.Parallel()
	live := applied(prepared(t, deploymentText), manager, deploymentFields)
	tried := applied(prepared(t, strings.Replace(deploymentText, "image: a", "image: "+strings.Repeat("b", 400), 1)), manager, deploymentFields)
	fields, _ := Compare(live, tried, manager, redact)
	if len(fields) != 1 || fields[0].Path != "spec.template.spec.containers[name=api].image" {
		t.Fatalf("fields are %v", fields)
	}
	if n := len([]rune(fields[0].New)); n > maxShown+1 {
		t.Errorf("a value is shown in %d characters", n)
	}
}
