package cluster

import (
	"fmt"
	"strings"
	"testing"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"pgregory.net/rapid"

	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/plan"
)

func aRight(verb, group, resource string) right {
	return right{verb: verb, resource: schema.GroupResource{Group: group, Resource: resource}, namespace: "shop"}
}

func named(names ...string) []manifest.ID {
	var ids []manifest.ID
	for _, name := range names {
		ids = append(ids, manifest.ID{Kind: "ConfigMap", Namespace: "shop", Name: name})
	}
	return ids
}

func TestRuleThatGrantsADemand(t *testing.T) {
	t.Parallel()
	patch := demand{aRight("patch", "apps", "deployments"), named("a", "b")}
	for name, test := range map[string]struct {
		verbs, groups, resources, names string
		want                            bool
	}{
		"exactly":          {"get patch", "apps", "deployments", "", true},
		"everything":       {"*", "*", "*", "", true},
		"another verb":     {"get", "apps", "deployments", "", false},
		"another group":    {"patch", "extensions", "deployments", "", false},
		"another resource": {"patch", "apps", "deployments/status", "", false},
		"all names":        {"patch", "apps", "deployments", "b a c", true},
		"some names":       {"patch", "apps", "deployments", "a", false},
	} {
		rule := authorizationv1.ResourceRule{Verbs: strings.Fields(test.verbs), APIGroups: strings.Fields(test.groups),
			Resources: strings.Fields(test.resources), ResourceNames: strings.Fields(test.names)}
		if got := patch.grantedBy(rule); got != test.want {
			t.Errorf("%s: granted: %v, want %v", name, got, test.want)
		}
	}
}

// One sentence for each kind and place, however many verbs and objects.
func TestSentenceSaysWhatToAdd(t *testing.T) {
	t.Parallel()
	cluster := aRight("get", "rbac.authorization.k8s.io", "clusterroles")
	cluster.namespace = ""
	for _, test := range []struct {
		denied []demand
		want   string
	}{
		{[]demand{{aRight("get", "", "configmaps"), named("a")}, {aRight("patch", "", "configmaps"), named("a", "b", "c")}},
			`me may not get, patch configmaps in namespace shop (and 2 more of the kind); add to a Role there: {apiGroups: [""], resources: [configmaps], verbs: [get, patch]}`},
		{[]demand{{cluster, named("x")}},
			`me may not get clusterroles.rbac.authorization.k8s.io of the cluster; add to a ClusterRole: {apiGroups: [rbac.authorization.k8s.io], resources: [clusterroles], resourceNames: [x], verbs: [get]}`},
		{[]demand{{cluster, named("1", "2", "3", "4", "5", "6")}},
			`me may not get clusterroles.rbac.authorization.k8s.io of the cluster (and 5 more of the kind); add to a ClusterRole: {apiGroups: [rbac.authorization.k8s.io], resources: [clusterroles], verbs: [get]}`},
	} {
		if got := sentence("me", test.denied); got.Text != test.want || got.ID != test.denied[0].ids[0] {
			t.Errorf("%s:\n%s\nwant\n%s", got.ID, got.Text, test.want)
		}
	}
}

// What a dry run has shown is not asked for; a deletion always is.
func TestRightsThatAPlanHasToAskFor(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		change := plan.Change{Staged: rapid.Bool().Draw(t, "staged"),
			Action: rapid.SampledFrom([]plan.Action{plan.Create, plan.Update, plan.Unchanged, plan.Replace, plan.Delete, plan.Keep, plan.Forget}).Draw(t, "action")}
		forbidden := rapid.Bool().Draw(t, "forbidden")
		verbs := strings.Join(verbsFor(change, forbidden), " ")
		writes := change.Action == plan.Create || change.Action == plan.Update || change.Action == plan.Replace
		shown := !forbidden && !change.Staged && change.Action != plan.Replace
		switch {
		case !writes && verbs != "":
			t.Fatalf("%s asks for %q", change.Action, verbs)
		case writes && strings.Contains(verbs, "patch") == shown:
			t.Fatalf("%s, staged %v, forbidden %v: asks for %q", change.Action, change.Staged, forbidden, verbs)
		case strings.Contains(verbs, "delete") != (change.Action == plan.Replace):
			t.Fatalf("%s asks for %q", change.Action, verbs)
		}
	})
}

func TestGrantsAreBoundedInNumberAndTime(t *testing.T) {
	t.Parallel()
	g := newGrants()
	for i := range maxGrants + 10 {
		g.add(aRight("get", "", fmt.Sprint(i)))
	}
	if len(g.known) > maxGrants {
		t.Errorf("%d are remembered, want at most %d", len(g.known), maxGrants)
	}
	last := aRight("get", "", fmt.Sprint(maxGrants+9))
	if !g.has(last) {
		t.Error("the last one is forgotten")
	}
	g.known[last] = time.Now().Add(-grantedFor)
	if g.has(last) {
		t.Error("it is remembered for ever")
	}
	g.add(last)
	g.forget()
	if g.has(last) {
		t.Error("it is remembered after the server said no")
	}
}
