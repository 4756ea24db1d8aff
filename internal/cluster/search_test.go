package cluster

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"chaperone.dev/chaperone/internal/fault"
	"chaperone.dev/chaperone/internal/plan"
	"chaperone.dev/chaperone/internal/promotion"
)

// bereft are environments, each in a namespace of its own, that have lost their
// inventories. Each owns ConfigMap/own-N and Service/web.
func bereft(f *fixture, n int) (owners []Owner, want [][]string) {
	f.Helper()
	f.alone()
	for i := range n {
		one := *f
		one.owner.Environment = promotion.ID{Pipeline: "shop", Name: fmt.Sprintf("e%d", i)}
		one.owner.Namespace = f.local.Namespace(f)
		one.release(f.set(configMap(fmt.Sprintf("own-%d", i), "a", "b"), service("web")))
		if err := f.c.configMapsIn(one.owner).Delete(f.Context(), one.owner.inventoryName(), deleteNow); err != nil {
			f.Fatal(err)
		}
		owners = append(owners, one.owner)
		want = append(want, []string{fmt.Sprintf("ConfigMap/own-%d", i), "Service/web"})
	}
	return owners, want
}

// misplaced puts an object with an environment's marks where that has none.
func misplaced(f *fixture, of, in Owner) {
	f.Helper()
	o := f.set(configMap("misplaced", "a", "b")).Objects()[0].DeepCopy()
	o.SetLabels(map[string]string{plan.LabelPartOf: of.setID()})
	o.SetAnnotations(map[string]string{plan.AnnotationEnvironment: of.Environment.String()})
	if _, err := f.c.configMapsIn(in).Apply(f.Context(), "misplaced", o, metav1.ApplyOptions{FieldManager: "chaperone", Force: true}); err != nil {
		f.Fatal(err)
	}
}

func (s searched) names() []string {
	var names []string
	for _, e := range s.Entries() {
		names = append(names, e.ID.Kind+"/"+e.ID.Name)
	}
	slices.Sort(names)
	return names
}

// listed counts the lists of a connection.
type listed struct {
	mu sync.Mutex
	n  int
}

func (l *listed) count(verb, _ string, _ int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if verb == "list" {
		l.n++
	}
}

func (l *listed) taken() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := l.n
	l.n = 0
	return n
}

// Several environments are searched for with as many requests as one, and each
// gets what is its own and nothing else.
func TestSearchesAreMadeTogether(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	owners, want := bereft(f, wideFrom+1)
	misplaced(f, owners[0], owners[1])
	owners = append(owners, owners[1]) // asked for twice
	want = append(want, want[1])
	shared := owners[2]
	shared.Environment.Name, shared.Allow = "another", []promotion.Allowance{{Namespace: owners[0].Namespace}}
	owners, want = append(owners, shared), append(want, nil)

	var lists listed
	c := f.with(Options{OnRequest: lists.count}).c
	for i, w := range owners {
		alone, err := c.searchAll(t.Context(), []Owner{w})
		if err != nil || alone[0].err != nil || !slices.Equal(alone[0].names(), want[i]) {
			t.Errorf("%s alone: %v, %v, %v; want %v", w.Environment, alone[0].names(), err, alone[0].err, want[i])
		}
	}
	lists.taken()
	together, err := c.searchAll(t.Context(), owners)
	if err != nil {
		t.Fatal(err)
	}
	for i, got := range together {
		if got.err != nil || !slices.Equal(got.names(), want[i]) {
			t.Errorf("%s: %v, %v; want %v", owners[i].Environment, got.names(), got.err, want[i])
		}
		for _, e := range got.Entries() {
			if !e.Rebuilt || e.UID == "" || e.ID.Namespace != owners[i].Namespace {
				t.Errorf("%s: %+v", owners[i].Environment, e)
			}
		}
	}
	served, err := c.kinds.listable(t.Context())
	if n := lists.taken(); err != nil || n == 0 || n > len(served) {
		t.Errorf("%d lists for %d environments and %d kinds (%v), want at most one for each kind", n, len(owners), len(served), err)
	}
}

// An account that may not list a kind in all namespaces is not asked for it again
// and again, and finds the same.
func TestSearchWithinNamespacesWhereThatIsAllAnAccountMay(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	owners, want := bereft(f, wideFrom)
	for name, no := range map[string]func(path string) bool{
		"no kind":        func(path string) bool { return !strings.Contains(path, "/namespaces/") },
		"not this one":   func(path string) bool { return path == "/api/v1/services" },
		"not the first":  func(path string) bool { return path == "/api/v1/configmaps" },
		"nothing at all": func(path string) bool { return !strings.HasSuffix(path, "/services") || path == "/api/v1/services" },
	} {
		var mu sync.Mutex
		refused := 0
		c := f.connectThrough(func(request *http.Request) (*http.Response, error) {
			if request.URL.Query().Get("labelSelector") == "" || !no(request.URL.Path) {
				return nil, nil
			}
			mu.Lock()
			defer mu.Unlock()
			if !strings.Contains(request.URL.Path, "/namespaces/") {
				refused++
			}
			return statusAnswer(request, http.StatusForbidden), nil
		}).c
		for range 2 {
			found, err := c.searchAll(t.Context(), owners)
			if err != nil {
				t.Fatal(err)
			}
			for i, got := range found {
				expected := want[i]
				if name == "nothing at all" {
					expected = []string{"Service/web"}
				}
				if got.err != nil || !slices.Equal(got.names(), expected) {
					t.Errorf("%s: %s: %v, %v; want %v", name, owners[i].Environment, got.names(), got.err, expected)
				}
			}
		}
		if refused != 1 {
			t.Errorf("%s: %d lists of all namespaces were refused, want one that tells", name, refused)
		}
	}
}

// All namespaces at once can be more than a server can look through in time. What
// each of them has can be found all the same, and is not left out.
func TestSearchWithinNamespacesWhereAllAtOnceTakeTooLong(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	owners, want := bereft(f, wideFrom)
	for name, slow := range map[string]string{"the first": "/api/v1/configmaps", "not this one": "/api/v1/services"} {
		var asked atomic.Int32
		c := f.connectThrough(func(request *http.Request) (*http.Response, error) {
			if request.URL.Path != slow {
				return nil, nil
			}
			asked.Add(1)
			<-request.Context().Done()
			return nil, request.Context().Err()
		}).c
		c.options.RequestTimeout, c.options.RetryFor = 3*time.Second, 6*time.Second
		for range 2 {
			found, err := c.searchAll(t.Context(), owners)
			if err != nil {
				t.Fatal(err)
			}
			for i, got := range found {
				if got.err != nil || !slices.Equal(got.names(), want[i]) {
					t.Errorf("%s: %s: %v, %v; want %v", name, owners[i].Environment, got.names(), got.err, want[i])
				}
			}
		}
		if n := asked.Load(); n != 1 {
			t.Errorf("%s: asked %d times for what does not come, want it remembered", name, n)
		}
	}
}

// A kind that does not answer at all is not waited for in each namespace.
func TestSearchGoesOnWithoutAKindThatDoesNotAnswer(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	owners, want := bereft(f, wideFrom+1)
	var mu sync.Mutex
	asked := map[string]bool{}
	c := f.connectThrough(func(request *http.Request) (*http.Response, error) {
		if !strings.HasSuffix(request.URL.Path, "/poddisruptionbudgets") {
			return nil, nil
		}
		mu.Lock()
		asked[request.URL.Path] = true
		mu.Unlock()
		<-request.Context().Done()
		return nil, request.Context().Err()
	}).c
	c.options.RequestTimeout, c.options.RetryFor = 2*time.Second, 2*time.Second
	found, err := c.searchAll(t.Context(), owners)
	if err != nil {
		t.Fatal(err)
	}
	for i, got := range found {
		if got.err != nil || !slices.Equal(got.names(), want[i]) {
			t.Errorf("%s: %v, %v; want %v", owners[i].Environment, got.names(), got.err, want[i])
		}
	}
	if len(asked) != 2 || c.losses.isNarrow(schema.GroupKind{Group: "policy", Kind: "PodDisruptionBudget"}) {
		t.Errorf("asked %v, want all namespaces and one", asked)
	}
}

// Where one environment cannot be told about, the others can.
func TestSearchFailsForThoseConcerned(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	owners, want := bereft(f, wideFrom)
	c := f.connectThrough(func(request *http.Request) (*http.Response, error) {
		path := request.URL.Path
		switch {
		case request.URL.Query().Get("labelSelector") == "":
			return nil, nil
		case !strings.Contains(path, "/namespaces/"):
			return statusAnswer(request, http.StatusForbidden), nil
		case strings.HasSuffix(path, owners[1].Namespace+"/configmaps"):
			return statusAnswer(request, http.StatusInternalServerError), nil
		}
		return nil, nil
	}).c
	c.options.RetryFor = 2 * time.Second
	var group sync.WaitGroup
	for i, w := range owners {
		group.Go(func() {
			found, err := c.rebuild(t.Context(), w)
			switch got := (searched{Inventory: found}).names(); {
			case i == 1 && (err == nil || fault.IsTerminal(err)):
				t.Errorf("%s: %v, %v; want an error that may pass", w.Environment, got, err)
			case i != 1 && (err != nil || !slices.Equal(got, want[i])):
				t.Errorf("%s: %v, %v; want %v", w.Environment, got, err, want[i])
			}
		})
	}
	group.Wait()
}

// Environments that begin at the same moment: one gives up, and each of the others
// learns what is its own.
func TestSearchesOfManyAtOnce(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	owners, want := bereft(f, 2*wideFrom)
	var lists listed
	c := f.with(Options{OnRequest: lists.count}).c
	impatient, goAway := context.WithCancel(t.Context())
	defer goAway()
	var group sync.WaitGroup
	for i, w := range owners {
		group.Go(func() {
			ctx := t.Context()
			if i == 1 {
				ctx = impatient
				goAway()
			}
			read, err := c.Inventory(ctx, w)
			if i == 1 {
				if !errors.Is(err, context.Canceled) {
					t.Errorf("one that gave up: %v", err)
				}
				return
			}
			if got := (searched{Inventory: read}).names(); err != nil || !slices.Equal(got, want[i]) {
				t.Errorf("%s: %v, %v; want %v", w.Environment, got, err, want[i])
			}
		})
	}
	group.Wait()
	served, err := c.kinds.listable(t.Context())
	if n := lists.taken(); err != nil || n > 4*len(served) {
		t.Errorf("%d lists for %d environments and %d kinds (%v)", n, len(owners), len(served), err)
	}
}

// Where a search has found nothing, a plan does not look for it again; what stands
// in its way all the same is met in the dry run.
func TestNewEnvironmentsObjectsAreNotListedAgain(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	copied := f.set(configMap("copied", "a", "theirs")).Objects()[0].DeepCopy()
	copied.SetLabels(map[string]string{plan.LabelPartOf: f.owner.setID()})
	copied.SetAnnotations(map[string]string{plan.AnnotationEnvironment: "shop/production"})
	if _, err := f.c.configMapsIn(f.owner).Create(t.Context(), copied, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	var lists listed
	f = f.with(Options{OnRequest: lists.count})
	if _, err := f.c.Inventory(t.Context(), f.owner); err != nil {
		t.Fatal(err)
	}
	lists.taken()
	fine := []string{configMap("one", "a", "b"), configMap("two", "a", "b"), configMap("three", "a", "b")}
	if p := f.plan(f.set(fine...)); len(p.Applies()) != len(fine) {
		t.Errorf("plan: %v", p.Changes)
	}
	_, err := f.c.Plan(t.Context(), f.owner, f.set(append(fine, configMap("copied", "a", "ours"))...))
	var refusal *plan.Refusal
	if !errors.As(err, &refusal) || len(refusal.Objects) != 1 || refusal.Objects[0].ID.Name != "copied" {
		t.Errorf("plan over somebody else's object: %v, want it refused", err)
	}
	if n := lists.taken(); n > 0 {
		t.Errorf("%d lists after the search", n)
	}
	f.release(f.set(fine...))
	if p := f.plan(f.set(fine...)); !p.Quiet() || lists.taken() == 0 {
		t.Errorf("once it is applied: %v", p.Changes)
	}
}
