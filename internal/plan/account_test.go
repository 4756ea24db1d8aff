package plan

import (
	"fmt"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"chaperone.dev/chaperone/internal/manifest"
)

func account(o *manifest.Object) string {
	spec, _ := podSpec(o)
	return fmt.Sprint(spec[accountField], " ", spec[accountAlias])
}

func TestDropAccount(t *testing.T) {
	t.Parallel()
	const byName, byAlias, byBoth = `"f:serviceAccountName":{}`, `"f:serviceAccount":{}`, `"f:serviceAccountName":{},"f:serviceAccount":{}`
	for name, c := range map[string]struct {
		want         string // of the rendered pod spec
		there        string // on the cluster
		ours, theirs string // fields
		sent         string
	}{
		"ours":                               {"", "x", byName, "", " "},
		"ours, by the alias":                 {"", "x", byAlias, "", " "},
		"ours, and an edit left the alias":   {"", "x", byName, byAlias, " "},
		"ours and theirs":                    {"", "x", byName, byBoth, "<nil> <nil>"},
		"theirs":                             {"", "x", "", byBoth, "<nil> <nil>"},
		"ours by the alias, and theirs":      {"", "x", byAlias, byAlias, "<nil> <nil>"},
		"nobody's":                           {"", "x", "", "", "<nil> <nil>"},
		"ours, and none is there":            {"", "", byName, "", "<nil> <nil>"},
		"the default":                        {"", "default", byName, "", "<nil> <nil>"},
		"another is named":                   {"serviceAccountName: y", "x", byName, "", "y <nil>"},
		"another is named by the alias":      {"serviceAccount: y", "x", byName, "", "y y"},
		"both are named, and the name wins":  {"serviceAccount: y, serviceAccountName: z", "x", byName, "", "z y"},
		"named empty":                        {`serviceAccountName: "", serviceAccount: ""`, "x", byName, "", " "},
		"what is no text goes to the server": {"serviceAccountName: 1", "x", byName, "", "1 <nil>"},
	} {
		deployment := func(spec string) string {
			return "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: api, namespace: shop}\nspec: {template: {spec: {" + spec + "}}}"
		}
		live := object(t, deployment(fmt.Sprintf("serviceAccountName: %q, serviceAccount: %[1]q", c.there)))
		live = applied(live, manager, `{"f:spec":{"f:template":{"f:spec":{`+c.ours+`}}}}`)
		live = applied(live, "kubectl", `{"f:spec":{"f:template":{"f:spec":{`+c.theirs+`}}}}`)
		rendered := prepared(t, deployment(c.want))
		before := account(rendered)
		if got := account(DropAccount(rendered, live, manager)); got != c.sent {
			t.Errorf("%s: sent %q, want %q", name, got, c.sent)
		}
		if account(rendered) != before {
			t.Errorf("%s: the rendered object was changed", name)
		}
	}
}

// What we wrote without applying is not ours to take back.
func TestDropAccountOnlyOfWhatWasApplied(t *testing.T) {
	t.Parallel()
	pod := "apiVersion: v1\nkind: Pod\nmetadata: {name: api, namespace: shop}\nspec: {serviceAccountName: x, serviceAccount: x}"
	live := applied(object(t, pod), manager, `{"f:spec":{"f:serviceAccountName":{}}}`)
	rendered := prepared(t, "apiVersion: v1\nkind: Pod\nmetadata: {name: api, namespace: shop}\nspec: {}")
	if got := account(DropAccount(rendered, live, manager)); got != " " {
		t.Errorf("applied: sent %q, want both empty", got)
	}
	entries := live.GetManagedFields()
	entries[0].Operation = metav1.ManagedFieldsOperationUpdate
	live.SetManagedFields(entries)
	if got := account(DropAccount(rendered, live, manager)); got != "<nil> <nil>" {
		t.Errorf("written otherwise: sent %q, want none", got)
	}
	if other := prepared(t, named("ConfigMap", "a", "")); DropAccount(other, live, manager) != other {
		t.Error("an object without pods was changed")
	}
}

// What is made anew is made as it is rendered.
func TestReplacedObjectIsSentAsRendered(t *testing.T) {
	t.Parallel()
	rendered := prepared(t, hook("pre-deploy", "migrate:1"))
	send := rendered.DeepCopy()
	spec, _ := podSpec(send)
	spec[accountField], spec[accountAlias] = "", ""
	live := applied(rendered, manager, `{}`)
	p, err := Build(Input{Owner: owner, Manager: manager, Redact: redact, Desired: renderedSet(t, rendered),
		Seen: map[manifest.ID]Seen{manifest.IDOf(rendered): {Live: live, Send: send, Tried: send, Rejected: fmt.Errorf("immutable"), Immutable: true}}})
	if err != nil || len(p.Changes) != 1 || p.Changes[0].Action != Replace || Applied(p.Changes[0].Object) != Applied(rendered) {
		t.Errorf("%v, %v; want it replaced by what is rendered", p.Changes, err)
	}
}
