package verify

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"chaperone.dev/chaperone/internal/fault"
	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/promotion"
)

// scripted plays one Job: what is seen at each look, the last for ever.
type scripted struct {
	begin error
	looks []string // a status as YAML, "gone" or "unreadable"
	at    int
	begun int
}

func (s *scripted) Begin(context.Context, promotion.JobCheck) (string, error) {
	s.begun++
	return "u1", s.begin
}

func (s *scripted) Look(context.Context, promotion.JobCheck, string) (*manifest.Object, error) {
	now := s.looks[min(s.at, len(s.looks)-1)]
	s.at++
	switch now {
	case "gone":
		return nil, nil
	case "unreadable":
		return nil, errors.New("the server is away")
	}
	objects, err := manifest.Decode("job.yaml", fmt.Appendf(nil, "{apiVersion: batch/v1, kind: Job, metadata: {name: smoke, uid: u1}, status: {%s}}", now))
	if err != nil {
		return nil, err
	}
	return objects[0], nil
}

func (s *scripted) Log(context.Context, promotion.JobCheck, string) string { return "last words" }

const (
	jobRuns     = `startTime: "2026-01-01T00:00:00Z", active: 1, ready: 1`
	jobWaits    = `startTime: "2026-01-01T00:00:00Z", active: 1`
	jobDone     = `succeeded: 1, conditions: [{type: Complete, status: "True"}]`
	jobBad      = `failed: 1, conditions: [{type: Failed, status: "True", reason: BackoffLimitExceeded}]`
	jobTooLong  = `failed: 1, conditions: [{type: Failed, status: "True", reason: DeadlineExceeded}]`
	jobNeverRan = `failed: 1, conditions: [{type: Failed, status: "True", reason: DeadlineExceeded}]`
)

func TestSmokeTests(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name     string
		begin    error
		looks    []string
		verdict  Verdict
		evidence string
		log      string
	}{
		{"completes", nil, []string{jobWaits, jobRuns, jobDone}, Pass, `job "smoke" completed with 1 succeeded after 4s`, ""},
		{"fails", nil, []string{jobRuns, jobBad}, Fail, `job "smoke" failed after 1 failed pod: BackoffLimitExceeded after 2s`, "last words"},
		{"takes too long", nil, []string{jobRuns, jobTooLong}, Fail, "DeadlineExceeded", "last words"},
		{"its pod never runs", nil, []string{jobWaits, jobNeverRan}, Error, "no pod of it came to run", "last words"},
		{"says nothing in time", nil, []string{jobRuns}, Error, "its Job is running with 1 active, 0 succeeded, 0 failed after 90s", "last words"},
		{"cannot be read", nil, []string{"unreadable"}, Error, "could not be read: the server is away", "last words"},
		{"cannot be read for a while", nil, []string{"unreadable", "unreadable", jobDone}, Pass, "completed", ""},
		{"may not be made", fault.Terminal("create", "Job/smoke", errors.New("forbidden")), nil, Error, "could not be run: ", ""},
		{"cannot be made", errors.New("the server is away"), nil, Error, "could not be run: the server is away", ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				jobs := &scripted{begin: test.begin, looks: test.looks}
				v := New(nil, SystemClock(), 0)
				check := v.jobCheck(promotion.JobCheck{Name: "smoke", CronJob: "smoke", Timeout: time.Minute}, jobs)
				got, err := v.one(t.Context(), check)
				if err != nil || got.Verdict != test.verdict || !strings.Contains(got.Evidence, test.evidence) || got.Log != test.log {
					t.Errorf("got %s: %s (%q), %v; want %s: %s", got.Verdict, got.Evidence, got.Log, err, test.verdict, test.evidence)
				}
				if test.begin == nil && jobs.begun != 1 {
					t.Errorf("was begun %d times", jobs.begun)
				}
			})
		})
	}
}

// A Job with a short time to live, or deleted by somebody, is gone at the next
// look; without its result it is no pass and no fail (kc#1578, argo-cd#23994).
func TestPitfall26_SmokeTestThatIsGoneIsNoPass(t *testing.T) {
	t.Parallel()
	for name, looks := range map[string][]string{
		"at once": {"gone"}, "while it ran": {jobRuns, "gone"}, "before it started": {jobWaits, "gone", jobDone},
	} {
		synctest.Test(t, func(t *testing.T) {
			v := New(nil, SystemClock(), 0)
			got, err := v.job(t.Context(), promotion.JobCheck{Name: "smoke", Timeout: time.Minute}, &scripted{looks: looks})
			if err != nil || got.Verdict != Error || !strings.Contains(got.Evidence, "gone before its result was seen") {
				t.Errorf("%s: got %s: %s, %v", name, got.Verdict, got.Evidence, err)
			}
		})
	}
}

// Whenever a smoke test is called off there is no verdict (helm-controller#1557).
func TestPitfall29_CancelledSmokeTestHasNoVerdict(t *testing.T) {
	t.Parallel()
	for after := range 6 {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Duration(after)*time.Second)
			defer cancel()
			v := New(nil, SystemClock(), 0)
			got, err := v.job(ctx, promotion.JobCheck{Name: "smoke", Timeout: time.Minute}, &scripted{looks: []string{jobRuns, jobRuns, jobRuns, jobBad}})
			if !errors.Is(err, context.DeadlineExceeded) || got != (Result{}) {
				t.Errorf("after %ds: %+v, %v", after, got, err)
			}
		})
	}
}

func restartedPod(name, hash string, born time.Time, restarts int, ended string) string {
	return fmt.Sprintf(`{apiVersion: v1, kind: Pod, metadata: {name: %s, namespace: novamind, creationTimestamp: %q, labels: {pod-template-hash: %s},
		ownerReferences: [{kind: ReplicaSet, name: api-%s, uid: rs-%s, controller: true}]},
		status: {containerStatuses: [{name: api, restartCount: %d, lastState: {%s}}]}}`, name, born.Format(time.RFC3339), hash, hash, hash, restarts, ended)
}

func replicaSet(hash, revision string, born time.Time) string {
	return fmt.Sprintf(`{apiVersion: apps/v1, kind: ReplicaSet, metadata: {name: api-%s, namespace: novamind, uid: rs-%s, creationTimestamp: %q,
		annotations: {deployment.kubernetes.io/revision: %q}, ownerReferences: [{kind: Deployment, name: api, uid: d1, controller: true}]}}`, hash, hash, born.Format(time.RFC3339), revision)
}

func TestRestarts(t *testing.T) {
	t.Parallel()
	began := time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)
	killed := `terminated: {exitCode: 137, reason: OOMKilled}`
	ended := func(at time.Time) string {
		return fmt.Sprintf(`terminated: {exitCode: 137, reason: OOMKilled, finishedAt: %q}`, at.UTC().Format(time.RFC3339))
	}
	crashed := `terminated: {exitCode: 1, reason: Error}`
	now, before := began.Add(10*time.Second), began.Add(-time.Hour)
	const unmoved, back = "a new pod of a template that did not change", "an older template that came back"
	tests := []struct {
		name     string
		limits   promotion.Restarts
		pods     []string
		err      error
		verdict  Verdict // "" is not told
		evidence string
	}{
		{"none", promotion.Restarts{}, []string{restartedPod("n1", "new", now, 0, "")}, nil, Pass, "1 new pods, 0 restarts at most"},
		{"within the limit", promotion.Restarts{Max: 2}, []string{restartedPod("n1", "new", now, 2, crashed)}, nil, Pass, "2 restarts at most of a container (limit 2)"},
		{"over the limit", promotion.Restarts{Max: 2}, []string{restartedPod("n1", "new", now, 3, crashed)}, nil, Fail, `pod n1: container "api" was started again 3 times, last after it exited with code 1 (limit 2)`},
		{"out of memory", promotion.Restarts{Max: 2}, []string{restartedPod("n1", "new", now, 1, killed)}, nil, Fail, "exited with code 137 (OOMKilled) (limit of such ends 0)"},
		{"out of memory, allowed", promotion.Restarts{Max: 2, OOMKills: 1}, []string{restartedPod("n1", "new", now, 1, killed)}, nil, Pass, "1 restarts"},
		{"of the old template", promotion.Restarts{}, []string{restartedPod("o1", "old", now, 9, crashed), restartedPod("n1", "new", now, 0, "")}, nil, Pass, "1 new pods, 0 restarts"},
		{"of a workload that did not change", promotion.Restarts{}, []string{restartedPod("n1", "new", before, 9, killed)}, nil, "", ""},
		{unmoved, promotion.Restarts{}, []string{restartedPod("n1", "new", now, 9, killed)}, nil, "", ""},
		{back, promotion.Restarts{}, []string{restartedPod("n1", "new", now, 9, killed)}, nil, Fail, "9 times"},
		{"watched, and not lately", promotion.Restarts{}, []string{restartedPod("n1", "new", now, 9, ended(time.Now().Add(-11*time.Minute)))}, nil, Pass, "0 restarts"},
		{"watched, and a moment ago", promotion.Restarts{}, []string{restartedPod("n1", "new", now, 9, ended(time.Now().Add(-9*time.Minute)))}, nil, Fail, "9 times"},
		{"long ago, and not watched", promotion.Restarts{}, []string{restartedPod("n1", "new", now, 9, ended(time.Now().Add(-11*time.Minute)))}, nil, Fail, "9 times"},
		{"cannot be read", promotion.Restarts{}, nil, errors.New("the server is away"), Error, "could not be counted: the server is away"},
		{"may not be read, and nobody asked", promotion.Restarts{}, nil, ErrMayNotLook, "", ""},
		{"may not be read, and it was asked", promotion.Restarts{Written: true}, nil, ErrMayNotLook, Error, "the account may not list pods"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			objects := map[manifest.ID]*manifest.Object{}
			for _, text := range append(test.pods, replicaSet("old", "1", before), replicaSet("new", "2", map[bool]time.Time{true: before, false: now}[test.name == unmoved || test.name == back])) {
				decoded, err := manifest.Decode("pod.yaml", []byte(text))
				if err != nil {
					t.Fatal(err)
				}
				objects[manifest.IDOf(decoded[0])] = decoded[0]
			}
			api, err := manifest.Decode("api.yaml", []byte(`{apiVersion: apps/v1, kind: Deployment, metadata: {name: api, namespace: novamind, uid: d1, annotations: {deployment.kubernetes.io/revision: "2"}},
				status: {conditions: [{type: Progressing, status: "True", reason: NewReplicaSetAvailable, lastUpdateTime: "`+map[bool]time.Time{true: before, false: now}[test.name == unmoved].Format(time.RFC3339)+`"}]}}`))
			if err != nil {
				t.Fatal(err)
			}
			live := Live{
				Look: func(context.Context, func(manifest.ID) bool) (map[manifest.ID]*manifest.Object, []manifest.ID, error) {
					return map[manifest.ID]*manifest.Object{manifest.IDOf(api[0]): api[0]}, nil, nil
				},
				Pods: func(context.Context, map[manifest.ID]*manifest.Object) (map[manifest.ID]*manifest.Object, error) {
					return objects, test.err
				},
			}
			got, told, err := New(nil, SystemClock(), 0).restarts(t.Context(), test.limits, Subject{Live: live, Applied: began, Watching: strings.HasPrefix(test.name, "watched")}, 5*time.Minute)
			if err != nil || told != (test.verdict != "") || got.Verdict != test.verdict || !strings.Contains(got.Evidence, test.evidence) {
				t.Errorf("got %s: %s (told %v), %v; want %s: %s", got.Verdict, got.Evidence, told, err, test.verdict, test.evidence)
			}
		})
	}
}
