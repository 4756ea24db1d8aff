package verify

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"chaperone.dev/chaperone/internal/manifest"
)

// cluster plays what a cluster shows as time goes by: the last line whose time
// has come. Times are seconds since the first look.
type cluster struct {
	began time.Time
	lines []line
}

type line struct {
	at   int
	show func() (map[manifest.ID]*manifest.Object, []manifest.ID, error)
}

func (c *cluster) live() Live { return reads(c.look) }

// reads leaves out what is not wanted.
func reads(look func(context.Context) (map[manifest.ID]*manifest.Object, []manifest.ID, error)) Live {
	return Live{Look: func(ctx context.Context, wanted func(manifest.ID) bool) (map[manifest.ID]*manifest.Object, []manifest.ID, error) {
		objects, missing, err := look(ctx)
		unwanted := func(id manifest.ID) bool { return !wanted(id) }
		maps.DeleteFunc(objects, func(id manifest.ID, _ *manifest.Object) bool { return unwanted(id) })
		return objects, slices.DeleteFunc(missing, unwanted), err
	}}
}

func (c *cluster) look(context.Context) (map[manifest.ID]*manifest.Object, []manifest.ID, error) {
	if c.began.IsZero() {
		c.began = time.Now()
	}
	now := c.lines[0]
	for _, l := range c.lines {
		if time.Since(c.began) >= time.Duration(l.at)*time.Second {
			now = l
		}
	}
	return now.show()
}

var jobID = manifest.ID{Group: "batch", Kind: "Job", Namespace: "novamind", Name: "migrate"}

func deployment(available int64, progress string) *manifest.Object {
	return &manifest.Object{Object: map[string]any{
		"apiVersion": "apps/v1", "kind": "Deployment",
		"metadata": map[string]any{"name": "api", "namespace": "novamind", "generation": int64(2), "uid": "d1"},
		"spec":     map[string]any{"replicas": int64(2), "progressDeadlineSeconds": int64(60)},
		"status": map[string]any{
			"observedGeneration": int64(2), "replicas": int64(2), "updatedReplicas": int64(2), "readyReplicas": available, "availableReplicas": available,
			"conditions": []any{
				map[string]any{"type": "Progressing", "status": "True", "reason": progress},
				map[string]any{"type": "Available", "status": "True"},
			},
		},
	}}
}

func job(condition string) *manifest.Object {
	o := &manifest.Object{Object: map[string]any{
		"apiVersion": "batch/v1", "kind": "Job", "metadata": map[string]any{"name": "migrate", "namespace": "novamind"},
		"status": map[string]any{"startTime": "2026-01-01T00:00:00Z", "conditions": []any{}},
	}}
	if condition != "" {
		o.Object["status"].(map[string]any)["conditions"] = []any{map[string]any{"type": condition, "status": "True"}}
	}
	return o
}

// inertObjects are as good as they will be once they are there.
func inertObjects() []*manifest.Object {
	named := func(kind string) *manifest.Object {
		return &manifest.Object{Object: map[string]any{
			"apiVersion": "v1", "kind": kind, "metadata": map[string]any{"name": "api", "namespace": "novamind"},
		}}
	}
	return []*manifest.Object{named("ConfigMap"), named("Service")}
}

func show(objects ...*manifest.Object) func() (map[manifest.ID]*manifest.Object, []manifest.ID, error) {
	return func() (map[manifest.ID]*manifest.Object, []manifest.ID, error) {
		m := map[manifest.ID]*manifest.Object{}
		for _, o := range objects {
			m[manifest.IDOf(o)] = o
		}
		return m, nil, nil
	}
}

// gone shows the objects, and the Job not there.
func gone(objects ...*manifest.Object) func() (map[manifest.ID]*manifest.Object, []manifest.ID, error) {
	return func() (map[manifest.ID]*manifest.Object, []manifest.ID, error) {
		m, _, _ := show(objects...)()
		return m, []manifest.ID{jobID}, nil
	}
}

func unreadable() (map[manifest.ID]*manifest.Object, []manifest.ID, error) {
	return nil, nil, errors.New("connection refused")
}

const available = "NewReplicaSetAvailable"

func older() *manifest.Object {
	o := deployment(2, available)
	o.Object["status"].(map[string]any)["observedGeneration"] = int64(1)
	return o
}

func TestReady(t *testing.T) {
	t.Parallel()
	good, bad, dead := show(deployment(2, available)), show(deployment(1, "")), show(deployment(0, "ProgressDeadlineExceeded"))
	tests := []struct {
		name            string
		timeout, settle int
		lines           []line
		verdict         Verdict
		after           int // seconds
		evidence        string
	}{
		{"ready at once, and settled", 600, 60, []line{{0, good}}, Pass, 60, "1 of 1 objects ready after 0s, and still so 60s later"},
		{"ready later", 600, 60, []line{{0, bad}, {30, good}}, Pass, 90, "ready after 30s, and still so 60s later"},
		{"several looks even without settle", 600, 0, []line{{0, good}}, Pass, 1, "still so 1s later"},
		{"several looks within a short settle", 600, 3, []line{{0, good}}, Pass, 3, "still so 3s later"},
		{"nothing that could become ready or not", 600, 0, []line{{0, show(inertObjects()...)}}, Pass, 0, "2 of 2 objects ready after 0s"},
		{"the same, and settle", 600, 7, []line{{0, show(inertObjects()...)}}, Pass, 7, "still so 7s later"},
		{"the same beside a workload", 600, 0, []line{{0, show(append(inertObjects(), deployment(2, available))...)}}, Pass, 1, "3 of 3 objects"},
		{"unready in settle starts anew", 600, 60, []line{{0, good}, {40, bad}, {50, good}}, Pass, 110, "ready after 50s, and still so 60s later"},
		{"ready in time, settled after it", 100, 60, []line{{0, bad}, {98, good}}, Pass, 158, "still so"},
		{"an autoscaler's pods during settle", 100, 60, []line{{0, bad}, {90, good}, {110, bad}, {140, good}}, Pass, 200, "still so"},
		{"unready in settle, and stays so", 100, 60, []line{{0, good}, {40, bad}}, Fail, 160, "1 of 2 available, having been ready once before"},
		{"never", 600, 60, []line{{0, bad}}, Fail, 600, "1 of 1 objects not ready after 10m: Deployment.apps/novamind/api: 1 of 2 available"},
		{"default timeout", 0, 0, []line{{0, bad}}, Fail, 600, "after 10m"},

		{"past its progress deadline", 600, 60, []line{{0, bad}, {62, dead}}, Fail, 66, "1 of 1 objects failed within 66s: Deployment.apps/novamind/api: progress deadline of 60s exceeded"},
		{"the deadline of the release before, for a moment", 600, 0, []line{{0, dead}, {3, bad}, {10, good}}, Pass, 11, "still so"},
		{"job failed", 600, 60, []line{{0, show(job(""))}, {20, show(job("Failed"))}}, Fail, 24, "Job.batch/novamind/migrate: failed after"},
		{"job failed, and is gone at the next look", 600, 60, []line{{0, show(job(""))}, {20, show(job("Failed"))}, {22, gone()}}, Fail, 24, "Job.batch/novamind/migrate: failed after"},
		{"job completed, and is gone at the next look", 600, 60, []line{{0, show(job(""))}, {20, show(job("Complete"))}, {22, gone()}}, Pass, 80, "1 of 1 objects ready"},
		{"job that was running is gone", 30, 0, []line{{0, show(job(""))}, {20, gone(deployment(2, available))}}, NoData, 30, "is gone before its result was seen"},
		{"job gone from the start, the rest ready", 30, 0, []line{{0, gone(deployment(2, available))}}, NoData, 30, "1 of 2 objects not ready after 30s: Job.batch/novamind/migrate: is gone"},
		{"job gone from the start, the rest not ready", 30, 0, []line{{0, gone(deployment(1, ""))}}, Fail, 30, "2 of 2 objects not ready after 30s: Deployment"},
		{"another job of that name takes over", 600, 0, []line{{0, show(job("Complete"), deployment(1, ""))}, {10, gone(deployment(1, ""))}, {20, show(job(""), deployment(2, available))}, {30, show(job("Failed"), deployment(2, available))}},
			Fail, 34, "Job.batch/novamind/migrate: failed"},
		{"another job of that name takes over, and is gone before its end", 30, 60, []line{{0, show(job("Complete"), deployment(1, ""))}, {10, show(job(""), deployment(2, available))}, {20, gone(deployment(2, available))}},
			NoData, 30, "is gone before its result was seen"},
		{"nothing to look at", 30, 0, []line{{0, show()}}, NoData, 30, "there was no object to judge in 30s"},

		{"never readable", 30, 60, []line{{0, unreadable}}, Error, 30, "the objects could not be read after 30s: connection refused"},
		{"readable later", 30, 10, []line{{0, unreadable}, {20, good}}, Pass, 30, "ready after 20s"},
		{"unready, then unreadable to the end", 30, 10, []line{{0, bad}, {20, unreadable}}, Error, 30, "connection refused (when last read, 0 of 1 were ready)"},
		{"unready, unreadable, then unready", 30, 10, []line{{0, bad}, {10, unreadable}, {28, bad}}, Fail, 30, "not ready after 30s"},
		{"ready, unreadable for a while", 30, 60, []line{{0, good}, {10, unreadable}, {50, good}}, Pass, 60, "still so 60s later"},
		{"ready, then unreadable to the end", 30, 60, []line{{0, good}, {10, unreadable}}, Error, 60, "when last read, 1 of 1 were ready"},
		{"failing, unreadable, failing on", 600, 0, []line{{0, dead}, {3, unreadable}, {9, dead}}, Fail, 10, "failed within 10s"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				seconds := func(n int) time.Duration { return time.Duration(n) * time.Second }
				began := time.Now()
				played := &cluster{lines: test.lines}
				result, err := New(nil, SystemClock(), 0).Ready(t.Context(), played.live(), seconds(test.timeout), seconds(test.settle))
				if err != nil {
					t.Fatal(err)
				}
				if result.Verdict != test.verdict || !strings.Contains(result.Evidence, test.evidence) {
					t.Errorf("got  %s: %s\nwant %s: %s", result.Verdict, result.Evidence, test.verdict, test.evidence)
				}
				if took := time.Since(began); took != seconds(test.after) || result.Check != "ready" || !result.Ended.Equal(time.Now()) || !result.Started.Equal(began) {
					t.Errorf("took %v, want %ds; result %+v", took, test.after, result)
				}
			})
		})
	}
}

// "Healthy" read a moment after the apply is the older release's (kargo#41,
// kargo#1411, argo-rollouts#771): neither its health nor its failure counts.
func TestPitfall25_OldGenerationIsNotReady(t *testing.T) {
	t.Parallel()
	dead := deployment(0, "ProgressDeadlineExceeded")
	dead.Object["status"].(map[string]any)["observedGeneration"] = int64(1)
	for name, test := range map[string]struct {
		lines   []line
		verdict Verdict
		after   time.Duration
	}{
		"healthy before, broken now":     {[]line{{0, show(older())}, {10, show(deployment(1, ""))}}, Fail, 100 * time.Second},
		"healthy before, never observed": {[]line{{0, show(older())}}, Fail, 100 * time.Second},
		"given up before, healthy now":   {[]line{{0, show(dead)}, {30, show(deployment(2, available))}}, Pass, 40 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				result, err := New(nil, SystemClock(), 0).Ready(t.Context(), (&cluster{lines: test.lines}).live(), 100*time.Second, 10*time.Second)
				if err != nil || result.Verdict != test.verdict || time.Since(began) != test.after {
					t.Errorf("got %+v, %v after %v; want %s after %v", result, err, time.Since(began), test.verdict, test.after)
				}
			})
		})
	}
}

// Whatever had been seen by then, a cancelled wait says nothing
// (helm-controller#1557, kc#1625), at any moment of it.
func TestPitfall29_CancelledWaitHasNoVerdict(t *testing.T) {
	t.Parallel()
	shows := map[string][]line{
		"ready":      {{0, show(deployment(2, available))}},
		"failed":     {{0, show(job("Failed"))}},
		"unreadable": {{0, unreadable}},
	}
	for name, lines := range shows {
		for _, look := range []int{1, 2, 3} {
			t.Run(fmt.Sprintf("%s at look %d", name, look), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					ctx, cancel := context.WithCancel(t.Context())
					defer cancel()
					played, looks := &cluster{lines: lines}, 0
					live := func(ctx context.Context) (map[manifest.ID]*manifest.Object, []manifest.ID, error) {
						if looks++; looks == look {
							cancel() // while the answer that would decide is on its way
						}
						return played.look(ctx)
					}
					result, err := New(nil, SystemClock(), 0).Ready(ctx, reads(live), 4*time.Second, 0)
					if !errors.Is(err, context.Canceled) || result != (Result{}) {
						t.Errorf("got %+v, %v; want no result and context.Canceled", result, err)
					}
				})
			})
		}
	}
	t.Run("between looks", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
			defer cancel()
			result, err := New(nil, SystemClock(), 0).Ready(ctx, (&cluster{lines: []line{{0, show(deployment(1, ""))}}}).live(), time.Minute, 0)
			if !errors.Is(err, context.DeadlineExceeded) || result != (Result{}) {
				t.Errorf("got %+v, %v", result, err)
			}
		})
	})
}

// A look that hangs is given up, and the next one may do better.
func TestReadyLooksAgainAfterOneThatHangs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		looks := 0
		result, err := New(nil, SystemClock(), 0).Ready(t.Context(), reads(func(ctx context.Context) (map[manifest.ID]*manifest.Object, []manifest.ID, error) {
			if looks++; looks == 1 {
				<-ctx.Done()
				return nil, nil, ctx.Err()
			}
			return show(deployment(2, available))()
		}), time.Minute, 0)
		if err != nil || result.Verdict != Pass || looks != 4 {
			t.Errorf("got %+v, %v after %d looks", result, err, looks)
		}
	})
}

// A cluster that is slow to answer is left alone for longer between two looks.
func TestReadyEasesOffASlowCluster(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ takes, want time.Duration }{
		{0, time.Second}, // two pauses of 500 ms
		{3 * time.Second, 21 * time.Second},
		{20 * time.Second, 80 * time.Second}, // never more than ten seconds
	} {
		synctest.Test(t, func(t *testing.T) {
			began := time.Now()
			result, err := New(nil, SystemClock(), 0).Ready(t.Context(), reads(func(context.Context) (map[manifest.ID]*manifest.Object, []manifest.ID, error) {
				time.Sleep(test.takes)
				return show(deployment(2, available))()
			}), 10*time.Minute, 0)
			if err != nil || result.Verdict != Pass || time.Since(began) != test.want {
				t.Errorf("each look takes %s: %s, %v after %s; want a pass after %s", test.takes, result.Verdict, err, time.Since(began), test.want)
			}
		})
	}
}
