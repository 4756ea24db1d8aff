package plan

import (
	"fmt"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"pgregory.net/rapid"

	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/promotion"
)

// wroteFields adds an entry to the managed fields of an object.
func wroteFields(o *manifest.Object, by, operation, subresource, fields string) {
	o.SetManagedFields(append(o.GetManagedFields(), metav1.ManagedFieldsEntry{Manager: by, Subresource: subresource,
		Operation: metav1.ManagedFieldsOperationType(operation), FieldsType: "FieldsV1", FieldsV1: metav1.NewFieldsV1(fields)}))
}

const (
	imageField   = `{"f:spec":{"f:template":{"f:spec":{"f:containers":{"k:{\"name\":\"api\"}":{"f:image":{}}}}}}}`
	noteField    = `{"f:metadata":{"f:annotations":{"f:example.org/note":{}}}}`
	wholeField   = `{"f:metadata":{"f:annotations":{".":{},"f:example.org/note":{}}},"f:spec":{"f:template":{"f:spec":{"f:containers":{"k:{\"name\":\"api\"}":{".":{},"f:name":{},"f:image":{},"f:ports":{".":{},"k:{\"containerPort\":80,\"protocol\":\"TCP\"}":{".":{},"f:containerPort":{}}}}}}}}}`
	argsField    = `{"f:spec":{"f:template":{"f:spec":{"f:containers":{"k:{\"name\":\"api\"}":{"f:args":{}}}}}}}`
	madeTheMap   = `{"f:metadata":{"f:annotations":{".":{}}}}`
	replicaField = `{"f:spec":{"f:replicas":{}}}`
	marksField   = `{"f:metadata":{"f:annotations":{"f:chaperone.dev/environment":{}},"f:labels":{"f:applyset.kubernetes.io/part-of":{}}}}`
)

func ignore(kind string, fields ...string) promotion.Ignore {
	return promotion.Ignore{Kind: kind, Fields: fields}
}

// A field that a rule names is ours until somebody else has written it, and
// theirs from then on.
func TestWhatIsLeftToOthersIsNotSent(t *testing.T) {
	t.Parallel()
	const image, note = "spec.template.spec.containers[name=api].image", "metadata.annotations[example.org/note]"
	by := func(rule promotion.Ignore, managers ...string) promotion.Ignore {
		rule.Managers = managers
		return rule
	}
	named := func(rule promotion.Ignore, name string) promotion.Ignore { rule.Name = name; return rule }
	for name, test := range map[string]struct {
		rule    promotion.Ignore
		wrote   []string // manager and fields, in turn
		without []string // of what is sent; none: everything is
	}{
		"nobody else wrote it":               {ignore("Deployment", image), nil, nil},
		"somebody did":                       {ignore("Deployment", image), []string{"updater", imageField}, []string{"image: a"}},
		"of a kind with its group":           {promotion.Ignore{Group: "apps", Kind: "Deployment", Fields: []string{image}}, []string{"updater", imageField}, []string{"image: a"}},
		"of any kind":                        {ignore("", image), []string{"updater", imageField}, []string{"image: a"}},
		"another field":                      {ignore("Deployment", image), []string{"updater", replicaField}, nil},
		"another kind":                       {ignore("StatefulSet", image), []string{"updater", imageField}, nil},
		"another group":                      {promotion.Ignore{Group: "example.org", Kind: "Deployment", Fields: []string{image}}, []string{"updater", imageField}, nil},
		"another name":                       {named(ignore("Deployment", image), "worker"), []string{"updater", imageField}, nil},
		"this name":                          {named(ignore("Deployment", image), "api"), []string{"updater", imageField}, []string{"image: a"}},
		"a manager that may":                 {by(ignore("Deployment", image), "updater"), []string{"updater", imageField}, []string{"image: a"}},
		"a manager that may not":             {by(ignore("Deployment", image), "updater"), []string{"kubectl-edit", imageField}, nil},
		"all that a manager writes":          {by(ignore(""), "updater"), []string{"updater", imageField, "other", replicaField}, []string{"image: a"}},
		"a key of a map":                     {ignore("", note), []string{"updater", noteField}, []string{"{example.org/note: x}"}},
		"a map of which they wrote one key":  {ignore("", "metadata.annotations"), []string{"updater", noteField}, []string{"{example.org/note: x}"}},
		"a map that they made":               {ignore("", "metadata.annotations"), []string{"updater", madeTheMap}, nil},
		"an item keeps its key":              {by(ignore(""), "updater"), []string{"updater", wholeField}, []string{"image: a", "{example.org/note: x}"}},
		"a list that has one owner":          {ignore("", "spec.template.spec.containers[name=api].args"), []string{"updater", argsField}, []string{"args: [x, y]"}},
		"the marks of the owner":             {ignore("", "metadata.annotations", "metadata.labels"), []string{"updater", marksField}, nil},
		"everything but the marks":           {by(ignore(""), "updater"), []string{"updater", marksField}, nil},
		"two rules in one":                   {ignore("", image, note), []string{"updater", imageField, "other", noteField}, []string{"image: a", "{example.org/note: x}"}},
		"a rule that is not one":             {ignore(""), []string{"updater", imageField}, nil},
		"a path that cannot be read":         {ignore("", "spec..x", image), []string{"updater", imageField}, nil},
		"managed fields that cannot be read": {ignore("", image), []string{"updater", "{"}, nil},
	} {
		const text = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: api, namespace: shop, annotations: {example.org/note: x}}\n" +
			"spec:\n  replicas: 2\n  template: {spec: {containers: [{name: api, image: a, args: [x, y], ports: [{containerPort: 80}]}]}}"
		sent := prepared(t, text)
		live := applied(prepared(t, text), manager, deploymentFields)
		for i := 0; i+1 < len(test.wrote); i += 2 {
			wroteFields(live, test.wrote[i], "Update", "", test.wrote[i+1])
		}
		want := text
		for _, part := range test.without {
			want = strings.Replace(strings.Replace(want, ", "+part, "", 1), ", annotations: "+part, "", 1)
		}
		before := sent.DeepCopy()
		got := LeaveOf([]promotion.Ignore{test.rule}).Send(sent, live, manager, false)
		if !equal(got.Object, prepared(t, want).Object) {
			t.Errorf("%s: sends %v, want %v", name, got.Object, prepared(t, want).Object)
		}
		if !equal(sent.Object, before.Object) {
			t.Errorf("%s: what was rendered is changed", name)
		}
	}
}

// Of a list that has one owner as a whole, a part cannot be left out. It is sent
// as it is.
func TestAPartOfAWholeIsSentAsItIs(t *testing.T) {
	t.Parallel()
	const text = "apiVersion: example.org/v1\nkind: Route\nmetadata: {name: r, namespace: shop}\nspec: {rules: [{host: a, weight: 1, to: x}, {host: b, weight: 2}]}"
	live := object(t, strings.NewReplacer("weight: 1", "weight: 7", "weight: 2", "weight: 8").Replace(text))
	wroteFields(live, "rollouts", "Update", "", `{"f:spec":{"f:rules":{}}}`)
	rule := LeaveOf([]promotion.Ignore{ignore("Route", "spec.rules[host=a].weight", "spec.rules[host=c].weight", "spec.rules[host=b].to")})
	got := rule.Send(object(t, text), live, manager, false)
	if want := object(t, strings.Replace(text, "weight: 1", "weight: 7", 1)); !equal(got.Object, want.Object) {
		t.Errorf("sends %v, want %v", got.Object, want.Object)
	}
}

// Whatever others have written and wherever: what is sent is never more than
// what is rendered, the marks and the identity stay, and sending it once more
// leaves out the same.
func TestLeavingIsSafe(t *testing.T) {
	t.Parallel()
	fields := []string{imageField, noteField, wholeField, argsField, madeTheMap, replicaField, marksField, deploymentFields}
	paths := []string{"spec", "metadata", "spec.replicas", "metadata.annotations", "metadata.labels", "spec.template.spec.containers[name=api]",
		"spec.template.spec.containers[name=api].args[x]", "spec.template.spec.volumes", "data[a]"}
	rapid.Check(t, func(t *rapid.T) {
		sent, err := Prepare(mustObject(deploymentText), owner, "shop")
		if err != nil {
			t.Fatal(err)
		}
		live := applied(sent, manager, deploymentFields)
		for i, text := range rapid.SliceOfN(rapid.SampledFrom(fields), 0, 4).Draw(t, "written") {
			wroteFields(live, fmt.Sprint("other-", i%2), "Update", rapid.SampledFrom([]string{"", "scale"}).Draw(t, "subresource"), text)
		}
		rule := promotion.Ignore{Fields: rapid.SliceOfN(rapid.SampledFrom(paths), 0, 3).Draw(t, "fields"),
			Managers: rapid.SliceOfN(rapid.SampledFrom([]string{"other-0", "other-1"}), 0, 2).Draw(t, "managers")}
		leave := LeaveOf([]promotion.Ignore{rule})
		got := leave.Send(sent, live, manager, rapid.Bool().Draw(t, "scaled"))
		if !owner.Marked(got) || manifest.IDOf(got) != manifest.IDOf(sent) || got.GetLabels()[LabelPartOf] != owner.SetID {
			t.Fatalf("%v leaves out who it is", got.Object)
		}
		if !within(got.Object, sent.Object) {
			t.Fatalf("%v is not within %v", got.Object, sent.Object)
		}
		if again := leave.Send(got, live, manager, true); !equal(again.Object, leave.Send(again, live, manager, true).Object) {
			t.Fatal("sending it again leaves out more")
		}
		if len(live.GetManagedFields()) == 1 && (!equal(got.Object, sent.Object) || leave.Witness(live, manager) != "") {
			t.Fatal("something is left to nobody")
		}
	})
}

func mustObject(text string) *manifest.Object {
	objects, err := manifest.Decode("test.yaml", []byte(text))
	if err != nil {
		panic(err)
	}
	return objects[0]
}

// within reports whether a holds nothing that b does not.
func within(a, b any) bool {
	switch a := a.(type) {
	case map[string]any:
		other, isMap := b.(map[string]any)
		for key, v := range a {
			if !isMap || other[key] == nil || !within(v, other[key]) {
				return false
			}
		}
		return isMap
	case []any:
		other, isList := b.([]any)
		if !isList || len(a) != len(other) {
			return false
		}
		for i := range a {
			if !within(a[i], other[i]) {
				return false
			}
		}
		return true
	}
	return equal(a, b)
}

// Who may write a field is a part of what is compared: when another has written
// it, an object is looked at anew though nothing of ours has changed.
func TestOwnedDigestTellsWhoElseWrote(t *testing.T) {
	t.Parallel()
	leave := LeaveOf([]promotion.Ignore{ignore("Deployment", "spec.template.spec.containers[name=api].image")})
	digest := func(by, subresource, fields string) string {
		live := applied(prepared(t, deploymentText), manager, deploymentFields)
		if by != "" {
			wroteFields(live, by, "Update", subresource, fields)
		}
		return leave.OwnedDigest(live, manager)
	}
	alone := digest("", "", "")
	if digest("somebody", "", noteField) != alone || digest("somebody", "", replicaField) != alone || digest("kubectl", "scale", replicaField) != alone {
		t.Error("it tells of what is left to nobody")
	}
	image, other, scaled := digest("a", "", imageField), digest("b", "", imageField), digest("kube-controller-manager", "scale", replicaField)
	if image == alone || image == other || scaled == alone || scaled == image {
		t.Error("it does not tell who wrote what is left to others")
	}
	if sent := prepared(t, deploymentText); SentDigest(sent, true) == SentDigest(sent, false) {
		t.Error("whether an autoscaler of the release scales it makes no difference")
	}
}
