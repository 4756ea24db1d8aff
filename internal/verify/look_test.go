package verify

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"pgregory.net/rapid"

	"chaperone.dev/chaperone/internal/health"
	"chaperone.dev/chaperone/internal/manifest"
)

func configMapThere() *manifest.Object { return inertObjects()[0] }

var configMapID = manifest.ID{Kind: "ConfigMap", Namespace: "novamind", Name: "api"}

// without shows the objects, and the ConfigMap not there.
func without(objects ...*manifest.Object) func() (map[manifest.ID]*manifest.Object, []manifest.ID, error) {
	return func() (map[manifest.ID]*manifest.Object, []manifest.ID, error) {
		m, _, _ := show(objects...)()
		return m, []manifest.ID{configMapID}, nil
	}
}

// counted counts how often each kind is looked at.
func counted(live Live, looks map[string]int) Live {
	look := live.Look
	live.Look = func(ctx context.Context, wanted func(manifest.ID) bool) (map[manifest.ID]*manifest.Object, []manifest.ID, error) {
		objects, missing, err := look(ctx, wanted)
		for id := range objects {
			looks[id.Kind]++
		}
		return objects, missing, err
	}
	return live
}

// What is ready is not looked at again and again while something else is waited
// for, and what does not change by itself only once more, for the verdict.
func TestReadySparesWhatIsReady(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		quiet map[schema.GroupKind]bool
		looks map[string]int
	}{
		"as nothing is known of them":   {nil, map[string]int{"Deployment": 16, "ConfigMap": 2, "Service": 2}},
		"as nobody reports on them":     {quietKinds, map[string]int{"Deployment": 16, "ConfigMap": 1, "Service": 1}},
		"as nobody reports on some":     {map[schema.GroupKind]bool{{Kind: "ConfigMap"}: true}, map[string]int{"Deployment": 16, "ConfigMap": 1, "Service": 2}},
		"as somebody reports on others": {map[schema.GroupKind]bool{{Kind: "Service"}: false}, map[string]int{"Deployment": 16, "ConfigMap": 2, "Service": 2}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				began, looks := time.Now(), map[string]int{}
				played := &cluster{lines: []line{
					{0, show(append(inertObjects(), deployment(1, ""))...)},
					{20, show(append(inertObjects(), deployment(2, available))...)},
				}}
				live := counted(played.live(), looks)
				live.Quiet = test.quiet
				result, err := New(nil, SystemClock(), 0).Ready(t.Context(), live, time.Minute, 10*time.Second)
				if err != nil || result.Verdict != Pass || !strings.HasPrefix(result.Evidence, "3 of 3 objects ready after 20s, and still so 10s later") || time.Since(began) != 30*time.Second {
					t.Errorf("got %+v, %v after %s", result, err, time.Since(began))
				}
				if !maps.Equal(looks, test.looks) {
					t.Errorf("looked %v, want %v", looks, test.looks)
				}
			})
		})
	}
}

// quietKinds are those of inertObjects.
var quietKinds = map[schema.GroupKind]bool{{Kind: "ConfigMap"}: true, {Kind: "Service"}: true}

// eachWay shows what is there with and without a word on what is quiet.
func eachWay(t *testing.T, do func(t *testing.T, quiet map[schema.GroupKind]bool)) {
	for name, quiet := range map[string]map[schema.GroupKind]bool{"known to be quiet": quietKinds, "looked at": nil} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			do(t, quiet)
		})
	}
}

// What is spared is not believed for ever.
func TestReadySeesWhatWasSparedGo(t *testing.T) {
	t.Parallel()
	bad, good := deployment(1, ""), deployment(2, available)
	for name, test := range map[string]struct {
		lines    []line
		verdict  Verdict
		after    int
		evidence string
	}{
		"while something is waited for": {[]line{{0, show(configMapThere(), bad)}, {10, without(bad)}, {20, without(good)}}, Fail, 60, "1 of 2 objects not ready after 60s: ConfigMap/novamind/api"},
		"and comes back":                {[]line{{0, show(configMapThere(), bad)}, {10, without(good)}, {30, show(configMapThere(), good)}}, Pass, 40, "ready after 30s"},
		"during settle":                 {[]line{{0, show(configMapThere(), good)}, {6, without(good)}}, Fail, 70, "1 of 2 objects not ready after"},
		"and was never there":           {[]line{{0, without(bad)}, {20, without(good)}}, Fail, 60, "1 of 2 objects not ready after 60s: ConfigMap/novamind/api"},
		"and nothing else is there":     {[]line{{0, show(configMapThere())}, {6, without()}}, Fail, 70, "1 of 1 objects not ready"},
		"unreadable when it decides":    {[]line{{0, show(configMapThere(), good)}, {10, unreadable}, {16, show(configMapThere(), good)}}, Pass, 16, "still so 16s later"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			eachWay(t, func(t *testing.T, quiet map[schema.GroupKind]bool) {
				synctest.Test(t, func(t *testing.T) {
					began := time.Now()
					live := (&cluster{lines: test.lines}).live()
					live.Quiet = quiet
					result, err := New(nil, SystemClock(), 0).Ready(t.Context(), live, time.Minute, 10*time.Second)
					after := time.Duration(test.after) * time.Second
					if name == "during settle" && quiet != nil {
						after -= 10 * time.Second // nobody has seen it there before
					}
					if err != nil || result.Verdict != test.verdict || !strings.Contains(result.Evidence, test.evidence) || time.Since(began) != after {
						t.Errorf("got %+v, %v after %s", result, err, time.Since(began))
					}
				})
			})
		})
	}
}

// What was ready when it was last looked at may have broken by the time that the
// verdict is due: one that is not known does not hide it.
func TestDeadlineIsAboutEverything(t *testing.T) {
	t.Parallel()
	good, dead := deployment(2, available), deployment(0, "ProgressDeadlineExceeded")
	for name, test := range map[string]struct {
		lines    []line
		verdict  Verdict
		evidence string
	}{
		"broken beside a Job that is gone":      {[]line{{0, gone(good)}, {10, gone(dead)}}, Fail, "2 of 2 objects not ready after 60s: Deployment.apps/novamind/api"},
		"broken beside what is waited for":      {[]line{{0, show(good, job(""))}, {10, show(dead, job(""))}}, Fail, "2 of 2 objects not ready after 60s"},
		"gone beside what is waited for":        {[]line{{0, show(configMapThere(), job(""))}, {10, without(job(""))}}, Fail, "2 of 2 objects not ready after 60s"},
		"still ready beside a Job that is gone": {[]line{{0, gone(good)}}, NoData, "1 of 2 objects not ready"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			eachWay(t, func(t *testing.T, quiet map[schema.GroupKind]bool) {
				synctest.Test(t, func(t *testing.T) {
					live := (&cluster{lines: test.lines}).live()
					live.Quiet = quiet
					result, err := New(nil, SystemClock(), 0).Ready(t.Context(), live, time.Minute, 10*time.Second)
					if err != nil || result.Verdict != test.verdict || !strings.HasPrefix(result.Evidence, test.evidence) {
						t.Errorf("got %+v, %v; want %s, %s", result, err, test.verdict, test.evidence)
					}
				})
			})
		})
	}
}

// A rest that cannot be read is no pass, and neither is a look without it.
func TestReadyNeedsTheRestToPass(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		looks := 0
		live := (&cluster{lines: []line{{0, show(configMapThere(), deployment(2, available))}}}).live()
		look := live.Look
		live.Look = func(ctx context.Context, wanted func(manifest.ID) bool) (map[manifest.ID]*manifest.Object, []manifest.ID, error) {
			looks++
			refused := false
			objects, missing, err := look(ctx, func(id manifest.ID) bool {
				asked := wanted(id)
				refused = refused || asked && looks > 1 && id == configMapID
				return asked
			})
			if refused {
				return nil, nil, errors.New("connection refused")
			}
			return objects, missing, err
		}
		result, err := New(nil, SystemClock(), 0).Ready(t.Context(), live, 10*time.Second, 5*time.Second)
		if err != nil || result.Verdict != Error || !strings.Contains(result.Evidence, "when last read, 2 of 2 were ready") {
			t.Errorf("got %+v, %v", result, err)
		}
	})
}

// Whatever happens when: a verdict is about what is there at that moment, all of it.
func TestAVerdictIsAboutEverything(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(r *rapid.T) {
		played, lost := &cluster{}, rapid.Bool().Draw(r, "the Job's result is never seen")
		for at := 0; at < 60; at += rapid.IntRange(1, 15).Draw(r, "step") {
			var objects []*manifest.Object
			m, missing := map[manifest.ID]*manifest.Object{}, []manifest.ID(nil)
			for _, o := range append(inertObjects(), deployment(2, available), job("Complete")) {
				switch n := rapid.IntRange(0, 9).Draw(r, "state"); {
				case n == 0 || lost && o.GetKind() == "Job":
					missing = append(missing, manifest.IDOf(o))
				case n == 1 && o.GetKind() == "Deployment":
					objects = append(objects, deployment(1, ""))
				case n == 1 && o.GetKind() == "Job":
					objects = append(objects, job(""))
				default:
					objects = append(objects, o)
				}
			}
			for _, o := range objects {
				m[manifest.IDOf(o)] = o
			}
			played.lines = append(played.lines, line{at, func() (map[manifest.ID]*manifest.Object, []manifest.ID, error) {
				return maps.Clone(m), append([]manifest.ID(nil), missing...), nil
			}})
		}
		var (
			result  Result
			err     error
			objects map[manifest.ID]*manifest.Object
			missing []manifest.ID
		)
		settle := time.Duration(rapid.IntRange(0, 20).Draw(r, "settle")) * time.Second
		quiet := map[schema.GroupKind]bool{}
		for gk := range quietKinds {
			quiet[gk] = rapid.Bool().Draw(r, gk.Kind)
		}
		synctest.Test(t, func(t *testing.T) { // which is no place to fail the property in
			live := played.live()
			live.Quiet = quiet
			result, err = New(nil, SystemClock(), 0).Ready(t.Context(), live, 80*time.Second, settle)
			objects, missing, _ = played.look(t.Context())
		})
		if err != nil {
			r.Fatal(err)
		}
		var unready []manifest.ID
		for _, id := range missing {
			if id.Kind != "Job" { // one that was seen to end may be gone
				unready = append(unready, id)
			}
		}
		for id, o := range objects {
			if health.Of(o).State != health.Current {
				unready = append(unready, id)
			}
		}
		if (result.Verdict == Fail) != (len(unready) > 0) || result.Verdict == Pass && !strings.HasPrefix(result.Evidence, "4 of 4 ") {
			r.Fatalf("%s where %v is unready: %s", result.Verdict, unready, result.Evidence)
		}
	})
}

// Pods are asked for once, when there is a fail to explain.
func TestReadyAsksWhyOnce(t *testing.T) {
	t.Parallel()
	pod := &manifest.Object{Object: map[string]any{
		"apiVersion": "v1", "kind": "Pod",
		"metadata": map[string]any{"name": "api-1", "namespace": "novamind", "creationTimestamp": "2026-01-01T00:00:00Z",
			"labels":          map[string]any{"pod-template-hash": "1"},
			"ownerReferences": []any{map[string]any{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "api-1", "uid": "r1", "controller": true}}},
		"status": map[string]any{"containerStatuses": []any{map[string]any{"name": "api", "state": map[string]any{
			"waiting": map[string]any{"reason": "ImagePullBackOff"}}}}},
	}}
	for name, test := range map[string]struct {
		show    func() (map[manifest.ID]*manifest.Object, []manifest.ID, error)
		verdict Verdict
		asked   int
	}{
		"never ready":    {show(append(inertObjects(), deployment(1, ""))...), Fail, 1},
		"failed":         {show(append(inertObjects(), deployment(0, "ProgressDeadlineExceeded"))...), Fail, 1},
		"ready":          {show(append(inertObjects(), deployment(2, available))...), Pass, 0},
		"cannot be read": {unreadable, Error, 0},
		"only missing":   {without(deployment(2, available)), Fail, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				asked := 0
				live := (&cluster{lines: []line{{0, test.show}}}).live()
				live.Why = func(_ context.Context, unready map[manifest.ID]*manifest.Object) map[manifest.ID]*manifest.Object {
					asked++
					if len(unready) != 1 {
						t.Errorf("asked about %d objects, want the one Deployment", len(unready))
					}
					return map[manifest.ID]*manifest.Object{manifest.IDOf(pod): pod}
				}
				result, err := New(nil, SystemClock(), 0).Ready(t.Context(), live, 30*time.Second, 0)
				if err != nil || result.Verdict != test.verdict || asked != test.asked {
					t.Errorf("got %+v, %v; asked %d times, want %d", result, err, asked, test.asked)
				}
				if told := strings.Contains(result.Evidence, "ImagePullBackOff"); told != (test.asked > 0) {
					t.Error(result.Evidence)
				}
			})
		})
	}
}

// Evidence that does not come does not keep a restore waiting, and is no reason
// to judge otherwise.
func TestReadyDoesNotWaitForWhy(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		live := (&cluster{lines: []line{{0, show(configMapThere(), deployment(1, ""))}}}).live()
		live.Why = func(ctx context.Context, _ map[manifest.ID]*manifest.Object) map[manifest.ID]*manifest.Object {
			<-ctx.Done()
			return nil
		}
		result, err := New(nil, SystemClock(), 0).Ready(t.Context(), live, 30*time.Second, 0)
		want := fmt.Sprintf("1 of 2 objects not ready after 30s: %s", manifest.IDOf(deployment(1, "")))
		if err != nil || result.Verdict != Fail || !strings.HasPrefix(result.Evidence, want) || time.Since(began) != 30*time.Second+whyWithin {
			t.Errorf("got %+v, %v after %s", result, err, time.Since(began))
		}
	})
}
