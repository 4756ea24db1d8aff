package strategy_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"chaperone.dev/chaperone/internal/cluster"
	"chaperone.dev/chaperone/internal/fault"
	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/strategy"
	"chaperone.dev/chaperone/internal/testkit/localcluster"
)

// site is one environment on a real API server, with somebody who asks its
// Service all the time.
type site struct {
	*testing.T
	local  *localcluster.Cluster
	c      *cluster.Cluster
	owner  cluster.Owner
	client *http.Client

	mu     sync.Mutex
	asked  int
	failed []string
}

func newSite(t *testing.T, local *localcluster.Cluster) *site {
	t.Helper()
	c, err := cluster.Connect(local.Config(), cluster.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	proxy, err := url.Parse(local.Proxy)
	if err != nil {
		t.Fatal(err)
	}
	s := &site{T: t, local: local, c: c, client: &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{Proxy: http.ProxyURL(proxy)}}}
	t.Cleanup(s.client.CloseIdleConnections)
	s.owner = cluster.Owner{Environment: promotion.ID{Pipeline: "shop", Name: "testing"}, Namespace: local.Namespace(t), Prune: true}
	return s
}

const system = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: api}
spec:
  replicas: 3
  selector: {matchLabels: {app: api}}
  template:
    metadata: {labels: {app: api, chaperone.dev/track: stable}}
    spec: {containers: [{name: main, image: "example.org/api:VERSION", ports: [{containerPort: 8080}]}]}
---
apiVersion: v1
kind: Service
metadata: {name: api}
spec: {selector: {app: api, chaperone.dev/track: stable}, ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: api}
spec: {minAvailable: 2, selector: {matchLabels: {app: api}}}
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: api}
spec: {scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: api}, minReplicas: 3, maxReplicas: 6}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: api}
spec: {parentRefs: [{name: public}], hostnames: [HOST], rules: [{backendRefs: [{name: api, port: 80}]}]}
`

// host is the name by which people know the api.
func (s *site) host() string { return s.owner.Namespace + ".example.org" }

func (s *site) set(version string) manifest.Set {
	s.Helper()
	objects, err := manifest.Decode("test.yaml", []byte(strings.NewReplacer("VERSION", version, "HOST", s.host()).Replace(system)))
	if err != nil {
		s.Fatal(err)
	}
	for _, o := range objects {
		o.SetNamespace(s.owner.Namespace)
	}
	set, err := manifest.NewSet(objects)
	if err != nil {
		s.Fatal(err)
	}
	return set
}

// apply brings a set, and waits until its Deployments have only pods of it.
func (s *site) apply(set manifest.Set) {
	s.Helper()
	for tries := 1; ; tries++ {
		p, err := s.c.Plan(s.Context(), s.owner, set)
		if err == nil {
			_, err = s.c.Apply(s.Context(), s.owner, p, nil)
		}
		if err == nil {
			break
		}
		if fault.IsTerminal(err) || tries == 5 {
			s.Fatalf("apply: %v", err)
		}
	}
	s.wait("ready", func(ctx context.Context) string {
		all, err := s.local.Client().AppsV1().Deployments(s.owner.Namespace).List(ctx, metav1.ListOptions{})
		if err != nil {
			return err.Error()
		}
		for _, d := range all.Items {
			n := *d.Spec.Replicas
			if d.Status.ObservedGeneration != d.Generation || d.Status.Replicas != n || d.Status.UpdatedReplicas != n || d.Status.AvailableReplicas != n {
				return fmt.Sprintf("%s: %+v", d.Name, d.Status)
			}
		}
		return ""
	})
}

func (s *site) prune(set manifest.Set) {
	s.Helper()
	if _, err := s.c.Prune(s.Context(), s.owner, set); err != nil {
		s.Fatalf("prune: %v", err)
	}
}

// wait asks until there is nothing to complain of.
func (s *site) wait(what string, complaint func(context.Context) string) {
	s.Helper()
	ctx, cancel := context.WithTimeout(s.Context(), 90*time.Second)
	defer cancel()
	for {
		text := complaint(ctx)
		if text == "" {
			return
		}
		select {
		case <-ctx.Done():
			s.Fatalf("not %s: %s", what, text)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// version asks a Service, or a host, for the tag of the image that answers.
func (s *site) version(ctx context.Context, service string) (string, error) {
	host := service
	if !strings.Contains(service, ".") {
		host += "." + s.owner.Namespace + ".svc"
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+host+"/", nil)
	if err != nil {
		return "", err
	}
	response, err := s.client.Do(request)
	if err != nil {
		return "", err
	}
	defer func() { _ = response.Body.Close() }()
	var body struct{ Image string }
	if err := json.NewDecoder(response.Body).Decode(&body); response.StatusCode != http.StatusOK || err != nil {
		return "", fmt.Errorf("status %d, %w", response.StatusCode, err)
	}
	_, tag, _ := strings.Cut(body.Image, ":")
	return tag, nil
}

// crowd asks a Service, or a host, for as long as the test goes on; nobody may be
// sent away.
func (s *site) crowd(service string) (end func()) {
	ctx, stop := context.WithCancel(s.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			_, err := s.version(ctx, service)
			s.mu.Lock()
			s.asked++
			if err != nil && ctx.Err() == nil {
				s.failed = append(s.failed, err.Error())
			}
			s.mu.Unlock()
			select {
			case <-ctx.Done():
			case <-time.After(10 * time.Millisecond):
			}
		}
	}()
	return func() {
		stop()
		<-done
		if len(s.failed) > 0 {
			s.Errorf("%d of %d requests failed, first %s", len(s.failed), s.asked, s.failed[0])
		}
		s.Logf("%d requests, %d failed", s.asked, len(s.failed))
	}
}

// answers waits until a Service is answered by these versions and no others.
func (s *site) answers(service string, want ...string) {
	s.Helper()
	s.wait("answered by "+strings.Join(want, " and "), func(ctx context.Context) string {
		var seen []string
		for range 40 {
			tag, err := s.version(ctx, service)
			if err != nil {
				return service + ": " + err.Error()
			}
			if !slices.Contains(seen, tag) {
				seen = append(seen, tag)
			}
		}
		slices.Sort(seen)
		if !slices.Equal(seen, want) {
			return fmt.Sprintf("%s is answered by %v", service, seen)
		}
		return ""
	})
}

// Whoever asks a Service while a release goes on is answered, by the version that
// the step is to have; after an abort at any step that is last good again.
func TestEveryStepServes(t *testing.T) {
	t.Parallel()
	local := localcluster.Start(t)
	blueGreen := promotion.Strategy{Deployment: "api", Service: "api", BlueGreen: &promotion.BlueGreen{}}
	canary := promotion.Strategy{Deployment: "api", Service: "api", Canary: &promotion.Canary{Steps: []promotion.CanaryStep{{Weight: 20}, {Weight: 50}}}}
	for name, test := range map[string]struct {
		strategy promotion.Strategy
		aside    string     // the copy's Service
		want     [][]string // who answers at each step
	}{
		"blue-green": {blueGreen, "api-next", [][]string{{"v1"}, {"v2"}, {"v2"}, {"v2"}}},
		"canary":     {canary, "api-canary", [][]string{{"v1", "v2"}, {"v1", "v2"}, {"v2"}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, local)
			before, after := s.set("v1"), s.set("v2")
			s.apply(before)
			s.answers("api", "v1")
			defer s.crowd("api")()
			plan, err := strategy.Steps(strategy.Release{Before: before, After: after, Namespace: s.owner.Namespace,
				Strategies: []promotion.Strategy{test.strategy}, Replicas: map[string]int{"api": 3}})
			if err != nil {
				t.Fatal(err)
			}
			for abort := range plan.Steps[1:] { // each time one step further
				for i, step := range plan.Steps[:abort+1] {
					s.apply(step.Set)
					s.answers("api", test.want[i]...)
					s.answers(test.aside, "v2")
				}
				s.apply(before)
				s.prune(before)
				s.answers("api", "v1")
			}
			for i, step := range plan.Steps {
				s.apply(step.Set)
				if step.Last {
					s.prune(step.Set)
				}
				s.answers("api", test.want[i]...)
			}
			all, err := local.Client().AppsV1().Deployments(s.owner.Namespace).List(t.Context(), metav1.ListOptions{})
			if err != nil || len(all.Items) != 1 {
				t.Errorf("%d Deployments are left, %v", len(all.Items), err)
			}
		})
	}
}

// share waits until of a hundred requests to a host as many go to a version as the
// step says, and no others.
func (s *site) share(host, version string, want int) {
	s.Helper()
	s.wait(fmt.Sprintf("answered by %s in %d of 100", version, want), func(ctx context.Context) string {
		got := 0
		for range 100 {
			tag, err := s.version(ctx, host)
			if err != nil {
				return host + ": " + err.Error()
			}
			if tag == version {
				got++
			}
		}
		if got < want-1 || got > want+1 { // others ask meanwhile, and have their turns
			return fmt.Sprintf("%s answers %d of 100", version, got)
		}
		return ""
	})
}

// A route gives a canary exactly its share, step after step, whatever the number
// of pods; who comes by the route is always answered, as is who comes by the
// Service.
func TestRouteGivesExactShares(t *testing.T) {
	t.Parallel()
	s := newSite(t, localcluster.Start(t))
	before, after := s.set("v1"), s.set("v2")
	s.apply(before)
	s.answers(s.host(), "v1")
	defer s.crowd(s.host())()
	plan, err := strategy.Steps(strategy.Release{Before: before, After: after, Namespace: s.owner.Namespace, Replicas: map[string]int{"api": 3},
		Strategies: []promotion.Strategy{{Deployment: "api", Service: "api", Canary: &promotion.Canary{Route: "api",
			Steps: []promotion.CanaryStep{{Weight: 5}, {Weight: 40}}}}}})
	if err != nil {
		t.Fatal(err)
	}
	shares := []int{0, 5, 40, 100, 100}
	if len(plan.Steps) != len(shares) {
		t.Fatalf("%d steps, want %d", len(plan.Steps), len(shares))
	}
	for abort := range plan.Steps[1:] {
		for i, step := range plan.Steps[:abort+1] {
			s.apply(step.Set)
			s.share(s.host(), "v2", shares[i])
			if i < 3 {
				s.answers("api", "v1")
			}
		}
		s.apply(before)
		s.prune(before)
		s.share(s.host(), "v2", 0)
	}
	for i, step := range plan.Steps {
		s.apply(step.Set)
		if step.Last {
			s.prune(step.Set)
		}
		s.share(s.host(), "v2", shares[i])
	}
}
