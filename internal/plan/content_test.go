package plan

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"
	"sigs.k8s.io/yaml"

	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/promotion"
)

// shown builds the plan of one object that is there, or not.
func shown(t testing.TB, live, sent, tried *manifest.Object) Change {
	t.Helper()
	in := Input{Owner: owner, Manager: manager, Redact: redact, Desired: renderedSet(t, sent), Contents: true,
		Seen: map[manifest.ID]Seen{manifest.IDOf(sent): {Live: live, Send: sent, Tried: tried}}}
	p, err := Build(in)
	if err != nil || len(p.Changes) != 1 {
		t.Fatalf("%v, %v", p.Changes, err)
	}
	return p.Changes[0]
}

// Only what we own is shown, in the order in which the lists have it; what
// another manager wrote is not, and neither is what the server added.
func TestContentHoldsOwnedFields(t *testing.T) {
	t.Parallel()
	sent := prepared(t, deploymentText)
	live := applied(sent, manager, deploymentFields)
	live.Object["status"] = map[string]any{"replicas": int64(2)}
	live.Object["spec"].(map[string]any)["paused"] = true // another's
	next := prepared(t, strings.Replace(deploymentText, "image: a", "image: b", 1))
	c := shown(t, live, next, applied(next, manager, deploymentFields))
	var before map[string]any
	if err := yaml.Unmarshal([]byte(c.Content.Before), &before); err != nil {
		t.Fatal(err)
	}
	want := sent.DeepCopy().Object
	text, err := yaml.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	if c.Content.Before != string(text) {
		t.Errorf("before:\n%s\nwant\n%s", c.Content.Before, text)
	}
	if got := c.Unified(); !strings.Contains(got, "\n-        image: a\n+        image: b\n") || strings.Contains(got, "paused") || strings.Contains(got, "status") {
		t.Errorf("as a diff:\n%s", got)
	}
}

// What another tool set and is not rendered goes when it is taken over: who reads
// the diff has to see that.
func TestContentShowsWhatATakeOverRemoves(t *testing.T) {
	t.Parallel()
	const text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: shop}\ndata: {kept: git}\n"
	sent := prepared(t, text)
	live := applied(object(t, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: shop, labels: {kustomize.toolkit.fluxcd.io/name: apps}}\ndata: {kept: git, gone: old}\n"),
		"kustomize-controller", `{"f:data":{"f:kept":{},"f:gone":{}},"f:metadata":{"f:labels":{"f:kustomize.toolkit.fluxcd.io/name":{}}}}`)
	tried := applied(sent, manager, `{"f:data":{"f:kept":{}},"f:metadata":{"f:annotations":{"f:chaperone.dev/environment":{}},"f:labels":{"f:applyset.kubernetes.io/part-of":{}}}}`)
	w := owner
	w.Adopt = []promotion.Tool{promotion.ToolFlux}
	p, err := Build(Input{Owner: w, Manager: manager, Redact: redact, Desired: renderedSet(t, sent), Contents: true,
		Seen: map[manifest.ID]Seen{manifest.IDOf(sent): {Live: live, Send: sent, Tried: tried}}})
	if err != nil || len(p.Changes) != 1 {
		t.Fatalf("%v, %v", p.Changes, err)
	}
	got := p.Changes[0].Unified()
	for _, want := range []string{"\n-  gone: old\n", "\n-    kustomize.toolkit.fluxcd.io/name: apps\n", "\n+    chaperone.dev/environment: "} {
		if !strings.Contains(got, want) {
			t.Errorf("want %q in\n%s", want, got)
		}
	}
	if strings.Contains(got, "{}") {
		t.Errorf("shows a map that is not there:\n%s", got)
	}
}

// A unified diff is no summary: applied to what is there, it gives what will
// be. It has no text exactly where nothing differs.
func TestUnifiedIsTheWholeDifference(t *testing.T) {
	t.Parallel()
	value := rapid.SampledFrom([]string{"x", "two\nlines\n", "", " spaced ", "- a\n+ b\n@@ -1 +1 @@\n", "tab\there", "no end\nof line", "ünï"})
	rapid.Check(t, func(t *rapid.T) {
		data := func(name string) string {
			o := map[string]any{"apiVersion": "v1", "kind": "ConfigMap",
				"data": rapid.MapOfN(rapid.StringMatching(`[a-c]`), value, 0, 3).Draw(t, name)}
			text, err := yaml.Marshal(o)
			if err != nil {
				t.Fatal(err)
			}
			return string(text)
		}
		c := Change{Content: &Content{Before: data("before"), After: data("after")}}
		text := c.Unified()
		if (text == "") != (c.Content.Before == c.Content.After) {
			t.Fatalf("%q from %q and %q", text, c.Content.Before, c.Content.After)
		}
		if text == "" {
			return
		}
		if got := patched(c.Content.Before, text); got != c.Content.After {
			t.Fatalf("applied to %q:\n%s\ngives %q", c.Content.Before, text, got)
		}
	})
}

// patched does what patch(1) does with a diff that fits.
func patched(before, diff string) string {
	old, at, out := strings.SplitAfter(before, "\n"), 0, ""
	for _, line := range strings.SplitAfter(diff, "\n")[2:] {
		switch {
		case strings.HasPrefix(line, "@@ -"):
			first := 0
			_, _ = fmt.Sscanf(line, "@@ -%d", &first)
			for ; at < first-1; at++ {
				out += old[at]
			}
		case strings.HasPrefix(line, "+"):
			out += line[1:]
		case strings.HasPrefix(line, "-"):
			at++
		case line != "":
			out, at = out+line[1:], at+1
		}
	}
	return out + strings.Join(old[at:], "")
}

func TestUnifiedIsBounded(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("y", 5000)
	c := Change{Content: &Content{Before: "a: " + long + "1\n", After: "a: " + long + "2\n" + strings.Repeat("- line\n", 3000)}}
	text := c.Unified()
	if n := strings.Count(text, "\n"); n > maxDiffLines+1 {
		t.Errorf("%d lines", n)
	}
	if !strings.Contains(text, " more lines are not shown\n") || !strings.Contains(text, "… # 4005 more characters, ") {
		t.Errorf("does not say what is left out:\n%.3000s", text)
	}
	lines := strings.Split(text, "\n")
	if strings.TrimPrefix(lines[3], "-") == strings.TrimPrefix(lines[4], "+") {
		t.Error("a change at the end of a long line cannot be seen")
	}
}

// Secret values are in no content, whatever is done to the object
// (pitfall 40); that they change can be seen.
func TestPitfall40_ContentHoldsNoSecret(t *testing.T) {
	t.Parallel()
	const canary = "canary-51b8"
	encoded := func(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) }
	text := "apiVersion: v1\nkind: Secret\nmetadata: {name: s, namespace: shop}\ndata: {p: " + encoded(canary) + "}\n"
	sent := prepared(t, text)
	const fields = `{"f:data":{"f:p":{}},"f:metadata":{"f:annotations":{"f:chaperone.dev/environment":{}},"f:labels":{"f:applyset.kubernetes.io/part-of":{}}}}`
	live := applied(prepared(t, strings.Replace(text, encoded(canary), encoded(canary+"-old"), 1)), manager, fields)
	all := shown(t, live, sent, applied(sent, manager, fields)).Unified() + shown(t, nil, sent, nil).Unified()
	in := Input{Redact: redact, Manager: manager, Contents: true, Seen: map[manifest.ID]Seen{manifest.IDOf(live): {Live: live}}}
	changes := []Change{{ID: manifest.IDOf(live), Action: Delete}, {ID: manifest.IDOf(live), Action: Replace, Object: sent}}
	in.show(changes)
	for _, c := range changes {
		all += c.Unified()
	}
	for _, secret := range []string{canary, encoded(canary), encoded(canary + "-old")} {
		if strings.Contains(all, secret) {
			t.Errorf("shows %s:\n%s", secret, all)
		}
	}
	if n := strings.Count(all, "<redacted "); n != 6 {
		t.Errorf("%d marks, want 6:\n%s", n, all)
	}
}
