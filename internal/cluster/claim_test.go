package cluster

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"chaperone.dev/chaperone/internal/fault"
	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/plan"
	"chaperone.dev/chaperone/internal/promotion"
)

// beside is another environment in the same namespace.
func (f *fixture) beside(pipeline, name string) *fixture {
	other := *f
	other.owner.Environment = promotion.ID{Pipeline: pipeline, Name: name}
	return &other
}

// refusedFor is the refusal that an error is because of another owner.
func refusedFor(t *testing.T, err error) *plan.Refusal {
	t.Helper()
	var refusal *plan.Refusal
	if !errors.As(err, &refusal) || refusal.Reason != promotion.ConflictingOwner {
		t.Fatalf("%v, want a ConflictingOwner refusal", err)
	}
	return refusal
}

// atOnce carries out both plans at the same moment.
func atOnce(first, second *fixture, plans [2]plan.Plan) (errs [2]error) {
	var group sync.WaitGroup
	begin := make(chan struct{})
	for i, f := range []*fixture{first, second} {
		group.Go(func() {
			<-begin
			_, errs[i] = f.c.Apply(f.Context(), f.owner, plans[i], nil)
		})
	}
	close(begin)
	group.Wait()
	return errs
}

// oneWinner checks that exactly one of two environments got the ConfigMap, whole.
func oneWinner(first, second *fixture, name string, errs [2]error) {
	first.Helper()
	if (errs[0] == nil) == (errs[1] == nil) {
		first.Fatalf("%s: %v and %v; want one of them refused", name, errs[0], errs[1])
	}
	winner, loser, err := first, second, errs[1]
	if errs[1] == nil {
		winner, loser, err = second, first, errs[0]
	}
	refusal := refusedFor(first.T, err)
	if refusal.Touched == fault.IsTerminal(err) {
		first.Errorf("%s: touched %v, terminal %v", name, refusal.Touched, fault.IsTerminal(err))
	}
	for _, want := range []string{"ConfigMap/" + first.owner.Namespace + "/" + name, winner.owner.Environment.String(), loser.owner.Environment.String()} {
		if !strings.Contains(err.Error(), want) {
			first.Errorf("%q does not name %s", err, want)
		}
	}
	o := first.live("ConfigMap", name)
	from, _, _ := unstructured.NestedString(o.Object, "data", "from")
	if from != winner.owner.Environment.Name || !winner.owner.plan().Marked(o) || o.GetLabels()[plan.LabelPartOf] != winner.owner.setID() {
		first.Errorf("%s says that it is from %q, with marks %v %v; want those of %s", name, from, o.GetLabels(), o.GetAnnotations(), winner.owner.Environment)
	}
	if n := len(o.GetManagedFields()); n != 1 {
		first.Errorf("%s has %d managers, want the one apply", name, n)
	}
}

// Two environments that render one object, both new, at the same moment: both
// plans see that nobody has it.
func TestRaceForANewObjectHasOneWinner(t *testing.T) {
	t.Parallel()
	namespace := newFixture(t)
	const rounds = 40
	won := 0
	for round := range rounds {
		name := fmt.Sprintf("shared-%d", round)
		f, second := namespace.beside("shop-"+fmt.Sprint(round), "testing"), namespace.beside("clinic-"+fmt.Sprint(round), "live")
		plans := [2]plan.Plan{f.plan(f.set(configMap(name, "from", "testing"))), second.plan(f.set(configMap(name, "from", "live")))}
		errs := atOnce(f, second, plans)
		oneWinner(f, second, name, errs)
		if errs[0] == nil {
			won++
		}
	}
	t.Logf("%d of %d rounds were won by the first", won, rounds)
}

// The same for an object that somebody else left behind.
func TestRaceForAnOrphanHasOneWinner(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.owner.Adopt = []promotion.Tool{promotion.ToolKubectl}
	for round := range 20 {
		name := fmt.Sprintf("orphan-%d", round)
		second := f.beside("clinic-"+fmt.Sprint(round), "live")
		f := f.beside("shop-"+fmt.Sprint(round), "testing")
		f.create("ConfigMap", configMap(name, "from", "nobody"), nil)
		plans := [2]plan.Plan{f.plan(f.set(configMap(name, "from", "testing"))), second.plan(f.set(configMap(name, "from", "live")))}
		oneWinner(f, second, name, atOnce(f, second, plans))
	}
}

// Who comes second is refused before anything is applied, and by itself.
func TestSecondClaimIsRefusedBeforeAnythingIsApplied(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	first := f.set(configMap("shared", "from", "testing"), configMap("first", "a", "b"))
	f.release(first)
	second := f.beside("clinic", "live")
	p, err := second.c.Plan(t.Context(), second.owner, f.set(configMap("shared", "from", "live"), configMap("apart", "a", "b")))
	refusal := refusedFor(t, err)
	if !fault.IsTerminal(err) || refusal.Touched {
		t.Errorf("terminal %v, touched %v", fault.IsTerminal(err), refusal.Touched)
	}
	for _, want := range []string{"ConfigMap/" + f.owner.Namespace + "/shared", "belongs to environment shop/testing", "the release of clinic/live"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not say %q", err, want)
		}
	}
	if _, err := second.c.Apply(t.Context(), second.owner, p, nil); err == nil {
		t.Error("a refused plan was applied")
	}
	f.exists("ConfigMap", "apart", false)
	if owned := second.owned(); len(owned) > 0 {
		t.Errorf("the second owns %v", owned)
	}
	if p := f.plan(first); !p.Quiet() {
		t.Errorf("the first has to do %v", p.Applies())
	}
}

// A race that is lost in the middle leaves a half release: the next plan is
// refused, and what the winner has is not the loser's to prune.
func TestLosingInTheMiddleIsRetriedAndThenRefused(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	second := f.beside("clinic", "live")
	set := f.set(configMap("early", "a", "b"), deployment("shared", "registry.local/api:2", "replicas: 0"))
	p := second.plan(set)
	f.release(f.set(deployment("shared", "registry.local/api:1", "replicas: 0")))
	before := f.live("Deployment", "shared")
	_, err := second.c.Apply(t.Context(), second.owner, p, nil)
	if refusal := refusedFor(t, err); !refusal.Touched || fault.IsTerminal(err) {
		t.Errorf("touched %v, terminal %v; want a half release that is retried", refusal.Touched, fault.IsTerminal(err))
	}
	f.exists("ConfigMap", "early", true)
	_, err = second.c.Plan(t.Context(), second.owner, set)
	if refusal := refusedFor(t, err); refusal.Touched || !fault.IsTerminal(err) {
		t.Errorf("the next plan: touched %v, terminal %v", refusal.Touched, fault.IsTerminal(err))
	}
	second.prune(f.set(configMap("early", "a", "b")))
	if o := f.live("Deployment", "shared"); o == nil || o.GetUID() != before.GetUID() || o.GetGeneration() != before.GetGeneration() || !f.owner.plan().Marked(o) {
		t.Error("the winner's object was touched by the loser")
	}
	f.release(f.set(configMap("other", "a", "b")))
	f.prune(f.set(configMap("other", "a", "b")))
	second.release(set) // free again
}

// An object that was ours when the plan was made, and has gone to another
// environment, or just gone, before it is applied.
func TestObjectThatChangesHandsBeforeTheUpdate(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	second := f.beside("clinic", "live")
	both := f.set(configMap("lost", "from", "testing"), configMap("gone", "from", "testing"))
	f.release(both)
	lost := f.plan(f.set(configMap("lost", "from", "again"), configMap("gone", "from", "testing")))
	gone := f.plan(f.set(configMap("lost", "from", "testing"), configMap("gone", "from", "again")))
	for _, name := range []string{"lost", "gone"} {
		if err := f.c.dynamic.Resource(gvrs["ConfigMap"]).Namespace(f.owner.Namespace).Delete(t.Context(), name, deleteNow); err != nil {
			t.Fatal(err)
		}
	}
	second.release(f.set(configMap("lost", "from", "live")))
	_, err := f.c.Apply(t.Context(), f.owner, lost, nil)
	refusedFor(t, err)
	if from, _, _ := unstructured.NestedString(f.live("ConfigMap", "lost").Object, "data", "from"); from != "live" {
		t.Errorf("the object is from %q, want it left to the one that has it", from)
	}
	if _, err = f.c.Apply(t.Context(), f.owner, gone, nil); err == nil || fault.IsTerminal(err) {
		t.Errorf("update of an object that is gone: %v, want a retryable error", err)
	}
	f.release(f.set(configMap("gone", "from", "again")))
}

// The answer to a create is lost: the next attempt finds the object there, and
// it is ours.
func TestLostAnswerToACreate(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	set := f.set(many(f, 6)...)
	var n atomic.Int32
	deaf := f.connectAfter(func(request *http.Request) error {
		if isRealApply(request) && n.Add(1) <= 3 {
			return errors.New("unexpected EOF")
		}
		return nil
	})
	if _, err := deaf.c.Apply(t.Context(), f.owner, f.plan(set), nil); err != nil {
		if fault.IsTerminal(err) {
			t.Fatalf("apply: %v", err)
		}
		f.release(set)
	}
	for _, e := range mustInventory(f).Entries() {
		if o := f.live("ConfigMap", e.Name); o == nil || e.UID != string(o.GetUID()) || len(o.GetManagedFields()) != 1 {
			t.Errorf("%s: inventory has UID %q, the cluster %v", e.ID, e.UID, o)
		}
	}
	if p := f.plan(set); !p.Quiet() {
		t.Errorf("plan afterwards: %v, want nothing to do", p.Applies())
	}
}

// connectAfter is a connection that loses answers: what it was asked was done.
func (f *fixture) connectAfter(lose func(*http.Request) error) *fixture {
	f.Helper()
	config := f.local.Config()
	config.Wrap(func(next http.RoundTripper) http.RoundTripper { return &deafTo{next: next, lose: lose} })
	c, err := Connect(config, Options{})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(c.Close)
	return f.on(c)
}

type deafTo struct {
	next http.RoundTripper
	lose func(*http.Request) error
}

func (t *deafTo) WrappedRoundTripper() http.RoundTripper { return t.next }

func (t *deafTo) RoundTrip(request *http.Request) (*http.Response, error) {
	response, err := t.next.RoundTrip(request)
	if lost := t.lose(request); lost != nil && err == nil {
		_ = response.Body.Close() // nobody reads it
		return nil, lost
	}
	return response, err
}

// What is created under a condition is managed like anything else: a field that
// the next release drops goes.
func TestCreatedFieldsCanBeRemoved(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.release(f.set("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c, labels: {a: b}}\ndata: {stays: a, goes: b}", service("s")))
	f.release(f.set(configMap("c", "stays", "a"), service("s")))
	o := f.live("ConfigMap", "c")
	data, _, _ := unstructured.NestedStringMap(o.Object, "data")
	if len(data) != 1 || o.GetLabels()["a"] != "" {
		t.Errorf("data %v, labels %v; want what was dropped gone", data, o.GetLabels())
	}
}

// What a condition adds is sent, and does not get into the object of the plan.
func TestConditionLeavesTheObjectAlone(t *testing.T) {
	t.Parallel()
	o := &manifest.Object{Object: map[string]any{"metadata": map[string]any{"name": "a"}}}
	sent := condition{uid: "u", version: neverWritten}.on(o)
	if sent.GetUID() != "u" || sent.GetResourceVersion() != neverWritten || sent.GetName() != "a" {
		t.Errorf("sent is %v", sent.Object)
	}
	if len(o.Object["metadata"].(map[string]any)) != 1 {
		t.Errorf("the object became %v", o.Object)
	}
	odd := &manifest.Object{Object: map[string]any{"metadata": 3}}
	if (condition{uid: "u"}).on(odd) != odd {
		t.Error("an object without metadata was changed")
	}
}
