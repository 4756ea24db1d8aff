package manifest

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

const canary = "s3cr3t-c4n4ry!"

var salt = []byte("0123456789abcdef")

// Pitfall 40: a Secret's value in anything that is shown. One canary, in every
// place where Kubernetes and its tools keep one.
func TestPitfall40_RedactionCanary(t *testing.T) {
	t.Parallel()
	encoded := base64.StdEncoding.EncodeToString([]byte(canary))
	applied, err := json.Marshal(map[string]any{"kind": "Secret", "data": map[string]any{"p": encoded}, "stringData": map[string]any{"p": canary}})
	if err != nil {
		t.Fatal(err)
	}
	annotated := "apiVersion: v1\nkind: %s\nmetadata: {name: s, annotations: {keep: me, " + lastApplied + ": '" + string(applied) + "'}}\n"
	secret := fmt.Sprintf(annotated, "Secret")
	for name, text := range map[string]string{
		"data":                 secret + "data: {p: " + encoded + "}\n",
		"stringData":           secret + "stringData: {p: " + canary + "}\n",
		"data is a string":     secret + "data: " + canary + "\n",
		"data is a list":       secret + "stringData: [" + canary + "]\n",
		"value is an object":   secret + "stringData: {p: {deep: [" + canary + "]}}\n",
		"another version":      strings.Replace(secret, "v1", "v1beta9", 1) + "data: {p: " + encoded + "}\n",
		"managed fields":       secret + "data: {p: x}\n" + "x: y\n",
		"last applied":         fmt.Sprintf(annotated, "ConfigMap"),
		"in a list":            "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: Secret, metadata: {name: s}, data: {p: " + encoded + "}}\n",
		"in a list of secrets": "apiVersion: v1\nkind: SecretList\nitems: [{apiVersion: v1, kind: List, items: [{apiVersion: v1, kind: Secret, metadata: {name: s}, stringData: {p: " + canary + "}}]}]\n",
	} {
		o := object(t, text)
		before := o.DeepCopy()
		o.SetManagedFields(nil)
		shown := NewRedactor(salt).Object(o)
		b, err := json.Marshal(shown.Object)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(b), canary) || strings.Contains(string(b), encoded) {
			t.Errorf("%s: shows the secret: %s", name, b)
		}
		if strings.Contains(text, "keep") && !strings.Contains(string(b), `"keep":"me"`) {
			t.Errorf("%s: hides an annotation of no harm: %s", name, b)
		}
		if after, _ := json.Marshal(o.Object); string(after) != mustJSON(t, before) {
			t.Errorf("%s: the object itself was changed", name)
		}
	}
	own := object(t, "apiVersion: example.com/v1\nkind: Secret\nmetadata: {name: s}\ndata: {p: visible}\n")
	if b := mustJSON(t, NewRedactor(salt).Object(own)); !strings.Contains(b, "visible") || IsSecret(own) {
		t.Error("another group's Secret is taken for the core one")
	}
}

func mustJSON(t testing.TB, o *Object) string {
	t.Helper()
	b, err := json.Marshal(o.Object)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// A mark tells equal from different values, and nothing else.
func TestMarks(t *testing.T) {
	t.Parallel()
	r, other := NewRedactor(salt), NewRedactor([]byte("fedcba9876543210"))
	rapid.Check(t, func(t *rapid.T) {
		a, b := rapid.String().Draw(t, "a"), rapid.String().Draw(t, "b")
		if (r.Mark(a) == r.Mark(b)) != (a == b) {
			t.Fatalf("%q and %q: %s, %s", a, b, r.Mark(a), r.Mark(b))
		}
		if r.Mark(a) == other.Mark(a) {
			t.Fatalf("%q has the same mark under another salt", a)
		}
		if len(r.Mark(a)) != len(r.Mark(b)) {
			t.Fatal("a mark's length tells of the value's")
		}
	})
	if got := r.Mark(func() {}); !strings.HasPrefix(got, "<redacted ") {
		t.Errorf("what JSON cannot write has mark %q", got)
	}
}
