package e2e

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/reconcile"
)

const blueGreen = usualVerify + `  strategies:
    - {workload: Deployment/app, blueGreen: {service: app, keep: 2s}}
`

const canary = usualVerify + `  strategies:
    - workload: Deployment/app
      canary: {service: app, steps: [{weight: 30, for: 2s}, {weight: 50, for: 2s}]}
`

// told apart: the workload's pods and its Service have the label by which those of
// a copy are known.
func toldApart(change map[string]string) map[string]string {
	return replaced(change, "{app: app}", "{app: app, chaperone.dev/track: stable}", "selector: {matchLabels: {app: app, chaperone.dev/track: stable}}", "selector: {matchLabels: {app: app}}")
}

func replaced(change map[string]string, pairs ...string) map[string]string {
	for name, content := range change {
		for i := 0; i < len(pairs); i += 2 {
			content = strings.ReplaceAll(content, pairs[i], pairs[i+1])
		}
		change[name] = content
	}
	return change
}

// caller asks the Service for as long as a test lasts, as everybody does.
type caller struct {
	mu     sync.Mutex
	wrong  []string
	when   []time.Time // each of them was asked
	asked  int
	cancel context.CancelFunc
	ended  chan struct{}
}

func (w *world) call(id promotion.ID) *caller {
	w.Helper()
	return w.callAt("http://app." + w.namespaces[id.String()] + ".svc/")
}

func (w *world) callAt(target string) *caller {
	w.Helper()
	proxy, err := url.Parse(w.cluster.Proxy)
	if err != nil {
		w.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	c := &caller{cancel: cancel, ended: make(chan struct{})}
	client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{Proxy: http.ProxyURL(proxy), DisableKeepAlives: true}}
	go func() {
		defer close(c.ended)
		for ctx.Err() == nil {
			c.ask(ctx, client, target)
			time.Sleep(30 * time.Millisecond)
		}
	}()
	w.Cleanup(func() { c.end() })
	return c
}

func (c *caller) ask(ctx context.Context, client *http.Client, target string) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	if err != nil {
		return
	}
	began := time.Now()
	response, err := client.Do(request)
	if ctx.Err() != nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked++
	switch {
	case err != nil:
		c.when = append(c.when, began)
		c.wrong = append(c.wrong, time.Now().Format("05.000")+" "+err.Error())
	default:
		_ = response.Body.Close()
		if response.StatusCode != http.StatusOK {
			c.when = append(c.when, began)
			c.wrong = append(c.wrong, fmt.Sprintf("%s answered %d", time.Now().Format("05.000"), response.StatusCode))
		}
	}
}

func (c *caller) end() (asked int, wrong []string) {
	c.cancel()
	<-c.ended
	return c.asked, c.wrong
}

// steps notes which steps of a release are come to, until it is over.
func (w *world) steps(over func() bool) (seen []int) {
	w.Helper()
	w.await("the release to be over", func() bool {
		if a := w.record(development).Journal.Attempt; a.Step > 0 && !slices.Contains(seen, a.Step) {
			seen = append(seen, a.Step)
		}
		return over()
	})
	return seen
}

// wantNoCopies: what was there for the steps has gone with them.
func (w *world) wantNoCopies(id promotion.ID) {
	w.Helper()
	list, err := w.client.AppsV1().Deployments(w.namespaces[id.String()]).List(w.Context(), metav1.ListOptions{})
	if err != nil || len(list.Items) != 1 {
		w.Errorf("%d Deployments are there (%v), want one", len(list.Items), err)
	}
	services, err := w.client.CoreV1().Services(w.namespaces[id.String()]).List(w.Context(), metav1.ListOptions{})
	if err != nil || len(services.Items) != 1 {
		w.Errorf("%d Services are there (%v), want one", len(services.Items), err)
	}
}

// A new version that is good gets to run step after step, and nobody who asks
// the Service notices. One that is bad is found out before anybody but the checks
// has asked it, and is taken back.
func TestReleasesInSteps(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, extra string
		made        func(map[string]string) map[string]string
		steps       int
		asked       bool // by everybody, before the checks have found out
	}{
		{"blue-green", blueGreen, toldApart, 4, false},
		{"canary", canary, func(change map[string]string) map[string]string { return change }, 3, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, []stop{{pipeline: "demo", name: "development", extra: test.extra}}, test.made(base("demo")))
			w.start()
			w.awaitRuns(development, w.first)

			calls := w.call(development)
			good := w.push("a good one", test.made(version("2.0.0")))
			seen := w.steps(func() bool {
				r := w.record(development)
				return r.Journal.LastGood.Revision == good && r.Journal.Attempt.Stage == reconcile.StageNone
			})
			if len(seen) != test.steps || !slices.IsSorted(seen) {
				t.Errorf("went the steps %v, want %d", seen, test.steps)
			}
			w.awaitRuns(development, good)
			w.wantApp(development, "2.0.0")
			w.wantNoCopies(development)
			if asked, wrong := calls.end(); asked == 0 || len(wrong) > 0 {
				t.Errorf("%d of %d requests went wrong while a good release came: %q", len(wrong), asked, wrong[:min(3, len(wrong))])
			}

			calls = w.call(development)
			bad := w.push("a bad one", test.made(version("3.0.0-errors-100")))
			w.await("a revert", func() bool { return w.head() != bad })
			w.awaitRuns(development, w.head())
			w.wantRevert(bad, good, development, "answered 500")
			w.wantRevert(bad, good, development, fmt.Sprintf("step 1 of %d", test.steps))
			w.wantApp(development, "2.0.0")
			w.wantNoCopies(development)
			if asked, wrong := calls.end(); !test.asked && len(wrong) > 0 {
				t.Errorf("%d of %d requests went wrong, though the bad release never had any: %q", len(wrong), asked, wrong[:min(3, len(wrong))])
			}
		})
	}
}
