package between_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"chaperone.dev/chaperone/internal/fault"
	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/policy"
	"chaperone.dev/chaperone/internal/policy/rego"
	"chaperone.dev/chaperone/internal/preview"
	"chaperone.dev/chaperone/internal/preview/between"
	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/render"
	"chaperone.dev/chaperone/internal/source"
	"chaperone.dev/chaperone/internal/source/gogit"
	"chaperone.dev/chaperone/internal/testkit/gitserver"
)

// clone is a real repository, read in place.
type clone struct{ *gogit.Local }

func (c clone) Snapshot(r source.Revision) (source.Snapshot, error) { return c.Local.Snapshot(r) }

type rendering struct {
	*render.Renderer
	calls *atomic.Int64
}

func (r rendering) Render(ctx context.Context, s source.Snapshot, dir string) (manifest.Set, manifest.Digest, error) {
	r.calls.Add(1)
	result, err := r.Renderer.Render(ctx, s, dir)
	return result.Set, result.Digest, err
}

const rule = `# METADATA
# title: Nothing is named bad
# description: It says so itself.
# scope: package
# custom:
#   id: name/bad
#   severity: critical
#   data: [synthetic, anonymized, phi]
#   kinds: [ConfigMap]
#   controls: {hipaa: [{cite: 164.308(a)(2), why: It is an example.}]}
#   remediation: Name it otherwise.
package name.bad

deny contains result if {
	input.object.metadata.name == "bad"
	result := {"msg": "it is bad", "path": "metadata.name"}
}
`

func bundle(t *testing.T, title string) *rego.Bundle {
	t.Helper()
	b, err := rego.Load(t.Context(), fstest.MapFS{
		"name/bad/rule.rego":               {Data: []byte(strings.Replace(rule, "Nothing", title, 1))},
		"name/bad/testdata/fail/bad.yaml":  {Data: []byte("{apiVersion: v1, kind: ConfigMap, metadata: {name: bad}}")},
		"name/bad/testdata/pass/good.yaml": {Data: []byte("{apiVersion: v1, kind: ConfigMap, metadata: {name: good}}")},
	}, rego.DefaultLimits())
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// world is a repository with one environment and what previews of it need.
type world struct {
	*between.Previews
	repo   *gitserver.Repo
	first  source.Revision
	now    time.Time
	judges between.Policies
	calls  atomic.Int64
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{repo: gitserver.NewRepo(t), now: time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC), judges: bundle(t, "Nothing")}
	w.first = w.commit(t, "main", "", map[string]string{
		"environments/shop/dev.yaml": "apiVersion: chaperone.dev/v1alpha1\nkind: Environment\nmetadata: {name: dev}\n" +
			"spec: {path: app, data: synthetic, target: {namespace: shop}, promotion: {windows: [{cron: \"0 13 * * *\", duration: 1h}]}}\n",
		"app/kustomization.yaml": "resources: [a.yaml]\n",
		"app/a.yaml":             "{apiVersion: v1, kind: ConfigMap, metadata: {name: good}, data: {a: \"0\"}}\n",
	})
	local, err := gogit.OpenLocal(w.repo.Dir, gogit.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(local.Close)
	w.Previews = &between.Previews{
		Source: clone{local}, Renderer: rendering{render.New(render.DefaultLimits()), &w.calls}, Redact: manifest.NewRedactor(make([]byte, 32)),
		Policies: func() between.Policies { return w.judges }, Now: func() time.Time { return w.now },
	}
	return w
}

func (w *world) commit(t *testing.T, branch string, parent source.Revision, files map[string]string) source.Revision {
	t.Helper()
	return source.Revision(w.repo.Commit(t, gitserver.Commit{Branch: branch, Parent: string(parent), Files: files, Message: "a change"}))
}

func (w *world) of(t *testing.T, branch, head source.Revision) (preview.Preview, int64) {
	t.Helper()
	before := w.calls.Load()
	p, err := w.Of(t.Context(), branch, head)
	if err != nil {
		t.Fatal(err)
	}
	return p, w.calls.Load() - before
}

// A pull request that did not change costs no render: whatever came to the branch
// beside it. Another head, other policies, and an hour that went by do.
func TestPreviewsAreKept(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	head := w.commit(t, "change", w.first, map[string]string{"app/a.yaml": "{apiVersion: v1, kind: ConfigMap, metadata: {name: bad}}\n"})
	first, cost := w.of(t, w.first, head)
	if cost == 0 || !first.Refused() || len(first.Environments) != 1 || first.Base != w.first {
		t.Fatalf("%d renders, and %+v", cost, first)
	}
	if f := first.Environments[0].New; len(f) != 1 || f[0].Source == nil || f[0].Source.String() != "app/a.yaml:1" {
		t.Errorf("%+v", f)
	}
	main := w.commit(t, "main", w.first, map[string]string{"README.md": "more"})
	for range 3 {
		if again, cost := w.of(t, main, head); cost != 0 || again.Markdown(preview.Layout{}) != first.Markdown(preview.Layout{}) {
			t.Errorf("nothing changed, and it cost %d renders", cost)
		}
	}
	w.now = w.now.Add(59 * time.Minute)
	if _, cost := w.of(t, main, head); cost != 0 {
		t.Errorf("within an hour it cost %d renders", cost)
	}
	w.now = w.now.Add(time.Minute)
	if later, cost := w.of(t, main, head); cost == 0 || !strings.Contains(later.Markdown(preview.Layout{}), "one is open now") {
		t.Errorf("after an hour, %d renders: %+v", cost, later.Environments[0].Gates)
	}
	w.judges = bundle(t, "No thing")
	if other, cost := w.of(t, main, head); cost == 0 || other.Policies == first.Policies {
		t.Error("other policies, and the same answer")
	}
	next := w.commit(t, "change", head, map[string]string{"app/a.yaml": "{apiVersion: v1, kind: ConfigMap, metadata: {name: good}, data: {a: \"1\"}}\n"})
	if mended, cost := w.of(t, main, next); cost == 0 || mended.Refused() {
		t.Errorf("another head: %+v", mended)
	}
}

// What the daemon knows is asked for each time, and never kept.
func TestPreviewsKnow(t *testing.T) {
	t.Parallel()
	w, n := newWorld(t), 0
	w.Known = func(e preview.Environment) []string {
		n++
		return []string{fmt.Sprintf("%s was asked about %d times", e.ID, n)}
	}
	head := w.commit(t, "change", w.first, map[string]string{"app/a.yaml": "{apiVersion: v1, kind: ConfigMap, metadata: {name: other}}\n"})
	for want := 1; want <= 3; want++ {
		p, _ := w.of(t, w.first, head)
		if e := p.Environments[0].Evidence; len(e) != 1 || e[0] != fmt.Sprintf("shop/dev was asked about %d times", want) {
			t.Errorf("%q", e)
		}
	}
}

// What its author has to mend is kept as well; what passes is asked again.
func TestPreviewsThatFail(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	empty := w.commit(t, "empty", w.first, map[string]string{"environments/shop/dev.yaml": "", "environments/README.md": ""})
	gitserver.Git(t, w.repo.Dir, "update-ref", "refs/heads/none", gitserver.Git(t, w.repo.Dir, "commit-tree", "-m", "none", "-p", string(empty),
		gitserver.Git(t, w.repo.Dir, "hash-object", "-t", "tree", "-w", "/dev/null")))
	none := source.Revision(w.repo.Head(t, "none"))
	for range 2 {
		if _, err := w.Of(t.Context(), w.first, none); !fault.IsTerminal(err) || !errors.Is(err, promotion.ErrNoEnvironments) {
			t.Errorf("no environments: %v", err)
		}
	}
	if p, err := w.Of(t.Context(), w.first, empty); err != nil || len(p.Environments) != 1 || p.Environments[0].Fault == nil || !p.Refused() {
		t.Errorf("an empty file: %+v, %v", p, err)
	}
	judges := w.judges
	w.judges = nil
	if _, err := w.Of(t.Context(), w.first, empty); fault.IsTerminal(err) || !errors.Is(err, between.ErrNoPolicies) {
		t.Errorf("no policies: %v", err)
	}
	w.judges = failing{judges}
	head := w.commit(t, "change", w.first, map[string]string{"app/a.yaml": "{apiVersion: v1, kind: ConfigMap, metadata: {name: other}}\n"})
	if _, err := w.Of(t.Context(), w.first, head); !errors.Is(err, errBroken) {
		t.Errorf("policies that cannot be asked: %v", err)
	}
	w.judges = judges
	if _, err := w.Of(t.Context(), w.first, head); err != nil {
		t.Errorf("once they can: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	other := w.commit(t, "other", w.first, map[string]string{"app/a.yaml": "{apiVersion: v1, kind: ConfigMap, metadata: {name: another}}\n"})
	if _, err := w.Of(ctx, w.first, other); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

var errBroken = errors.New("broken")

type failing struct{ between.Policies }

func (failing) Evaluate(context.Context, policy.Input) (policy.Report, error) {
	return policy.Report{}, errBroken
}
