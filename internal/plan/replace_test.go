package plan

import (
	"errors"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"chaperone.dev/chaperone/internal/manifest"
)

const claimText = "apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: data, namespace: shop, annotations: {%s}}\nspec: {storageClassName: %s}"

func TestReplacementSaysWhatItLoses(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ name, live, want string }{
		{"a Service", "apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {clusterIP: 10.0.0.7, ports: [{nodePort: 30080}, {nodePort: 30081}]}\n" +
			"status: {loadBalancer: {ingress: [{ip: 192.0.2.1}]}}", "its cluster IP 10.0.0.7; its node ports 30080, 30081; its load balancer's address 192.0.2.1"},
		{"a headless Service", "apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {clusterIP: None}", "nothing but a moment in which it is not there"},
		{"a Deployment", "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}", "all its pods at once"},
		{"a StatefulSet", "apiVersion: apps/v1\nkind: StatefulSet\nmetadata: {name: a}", "all its pods at once; its volume claims stay"},
		{"a StatefulSet that takes its claims along", "apiVersion: apps/v1\nkind: StatefulSet\nmetadata: {name: a}\nspec: {persistentVolumeClaimRetentionPolicy: {whenDeleted: Delete}}",
			"all its pods at once, and their volume claims with the data"},
		{"a StatefulSet whose pods stay", "apiVersion: apps/v1\nkind: StatefulSet\nmetadata: {name: a, annotations: {chaperone.dev/replace: orphan}}",
			"nothing that runs: its pods stay, and the new one takes them over"},
		{"a Job", "apiVersion: batch/v1\nkind: Job\nmetadata: {name: a}", "its run, with the result and the logs"},
		{"a claim", "apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: a}", "its data, unless the volume's reclaim policy keeps it"},
		{"a ConfigMap", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}", "nothing but a moment in which it is not there"},
		{"a binding", "apiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\nmetadata: {name: a}", "the rights that it gives, for a moment"},
		{"a custom resource", "apiVersion: example.org/v1\nkind: Menu\nmetadata: {name: a}", "its status, and what was made for it and goes with it"},
	} {
		live := object(t, test.live)
		o := live.DeepCopy()
		unstructured.RemoveNestedField(o.Object, "spec", "clusterIP")
		if got := Losses(o, live); got != test.want {
			t.Errorf("%s: loses %q, want %q", test.name, got, test.want)
		}
	}
}

func TestReplacementNeedsAWord(t *testing.T) {
	t.Parallel()
	set := func(annotations, more string) string {
		return "apiVersion: apps/v1\nkind: StatefulSet\nmetadata: {name: db, namespace: shop, annotations: {" + annotations + "}}\nspec: {selector: {matchLabels: {app: db}}" + more + "}"
	}
	live := object(t, set("", ", template: {metadata: {labels: {app: db}}}, volumeClaimTemplates: [{spec: {storageClassName: slow}}], replicas: 3"))
	for _, test := range []struct {
		name, object string
		live         *manifest.Object
		want         string // "" is replaced
	}{
		{"nothing said", set("", ", volumeClaimTemplates: [{spec: {storageClassName: fast}}], replicas: 1"), live,
			"spec.volumeClaimTemplates cannot be changed in place, and a replacement would lose all its pods at once; its volume claims stay; " +
				"give the object another name, or allow the replacement with chaperone.dev/replace: allow, or with chaperone.dev/replace: orphan, which keeps its pods"},
		{"allowed", set("chaperone.dev/replace: allow", ""), live, ""},
		{"orphaned", set("chaperone.dev/replace: orphan", ""), live, ""},
		{"orphaned, and the pods would be strangers", strings.Replace(set("chaperone.dev/replace: orphan", ""), "app: db", "app: other", 1), live,
			"orphan keeps the pods, and the new selector does not match them"},
		{"a word that is none", set("chaperone.dev/replace: 'yes'", ""), live, `"yes" is not understood`},
		{"never pruned", set("'chaperone.dev/replace': allow, chaperone.dev/prune: never", ""), live, "it says chaperone.dev/prune: never"},
		{"orphan of another kind", named("ConfigMap", "a", "chaperone.dev/replace: orphan"), nil, "orphan is for StatefulSets"},
		{"a claim", strings.NewReplacer("%s}}", "chaperone.dev/replace: allow}}", "%s", "fast").Replace(claimText), nil,
			"allow the replacement with both chaperone.dev/replace: allow and chaperone.dev/prune: allow"},
		{"a claim with both", strings.NewReplacer("%s}}", "chaperone.dev/replace: allow, chaperone.dev/prune: allow}}", "%s", "fast").Replace(claimText), nil, ""},
		{"a definition", strings.Replace(crdText, "{name: menus.example.org}", "{name: menus.example.org, annotations: {chaperone.dev/replace: allow, chaperone.dev/prune: allow}}", 1), nil,
			"a CustomResourceDefinition is never replaced"},
	} {
		o := object(t, test.object)
		replaceable := Replaceable(o, test.live)
		if replaceable != (test.want == "") {
			t.Errorf("%s: replaceable %v", test.name, replaceable)
		}
		answer := errors.New("the server's answer")
		if err := NotInPlace(o, test.live, []string{"spec"}, answer); test.want != "" && !strings.Contains(err.Error(), test.want) || !errors.Is(err, answer) {
			t.Errorf("%s: error %q, want %q", test.name, err, test.want)
		}
	}
}

func TestReplacePlan(t *testing.T) {
	t.Parallel()
	live, entry := ownedLive(t, "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: api, namespace: shop}", "1")
	for _, word := range []string{"", "allow"} {
		o := prepared(t, "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: api, annotations: {chaperone.dev/replace: '"+word+"'}}")
		seen := Seen{Live: live, Send: o, Rejected: errors.New("is invalid: field is immutable"), Immutable: true, Fields: []string{"spec.selector"}}
		p, err := build(t, Input{Desired: renderedSet(t, o), Owned: []Owned{entry}, Seen: map[manifest.ID]Seen{entry.ID: seen}})
		var rejected *Rejected
		switch {
		case word == "allow" && (err != nil || p.Changes[0].Action != Replace || p.Changes[0].String() != "replace Deployment.apps/shop/api (Immutable)\n  loses all its pods at once\n  for spec.selector"):
			t.Errorf("allowed: %v, %v; want it replaced", p.Changes, err)
		case word == "" && (!errors.As(err, &rejected) || !strings.Contains(err.Error(), "spec.selector cannot be changed in place, and a replacement would lose all its pods at once")):
			t.Errorf("not allowed: %v, want it rejected", err)
		case word == "" && (p.Changes[0].Action != Replace || p.Changes[0].Loses != "all its pods at once" || p.Changes[0].Refused == ""):
			t.Errorf("not allowed: %v; want the plan to say that it would be replaced, and what it loses", p.Changes)
		}
	}
}
