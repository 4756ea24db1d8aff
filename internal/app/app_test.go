package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"chaperone.dev/chaperone/internal/cluster"
	"chaperone.dev/chaperone/internal/config"
	"chaperone.dev/chaperone/internal/controller"
	"chaperone.dev/chaperone/internal/fault"
	"chaperone.dev/chaperone/internal/plan"
	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/reconcile"
	"chaperone.dev/chaperone/internal/source"
)

func TestTeardownEndsTheLastFirst(t *testing.T) {
	t.Parallel()
	down := teardown{log: slog.New(slog.DiscardHandler)}
	var ended []string
	for _, name := range []string{"page", "source", "clusters"} {
		down.later(name, func() error {
			ended = append(ended, name)
			if name == "source" {
				return errors.New("still in use")
			}
			return nil
		})
	}
	err := down.takeDown()
	if want := []string{"clusters", "source", "page"}; !slices.Equal(ended, want) {
		t.Errorf("ended %v, want %v", ended, want)
	}
	if err == nil || !strings.Contains(err.Error(), "take down source: still in use") {
		t.Errorf("got %v; want it to name the part", err)
	}
	if err := down.takeDown(); err != nil || len(ended) != 3 {
		t.Errorf("a second time: %v, ended %v", err, ended)
	}
}

// What an apply's error means for the release is decided here and nowhere else.
func TestRefused(t *testing.T) {
	t.Parallel()
	hook := fault.Terminal("hook", "Job/demo/migrate", errors.New("the Job failed"))
	for _, test := range []struct {
		name   string
		err    error
		reason promotion.Reason // "" for no refusal
	}{
		{"nothing", nil, ""},
		{"a guard", fault.Terminal("", "", &plan.Refusal{Reason: promotion.MassDeletion}), promotion.MassDeletion},
		{"another owner was faster in the middle", fault.Retryable("", "", &plan.Refusal{Reason: promotion.ConflictingOwner, Touched: true}), ""},
		{"the server, before anything", fault.Terminal("", "", &plan.Rejected{}), promotion.ApplyRejected},
		{"a hook's verdict", hook, promotion.VerificationFailed},
		{"a hook that could not be asked", fault.Retryable("hook", "Job/demo/migrate", errors.New("no answer")), ""},
		{"a hook's verdict among others", fmt.Errorf("prod: %w", errors.Join(errors.New("no answer"), hook)), promotion.VerificationFailed},
		{"a hook that could not be asked, and another fault", errors.Join(fault.Retryable("hook", "Job/demo/migrate", errors.New("no answer")),
			fault.Terminal("apply", "Deployment/demo/app", errors.New("forbidden"))), ""},
		{"a verdict that may pass", fault.Retryable("", "", hook), ""},
		{"what was not ready in time", fault.Terminal("wait", "Deployment/demo/db", errors.New("not ready within the apply's 30m0s")), ""},
		{"another terminal fault", fault.Terminal("apply", "Deployment/demo/app", errors.New("gone")), ""},
		{"a passing one", errors.New("no answer"), ""},
	} {
		err := refused(test.err)
		var refusal *controller.Refusal
		got := promotion.Reason("")
		if errors.As(err, &refusal) {
			got = refusal.Reason
		}
		if got != test.reason || (err == nil) != (test.err == nil) || test.err != nil && !errors.Is(err, test.err) {
			t.Errorf("%s: %v with reason %q, want %q", test.name, err, got, test.reason)
		}
	}
}

func TestAccountIsTheNamespaces(t *testing.T) {
	t.Parallel()
	if got := account(promotion.Target{Namespace: "shop", ServiceAccount: "deployer"}); got != "system:serviceaccount:shop:deployer" {
		t.Errorf("got %q", got)
	}
	if got := account(promotion.Target{Namespace: "shop"}); got != "" {
		t.Errorf("without one: %q", got)
	}
}

// A proxy's address may have a password in it (pitfall 41).
func TestProxyIsNotShown(t *testing.T) {
	t.Parallel()
	for _, address := range []string{"http://user:canary@%zz", "canary", "http://"} {
		_, err := proxied(address)
		if !fault.IsTerminal(err) || strings.Contains(fmt.Sprint(err), "canary") || !strings.Contains(fmt.Sprint(err), "verify.proxy") {
			t.Errorf("%s: %v", address, err)
		}
	}
	if client, err := proxied("http://user:canary@127.0.0.1:3128"); err != nil || client == nil {
		t.Errorf("a good one: %v", err)
	}
}

func TestKubeconfigThatIsNotThere(t *testing.T) {
	t.Parallel()
	missing := filepath.Join(t.TempDir(), "absent")
	if _, err := KubeConfig(missing, ""); err == nil || !strings.Contains(err.Error(), missing) {
		t.Errorf("got %v; want the file named", err)
	}
}

// The page says who can change what, unless there is nothing to change.
func TestLineNamesWhoCanUnblock(t *testing.T) {
	t.Parallel()
	held := line(controller.EnvironmentView{Status: reconcile.Status{Phase: reconcile.PhaseHeld, Reason: promotion.RevertConflict}})
	fine := line(controller.EnvironmentView{Status: reconcile.Status{Phase: reconcile.PhaseReady, Reason: promotion.UpToDate}})
	if held.Unblock != promotion.RevertConflict.Unblock() || held.Unblock == "" || fine.Unblock != "" {
		t.Errorf("held: %q, fine: %q", held.Unblock, fine.Unblock)
	}
}

func TestServeWantsAConfiguration(t *testing.T) {
	t.Parallel()
	wrong := errors.New("no source")
	err := Serve(t.Context(), Settings{Load: func() (config.Config, error) { return config.Config{}, wrong }}, Build{}, nil)
	if !errors.Is(err, wrong) {
		t.Errorf("got %v, want %v", err, wrong)
	}
}

// A change is reported once it is valid and makes a difference; what is not
// valid is told of once, not at every look.
func TestSettingsAreWatched(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "config.yaml")
	put := func(text string) {
		if err := os.WriteFile(file+".new", []byte(text), 0o600); err != nil {
			t.Error(err)
		}
		if err := os.Rename(file+".new", file); err != nil {
			t.Error(err)
		}
	}
	put("main")
	var loads atomic.Int64
	s := Settings{Files: []string{file}, Load: func() (config.Config, error) {
		defer loads.Add(1)
		content, err := os.ReadFile(file)
		if err != nil || strings.HasPrefix(string(content), "wrong") {
			return config.Config{}, errors.Join(errors.New("wrong"), err)
		}
		return config.Config{Source: config.Source{Branch: string(content)}}, nil
	}}
	current, err := s.Load()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var said strings.Builder
	changed := make(chan config.Config, 1)
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.watch(ctx, current, slog.New(slog.NewTextHandler(&said, nil)), changed)
	}()
	settle := func(text string) {
		before := loads.Load()
		for loads.Load() == before { // until a write is seen, from whenever it is watched for
			put(text)
			select {
			case <-ctx.Done():
				t.Fatal("not looked at")
			case <-time.After(300 * time.Millisecond):
			}
		}
	}
	settle("wrong")
	settle("wrong again")
	settle("main")
	put("release")
	select {
	case next := <-changed:
		if next.Source.Branch != "release" {
			t.Errorf("took up %q", next.Source.Branch)
		}
	case <-ctx.Done():
		t.Fatal("not taken up")
	}
	<-done
	if n := strings.Count(said.String(), "configuration refused"); n != 1 {
		t.Errorf("told %d times of the same fault:\n%s", n, said.String())
	}
}

// history is a source of policies: the content of one rule, by revision.
type history struct {
	controllerSource
	rules map[source.Revision]string
	reads int
}

type snapshot struct {
	fstest.MapFS
	at source.Revision
}

func (s snapshot) Revision() source.Revision        { return s.at }
func (s snapshot) Hash(name string) (string, error) { return name, nil }

func (h *history) Snapshot(r source.Revision) (source.Snapshot, error) {
	h.reads++
	const object = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: app}\ndata: {%s: text}\n"
	const dir = "policies/config/no-word/"
	return snapshot{fstest.MapFS{
		dir + "rule.rego":              {Data: []byte(h.rules[r])},
		dir + "testdata/fail/one.yaml": {Data: fmt.Appendf(nil, object, "word")},
		dir + "testdata/pass/one.yaml": {Data: fmt.Appendf(nil, object, "other")},
	}, r}, nil
}

func (h *history) Changed(from, to source.Revision) ([]string, error) {
	if h.rules[from] == h.rules[to] {
		return []string{"base/app.yaml"}, nil
	}
	return []string{"policies/config/no-word/rule.rego"}, nil
}

const goodRule = `# METADATA
# title: No word
# description: A word is what this test forbids.
# scope: package
# custom:
#   id: config/no-word
#   severity: critical
#   data: [synthetic]
#   kinds: [ConfigMap]
#   controls: {pss: [restricted]}
#   remediation: Leave it out.
package config.no_word

deny contains {"msg": "there is a word", "path": "data.word"} if input.object.data.word
`

// Policies of the source follow it; those that are refused leave the ones
// before in force, and what did not change is not read again.
func TestPoliciesOfTheSourceFollowIt(t *testing.T) {
	t.Parallel()
	bad, other := strings.Replace(goodRule, "deny contains", "deny contians", 1), strings.Replace(goodRule, "there is", "here is", 1)
	h := &history{rules: map[source.Revision]string{"1": goodRule, "2": bad, "4": other, "5": other}}
	p := &sourcePolicies{log: slog.New(slog.DiscardHandler), told: func(error) {}}
	var digests []string
	for _, head := range []source.Revision{"1", "1", "2", "4", "5"} {
		p.follow(t.Context(), h, head)
		if bundle := p.bundle.Load(); bundle != nil {
			digests = append(digests, string(bundle.Digest()))
		}
	}
	if len(digests) != 5 || digests[0] != digests[1] || digests[1] != digests[2] || digests[2] == digests[3] || digests[3] != digests[4] {
		t.Errorf("bundles in force: %v; want the first until the fourth", digests)
	}
	if h.reads != 3 {
		t.Errorf("policies were read %d times for three versions of them", h.reads)
	}
}

// What a prune leaves is told in words, and by its number where it is not alone.
func TestStill(t *testing.T) {
	t.Parallel()
	c := &clusters{connections: &connections{namespace: "own"}} // reaches nothing
	left := []cluster.Left{{Reason: plan.ReasonPartialRead}, {Reason: "held by a finalizer"}}
	for n, want := range map[int]string{0: "still there: a part of the API does not answer; decided when it is back, and 1 more", 1: "still there: held by a finalizer"} {
		if got := c.still(t.Context(), promotion.Environment{Target: promotion.Target{Namespace: "own"}}, left[n:]); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// crowded changes so much at once that the list of it ends before the policies.
type crowded struct{ *history }

func (crowded) Changed(_, _ source.Revision) ([]string, error) {
	return slices.Repeat([]string{"base/app.yaml"}, manyChanged), nil
}

func TestPoliciesAmongManyChangesAreTaken(t *testing.T) {
	t.Parallel()
	h := &history{rules: map[source.Revision]string{"1": goodRule, "2": strings.Replace(goodRule, "there is", "here is", 1)}}
	p := &sourcePolicies{log: slog.New(slog.DiscardHandler), told: func(error) {}}
	p.follow(t.Context(), crowded{h}, "1")
	before := p.bundle.Load()
	p.follow(t.Context(), crowded{h}, "2")
	if after := p.bundle.Load(); before == nil || after == nil || before.Digest() == after.Digest() {
		t.Error("what changed among much else is not in force")
	}
}
