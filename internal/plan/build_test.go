package plan

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/promotion"
)

// build makes a plan in which every object that is not seen gets created.
func build(t *testing.T, in Input) (Plan, error) {
	t.Helper()
	in.Owner, in.Manager, in.Redact = owner, manager, redact
	in.Guards.Prune = true
	if in.Seen == nil {
		in.Seen = map[manifest.ID]Seen{}
	}
	for _, o := range in.Desired.Objects() {
		id := manifest.IDOf(o)
		if _, given := in.Seen[id]; !given {
			in.Seen[id] = Seen{Send: o, Tried: o}
		}
	}
	return Build(in)
}

func lines(p Plan) string {
	var texts []string
	for _, c := range p.Changes {
		text := string(c.Action) + " " + c.ID.Kind + "/" + c.ID.Name
		if c.Reason != "" {
			text += " " + c.Reason
		}
		if c.Staged {
			text += " staged"
		}
		texts = append(texts, text)
	}
	return strings.Join(texts, ", ")
}

func job(name, hook string) string {
	return fmt.Sprintf("apiVersion: batch/v1\nkind: Job\nmetadata: {name: %s, namespace: shop, annotations: {chaperone.dev/hook: %s}}", name, hook)
}

func TestPlanIsInApplyOrder(t *testing.T) {
	t.Parallel()
	gone, entry := ownedLive(t, named("ConfigMap", "old", ""), "1")
	set := renderedSet(t,
		prepared(t, "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: api}"),
		prepared(t, named("ConfigMap", "settings", "")),
		prepared(t, job("migrate", "pre-deploy")), prepared(t, job("smoke", "post-deploy")), prepared(t, job("undo", "rollback")))
	p, err := build(t, Input{Desired: set, Owned: []Owned{entry}, Seen: map[manifest.ID]Seen{entry.ID: {Live: gone}}})
	if err != nil {
		t.Fatal(err)
	}
	want := "create ConfigMap/settings, create Job/migrate, create Deployment/api, create Job/smoke, delete ConfigMap/old"
	if got := lines(p); got != want {
		t.Errorf("plan is %s, want %s", got, want)
	}
	if got, want := p.Summary(), "4 create, 1 delete"; got != want {
		t.Errorf("summary is %q, want %q", got, want)
	}
	restoring, err := build(t, Input{Desired: set, SkipHooks: true, Seen: map[manifest.ID]Seen{}})
	if err != nil || strings.Contains(lines(restoring), "Job") {
		t.Errorf("plan without hooks is %s, %v", lines(restoring), err)
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	theirs := object(t, named("ConfigMap", "a", AnnotationEnvironment+": shop/production"))
	for name, test := range map[string]struct {
		object string
		seen   *manifest.Object
		want   promotion.Reason
		text   string
	}{
		"fine":              {named("ConfigMap", "a", ""), nil, "", ""},
		"another namespace": {strings.Replace(named("ConfigMap", "a", ""), "namespace: shop", "namespace: other", 1), nil, promotion.ApplyRejected, `add "namespace:other" to target.allow`},
		"cluster-scoped":    {"apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}", nil, promotion.ApplyRejected, `add "Namespace/shop" to target.allow`},
		"allowed":           {"apiVersion: v1\nkind: Namespace\nmetadata: {name: allowed}", nil, "", ""},
		"another's":         {named("ConfigMap", "a", ""), theirs, promotion.ConflictingOwner, "belongs to environment shop/production"},
	} {
		o := object(t, test.object)
		in := Input{Desired: renderedSet(t, o), Seen: map[manifest.ID]Seen{manifest.IDOf(o): {Live: test.seen, Send: o, Tried: o}}}
		in.Owner = owner
		in.Owner.Allow = []promotion.Allowance{{Kind: "Namespace", Name: "allowed"}}
		in.Manager, in.Redact = manager, redact
		p, err := Build(in)
		var refusal *Refusal
		if errors.As(err, &refusal) != (test.want != "") || refusal != nil && (refusal.Reason != test.want || !strings.Contains(err.Error(), test.text)) {
			t.Errorf("%s: %v, want %q saying %q", name, err, test.want, test.text)
		}
		if (p.Refused != nil) != (err != nil) {
			t.Errorf("%s: the plan says refused: %v", name, p.Refused)
		}
	}
}

func TestWhoElseOwnsAnObject(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ labels, annotations, want string }{
		{"", "", ""},
		{LabelPartOf + ": " + owner.SetID, "", ""},
		{"", AnnotationEnvironment + ": shop/testing", ""},
		{LabelPartOf + ": another", AnnotationEnvironment + ": shop/testing", ""}, // its inventory moved
		{LabelPartOf + ": " + owner.SetID, AnnotationEnvironment + ": shop/production", "environment shop/production"},
		{LabelPartOf + ": another", "", "ApplySet another"},
		{"", "meta.helm.sh/release-name: shop", `Helm release shop; add "helm" to adopt`},
		{"kustomize.toolkit.fluxcd.io/name: apps", "", `Flux Kustomization apps; add "flux" to adopt`},
		{"", "argocd.argoproj.io/tracking-id: x", `Argo CD application x; add "argocd" to adopt`},
	} {
		o := object(t, fmt.Sprintf("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, labels: {%s}, annotations: {%s}}", test.labels, test.annotations))
		if got := owner.Other(o); got != test.want {
			t.Errorf("labels %q, annotations %q: %q, want %q", test.labels, test.annotations, got, test.want)
		}
	}
	operated := object(t, named("ConfigMap", "a", ""))
	operated.SetOwnerReferences([]metav1.OwnerReference{{Kind: "Kafka", Name: "k"}})
	if got := owner.Other(operated); got != "Kafka k, its owner" {
		t.Errorf("object with an ownerReference: %q", got)
	}
}

func TestRejectionIsPutOffWhileItsCauseIsInTheRelease(t *testing.T) {
	t.Parallel()
	no := errors.New("no")
	role := "apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {name: reader, namespace: shop}"
	binding := "apiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\nmetadata: {name: reader, namespace: shop}\nroleRef: {kind: Role, name: reader}"
	crd := "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: widgets.example.org}\nspec: {group: example.org, names: {kind: Widget}}"
	widget := "apiVersion: example.org/v1\nkind: Widget\nmetadata: {name: w, namespace: shop}"
	other := "apiVersion: example.net/v1\nkind: Widget\nmetadata: {name: w, namespace: shop}"
	for name, test := range map[string]struct {
		cause, effect string
		causeChanges  bool
		want          string
	}{
		"binding of a new role":           {role, binding, true, "create Role/reader, create RoleBinding/reader staged"},
		"binding of a role that is there": {role, binding, false, "rejected RoleBinding.rbac.authorization.k8s.io/shop/reader"},
		"resource of a new definition":    {crd, widget, true, "create CustomResourceDefinition/widgets.example.org, create Widget/w staged"},
		"another group's resource":        {crd, other, true, "rejected Widget.example.net/shop/w"},
	} {
		cause, effect := object(t, test.cause), object(t, test.effect)
		seen := Seen{Send: cause, Tried: cause}
		if !test.causeChanges {
			seen = Seen{Live: cause, Send: cause, Same: true}
		}
		in := Input{Desired: renderedSet(t, cause, effect), Seen: map[manifest.ID]Seen{
			manifest.IDOf(cause): seen, manifest.IDOf(effect): {Send: effect, Rejected: no}}}
		in.Owner, in.Manager, in.Redact = owner, manager, redact
		in.Owner.Allow = []promotion.Allowance{{Group: "apiextensions.k8s.io", Kind: "CustomResourceDefinition", Name: "widgets.example.org"}}
		if !test.causeChanges {
			if err := owner.Mark(cause); err != nil {
				t.Fatal(err)
			}
		}
		p, err := Build(in)
		got := lines(p)
		var rejected *Rejected
		if errors.As(err, &rejected) {
			got = "rejected " + rejected.Objects[0].ID.String()
		}
		if got != test.want {
			t.Errorf("%s: %s (%v), want %s", name, got, err, test.want)
		}
	}
}

func TestHooksRunOnceForTheirContent(t *testing.T) {
	t.Parallel()
	withState := func(condition string) *manifest.Object {
		o := prepared(t, job("migrate", "pre-deploy"))
		_ = unstructured.SetNestedSlice(o.Object, []any{map[string]any{"type": condition, "status": "True", "reason": "R", "message": "m"}}, "status", "conditions")
		return o
	}
	sent := prepared(t, job("migrate", "pre-deploy"))
	id := manifest.IDOf(sent)
	ran := []Owned{{ID: id, UID: "1", Applied: Applied(sent)}}
	terminating := withState("Complete")
	now := metav1.Now()
	terminating.SetDeletionTimestamp(&now)
	for name, test := range map[string]struct {
		seen  Seen
		owned []Owned
		want  string
	}{
		"first time":                    {Seen{Tried: sent}, nil, "create Job/migrate"},
		"gone after it ran":             {Seen{Tried: sent}, ran, "unchanged Job/migrate Completed"},
		"going after it ran":            {Seen{Live: terminating}, ran, "unchanged Job/migrate Completed"},
		"going, and another is to come": {Seen{Live: terminating}, nil, "replace Job/migrate Terminating"},
		"gone, and another ran":         {Seen{Tried: sent}, []Owned{{ID: id, UID: "1", Applied: "other"}}, "create Job/migrate"},
		"there and complete":            {Seen{Live: withState("Complete"), Same: true}, nil, "unchanged Job/migrate"},
		"failed before":                 {Seen{Live: withState("Failed"), Same: true}, nil, "replace Job/migrate HookFailed"},
		"changed":                       {Seen{Live: withState("Complete"), Rejected: errors.New("immutable"), Immutable: true}, nil, "replace Job/migrate Immutable"},
	} {
		test.seen.Send = sent
		p, err := build(t, Input{Desired: renderedSet(t, sent), Owned: test.owned, Seen: map[manifest.ID]Seen{id: test.seen}})
		if err != nil || lines(p) != test.want {
			t.Errorf("%s: %s, %v; want %s", name, lines(p), err, test.want)
		}
	}
	if state, message := StateOf(withState("Failed")); state != JobFailed || message != "R: m" {
		t.Errorf("state of a failed Job: %v, %q", state, message)
	}
}

func TestPitfall40_PrintingAPlanShowsNoObject(t *testing.T) {
	t.Parallel()
	const canary = "canary-51bb"
	secret := prepared(t, "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {password: "+canary+"}")
	p, err := build(t, Input{Desired: renderedSet(t, secret)})
	if err != nil {
		t.Fatal(err)
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
		for _, v := range []any{p, p.Changes, p.Changes[0], &p.Changes[0]} {
			if text := fmt.Sprintf(verb, v); strings.Contains(text, canary) || strings.Contains(text, "Y2FuYXJ5") {
				t.Errorf("%s of %T shows the value: %s", verb, v, text)
			}
		}
	}
}
