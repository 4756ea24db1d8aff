package controller

import (
	"context"
	"fmt"
	"io/fs"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"chaperone.dev/chaperone/internal/fault"
	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/policy"
	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/reconcile"
	"chaperone.dev/chaperone/internal/source"
	"chaperone.dev/chaperone/internal/state"
)

var staging = promotion.ID{Pipeline: "demo", Name: "staging"}

// memory is a Store with the fence of the real one.
type memory struct {
	mu       sync.Mutex
	record   state.Record
	version  int
	releases []state.Release
}

func (m *memory) Load(context.Context) ([]state.Record, error) { return nil, nil }

func (m *memory) Get(context.Context, promotion.ID) (state.Record, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.record, nil
}

func (m *memory) Save(_ context.Context, r state.Record) (state.Record, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if r.Version != m.record.Version {
		return r, state.ErrConflict
	}
	m.version++
	r.Version = fmt.Sprint(m.version)
	m.record = r
	return r, nil
}

func (m *memory) Current(_ context.Context, r state.Record) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return r.Version == m.record.Version, nil
}

// said is what people see, and how often it was written.
func (m *memory) said() (string, int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.record.Message, m.version
}

func (m *memory) PutRelease(_ context.Context, r state.Release) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.releases = append(m.releases, r)
	return nil
}

func (m *memory) PutBundle(context.Context, promotion.ID, reconcile.Digest, manifest.Set) error {
	return nil
}

func (m *memory) Bundle(context.Context, promotion.ID, reconcile.Digest) (manifest.Set, error) {
	return manifest.Set{}, nil
}

func (m *memory) KeepBundles(context.Context, promotion.ID, ...reconcile.Digest) error { return nil }

func (m *memory) Event(context.Context, promotion.ID, bool, promotion.Reason, string) error {
	return nil
}

func (m *memory) WatchRequests(ctx context.Context, _ func(promotion.ID, state.Requests)) error {
	<-ctx.Done()
	return ctx.Err()
}

// actor is a Cluster, and a Source as far as reverts go, that counts what is
// done to it.
type actor struct {
	branch
	mu    sync.Mutex
	done  []string
	drift []func() (Drift, error) // one for each look; the last again and again
	watch chan func()             // takes what a watch is to call
	apply error

	surplus    bool // there is something to prune
	surplusErr error
}

func (a *actor) note(what string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.done = append(a.done, what)
}

// counted is what was done to it of one kind.
func (a *actor) counted(what string) (n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, done := range a.done {
		if done == what {
			n++
		}
	}
	return n
}

func (a *actor) Apply(context.Context, promotion.Environment, manifest.Set, ...manifest.Set) error {
	a.note("apply")
	return a.apply
}

func (a *actor) Replicas(context.Context, promotion.Environment, []string) (map[string]int, error) {
	return nil, nil
}

func (a *actor) Surplus(context.Context, promotion.Environment, manifest.Set) (bool, error) {
	return a.surplus, a.surplusErr
}

func (a *actor) Prune(context.Context, promotion.Environment, manifest.Set) error {
	a.note("prune")
	return nil
}

func (a *actor) Undo(context.Context, promotion.Environment, Rollback) error {
	a.note("undo")
	return nil
}

func (a *actor) Restore(context.Context, promotion.Environment, manifest.Set) error {
	a.note("restore")
	return nil
}

func (a *actor) Revert(context.Context, source.Revision, source.RevertNote) (RevertResult, error) {
	a.note("revert")
	return RevertResult{Outcome: reconcile.OutcomeDone}, nil
}

func (a *actor) Propose(context.Context, promotion.ID, string, source.PromoteNote) (ProposeResult, error) {
	a.note("propose")
	return ProposeResult{Outcome: reconcile.OutcomeDone, Commit: "proposal"}, nil
}

func (a *actor) Withdraw(context.Context, promotion.ID) (ProposeResult, error) {
	a.note("withdraw")
	return ProposeResult{Outcome: reconcile.OutcomeDone}, nil
}

func (a *actor) Correct(context.Context, promotion.Environment, LastGood) error {
	a.note("correct")
	return nil
}

func (a *actor) Drill(context.Context, promotion.Environment, LastGood) (Drill, error) {
	return Drill{}, nil
}

func (a *actor) Audit(context.Context, promotion.Environment, LastGood) (Audit, error) {
	return Audit{}, nil
}

func (a *actor) Drift(context.Context, promotion.Environment, LastGood) (Drift, error) {
	a.note("drift")
	a.mu.Lock()
	defer a.mu.Unlock()
	look := a.drift[0]
	if len(a.drift) > 1 {
		a.drift = a.drift[1:]
	}
	return look()
}

func (a *actor) Watch(ctx context.Context, _ promotion.Environment, changed func()) error {
	if a.watch != nil {
		a.watch <- changed
	}
	<-ctx.Done()
	return ctx.Err()
}

func (a *actor) Verify(context.Context, promotion.Environment, manifest.Set, Against) (Verdict, error) {
	return Verdict{Outcome: reconcile.OutcomeDone}, nil
}

// branch is a Source: commits, oldest first, each with the files that it changed.
type branch []map[string]string

func revision(i int) source.Revision { return source.Revision(fmt.Sprintf("%040d", i+1)) }

type tree struct {
	fstest.MapFS
	at source.Revision
}

func (t tree) Revision() source.Revision { return t.at }

func (t tree) Hash(name string) (string, error) {
	info, err := fs.Stat(t.MapFS, name)
	switch {
	case err != nil:
		return "", nil
	case info.IsDir():
		return source.Dir, nil
	}
	return string(t.MapFS[name].Data), nil
}

func (b branch) Poll(context.Context) (source.Revision, error) { return revision(len(b) - 1), nil }

func (b branch) Snapshot(r source.Revision) (source.Snapshot, error) {
	files := fstest.MapFS{}
	for i, changed := range b {
		for name, content := range changed {
			files[name] = &fstest.MapFile{Data: []byte(content)}
		}
		if revision(i) == r {
			return tree{files, r}, nil
		}
	}
	return nil, source.ErrUnknownRevision
}

func (b branch) Commit(r source.Revision) (source.Commit, error) {
	return source.Commit{Revision: r}, nil
}

func (b branch) FirstParents(_ context.Context, after, upTo source.Revision, most int) ([]source.Commit, error) {
	var commits []source.Commit
	for i := len(b) - 1; i >= 0 && revision(i) != after && len(commits) < most; i-- {
		if revision(i) <= upTo {
			commits = append(commits, source.Commit{Revision: revision(i)})
		}
	}
	return commits, nil
}

func (b branch) Contains(context.Context, source.Revision) (bool, error) { return true, nil }

func (b branch) Beyond(ctx context.Context, after, upTo source.Revision) ([]source.Commit, error) {
	return b.FirstParents(ctx, after, upTo, len(b))
}

func (b branch) Authors(context.Context, source.Revision, source.Revision, int) ([]source.Person, error) {
	return nil, nil
}

func (b branch) Signature(source.Revision) (source.Signature, error) { return source.Signature{}, nil }

func (b branch) Signers() (string, error) { return "", nil }

func (b branch) Changed(source.Revision, source.Revision) ([]string, error) { return nil, nil }

// content renders a directory to the file "content" in it: its digest.
type content struct{}

func (content) Render(_ context.Context, s source.Snapshot, dir string) (manifest.Set, manifest.Digest, error) {
	file, found := s.(tree).MapFS[dir+"/content"]
	if !found || strings.HasPrefix(string(file.Data), "broken") {
		return manifest.Set{}, "", fault.Terminal("render", dir, fmt.Errorf("no content"))
	}
	return manifest.Set{}, manifest.Digest(file.Data), nil
}

func (c content) Digest(ctx context.Context, s source.Snapshot, dir string) (manifest.Digest, error) {
	_, digest, err := c.Render(ctx, s, dir)
	return digest, err
}

func (c content) Closure(context.Context, source.Snapshot, string) (source.Closure, error) {
	return source.Closure{}, nil
}

type silent struct{}

func (silent) Step(string, time.Duration)                                  {}
func (silent) Polled(string, bool)                                         {}
func (silent) Ended(reconcile.ActionKind, promotion.ID, reconcile.Outcome) {}
func (silent) Judged(promotion.ID, policy.Report)                          {}
func (silent) Published(View)                                              {}
func (silent) Digest() reconcile.Digest                                    { return "p1" }
func (silent) Around(promotion.Data) (policy.PodTemplates, policy.Looks)   { return nil, policy.Looks{} }
func (silent) Judge(context.Context, policy.Input) (policy.Report, error) {
	return policy.Report{}, nil
}

// replica is a controller of one environment, which it knows as it was stored.
func replica(t *testing.T, store *memory, a *actor) *Controller {
	t.Helper()
	c := New(Ports{Source: a, Renderer: content{}, Policies: silent{}, Cluster: a, Store: store, Telemetry: silent{}}, Config{})
	c.polled = true
	record, err := store.Get(t.Context(), staging)
	if err != nil {
		t.Fatal(err)
	}
	e := c.environment(staging)
	e.recorder, e.file = c.newRecorder(record), promotion.Environment{ID: staging}
	c.world.Now = time.Now()
	c.world.Environments = []reconcile.Environment{{ID: staging, Journal: record.Journal}}
	return c
}

// act does what the loop would, until the action has ended.
func act(ctx context.Context, c *Controller, kind reconcile.ActionKind, release reconcile.Release) {
	known, _ := c.world.Find(staging)
	c.start(ctx, reconcile.Action{Kind: kind, Environment: staging, Release: release, LastGood: known.Journal.LastGood, Guilty: known.Journal.Attempt.Guilty})
	(<-c.events)()
	c.work.Wait()
}
