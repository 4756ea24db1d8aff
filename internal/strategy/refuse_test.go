package strategy

import (
	"strings"
	"testing"

	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/promotion"
)

// What cannot be done as it is asked for is refused, with what would be right,
// rather than done otherwise.
func TestRefusals(t *testing.T) {
	t.Parallel()
	svc := behind("api", "app: api, "+stable)
	v := func(version string, more ...string) manifest.Set {
		return set(t, append([]string{workload("api", version, 2, stable), svc}, more...)...)
	}
	edited := func(from, to string) (before, after manifest.Set) {
		return v("v1"), set(t, strings.Replace(workload("api", "v2", 2, stable), from, to, 1), svc)
	}
	relabelled, reselected := edited("matchLabels: {app: api}", "matchLabels: {app: api, "+stable+"}")
	_, recreated := edited("replicas: 2", "replicas: 2\n  strategy: {type: Recreate}")
	_, canaried := edited(stable, LabelTrack+": canary")
	_, single := edited("containers:", "volumes: [{name: d, persistentVolumeClaim: {claimName: disk}}], containers:")
	single = set(t, text(t, single), object("PersistentVolumeClaim", "disk", "{accessModes: [ReadWriteOncePod]}"))
	broken := strings.Replace(workload("api", "v1", 2, stable), "matchLabels: {app: api}", "matchLabels: {app: api}, matchExpressions: [{key: "+LabelTrack+", operator: In, values: [stable]}]", 1)
	byRoute, byPods := []promotion.Strategy{canary("api", "front", 10)}, []promotion.Strategy{canary("api", "", 10)}
	moved := set(t, workload("api", "v2", 2), strings.Replace(behind("api", "app: api"), "8080", "9090", 1))
	backends := "{rules: [{backendRefs: [{name: api}" + strings.Repeat(", {name: x}", 15) + "]}]}"
	for name, test := range map[string]struct {
		before, after manifest.Set
		strategies    []promotion.Strategy
		want          string
	}{
		"not rendered":         {v("v1"), v("v2"), []promotion.Strategy{blueGreen("apu")}, "Deployment/apu: has a strategy and is not in the release; did you mean Deployment/api?"},
		"Flagger's":            {v("v1"), v("v2", object("Canary", "x", "{targetRef: {kind: Deployment, name: api}}")), nil, "it is released by Flagger's Canary/x"},
		"Argo's":               {v("v1", object("Rollout", "x", "{workloadRef: {kind: Deployment, name: api}}")), v("v2"), nil, "it is released by Argo's Rollout/x"},
		"no Service":           {v("v1"), set(t, workload("api", "v2", 2, stable)), nil, "names Service/api, which is not in the release"},
		"Service of no pods":   {v("v1"), set(t, workload("api", "v2", 2), "apiVersion: v1\nkind: Service\nmetadata: {name: api}\nspec: {ports: [{port: 80}]}"), nil, "which selects no pods"},
		"Service of others":    {v("v1"), set(t, workload("api", "v2", 2), behind("api", "app: other")), nil, "which does not select its pods"},
		"also at first":        {manifest.Set{}, set(t, workload("api", "v2", 2)), nil, "names Service/api, which is not in the release"},
		"selector changes":     {relabelled, reselected, nil, "its selector changes"},
		"Recreate":             {v("v1"), recreated, nil, "its own strategy is Recreate"},
		"a copy's label":       {v("v1"), canaried, []promotion.Strategy{canary("api", "", 10)}, "which does not select its pods"},
		"volume for one pod":   {v("v1"), single, nil, "PersistentVolumeClaim/disk, which one pod alone may use"},
		"selector says no":     {set(t, broken, svc), set(t, strings.Replace(broken, `"v1"`, `"v2"`, 1), svc), nil, "does not allow the label chaperone.dev/track: next"},
		"name taken":           {v("v1"), v("v2", workload("api-next", "x", 1)), nil, "the release has a Deployment/api-next of its own"},
		"cannot tell apart":    {set(t, workload("api", "v1", 2), behind("api", "app: api")), set(t, workload("api", "v2", 2), behind("api", "app: api")), nil, "add the label chaperone.dev/track: stable to the pods of Deployment/api and to the selector of Service/api"},
		"another Service":      {v("v1"), v("v2", behind("all", "app: api")), nil, "Service/all would send requests to its copy at once"},
		"Service of two":       {v("v1"), v("v2", workload("b", "x", 1, "part: shop"), behind("all", stable), workload("c", "x", 1, stable)), nil, "sends requests to Deployment/c as well"},
		"no route":             {v("v1"), v("v2"), byRoute, "HTTPRoute/front, which is not in the release"},
		"route elsewhere":      {v("v1"), v("v2", object("HTTPRoute", "front", "{rules: [{backendRefs: [{name: b}, {name: api, namespace: other}, {name: api, kind: X}]}]}")), byRoute, "does not send requests to Service/api"},
		"route that is full":   {v("v1"), v("v2", object("HTTPRoute", "front", backends)), byRoute, "want at most 15"},
		"route that is heavy":  {v("v1"), v("v2", object("HTTPRoute", "front", "{rules: [{backendRefs: [{name: api, weight: 10001}]}]}")), byRoute, "want at most 10000"},
		"port of pods moves":   {set(t, workload("api", "v1", 2), behind("api", "app: api")), moved, byPods, "port 80 of Service/api goes to another port"},
		"nothing in common":    {set(t, workload("api", "v1", 2, "v: one"), behind("api", "v: one")), set(t, workload("api", "v2", 2, "v: two"), behind("api", "v: two")), byPods, "want one label that both have"},
		"two with one Service": {set(t, workload("api", "v1", 2, "p: s"), workload("b", "v1", 2, "p: s"), behind("api", "p: s")), set(t, workload("api", "v2", 2, "p: s"), workload("b", "v2", 2, "p: s"), behind("api", "p: s")), []promotion.Strategy{canary("api", "", 10), canary("b", "", 10)}, "want a Service for each"},
	} {
		if test.strategies == nil {
			test.strategies = []promotion.Strategy{blueGreen("api")}
		}
		p, err := Steps(release(test.before, test.after, test.strategies...))
		if err == nil || !strings.Contains(err.Error(), test.want) || !strings.HasPrefix(err.Error(), "Deployment/") {
			t.Errorf("%s: %d steps, %v; want %q", name, len(p.Steps), err, test.want)
		}
	}
}

// text is a set as it was written.
func text(t testing.TB, s manifest.Set) string {
	t.Helper()
	b, err := s.Canonical()
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(strings.Split(strings.TrimSpace(string(b)), "\n"), "\n---\n")
}
