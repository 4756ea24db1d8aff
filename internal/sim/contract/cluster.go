package contract

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"chaperone.dev/chaperone/internal/controller"
	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/reconcile"
)

// ClusterFixture is one environment in a namespace of its own.
type ClusterFixture struct {
	controller.Cluster
	Env promotion.Environment
	// Set renders manifests; NS stands for the environment's namespace.
	Set func(manifests ...string) manifest.Set
	// Value is a configuration's value on the cluster; "" where it is not there.
	Value func(name string) string
	// Change and Delete are somebody's hand.
	Change func(name, value string)
	Delete func(name string)
	Volume func(name string) bool // is there
	// Ran is another text each time that a Job runs; "" where it is not there.
	Ran func(name string) string
}

// Config is the manifest of a configuration.
func config(name, value string) string {
	return fmt.Sprintf("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: %s, namespace: NS}\ndata: {value: %q}\n", name, value)
}

func volume(name string) string {
	return "apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: " + name + ", namespace: NS}\n" +
		"spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}\n"
}

func (f ClusterFixture) configs(pairs ...string) manifest.Set {
	var all []string
	for _, pair := range pairs {
		name, value, _ := strings.Cut(pair, "=")
		all = append(all, config(name, value))
	}
	return f.Set(all...)
}

func (f ClusterFixture) has(t *testing.T, pairs ...string) {
	t.Helper()
	for _, pair := range pairs {
		name, value, _ := strings.Cut(pair, "=")
		if got := f.Value(name); got != value {
			t.Errorf("%s is %q, want %q", name, got, value)
		}
	}
}

// pile is so many configurations of one value.
func pile(n int, value string) []string {
	var pairs []string
	for i := range n {
		pairs = append(pairs, fmt.Sprintf("stone-%d=%s", i, value))
	}
	return pairs
}

// ClusterCases are what a Cluster must do.
func ClusterCases() []Case[ClusterFixture] {
	return append(applyCases(), slices.Concat(pruneCases(), guardCases(), driftCases(), fightCases(), undoCases())...)
}

func applyCases() []Case[ClusterFixture] {
	return []Case[ClusterFixture]{
		{"an apply creates, changes, and may be repeated", func(t *testing.T, f ClusterFixture) {
			first := f.configs("a=1", "b=1")
			for range 2 {
				must(t, f.Apply(t.Context(), f.Env, first))
			}
			f.has(t, "a=1", "b=1")
			must(t, f.Apply(t.Context(), f.Env, f.configs("a=2", "b=1")))
			f.has(t, "a=2", "b=1")
		}},
		{"a restore brings back last good and takes away what came after", func(t *testing.T, f ClusterFixture) {
			good := f.configs("a=1", "b=1")
			must(t, f.Apply(t.Context(), f.Env, good))
			must(t, f.Prune(t.Context(), f.Env, good))
			must(t, f.Apply(t.Context(), f.Env, f.configs("a=2", "c=1")))
			for range 2 {
				must(t, f.Restore(t.Context(), f.Env, good))
			}
			f.has(t, "a=1", "b=1", "c=")
		}},
		{"what passes its checks, and a check that is called off", func(t *testing.T, f ClusterFixture) {
			set := f.configs("a=1")
			must(t, f.Apply(t.Context(), f.Env, set))
			verdict, err := f.Verify(t.Context(), f.Env, set, controller.Against{})
			must(t, err)
			if verdict.Outcome != reconcile.OutcomeDone || verdict.Evidence == "" {
				t.Errorf("verdict %+v", verdict)
			}
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			if verdict, err := f.Verify(ctx, f.Env, set, controller.Against{}); err == nil {
				t.Errorf("called off, and yet %+v", verdict)
			}
		}},
		{"a release that is not there fails its checks", func(t *testing.T, f ClusterFixture) {
			must(t, f.Apply(t.Context(), f.Env, f.configs("a=1")))
			env := f.Env
			env.Verify.Timeout = 2 * time.Second
			f.Delete("a")
			verdict, err := f.Verify(t.Context(), env, f.configs("a=1"), controller.Against{})
			must(t, err)
			if verdict.Outcome != reconcile.OutcomeFailed || !strings.Contains(verdict.Evidence, "a") {
				t.Errorf("verdict %+v", verdict)
			}
		}},
	}
}

func pruneCases() []Case[ClusterFixture] {
	return []Case[ClusterFixture]{
		{"an apply deletes nothing, a prune does, and may be repeated", func(t *testing.T, f ClusterFixture) {
			must(t, f.Apply(t.Context(), f.Env, f.configs("a=1", "b=1")))
			next := f.configs("a=1", "c=1")
			must(t, f.Apply(t.Context(), f.Env, next))
			f.has(t, "a=1", "b=1", "c=1")
			for range 2 {
				must(t, f.Prune(t.Context(), f.Env, next))
			}
			f.has(t, "a=1", "b=", "c=1")
		}},
		{"what a prune would look at is told before it, and none of it is touched", func(t *testing.T, f ClusterFixture) {
			surplus := func(env promotion.Environment, set manifest.Set, want bool) {
				t.Helper()
				got, err := f.Surplus(t.Context(), env, set)
				must(t, err)
				if got != want {
					t.Errorf("surplus beside %d objects: %t", set.Len(), got)
				}
			}
			first, next := f.configs("a=1", "b=1"), f.configs("a=1")
			surplus(f.Env, first, false) // nothing is there
			must(t, f.Apply(t.Context(), f.Env, first))
			surplus(f.Env, first, false)
			surplus(f.Env, f.configs("a=2", "b=2", "c=3"), false)
			surplus(f.Env, next, true)
			f.has(t, "a=1", "b=1")
			other := f.Env
			other.ID.Name += "-other"
			must(t, f.Apply(t.Context(), other, f.configs("c=1")))
			surplus(f.Env, first, false)
			must(t, f.Prune(t.Context(), f.Env, next))
			surplus(f.Env, next, false)
			renamed := f.Env
			renamed.ID.Name += "-renamed"
			renamed.Formerly = []promotion.ID{f.Env.ID}
			surplus(renamed, next, true)
		}},
	}
}

func guardCases() []Case[ClusterFixture] {
	refused := func(t *testing.T, err error, reason promotion.Reason) {
		t.Helper()
		var refusal *controller.Refusal
		if !errors.As(err, &refusal) || refusal.Reason != reason {
			t.Fatalf("error %v, want a refusal with %s", err, reason)
		}
	}
	return []Case[ClusterFixture]{
		{"another environment's objects are not taken", func(t *testing.T, f ClusterFixture) {
			must(t, f.Apply(t.Context(), f.Env, f.configs("a=1")))
			other := f.Env
			other.ID.Name += "-other"
			refused(t, f.Apply(t.Context(), other, f.configs("b=2", "a=2")), promotion.ConflictingOwner)
			f.has(t, "a=1", "b=")
			must(t, f.Apply(t.Context(), other, f.configs("b=2")))
			must(t, f.Prune(t.Context(), other, f.configs("b=2")))
			f.has(t, "a=1", "b=2")
		}},
		{"an environment takes over what it had under another name", func(t *testing.T, f ClusterFixture) {
			must(t, f.Apply(t.Context(), f.Env, f.configs("a=1", "b=1")))
			renamed := f.Env
			renamed.ID.Name += "-renamed"
			renamed.Formerly = []promotion.ID{f.Env.ID}
			set := f.configs("a=2")
			must(t, f.Apply(t.Context(), renamed, set))
			must(t, f.Prune(t.Context(), renamed, set))
			f.has(t, "a=2", "b=")
		}},
		{"too much at once is not deleted, and nothing is touched", func(t *testing.T, f ClusterFixture) {
			must(t, f.Apply(t.Context(), f.Env, f.configs(pile(8, "1")...)))
			refused(t, f.Apply(t.Context(), f.Env, f.configs(pile(2, "2")...)), promotion.MassDeletion)
			f.has(t, pile(8, "1")...)
			refused(t, f.Prune(t.Context(), f.Env, f.configs(pile(2, "1")...)), promotion.MassDeletion)
			f.has(t, pile(8, "1")...)
		}},
		{"a restore is not held up by what the failed release brought", func(t *testing.T, f ClusterFixture) {
			good := f.configs("a=1")
			must(t, f.Apply(t.Context(), f.Env, good))
			must(t, f.Apply(t.Context(), f.Env, f.configs(append(pile(8, "1"), "a=1")...)))
			must(t, f.Restore(t.Context(), f.Env, good))
			f.has(t, "a=1", "stone-0=", "stone-7=")
		}},
		{"an empty render deletes nothing", func(t *testing.T, f ClusterFixture) {
			must(t, f.Apply(t.Context(), f.Env, f.configs("a=1")))
			refused(t, f.Prune(t.Context(), f.Env, f.Set()), promotion.EmptyRender)
			f.has(t, "a=1")
		}},
		{"volumes stay", func(t *testing.T, f ClusterFixture) {
			must(t, f.Apply(t.Context(), f.Env, f.Set(config("a", "1"), volume("data"))))
			must(t, f.Prune(t.Context(), f.Env, f.configs("a=1")))
			if !f.Volume("data") {
				t.Error("it is gone")
			}
		}},
		{"an environment that does not prune keeps everything", func(t *testing.T, f ClusterFixture) {
			must(t, f.Apply(t.Context(), f.Env, f.configs("a=1", "b=1")))
			keeps := f.Env
			keeps.Prune = false
			must(t, f.Prune(t.Context(), keeps, f.configs("a=1")))
			f.has(t, "a=1", "b=1")
		}},
	}
}

func lastGood(set manifest.Set) controller.LastGood {
	digest, _ := set.Digest()
	return controller.LastGood{Digest: reconcile.Digest(digest), Read: func(context.Context) (manifest.Set, error) { return set, nil }}
}

// fightCases are about who keeps changing back what is put back.
func fightCases() []Case[ClusterFixture] {
	return []Case[ClusterFixture]{
		{"what is changed back again and again is left alone, and only that", func(t *testing.T, f ClusterFixture) {
			set := f.configs("a=1", "b=1")
			good := lastGood(set)
			must(t, f.Apply(t.Context(), f.Env, set))
			look := func() controller.Drift {
				t.Helper()
				found, err := f.Drift(t.Context(), f.Env, good)
				must(t, err)
				return found
			}
			rounds := 0
			for ; rounds < 10; rounds++ {
				f.Change("a", "other")
				if len(look().Differs) == 0 {
					break
				}
				must(t, f.Correct(t.Context(), f.Env, good))
				f.has(t, "a=1")
			}
			if rounds < 2 || rounds > 5 {
				t.Errorf("left alone after %d corrections", rounds)
			}
			f.Delete("b")
			found := look()
			if len(found.Differs) != 1 || len(found.Contended) != 1 || found.Until.IsZero() {
				t.Fatalf("%+v; want one of each", found)
			}
			if text := found.Contended[0]; !strings.Contains(text, "chaperone and somebody") || !strings.Contains(text, "/a") {
				t.Errorf("%q does not name the object and both who change it", text)
			}
			must(t, f.Correct(t.Context(), f.Env, good))
			f.has(t, "a=other", "b=1")
			// Another release of the object is another matter.
			next := f.configs("a=2", "b=1")
			must(t, f.Apply(t.Context(), f.Env, next))
			f.Change("a", "other")
			must(t, f.Correct(t.Context(), f.Env, lastGood(next)))
			f.has(t, "a=2", "b=1")
		}},
		{"where drift is reported nothing is contended", func(t *testing.T, f ClusterFixture) {
			set := f.configs("a=1")
			must(t, f.Apply(t.Context(), f.Env, set))
			env := f.Env
			env.Drift = promotion.DriftReport
			for range 5 {
				f.Change("a", "other")
				found, err := f.Drift(t.Context(), env, lastGood(set))
				must(t, err)
				if len(found.Differs) != 1 || len(found.Contended) != 0 {
					t.Fatalf("%+v; want a difference", found)
				}
				must(t, f.Restore(t.Context(), env, set))
			}
		}},
	}
}

func driftCases() []Case[ClusterFixture] {
	return []Case[ClusterFixture]{
		{"drift is told and put back", func(t *testing.T, f ClusterFixture) {
			set := f.configs("a=1", "b=1")
			must(t, f.Apply(t.Context(), f.Env, set))
			good := lastGood(set)
			none, err := f.Drift(t.Context(), f.Env, good)
			if err != nil || len(none.Differs)+len(none.Contended) != 0 {
				t.Fatalf("right after the apply: %+v, %v", none, err)
			}
			f.Change("a", "other")
			f.Delete("b")
			found, err := f.Drift(t.Context(), f.Env, good)
			if err != nil || len(found.Differs) != 2 || len(found.Contended) != 0 {
				t.Fatalf("%+v, %v; want two differences", found, err)
			}
			for range 2 {
				must(t, f.Correct(t.Context(), f.Env, good))
			}
			f.has(t, "a=1", "b=1")
		}},
		{"a correction needs no comparison before it, and takes nothing away", func(t *testing.T, f ClusterFixture) {
			set := f.configs("a=1", "b=1")
			must(t, f.Apply(t.Context(), f.Env, f.configs("a=1", "b=1", "c=1")))
			f.Change("a", "other")
			must(t, f.Correct(t.Context(), f.Env, lastGood(set)))
			f.has(t, "a=1", "b=1", "c=1")
		}},
		{"a watch tells of changes, and ends when it is called off", func(t *testing.T, f ClusterFixture) {
			must(t, f.Apply(t.Context(), f.Env, f.configs("a=1")))
			ctx, cancel := context.WithCancel(t.Context())
			changed, ended := make(chan struct{}, 100), make(chan error, 1)
			go func() { ended <- f.Watch(ctx, f.Env, func() { changed <- struct{}{} }) }()
			deadline := time.After(30 * time.Second)
			for told := false; !told; {
				f.Change("a", fmt.Sprint(time.Now().UnixNano()))
				select {
				case <-changed:
					told = true
				case <-time.After(200 * time.Millisecond):
				case <-deadline:
					t.Fatal("no change is told")
				}
			}
			cancel()
			select {
			case <-ended:
			case <-time.After(30 * time.Second):
				t.Error("the watch goes on")
			}
		}},
	}
}
