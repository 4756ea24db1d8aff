package bench

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/testkit/gitserver"
)

// The check that finds out: of so many requests, so far apart, one in five may
// fail. Nothing is asked before the objects were ready for the time of settle.
const (
	asked   = 20
	apart   = 100 * time.Millisecond
	mayFail = asked / 5
)

// window is what a verdict takes at least from when requests begin to fail: settle,
// and one failing request more than may fail.
const window = settle + mayFail*apart

// recoveryFile is an environment whose first app has users.
var recoveryFile = strings.Replace(fmt.Sprintf(environmentFile, environment(0), "NAMESPACE", settle), "settle: 1s}", fmt.Sprintf(
	"settle: 1s, http: [{name: answers, service: app-00000, port: 80, count: %d, interval: %s, timeout: 2s, failures: 20%%}]}", asked, apart), 1)

// serving is the first app, in one pod.
func serving(stamp, tag string) string {
	text := strings.Replace(app(0, stamp), "replicas: 0", "replicas: 1", 1)
	return strings.Replace(text, image, "registry.example.org/bench/api:"+tag, 1)
}

// BenchmarkRecovery measures the way back from a release that changes every object
// and whose one app answers 500: from the first response that fails to the verdict,
// to last good applied and serving, and to the revert on the branch. Each stands
// beside its floor: the check's own window, a bare apply of the same objects, and a
// bare push.
func BenchmarkRecovery(b *testing.B) {
	for _, each := range []int{100, 1000} {
		if smoke() && each > 100 {
			continue // it would be of the same size
		}
		b.Run(fmt.Sprint(each), func(b *testing.B) {
			g := newGround(b)
			w := g.deployed(1, size(each), map[string]string{
				"environments/bench/" + environment(0) + ".yaml": recoveryFile, appFile(overlayPath(0), 0): serving("first", "1.0.0"),
			})
			r := &recovery{world: w, s: newSamples(), bare: g.namespaces(1)[0], clone: w.clone()}
			r.users()
			to := results.section("recovery: %d objects changed, one app of which answers 500, %d rounds", w.objects(), rounds())
			g.bare(r.objects("first"))
			for b.Loop() {
				for range rounds() {
					r.round()
				}
			}
			r.s.report(b, to)
			r.tell(to)
		})
	}
}

// recovery is one benchmark under way.
type recovery struct {
	*world
	s     *samples
	bare  string // namespace of the floor
	clone string
	fails int

	mu          sync.Mutex
	first, last time.Time // response that failed
}

// objects are those of a release, for the floor.
func (r *recovery) objects(stamp string) []*manifest.Object {
	r.Helper()
	served, err := manifest.Decode("app.yaml", []byte(serving(stamp, "1.0.0")))
	if err != nil {
		r.Fatal(err)
	}
	for _, o := range served {
		o.SetNamespace(r.bare)
	}
	return append(served, decoded(r, r.bare, r.size, stamp)[len(served):]...)
}

// users ask the first app all the time.
func (r *recovery) users() {
	r.Helper()
	proxy, err := url.Parse(r.cluster.Proxy)
	if err != nil {
		r.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{Proxy: http.ProxyURL(proxy)}, Timeout: 2 * time.Second}
	ctx, stop := context.WithCancel(context.Background())
	r.Cleanup(stop)
	go func() {
		for ctx.Err() == nil {
			response, err := client.Get("http://app-00000." + r.spaces[0] + ".svc/")
			if err == nil {
				response.Body.Close()
				r.answered(response.StatusCode < 500)
			}
			time.Sleep(10 * time.Millisecond)
		}
	}()
}

func (r *recovery) answered(well bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if now := time.Now(); !well {
		if r.last = now; r.first.IsZero() {
			r.first = now
		}
	}
}

// outage is from the first response that failed to the last.
func (r *recovery) outage() (first, last time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	first, last = r.first, r.last
	r.first, r.last = time.Time{}, time.Time{}
	return first, last
}

func (r *recovery) round() {
	r.Helper()
	r.fails++
	stamp := fmt.Sprint("bad-", r.fails)
	files := map[string]string{}
	for i := range r.size / perApp {
		files[appFile(overlayPath(0), i)] = app(i, stamp)
	}
	files[appFile(overlayPath(0), 0)] = serving(stamp, "errors-100")
	bad := r.push(stamp, files)
	r.daemon.await("the revert of "+stamp, patience, func([]event) bool { return !r.daemon.steps(bad)["end revert"].IsZero() })
	r.watch.await(r, patience, r.world.objects(), "first", r.spaces...)
	at, verdict := r.daemon.steps(bad), r.failed(bad)
	first, last := r.outage()
	r.s.took("failing-to-verdict-s", verdict.Sub(first))
	r.s.took("  check-window-s", window)
	r.s.took("verdict-to-applied-s", at["end restore"].Sub(verdict))
	r.s.took("verdict-to-serving-s", last.Sub(verdict))
	began := time.Now()
	r.world.bare(r.objects(stamp))
	r.s.took("  bare-apply-s", time.Since(began))
	r.s.took("verdict-to-pushed-s", at["end revert"].Sub(verdict))
	r.s.took("  of-which-last-good-is-proved-s", at["begin blame"].Sub(at["end restore"]))
	r.s.took("  of-which-revert-s", at["end revert"].Sub(at["begin revert"]))
	r.s.took("  git-push-s", r.pushed())
	if !smoke() {
		r.calm()
	}
}

func (r *recovery) tell(to *section) {
	of := r.s.median
	to.say("the verdict %.2f times the check's own window", of("failing-to-verdict-s")/of("  check-window-s"))
	to.say("last good applied %.2f times a bare apply, and serving after %.2f s", of("verdict-to-applied-s")/of("  bare-apply-s"), of("verdict-to-serving-s"))
	to.say("the revert %.2f times a bare push; %.2f s after the verdict, of which %.2f s are last good's own checks",
		of("  of-which-revert-s")/of("  git-push-s"), of("verdict-to-pushed-s"), (settle + (asked-1)*apart).Seconds())
}

// clone is a working copy, to push from.
func (w *world) clone() string {
	w.Helper()
	dir := filepath.Join(w.TempDir(), "clone")
	address := strings.Replace(w.door.url, "http://", "http://x:token@", 1)
	gitserver.Git(w, w.TempDir(), "clone", "--quiet", address, dir)
	gitserver.Git(w, dir, "config", "user.name", "Floor")
	gitserver.Git(w, dir, "config", "user.email", "floor@example.org")
	return dir
}

// pushed is how long a push of one small commit takes, and nothing else.
func (r *recovery) pushed() time.Duration {
	r.Helper()
	gitserver.Git(r, r.clone, "commit", "--quiet", "--allow-empty", "--message", "floor")
	began := time.Now()
	gitserver.Git(r, r.clone, "push", "--quiet", "origin", "HEAD:refs/heads/floor")
	return time.Since(began)
}

// failed is when the verdict on a commit was given.
func (w *world) failed(revision string) (at time.Time) {
	w.daemon.mu.Lock()
	defer w.daemon.mu.Unlock()
	for _, e := range w.daemon.events {
		if e.Msg == "end" && e.Action == "verify" && e.Revision == revision && e.Outcome == "failed" {
			return e.Time
		}
	}
	w.Fatalf("no verdict on %s", revision)
	return at
}

// bare applies and does nothing else, not even a dry run.
func (g *ground) bare(objects []*manifest.Object) {
	g.Helper()
	config := rest.CopyConfig(g.cluster.Config())
	config.QPS = -1
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		g.Fatal(err)
	}
	if err := applyAll(g.Context(), client, objects, workersOf, nil); err != nil {
		g.Fatal(err)
	}
}
