package strategy

import (
	"slices"
	"strings"
	"testing"
	"time"

	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/promotion"
)

func TestBlueGreen(t *testing.T) {
	t.Parallel()
	p := steps(t, release(
		set(t, workload("api", "v1", 3, stable), behind("api", "app: api, "+stable)),
		set(t, workload("api", "v2", 3, stable), behind("api", "app: api, "+stable)), blueGreen("api")))
	checkShown(t, p,
		"api>app=api,track=stable | api-next>app=api,track=next | api=v1*3 | api-next=v2*3",
		"api>app=api,track=next | api-next>app=api,track=next | api=v1*3 | api-next=v2*3",
		"api>app=api,track=next | api-next>app=api,track=next | api=v2*3 | api-next=v2*3",
		"api>app=api,track=stable | api=v2*3")
	for i, want := range []struct {
		kind Kind
		ask  string
		time time.Duration
		text string
	}{
		{KindPreview, "api-next", time.Minute, "Deployment/api-next runs beside Deployment/api with 3 pods, and is asked through Service/api-next"},
		{KindSwitch, "api", 10 * time.Minute, "Service/api sends all requests to Deployment/api-next, and Deployment/api stays as it was for a way back"},
		{KindPromote, "api", 0, "Deployment/api itself becomes the new version, while Deployment/api-next has requests"},
	} {
		step := p.Steps[i]
		if got := step.Moves[0]; got.Kind != want.kind || step.Ask("api") != want.ask || step.For != want.time || step.Text != want.text || step.Last {
			t.Errorf("step %d: %+v, asks %s for %v: %s", i+1, got, step.Ask("api"), step.For, step.Text)
		}
		if !slices.Equal(step.Checks, []string{"readiness"}) {
			t.Errorf("step %d: checks %v", i+1, step.Checks)
		}
	}
	if last := p.Steps[3]; !last.Last || last.Checks != nil || last.Moves != nil || last.Ask("api") != "api" {
		t.Errorf("the last step is %+v", last)
	}
}

const route = "{rules: [{backendRefs: [{name: web, port: 80}]}, {matches: [{path: {value: /old}}], backendRefs: [{name: web, port: 80, weight: 3}, {name: old, port: 80}]}, " +
	"{backendRefs: [{name: old, port: 80, weight: 7}]}]}"

func TestCanaryByRoute(t *testing.T) {
	t.Parallel()
	common := []string{behind("web", "app: web, "+stable), object("HTTPRoute", "front", route), workload("old", "o", 1), behind("old", "app: old")}
	p := steps(t, release(
		set(t, append(common, workload("web", "v1", 10, stable))...),
		set(t, append(common, workload("web", "v2", 10, stable))...), canary("web", "front", 10, 45)))
	services := "old>app=old | web>app=web,track=stable | web-canary>app=web,track=canary | "
	checkShown(t, p,
		services+"front>web:1 | front>web:3 old:1 | front>old:7 | old=o*1 | web=v1*10 | web-canary=v2*1",
		services+"front>web:90 web-canary:10 | front>web:270 web-canary:30 old:100 | front>old:7 | old=o*1 | web=v1*10 | web-canary=v2*5",
		services+"front>web:55 web-canary:45 | front>web:165 web-canary:135 old:100 | front>old:7 | old=o*1 | web=v1*10 | web-canary=v2*5",
		services+"front>web:55 web-canary:45 | front>web:165 web-canary:135 old:100 | front>old:7 | old=o*1 | web=v2*10 | web-canary=v2*5",
		"old>app=old | web>app=web,track=stable | front>web:1 | front>web:3 old:1 | front>old:7 | old=o*1 | web=v2*10")
	if p.Steps[2].Ask("web") != "web-canary" || p.Steps[2].Text != "HTTPRoute/front sends 45 % of the requests for Service/web to Deployment/web-canary" {
		t.Errorf("asks %s: %s", p.Steps[2].Ask("web"), p.Steps[2].Text)
	}
}

func TestCanaryByPods(t *testing.T) {
	t.Parallel()
	p := steps(t, release(
		set(t, workload("web", "v1", 9), behind("web", "app: web")),
		set(t, workload("web", "v2", 9), behind("web", "app: web")), canary("web", "", 10, 25, 80)))
	services := "web>app=web | web-canary>app=web,track=canary | "
	checkShown(t, p, services+"web=v1*9 | web-canary=v2*1", services+"web=v1*9 | web-canary=v2*3", services+"web=v1*9 | web-canary=v2*9", "web>app=web | web=v2*9")
	if want := "Deployment/web: 80 % of the requests comes to 9 of 18 pods, about 50 %; an HTTPRoute divides them exactly"; !slices.Equal(p.Notes, []string{want}) {
		t.Errorf("notes %q", p.Notes)
	}
	if p.Steps[0].Text != "Deployment/web-canary is 1 of the 10 pods behind Service/web" {
		t.Error(p.Steps[0].Text)
	}
	// A Service that tells the pods apart has to have both for a while.
	p = steps(t, release(
		set(t, workload("web", "v1", 1, stable), behind("web", "app: web, "+stable)),
		set(t, workload("web", "v2", 1, stable), behind("web", "app: web, "+stable)), canary("web", "", 50)))
	checkShown(t, p, services+"web=v1*1 | web-canary=v2*1", "web>app=web,track=stable | web=v2*1")
}

// A Service that is given a label which running pods do not have would have no
// pods until they are replaced.
func TestServiceNarrowsOnlyWhenAllPodsHaveTheLabel(t *testing.T) {
	t.Parallel()
	p := steps(t, release(
		set(t, workload("api", "v1", 3), behind("api", "app: api")),
		set(t, workload("api", "v2", 3, stable), behind("api", "app: api, "+stable)), blueGreen("api")))
	checkShown(t, p, "api>app=api | api=v2*3", "api>app=api,track=stable | api=v2*3")
	if len(p.Notes) != 1 || !strings.Contains(p.Notes[0], "is rolled this time") {
		t.Errorf("notes %q", p.Notes)
	}
}

func TestVersionsInSelectors(t *testing.T) {
	t.Parallel()
	p := steps(t, release(
		set(t, workload("api", "v1", 2, "version: one"), behind("api", "app: api, version: one")),
		set(t, workload("api", "v2", 2, "version: two", stable), behind("api", "app: api, version: two, "+stable)), blueGreen("api")))
	checkShown(t, p,
		"api>app=api,version=one | api-next>app=api,track=next,version=two | api=v1*2 | api-next=v2*2",
		"api>app=api,track=next,version=two | api-next>app=api,track=next,version=two | api=v1*2 | api-next=v2*2",
		"api>app=api,track=next,version=two | api-next>app=api,track=next,version=two | api=v2*2 | api-next=v2*2",
		"api>app=api,track=stable,version=two | api=v2*2")
}

func TestRenamedService(t *testing.T) {
	t.Parallel()
	s := blueGreen("api")
	s.Service = "front"
	p := steps(t, release(
		set(t, workload("api", "v1", 2, stable), behind("api", "app: api, "+stable)),
		set(t, workload("api", "v2", 2, stable), behind("front", "app: api, "+stable)), s))
	checkShown(t, p,
		"api>app=api,track=stable | front>app=api,track=stable | front-next>app=api,track=next | api=v1*2 | api-next=v2*2",
		"api>app=api,track=stable | front>app=api,track=next | front-next>app=api,track=next | api=v1*2 | api-next=v2*2",
		"api>app=api,track=stable | front>app=api,track=next | front-next>app=api,track=next | api=v2*2 | api-next=v2*2",
		"front>app=api,track=stable | api=v2*2")
}

// One release of two workloads goes on at the pace of the longer, and takes the
// old versions away at the same time.
func TestWorkloadsGoOnTogether(t *testing.T) {
	t.Parallel()
	sets := func(version string) manifest.Set {
		return set(t, workload("api", version, 1, stable), behind("api", "app: api, "+stable), workload("web", version, 2), behind("web", "app: web"), workload("job", version, 1))
	}
	p := steps(t, release(sets("v1"), sets("v2"), blueGreen("api"), canary("web", "", 10, 20, 30)))
	var got []string
	for _, step := range p.Steps {
		text := ""
		for _, move := range step.Moves {
			text += string(move.Kind) + " "
		}
		got = append(got, strings.TrimSpace(text))
		if o := find(step.Set, deployment, namespace, "job"); textAt(listAt(o.Object, "spec", "template", "spec", "containers")[0], "image") != "v2" {
			t.Error("a workload without a strategy waits")
		}
	}
	if want := []string{"preview weigh", "switch weigh", "switch weigh", "promote weigh", ""}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if p.Steps[2].For != 5*time.Minute || p.Steps[3].For != 0 || p.Steps[2].Checks != nil {
		t.Errorf("watched %v, %v, checks %v", p.Steps[2].For, p.Steps[3].For, p.Steps[2].Checks)
	}
}

func TestOneStep(t *testing.T) {
	t.Parallel()
	api := func(version string, replicas int) manifest.Set {
		return set(t, workload("api", version, replicas, stable), behind("api", "app: api, "+stable))
	}
	both := []promotion.Strategy{blueGreen("api")}
	for name, r := range map[string]Release{
		"first release":  release(manifest.Set{}, api("v1", 3), both...),
		"new workload":   release(set(t, configMap("c", "1")), api("v1", 3), both...),
		"unchanged":      release(api("v1", 3), api("v1", 3), both...),
		"only replicas":  release(api("v1", 3), api("v1", 5), both...),
		"removed":        release(api("v1", 3), set(t, configMap("c", "1")), both...),
		"turned off":     release(api("v1", 3), api("v2", 0), both...),
		"turned on":      release(api("v1", 0), api("v2", 3), both...),
		"no strategy":    release(api("v1", 3), api("v2", 3)),
		"empty, somehow": release(manifest.Set{}, manifest.Set{}),
	} {
		p := steps(t, r)
		if len(p.Steps) != 1 || !p.Steps[0].Last || digest(t, p.Steps[0].Set) != digest(t, r.After) || p.Steps[0].Text == "" {
			t.Errorf("%s: %+v", name, p.Steps)
		}
	}
}

func digest(t tester, s manifest.Set) manifest.Digest {
	t.Helper()
	d, err := s.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return d
}
