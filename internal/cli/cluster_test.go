package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"sigs.k8s.io/yaml"

	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/reconcile"
	"chaperone.dev/chaperone/internal/source"
	"chaperone.dev/chaperone/internal/state"
	"chaperone.dev/chaperone/internal/testkit/localcluster"
)

var (
	first  = source.Revision(strings.Repeat("1", 40))
	second = source.Revision(strings.Repeat("2", 40))
	third  = source.Revision(strings.Repeat("3", 40))

	development = promotion.ID{Pipeline: "shop", Name: "development"}
	staging     = promotion.ID{Pipeline: "shop", Name: "staging"}
	production  = promotion.ID{Pipeline: "shop", Name: "production"}
	longest     = promotion.ID{Pipeline: strings.Repeat("p", 63), Name: strings.Repeat("n", 63)}
)

// longEvidence is as long as it gets, and was written by somebody who means ill.
var longEvidence = "\x1b[2Jhttp \"readiness\" answered 500 in 12 of 12 requests over 60s (limit 1%): " + strings.Repeat("service unavailable ", 12)

// installation is a daemon's namespace, with what a daemon would have stored.
type installation struct {
	*testing.T
	cluster   *localcluster.Cluster
	namespace string
	store     *state.Store
}

var installing sync.Mutex

func install(t *testing.T) *installation {
	t.Helper()
	if testing.Short() {
		t.Skip("needs a cluster")
	}
	cluster := localcluster.Start(t)
	installing.Lock()
	defer installing.Unlock()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := state.InstallCRDs(ctx, cluster.Config()); err != nil {
		t.Fatal(err)
	}
	in := &installation{T: t, cluster: cluster, namespace: cluster.Namespace(t)}
	store, err := state.New(cluster.Config(), in.namespace, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	in.store = store
	return in
}

// run is a command that asks this installation.
func (in *installation) run(command string, args ...string) (code int, out, complaints string) {
	in.Helper()
	flags := []string{command, "--kubeconfig", in.cluster.Kubeconfig, "--namespace", in.namespace}
	return run(in.T, Streams{}, append(flags, args...)...)
}

func release(revision source.Revision) reconcile.Release {
	return reconcile.Release{Revision: revision, Digest: reconcile.Digest("sha256:" + strings.Repeat(string(revision[:1]), 64)), Policy: "sha256:policy"}
}

func (in *installation) save(r state.Record, after ...promotion.ID) {
	in.Helper()
	r.Status.Environment = r.ID
	r.Environment = promotion.Environment{ID: r.ID, After: after, Target: promotion.Target{Namespace: "shop"}}
	if there, err := in.store.Get(in.Context(), r.ID); err == nil {
		r.Version = there.Version
	}
	if _, err := in.store.Save(in.Context(), r); err != nil {
		in.Fatal(err)
	}
}

// shop is three environments: one that runs, one that is held after a revert,
// one that waits for it.
func (in *installation) shop() {
	in.Helper()
	hoursAgo := func(n int) time.Time { return time.Now().Add(-time.Duration(n)*time.Hour - time.Minute) }
	in.save(state.Record{ID: development, Since: hoursAgo(2), Message: "Runs what is wanted, verified.",
		Status:  reconcile.Status{Phase: reconcile.PhaseReady, Reason: promotion.UpToDate, Wanted: release(second)},
		Journal: reconcile.Journal{Running: release(second), LastGood: release(second)}})
	in.save(state.Record{ID: staging, Since: hoursAgo(3), Message: "Last good runs; the failed release is taken back.", Evidence: longEvidence,
		Status: reconcile.Status{Phase: reconcile.PhaseHeld, Reason: promotion.RevertConflict, Wanted: release(second)},
		Journal: reconcile.Journal{Running: release(first), LastGood: release(first),
			LastRevert: reconcile.Revert{Guilty: second, Commit: third},
			Attempt:    reconcile.Attempt{Release: release(second), Stage: reconcile.StageReverting, Guilty: second}}}, development)
	in.save(state.Record{ID: production, Since: hoursAgo(72), Message: "Staging has not verified it yet.",
		Status: reconcile.Status{Phase: reconcile.PhaseWaiting, Reason: promotion.WaitingForUpstream, Wanted: release(second)}}, staging)
}

const shopStatus = `ENVIRONMENT       PHASE    RUNNING       WANTED        SINCE  REASON
shop/development  Ready    222222222222  222222222222  2h     UpToDate
shop/staging      Held     111111111111  222222222222  3h     RevertConflict
shop/production   Waiting  -             222222222222  3d     WaitingForUpstream
`

func TestStatus(t *testing.T) {
	t.Parallel()
	in := install(t)
	code, out, _ := in.run("status")
	if want := "No environment in namespace " + in.namespace; code != exitNo || !strings.HasPrefix(out, want) {
		t.Errorf("before the daemon ran: exit code %d, %q; want %d, %q", code, out, exitNo, want)
	}
	code, _, complaints := in.run("status", "shop/staging")
	if want := "chaperone: environment shop/staging: the daemon in namespace " + in.namespace + " does not know it"; code != exitUsage || !strings.HasPrefix(complaints, want) {
		t.Errorf("before the daemon ran: exit code %d, %q; want %d, %q", code, complaints, exitUsage, want)
	}
	in.shop()
	if code, out, complaints := in.run("status"); code != exitNo || out != shopStatus || complaints != "" {
		t.Errorf("exit code %d, %s\n%s\nwant\n%s", code, complaints, out, shopStatus)
	}
	if code, out, _ := in.run("status", "shop/development"); code != exitFine || strings.Count(out, "\n") != 2 {
		t.Errorf("one that is ready: exit code %d\n%s", code, out)
	}
	code, out, _ = run(t, Streams{Terminal: true}, "status", "--kubeconfig", in.cluster.Kubeconfig, "--namespace", in.namespace)
	if code != exitNo || !strings.Contains(out, red+"Held"+plain+"     111111111111") {
		t.Errorf("on a terminal: exit code %d\n%q", code, out)
	}
	if code, _, complaints = in.run("status", "shop/nope"); code != exitUsage ||
		complaints != "chaperone: environment shop/nope: the daemon does not know it; it knows shop/development, shop/production, shop/staging\n" {
		t.Errorf("unknown: exit code %d, %q", code, complaints)
	}
	in.save(state.Record{ID: longest, Status: reconcile.Status{Phase: reconcile.PhaseProgressing, Reason: promotion.VerificationNoData}})
	_, out, _ = in.run("status")
	narrow(t, out)
}

func TestStatusForPrograms(t *testing.T) {
	t.Parallel()
	in := install(t)
	in.shop()
	_, all, _ := in.run("status", "-o", "json")
	var list []map[string]any
	if err := json.Unmarshal([]byte(all), &list); err != nil || len(list) != 3 {
		t.Fatalf("%d environments, %v\n%s", len(list), err, all)
	}
	_, one, _ := in.run("status", "shop/staging", "-o", "json")
	want := `{
  "environment": "shop/staging",
  "phase": "Held",
  "reason": "RevertConflict",
  "message": "Last good runs; the failed release is taken back.",
  "running": {
    "revision": "` + string(first) + `",
    "digest": "` + string(release(first).Digest) + `",
    "policy": "sha256:policy"
  },
  "wanted": {
    "revision": "` + string(second) + `",
    "digest": "` + string(release(second).Digest) + `",
    "policy": "sha256:policy"
  },
  "lastGood": {
    "revision": "` + string(first) + `",
    "digest": "` + string(release(first).Digest) + `",
    "policy": "sha256:policy"
  },
  "since": "TIME"
}
`
	if got := variable.ReplaceAllString(one, "TIME"); got != variable.ReplaceAllString(want, "TIME") {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	_, inYAML, _ := in.run("status", "shop/staging", "-o", "yaml")
	converted, err := yaml.YAMLToJSON([]byte(inYAML))
	if err != nil {
		t.Fatal(err)
	}
	if !sameJSON(t, converted, []byte(one)) {
		t.Errorf("YAML says other than JSON:\n%s\n%s", inYAML, one)
	}
}

func sameJSON(t *testing.T, a, b []byte) bool {
	t.Helper()
	var values [2]any
	for i, text := range [][]byte{a, b} {
		if err := json.Unmarshal(text, &values[i]); err != nil {
			t.Fatal(err)
		}
	}
	one, _ := json.Marshal(values[0])
	two, _ := json.Marshal(values[1])
	return bytes.Equal(one, two)
}

func TestWhy(t *testing.T) {
	t.Parallel()
	in := install(t)
	in.shop()
	code, out, complaints := in.run("why", "shop/staging")
	want := `shop/staging: Held (RevertConflict) for 3h
  now          Last good runs; the failed release is taken back.
  meaning      ` + promotion.RevertConflict.Explain()[:40]
	if code != exitNo || !strings.HasPrefix(out, want) || complaints != "" {
		t.Errorf("exit code %d, %s\n%s\nwant\n%s", code, complaints, out, want)
	}
	for _, want := range []string{
		"  evidence     \ufffd[2Jhttp \"readiness\" answered 500 in 12 of 12 requests",
		"  running      " + string(first), "  wanted       " + string(second), "  last revert  " + string(third) + " took back",
		"  unblock      A developer: ",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	narrow(t, out)
	code, out, _ = in.run("why", "shop/development")
	if code != exitFine || !strings.HasPrefix(out, "shop/development: Ready (UpToDate) for 2h\n") || strings.Contains(out, "unblock") {
		t.Errorf("one that is ready: exit code %d\n%s", code, out)
	}
	code, out, _ = in.run("why", "shop/staging", "-o", "json")
	var told map[string]any
	if err := json.Unmarshal([]byte(out), &told); err != nil || code != exitNo {
		t.Fatalf("exit code %d: %v\n%s", code, err, out)
	}
	for key, want := range map[string]any{
		"environment": "shop/staging", "phase": "Held", "reason": "RevertConflict", "evidence": longEvidence,
		"explanation": promotion.RevertConflict.Explain(), "unblock": promotion.RevertConflict.Unblock(),
	} {
		if told[key] != want {
			t.Errorf("%s is %q, want %q", key, told[key], want)
		}
	}
	if told["lastRevert"].(map[string]any)["guilty"] != string(second) || told["attempt"].(map[string]any)["stage"] != "reverting" {
		t.Errorf("lastRevert, attempt: %s", out)
	}
}

func TestHistory(t *testing.T) {
	t.Parallel()
	in := install(t)
	in.shop()
	if code, out, _ := in.run("history", "shop/staging"); code != exitFine || out != "No release yet.\n" {
		t.Errorf("before the first: exit code %d, %q", code, out)
	}
	began := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	ada := source.Person{Name: "Ada", Email: "ada@example.org"}
	for i, r := range []state.Release{
		{Release: release(first), Phase: state.ReleaseVerified, Reason: promotion.UpToDate, Subject: "shop: open", Author: ada, Ended: began.Add(time.Minute),
			Evidence: "ready 3 of 3"},
		{Release: release(second), Phase: state.ReleaseReverted, Reason: promotion.VerificationFailed, Subject: "shop: sell\x1b[2J " + strings.Repeat("more ", 20),
			Author: ada, Evidence: longEvidence, Guilty: second, Revert: third, Ended: began.Add(2 * time.Hour)},
		{Release: release(third), Phase: state.ReleaseApplying, Subject: "shop: close"},
	} {
		r.Environment, r.Started = staging, began.Add(time.Duration(i)*time.Hour)
		if err := in.store.PutRelease(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	code, out, complaints := in.run("history", "shop/staging")
	want, err := os.ReadFile(filepath.Join("testdata", "history.txt"))
	if err != nil {
		t.Fatal(err)
	}
	if code != exitFine || out != string(want) || complaints != "" {
		t.Errorf("exit code %d, %s\n%s\nwant\n%s", code, complaints, out, want)
	}
	narrow(t, out)
	_, out, _ = in.run("history", "shop/staging", "-o", "json")
	var lines []map[string]any
	if err := json.Unmarshal([]byte(out), &lines); err != nil || len(lines) != 3 {
		t.Fatalf("%v\n%s", err, out)
	}
	for key, want := range map[string]any{
		"started": "2026-03-01T13:00:00Z", "ended": "2026-03-01T14:00:00Z", "revision": string(second), "digest": string(release(second).Digest),
		"phase": "Reverted", "reason": "VerificationFailed", "author": "Ada <ada@example.org>", "evidence": longEvidence,
		"guilty": string(second), "revert": string(third),
	} {
		if lines[1][key] != want {
			t.Errorf("%s is %q, want %q", key, lines[1][key], want)
		}
	}
}

// narrow wants text that fits, and that no terminal obeys.
func narrow(t *testing.T, text string) {
	t.Helper()
	for line := range strings.SplitSeq(text, "\n") {
		if textWidth(line) > tableWidth || strings.Contains(line, "\x1b") {
			t.Errorf("%d columns: %q", textWidth(line), line)
		}
	}
}
