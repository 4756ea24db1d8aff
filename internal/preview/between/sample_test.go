package between_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/plan"
	"chaperone.dev/chaperone/internal/policy/rego"
	"chaperone.dev/chaperone/internal/preview"
	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/source"
	"chaperone.dev/chaperone/internal/testkit/gitserver"
	"chaperone.dev/chaperone/internal/testkit/racing"
)

// sample is this repository's own systems, committed, judged by their own policies.
func sample(t *testing.T) *world {
	t.Helper()
	root, files := filepath.Join("..", "..", ".."), map[string]string{}
	for _, dir := range []string{"base", "environments", "overlays"} {
		err := filepath.WalkDir(filepath.Join(root, dir), func(name string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			content, err := os.ReadFile(name)
			inside, relErr := filepath.Rel(root, name)
			files[filepath.ToSlash(inside)] = string(content)
			return errors.Join(err, relErr)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	judges, err := rego.LoadDir(t.Context(), filepath.Join(root, "policies"), rego.DefaultLimits())
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t)
	w.judges, w.first = judges, w.commit(t, "sample", "", files)
	return w
}

// edited is a file of a commit with one text in place of another.
func (w *world) edited(t *testing.T, at source.Revision, file, old, now string) string {
	t.Helper()
	content := gitserver.Git(t, w.repo.Dir, "show", string(at)+":"+file) + "\n"
	if strings.Count(content, old) == 0 {
		t.Fatalf("%s holds no %q", file, old)
	}
	return strings.Replace(content, old, now, 1)
}

// A new image, an object less and a pod that nobody may run, in a base of the real
// sample: all four environments that have it are touched, in their order, and no
// other; the pod is told with its line, the object is listed, the rest is one line
// of difference for all.
func TestPreviewOfTheSample(t *testing.T) {
	t.Parallel()
	racing.Without(t)
	w := sample(t)
	head := w.commit(t, "change", w.first, map[string]string{
		"base/novamind/api/kustomization.yaml": w.edited(t, w.first, "base/novamind/api/kustomization.yaml", "newTag: 1.4.2", "newTag: 1.5.0"),
		"base/novamind/kustomization.yaml":     w.edited(t, w.first, "base/novamind/kustomization.yaml", "  - model-training\n", "  - debug.yaml\n"),
		"base/novamind/debug.yaml": "apiVersion: v1\nkind: Pod\nmetadata: {name: debug}\nspec:\n  containers:\n    - name: shell\n" +
			"      image: busybox:latest\n      securityContext: {privileged: true}\n",
	})
	p, _ := w.of(t, w.first, head)
	var ids []string
	for _, e := range p.Environments {
		ids = append(ids, e.ID.String()+" "+string(e.Effect))
		if !slices.ContainsFunc(e.Objects, func(o preview.Object) bool {
			return o.Action == plan.Delete && o.ID == manifest.ID{Group: "batch", Kind: "CronJob", Namespace: "novamind-" + e.ID.Name, Name: "model-training"}
		}) {
			t.Errorf("%s: the job is not deleted: %+v", e.ID, e.Objects)
		}
		fresh, standing := e.Stopping()
		if len(fresh) == 0 || len(standing) > 0 || !e.Refused() {
			t.Errorf("%s: %d new, %d standing", e.ID, len(fresh), len(standing))
		}
	}
	if want := []string{"novamind/development changed", "novamind/testing changed", "novamind/staging later", "novamind/production later"}; !slices.Equal(ids, want) {
		t.Fatalf("%q, want %q", ids, want)
	}
	text := p.Markdown(preview.Layout{})
	for _, want := range []string{
		"**No: policies deny it in 4 environments.**",
		"- critical `pod/privileged` on `Pod/debug`: `container \"shell\" is privileged` at `base/novamind/debug.yaml:8`, in `novamind/development, testing, staging, production`\n",
		"- `CronJob.batch/model-training`, in `novamind/development, testing, staging, production`\n",
		"; likewise in <code>novamind/testing, staging, production</code></summary>",
		"@@ spec.template.spec.containers[app]\n",
		"once verified in testing for 3s, with 1 approval from release-managers (not by who wrote it)",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in:\n%s", want, text)
		}
	}
	if len(text) > 8_000 {
		t.Errorf("%d bytes are more than a reviewer reads", len(text))
	}
	for _, problem := range []string{"novamind/staging: 1", "<redacted"} {
		if strings.Contains(text, problem) {
			t.Errorf("%q in:\n%s", problem, text)
		}
	}
	production := p.Only(promotion.ID{Pipeline: "novamind", Name: "production"})
	if statuses := production.Statuses(); len(statuses) != 1 || statuses[0].Context != "chaperone/novamind/production" || statuses[0].State != preview.Failure {
		t.Errorf("%+v", statuses)
	}
}

// A canary of the real sample: people read in which steps it would come, its copy
// is judged like all else, and what cannot be done so is told.
func TestPreviewOfSteps(t *testing.T) {
	t.Parallel()
	racing.Without(t)
	w := sample(t)
	const file = "environments/novamind/development.yaml"
	with := func(branch, strategy string) source.Revision {
		content := strings.TrimRight(gitserver.Git(t, w.repo.Dir, "show", string(w.first)+":"+file), "\n")
		return w.commit(t, branch, w.first, map[string]string{file: content + "\n  strategies:\n    - " + strategy + "\n"})
	}
	newer := func(branch string, on source.Revision) source.Revision {
		return w.commit(t, branch, on, map[string]string{
			"base/novamind/api/kustomization.yaml": w.edited(t, on, "base/novamind/api/kustomization.yaml", "newTag: 1.4.2", "newTag: 1.5.0"),
		})
	}
	development := func(base, head source.Revision) preview.Environment {
		p, _ := w.of(t, base, head)
		only := p.Only(promotion.ID{Pipeline: "novamind", Name: "development"})
		if len(only.Environments) != 1 {
			t.Fatalf("%+v", p)
		}
		return only.Environments[0]
	}
	canary := with("canary", "{workload: Deployment/api, canary: {service: api, steps: [{weight: 10}, {weight: 50}]}}")
	e := development(canary, newer("canary-2", canary))
	if len(e.Steps) != 3 || !strings.HasPrefix(e.Steps[0], "step 1 of 3: Deployment/api-canary ") || e.Refused() {
		t.Errorf("steps %q, fault %+v, verdict %s: %+v", e.Steps, e.Fault, e.Verdict, e.New)
	}
	nowhere := with("nowhere", "{workload: Deployment/api, blueGreen: {service: elsewhere}}")
	if e = development(nowhere, newer("nowhere-2", nowhere)); e.Fault == nil || e.Fault.Reason != promotion.StrategyImpossible || !strings.Contains(e.Fault.Text, file) {
		t.Errorf("a Service that there is not: %+v", e.Fault)
	}
}
