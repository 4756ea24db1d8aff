package cli

import (
	"context"
	"encoding/json"
	"regexp"
	"strings"
	"testing"
	"time"

	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/reconcile"
	"chaperone.dev/chaperone/internal/state"
)

// daemon answers requests in the records as the real one does, until the test
// ends: it shows a pause as its status, and grants a retry once.
func (in *installation) daemon() {
	in.Helper()
	store, err := state.New(in.cluster.Config(), in.namespace, time.Now)
	if err != nil {
		in.Fatal(err)
	}
	ctx, stop := context.WithCancel(in.Context())
	ended := make(chan struct{})
	in.Cleanup(func() { stop(); <-ended })
	go func() {
		defer close(ended)
		for ctx.Err() == nil {
			records, _ := store.Load(ctx)
			for _, r := range records {
				if answer(&r) {
					_, _ = store.Save(ctx, r)
				}
			}
			select {
			case <-ctx.Done():
			case <-time.After(20 * time.Millisecond):
			}
		}
	}()
}

func answer(r *state.Record) bool {
	if r.Unreadable != nil || invalid(*r) {
		return false
	}
	pause, retry := r.Requests.Pause, r.Requests.Retry
	switch {
	case pause != nil && !strings.HasSuffix(r.Message, pause.Reason):
		r.Status.Phase, r.Status.Reason, r.Message = reconcile.PhaseHeld, promotion.Paused, "paused by "+pause.By+": "+pause.Reason
	case pause == nil && r.Status.Reason == promotion.Paused:
		r.Status.Phase, r.Status.Reason, r.Message = reconcile.PhaseReady, promotion.UpToDate, "runs what is wanted"
	case retry != nil && retry.ID != r.Journal.Served:
		r.Journal.Served, r.Journal.Hold, r.Journal.Quarantine = retry.ID, reconcile.Hold{}, nil
		r.Status.Phase, r.Status.Reason, r.Message = reconcile.PhaseProgressing, promotion.Retrying, retry.By+" asked"
	default:
		return false
	}
	return true
}

func (in *installation) record(id promotion.ID) state.Record {
	in.Helper()
	r, err := in.store.Get(in.Context(), id)
	if err != nil {
		in.Fatal(err)
	}
	return r
}

// served waits until the daemon has taken note of a request.
func (in *installation) served(id promotion.ID, request string) {
	in.Helper()
	for range 1000 {
		if in.record(id).Journal.Served == request {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	in.Fatalf("%s: request %s is not served within 20s", id, request)
}

// said wants an exit code, and an output without times of day.
func (in *installation) said(wantCode int, want string, args ...string) {
	in.Helper()
	code, out, complaints := in.run(args[0], args[1:]...)
	out = moment.ReplaceAllString(out+complaints, "TIME")
	if code != wantCode || out != want {
		in.Errorf("chaperone %s: exit code %d, want %d\n%s\nwant\n%s", strings.Join(args, " "), code, wantCode, out, want)
	}
	narrowButErrors(in.T, out)
}

var moment = regexp.MustCompile(`\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ`)

func narrowButErrors(t *testing.T, out string) {
	t.Helper()
	for line := range strings.SplitSeq(out, "\n") {
		if !strings.HasPrefix(line, "chaperone: ") {
			narrow(t, line)
		}
	}
}

func TestPauseAndResume(t *testing.T) {
	t.Parallel()
	in := install(t)
	in.shop()
	in.daemon()
	in.said(exitFine, "shop/development is paused by "+localUser+" until TIME: audit until noon\n",
		"pause", "shop/development", "--reason", "audit until noon", "--for", "2h")
	r := in.record(development)
	p := r.Requests.Pause
	if p == nil || p.By != localUser || time.Until(p.Until) < 110*time.Minute || r.Status.Reason != promotion.Paused {
		t.Fatalf("pause is %+v, and the status %s", p, r.Status.Reason)
	}
	in.said(exitFine, "shop/development is paused by "+localUser+" until it is resumed: audit drags on\n"+
		"    in place of: paused by "+localUser+" until TIME: audit until noon\n",
		"pause", "shop/development", "--reason", " audit drags on ")
	in.said(exitNo, `shop/development: Held (Paused) for 2h
  now      paused by `+localUser+`: audit drags on
  meaning  A person asked that nothing happens here.
  running  2222222222222222222222222222222222222222
  pause    by `+localUser+` until it is resumed: audit drags on
  unblock  An operator: `+"`chaperone resume`"+` ends the pause; one with an end ends by itself at the
           time named.
`, "why", "shop/development")
	in.said(exitFine, "shop/development is resumed; it was paused by "+localUser+" until it is resumed: audit drags on\n", "resume", "shop/development")
	in.said(exitFine, "shop/development is not paused\n", "resume", "shop/development")
	if p := in.record(development).Requests.Pause; p != nil {
		t.Errorf("after resume the pause is %+v", p)
	}
}

const localUser = "localcluster-admin"

// Many at once: in the order of promotion, each with what is under way there.
func TestPauseMany(t *testing.T) {
	t.Parallel()
	in := install(t)
	in.shop()
	in.daemon()
	in.said(exitFine, `shop/development is paused by `+localUser+` until TIME: holidays
shop/staging is paused by `+localUser+` until TIME: holidays
    reverting 222222222222 was under way: the step that was begun ends, and nothing follows it
shop/production is paused by `+localUser+` until TIME: holidays
`, "pause", "--pipeline", "shop", "--reason", "holidays", "--until", "2126-12-27T08:00[Europe/Berlin]")
	if got := in.record(production).Requests.Pause.Until.UTC().Format(time.RFC3339); got != "2126-12-27T07:00:00Z" {
		t.Errorf("until %s", got)
	}
	code, out, _ := in.run("resume", "--all", "-o", "json")
	var done []requested
	if err := json.Unmarshal([]byte(out), &done); err != nil || code != exitFine || len(done) != 3 {
		t.Fatalf("exit code %d, %v: %s", code, err, out)
	}
	for _, r := range done {
		if r.Outcome != "Resumed" || !r.Noted || r.Reason != string(promotion.UpToDate) || r.Pause.Reason != "holidays" {
			t.Errorf("%+v", r)
		}
	}
	in.said(exitUsage, "chaperone: --pipeline shoe: the daemon knows no such pipeline; it knows shop\n",
		"pause", "--pipeline", "shoe", "--reason", "x")
	in.said(exitUsage, "chaperone: environment shop/nope: the daemon does not know it; it knows shop/development, shop/production, shop/staging\n",
		"pause", "shop/development", "shop/nope", "--reason", "x")
	if p := in.record(development).Requests.Pause; p != nil {
		t.Errorf("one name was wrong, and another environment is paused all the same: %+v", p)
	}
}

// Without a daemon the pause is written, and nobody is told that it holds.
func TestPauseUnheard(t *testing.T) {
	t.Parallel()
	in := install(t)
	in.shop()
	in.said(exitUnreachable, "shop/development is to be paused by "+localUser+" until it is resumed: audit\n"+
		"chaperone: the daemon has not taken note within 300ms (--wait): shop/development; what was asked stands, and is heeded as soon as "+
		"the daemon sees it; does it run? `kubectl get pods --namespace "+in.namespace+"`\n",
		"pause", "shop/development", "--reason", "audit", "--wait", "300ms")
	if in.record(development).Requests.Pause == nil {
		t.Error("the pause is not written")
	}
	code, out, _ := in.run("status")
	if code != exitNo || !strings.Contains(out, "UpToDate (paused)") {
		t.Errorf("status: exit code %d\n%s", code, out)
	}
	in.said(exitFine, "shop/development is resumed; it was paused by "+localUser+" until it is resumed: audit\n", "resume", "shop/development")
	in.said(exitFine, "shop/staging is to be paused by "+localUser+" until it is resumed: audit\n"+
		"    reverting 222222222222 was under way: the step that was begun ends, and nothing follows it\n",
		"pause", "shop/staging", "--reason", "audit", "--wait", "0")
	in.said(exitNo, "chaperone: retry shop/staging: it is paused by "+localUser+" until it is resumed: audit; `chaperone resume shop/staging` first\n",
		"retry", "shop/staging")
}

// A pause that is over by itself, and one that stands where nothing happens anyway.
func TestPauseOddities(t *testing.T) {
	t.Parallel()
	in := install(t)
	in.save(state.Record{ID: staging, Message: "environments/shop/staging.yaml:3: wrong",
		Status: reconcile.Status{Phase: reconcile.PhaseInvalid, Reason: promotion.InvalidEnvironment}})
	in.said(exitFine, "shop/staging is paused by "+localUser+" until it is resumed: audit\n"+
		"    it stands still anyway: environments/shop/staging.yaml:3: wrong\n", "pause", "shop/staging", "--reason", "audit")
	past := state.Pause{Reason: "short", By: "ada", At: time.Now().Add(-2 * time.Hour), Until: time.Now().Add(-time.Hour)}
	if err := in.store.SetPause(t.Context(), staging, &past); err != nil {
		t.Fatal(err)
	}
	if code, out, _ := in.run("status"); code != exitNo || strings.Contains(out, "paused") {
		t.Errorf("a pause that is over is shown: %s", out)
	}
	in.said(exitFine, "shop/staging is resumed; its pause was over since TIME\n", "resume", "shop/staging")
}

func TestRetry(t *testing.T) {
	t.Parallel()
	in := install(t)
	in.shop()
	in.save(state.Record{ID: staging, Message: "failed before", Status: reconcile.Status{Phase: reconcile.PhaseHeld, Reason: promotion.Quarantined, Wanted: release(second)},
		Journal: reconcile.Journal{Running: release(first), LastGood: release(first), Quarantine: []reconcile.Digest{release(second).Digest, release(third).Digest}}}, development)
	refused := "chaperone: retry shop/production: there is nothing to try again: it is Waiting (WaitingForUpstream): Staging has not verified it yet.\n"
	in.said(exitNo, refused, "retry", "shop/production")
	in.said(exitNo, "chaperone: retry shop/development: --digest 4444: nothing is quarantined or held there: it is Ready (UpToDate)\n",
		"retry", "shop/development", "--digest", "4444")
	in.said(exitNo, "chaperone: retry shop/staging: --revision 4444: that is neither quarantined nor held there; these are: 222222222222 (222222222222), 333333333333\n",
		"retry", "shop/staging", "--revision", "4444")
	in.said(exitUsage, "chaperone: retry: want --digest or --revision, not both\n", "retry", "shop/staging", "--revision", "4", "--digest", "4")
	if r := in.record(staging); r.Requests.Retry != nil {
		t.Fatalf("refused, and written all the same: %+v", r.Requests.Retry)
	}
	in.said(exitUnreachable, "shop/staging is to be tried again: the quarantine of 333333333333 is to be lifted\n"+
		"chaperone: the daemon has not taken note within 100ms (--wait): shop/staging; what was asked stands, and is heeded as soon as "+
		"the daemon sees it; does it run? `kubectl get pods --namespace "+in.namespace+"`\n",
		"retry", "shop/staging", "--digest", "sha256:3333", "--wait", "100ms")
	asked := in.record(staging).Requests.Retry
	if asked == nil || asked.By != localUser || asked.Digest != release(third).Digest || asked.ID == "" {
		t.Fatalf("asked for %+v", asked)
	}
	in.daemon()
	in.served(staging, asked.ID)
	in.save(state.Record{ID: staging, Message: "failed before", Status: reconcile.Status{Phase: reconcile.PhaseHeld, Reason: promotion.Quarantined, Wanted: release(second)},
		Journal: reconcile.Journal{Running: release(first), LastGood: release(first), Quarantine: []reconcile.Digest{release(second).Digest}, Served: asked.ID}}, development)
	in.said(exitFine, "shop/staging is tried again: the quarantine of 222222222222 (222222222222) is lifted\n", "retry", "shop/staging")
	r := in.record(staging)
	if r.Requests.Retry.ID == asked.ID || r.Journal.Served != r.Requests.Retry.ID || r.Requests.Retry.Digest != release(second).Digest {
		t.Errorf("asked for %+v, served %s", r.Requests.Retry, r.Journal.Served)
	}
	in.said(exitNo, "chaperone: retry shop/staging: there is nothing to try again: it is Progressing (Retrying): "+localUser+" asked\n", "retry", "shop/staging")
}
