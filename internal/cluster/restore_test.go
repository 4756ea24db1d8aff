package cluster

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"chaperone.dev/chaperone/internal/manifest"
)

// restore brings last good back as the daemon does.
func (f *fixture) restore(good manifest.Set) {
	f.Helper()
	restoring := *f
	restoring.owner.Restoring = true
	restoring.release(good)
	restoring.prune(good)
	var owned []string
	for _, e := range mustInventory(f).Entries() {
		owned = append(owned, e.ID.String())
	}
	if want := good.Len(); len(owned) != want {
		f.Errorf("after a restore %d objects are owned, want %d: %v", len(owned), want, owned)
	}
	if p := f.plan(good); !p.Quiet() {
		f.Errorf("after a restore: %v, want nothing to do", p.Changes)
	}
}

// HPA: the apply reset `replicas` (flux2#1842), and a restore is an apply.
func TestPitfall19_RestoreKeepsTheReplicasOfAnAutoscaler(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	good := f.set(deployment("api", "registry.local/api:1", "replicas: 3"), autoscalerOf("api"))
	f.release(good)
	f.scale("api", "kube-controller-manager", 7)
	f.release(f.set(deployment("api", "registry.local/api:2", "replicas: 2"), autoscalerOf("api")))
	f.restore(good)
	f.wantReplicas("after a restore", "api", 7)
	if image := imageOf(f.live("Deployment", "api")); image != "registry.local/api:1" {
		t.Errorf("after a restore runs %s", image)
	}
}

func imageOf(o *manifest.Object) string {
	text, err := o.MarshalJSON()
	if err != nil {
		return err.Error()
	}
	_, rest, _ := strings.Cut(string(text), `"image":"`)
	image, _, _ := strings.Cut(rest, `"`)
	return image
}

// Pruning before the rollout is done made a rollback impossible (flux2#3378): what
// last good mounts is there when it is to run again, and always was.
func TestPitfall08_RestoreFindsTheOldConfigMap(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	good := f.set(configMap("settings-1", "a", "b"), deployment("api", "registry.local/api:1", "replicas: 0"))
	f.release(good)
	uid := f.live("ConfigMap", "settings-1").GetUID()
	f.release(f.set(configMap("settings-2", "a", "c"), deployment("api", "registry.local/api:2", "replicas: 0")))
	f.restore(good)
	if f.live("ConfigMap", "settings-1").GetUID() != uid {
		t.Error("the configuration of last good is another object: its pods had lost it")
	}
	f.exists("ConfigMap", "settings-2", false)
}

// A partial apply, and then a restore: half of the failed release is in, in any
// order, and last good alone is there afterwards.
func TestPitfall22_RestoreAfterAPartialApply(t *testing.T) {
	t.Parallel()
	for _, cut := range []int32{1, 6, 11} {
		t.Run(fmt.Sprintf("after %d writes", cut), func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			good := f.set(many(f, 8)...)
			f.release(good)
			var changed []string
			for i, text := range many(f, 12) {
				if i >= 3 { // three are gone from it, five are changed, four are new
					changed = append(changed, strings.Replace(text, "b", "c", 1))
				}
			}
			changed = slices.DeleteFunc(changed, func(text string) bool { return text == "" })
			ctx, kill := context.WithCancel(t.Context())
			defer kill()
			var writes atomic.Int32
			dying := f.connectThrough(func(request *http.Request) (*http.Response, error) {
				if isRealApply(request) && writes.Add(1) > cut {
					kill()
					return nil, errors.New("killed")
				}
				return nil, nil
			})
			failed := f.set(changed...)
			_, _ = dying.c.Apply(ctx, f.owner, f.plan(failed), nil) // however it ends
			f.restore(good)
			for i := range 12 {
				f.exists("ConfigMap", fmt.Sprintf("part-%02d", i), i < 8)
			}
		})
	}
}

// A failed release brought a version of a kind, and resources in it: last good
// knows the first version alone, and everything of its own is there still.
func TestPitfall11_RestoreTakesAVersionOfADefinitionBack(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	gvr, crd, menu := f.menus("v1")
	good := f.set(menu, crd, configMap("plain", "a", "b"))
	f.release(good)
	resources := f.c.dynamic.Resource(gvr).Namespace(f.owner.Namespace)
	before, err := resources.Get(t.Context(), "lunch", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	added := strings.Replace(crd, "  versions:\n", "  versions:\n  - {name: v2, served: true, storage: false, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}\n", 1)
	dinner := strings.NewReplacer("/v1\n", "/v2\n", "lunch", "dinner").Replace(menu)
	f.release(f.set(added, strings.Replace(menu, "/v1\n", "/v2\n", 1), dinner, configMap("plain", "a", "c")))
	f.restore(good)
	after, err := resources.Get(t.Context(), "lunch", metav1.GetOptions{})
	if err != nil || after.GetUID() != before.GetUID() {
		t.Errorf("the resource of last good: %v, want the one that was there", err)
	}
	if _, err := resources.Get(t.Context(), "dinner", metav1.GetOptions{}); err == nil {
		t.Error("what the failed release brought is there still")
	}
}
