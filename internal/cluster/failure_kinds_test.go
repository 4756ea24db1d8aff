package cluster

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"chaperone.dev/chaperone/internal/fault"
	"chaperone.dev/chaperone/internal/plan"
)

// A server that cannot say which kinds it has is not one that has none: an
// apply waits, and what is owned is neither forgotten nor deleted. The answer
// of a proxy (404, 403) is no better than none.
func TestPitfall15_DiscoveryThatFailsForgetsNothing(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"/api", "/apis"} {
		for _, code := range []int{403, 404, 429, 500, 503} {
			t.Run(fmt.Sprintf("%d of %s", code, path), func(t *testing.T) {
				t.Parallel()
				f := newFixture(t)
				f.release(f.set(configMap("goes", "a", "b"), service("goes"), deployment("stays", "registry.local/api:1", "replicas: 0")))
				var broken atomic.Bool
				var asked atomic.Int32
				c := f.connectThrough(func(request *http.Request) (*http.Response, error) {
					if broken.Load() && (request.URL.Path == path || strings.HasPrefix(request.URL.Path, path+"/") && strings.Count(request.URL.Path, "/") < 4) {
						asked.Add(1)
						return statusAnswer(request, code), nil
					}
					return nil, nil
				}).c
				next := f.set(deployment("stays", "registry.local/api:2", "replicas: 0"))
				broken.Store(true)
				before := f.owned()
				if _, err := c.Plan(t.Context(), f.owner, next); err == nil || fault.IsTerminal(err) {
					t.Errorf("plan: %v, want an error that may pass", err)
				}
				if result, err := c.Prune(t.Context(), f.owner, next); err == nil && len(result.Forgotten)+len(result.Deleted) > 0 {
					t.Errorf("prune: %+v", result)
				}
				if after := f.owned(); !slices.Equal(before, after) {
					t.Errorf("inventory was %v, is %v", before, after)
				}
				if n := asked.Load(); n > 12 {
					t.Errorf("asked %d times", n)
				}
				broken.Store(false)
				p, err := c.Plan(t.Context(), f.owner, next)
				if err != nil || p.Summary() != "1 update, 2 delete" {
					t.Errorf("once it answers again: %s, %v", p.Summary(), err)
				}
			})
		}
	}
}

// A definition that somebody else installs is known to the next pass, without a
// restart; one that is gone takes its objects with it, and is said to be missing.
func TestKindsThatComeAndGo(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	group := f.owner.Namespace + ".example.org"
	crd := schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}
	widget := fmt.Sprintf("apiVersion: %s/v1\nkind: Widget\nmetadata: {name: w}\nspec: {a: x}", group)
	set := f.set(configMap("plain", "a", "b"), widget)
	missing := func(when string) {
		t.Helper()
		waitFor(t, "the kind to be missing "+when, func() bool {
			_, err := f.c.Plan(t.Context(), f.owner, set)
			return fault.IsTerminal(err) && strings.Contains(err.Error(), "Widget in "+group+"/v1 is not a kind of this cluster")
		})
	}
	missing("at first")
	f.exists("ConfigMap", "plain", false)
	dropDefinition(f, "widgets."+group)
	if _, err := f.c.dynamic.Resource(crd).Create(t.Context(), f.set(definition(group, "Widget", "widgets")).Objects()[0], metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the new kind to be planned", func() bool {
		p, err := f.c.Plan(t.Context(), f.owner, set)
		return err == nil && p.Count(plan.Create) == 2
	})
	f.release(set)
	f.finished(set, "ConfigMap/plain", "Widget/w")

	if err := f.c.dynamic.Resource(crd).Delete(t.Context(), "widgets."+group, deleteNow); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the definition to be gone", func() bool {
		_, err := f.c.dynamic.Resource(crd).Get(t.Context(), "widgets."+group, metav1.GetOptions{})
		return apierrors.IsNotFound(err)
	})
	missing("once it is removed")
	without := f.set(configMap("plain", "a", "b"))
	f.c.kinds.sureAfter = 0 // a minute is long for a test
	waitFor(t, "the plan to forget the object", func() bool {
		p, err := f.c.Plan(t.Context(), f.owner, without)
		return err == nil && p.Count(plan.Forget) == 1
	})
	f.prune(without)
	f.finished(without, "ConfigMap/plain")
}

// 422 is an answer about the object, not a bad moment: it is given once, ends
// the release for good, and before the apply nothing is touched.
func TestRefusalsAreNotRepeated(t *testing.T) {
	t.Parallel()
	refusing := func(f *fixture, which func(*http.Request) bool, n *atomic.Int32) *Cluster {
		return f.connectThrough(func(request *http.Request) (*http.Response, error) {
			if which(request) && strings.HasSuffix(request.URL.Path, "/configmaps/bad") {
				n.Add(1)
				return statusAnswer(request, 422), nil
			}
			return nil, nil
		}).c
	}
	isDryRun := func(request *http.Request) bool { return request.Method == http.MethodPatch && !isRealApply(request) }
	isDelete := func(request *http.Request) bool { return request.Method == http.MethodDelete }
	t.Run("plan", func(t *testing.T) {
		t.Parallel()
		f := newFixture(t)
		var n atomic.Int32
		_, err := refusing(f, isDryRun, &n).Plan(t.Context(), f.owner, f.set(configMap("bad", "a", "b"), configMap("good", "a", "b")))
		if !fault.IsTerminal(err) || !strings.Contains(err.Error(), "/bad: rejected") || n.Load() != 1 {
			t.Errorf("after %d requests: %v", n.Load(), err)
		}
		if len(f.owned()) > 0 {
			t.Errorf("written down: %v", f.owned())
		}
	})
	t.Run("apply", func(t *testing.T) {
		t.Parallel()
		f := newFixture(t)
		var n atomic.Int32
		set := f.set(configMap("bad", "a", "b"), configMap("good", "a", "b"))
		_, err := refusing(f, isRealApply, &n).Apply(t.Context(), f.owner, f.plan(set), nil)
		if !fault.IsTerminal(err) || !strings.Contains(err.Error(), "/bad: rejected") || n.Load() != 1 {
			t.Errorf("after %d requests: %v", n.Load(), err)
		}
		f.release(set) // and what was begun can be finished
		f.finished(set, "ConfigMap/bad", "ConfigMap/good")
	})
	t.Run("prune", func(t *testing.T) {
		t.Parallel()
		f := newFixture(t)
		var n atomic.Int32
		f.release(f.set(configMap("bad", "a", "b"), configMap("goes", "a", "b"), configMap("stays", "a", "b")))
		keep := f.set(configMap("stays", "a", "b"))
		if _, err := refusing(f, isDelete, &n).Prune(t.Context(), f.owner, keep); err == nil || n.Load() != 1 {
			t.Errorf("after %d requests: %v", n.Load(), err)
		}
		f.exists("ConfigMap", "goes", false) // the others are seen to
		if got := f.owned(); !slices.Equal(got, []string{"ConfigMap/bad", "ConfigMap/stays"}) {
			t.Errorf("inventory holds %v: what is still there must not be forgotten (kc#1665)", got)
		}
		f.prune(keep)
		f.finished(keep, "ConfigMap/stays")
	})
}

// A server that asks for time gets it: no request is repeated before.
func TestPitfall23_RetryAfterIsHonoured(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	const pause = 2 * time.Second
	var first, again atomic.Int64
	var n atomic.Int32
	c := f.connectThrough(func(request *http.Request) (*http.Response, error) {
		if !isRealApply(request) {
			return nil, nil
		}
		n.Add(1)
		now := time.Now().UnixNano()
		if first.CompareAndSwap(0, now) {
			response := statusAnswer(request, 429)
			response.Header.Set("Retry-After", fmt.Sprint(int(pause.Seconds())))
			return response, nil
		}
		again.CompareAndSwap(0, now)
		return nil, nil
	}).c
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, err := c.Apply(ctx, f.owner, f.plan(f.set(configMap("one", "a", "b"))), nil); err != nil {
		t.Fatal(err)
	}
	if waited := time.Duration(again.Load() - first.Load()); waited < pause || n.Load() != 2 {
		t.Errorf("asked again after %s, %d times in all; the server asked for %s", waited, n.Load(), pause)
	}
}
