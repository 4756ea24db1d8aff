package cluster

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/plan"
)

// tally counts requests by verb and resource, discovery left out.
type tally struct {
	mu     sync.Mutex
	counts map[string]int
}

func (y *tally) count(verb, resource string, _ int) {
	y.mu.Lock()
	defer y.mu.Unlock()
	if resource == "discovery" {
		return
	}
	if y.counts == nil {
		y.counts = map[string]int{}
	}
	y.counts[verb+" "+resource]++
}

// take returns the counts and begins anew.
func (y *tally) take() string {
	y.mu.Lock()
	defer y.mu.Unlock()
	var texts []string
	for _, key := range slices.Sorted(maps.Keys(y.counts)) {
		texts = append(texts, fmt.Sprint(y.counts[key], " ", key))
	}
	y.counts = nil
	return strings.Join(texts, ", ")
}

// counted is a fixture whose requests are counted, and that watches.
func counted(f *fixture) (*fixture, *tally) {
	f.Helper()
	y := &tally{}
	other := f.with(Options{OnRequest: y.count})
	other.watch()
	return other, y
}

// eventually waits for what a watch will tell.
func (f *fixture) eventually(what string, holds func() bool) {
	f.Helper()
	ctx, cancel := context.WithTimeout(f.Context(), 30*time.Second)
	defer cancel()
	for !holds() {
		if sleep(ctx, 10*time.Millisecond) != nil {
			f.Fatalf("not so in time: %s", what)
		}
	}
}

// of names the release that is applied, as the daemon does.
func (f *fixture) of(set manifest.Set) manifest.Set {
	f.Helper()
	digest, err := set.Digest()
	if err != nil {
		f.Fatal(err)
	}
	f.owner.Digest = digest
	return set
}

func (f *fixture) rests() bool { return f.c.Quiet(f.owner) }

// edit changes an object as somebody else.
func (f *fixture) patch(kind, name, patch string) {
	f.Helper()
	_, err := f.c.dynamic.Resource(gvrs[kind]).Namespace(f.owner.Namespace).
		Patch(f.Context(), name, types.MergePatchType, []byte(patch), metav1.PatchOptions{FieldManager: "somebody"})
	if err != nil {
		f.Fatal(err)
	}
}

func TestNothingToDoCostsNoRequest(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	var texts []string
	for i := range 6 {
		texts = append(texts, configMap(fmt.Sprint("c", i), "key", "1"), service(fmt.Sprint("s", i)), deployment(fmt.Sprint("d", i), "r/api:1", "replicas: 0"))
	}
	f.of(f.set(texts...))
	f.release(f.set(texts...))
	f.eventually("quiet after the apply", f.rests)

	// After a restart, what was written down is enough.
	g, requests := counted(f)
	g.eventually("quiet after a restart", g.rests)
	if got := requests.take(); strings.Contains(got, "apply") || strings.Count(got, "list") > 1 {
		t.Errorf("a restart asked %s, want at most one list (of the inventory), and one watch for each kind", got)
	}
	if p := g.plan(f.set(texts...)); !p.Quiet() {
		t.Errorf("plan of what is there: %v", p.Applies())
	}
	if got := requests.take(); got != "" {
		t.Errorf("a plan with nothing to do asked %s", got)
	}

	texts[3] = configMap("c1", "key", "2")
	g.of(g.set(texts...))
	g.release(g.set(texts...))
	if got := requests.take(); got != "2 apply configmaps, 1 update configmaps" {
		t.Errorf("a release that changes one object asked %q, want a dry run, an apply, and one write of the inventory", got)
	}
	g.eventually("quiet after the change", g.rests)
}

func TestMirrorSeesWhatOthersDo(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	text := []string{configMap("a", "key", "1"), configMap("b", "key", "1"), configMap("c", "key", "1"), deployment("d", "r/api:1", "replicas: 0")}
	set := f.of(f.set(text...))
	f.release(set)
	f.eventually("quiet after the apply", f.rests)

	f.patch("ConfigMap", "a", `{"data": {"theirs": "1"}, "metadata": {"labels": {"theirs": "1"}}}`)
	f.patch("Deployment", "d", `{"metadata": {"annotations": {"theirs": "1"}}}`)
	f.patch("ConfigMap", "b", `{"data": {"key": "2"}}`)
	f.eventually("a changed field is seen", func() bool { return !f.rests() })
	changes, err := f.drifted(set)
	if err != nil || len(changes) != 1 || changes[0].ID.Name != "b" || len(changes[0].Fields) == 0 || changes[0].Fields[0].Path != "data.key" {
		t.Fatalf("drift is %v, %v; want data.key of b alone", changes, err)
	}
	f.release(set)
	f.eventually("quiet after the correction", f.rests)

	for what, do := range map[string]func(){
		"its label": func() {
			f.patch("ConfigMap", "c", fmt.Sprintf(`{"metadata": {"labels": {%q: null}}}`, plan.LabelPartOf))
		},
		"the object itself": func() { f.delete("ConfigMap", "c") },
	} {
		do()
		f.eventually(what+" is gone", func() bool { return !f.rests() })
		changes, err := f.drifted(set)
		if err != nil || len(changes) != 1 || changes[0].ID.Name != "c" {
			t.Fatalf("drift after %s went is %v, %v; want c", what, changes, err)
		}
		f.release(set)
		f.eventually("quiet after "+what+" was put back", f.rests)
	}
}

func (f *fixture) delete(kind, name string) {
	f.Helper()
	err := f.c.dynamic.Resource(gvrs[kind]).Namespace(f.owner.Namespace).Delete(f.Context(), name, metav1.DeleteOptions{})
	if err != nil {
		f.Fatal(err)
	}
}

// What an API server writes in another form than it is sent costs one dry run,
// and no more once the answer is known.
func TestValuesInAnotherFormSettle(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	text := deployment("d", "r/api:1", "replicas: 0")
	text = strings.Replace(text, "cpu: 10m, memory: 16Mi", "cpu: 1000m, memory: 2048Mi", 1)
	if !strings.Contains(text, "1000m") {
		t.Fatal("the manifest has no resources")
	}
	set := f.of(f.set(text))
	f.release(set)
	f.eventually("quiet after the apply", f.rests)
	g, requests := counted(f)
	g.eventually("quiet after a restart", g.rests)
	requests.take()
	if p := g.plan(set); !p.Quiet() {
		t.Errorf("plan of what is there: %v", p.Applies())
	}
	if got := requests.take(); got != "" {
		t.Errorf("the plan asked %s", got)
	}
}

// An answer to our own write is newer than what the watch has told so far.
func TestOwnWritesAreSeenAtOnce(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	set := f.of(f.set(configMap("a", "key", "1")))
	f.release(set)
	f.eventually("quiet after the apply", f.rests)
	for i := range 20 {
		set := f.of(f.set(configMap("a", "key", fmt.Sprint(i))))
		f.release(set)
		if p := f.plan(set); !p.Quiet() {
			t.Fatalf("the plan right after its apply: %v", p.Applies())
		}
	}
}
