package cli

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/reconcile"
	"chaperone.dev/chaperone/internal/source"
	"chaperone.dev/chaperone/internal/testkit/gitserver"
)

// shopRepo is a real bare repository with testdata/repo in it, and commits that
// change it. Production is promoted by pull request.
type shopRepo struct {
	testing.TB
	*gitserver.Repo
	first source.Revision
}

const productionFile = "environments/shop/production.yaml"

func pinnedTo(revision source.Revision) string {
	pin := ""
	if revision != "" {
		pin = "\n  revision: " + string(revision)
	}
	return "apiVersion: chaperone.dev/v1alpha1\nkind: Environment\nmetadata: {name: production}\nspec:" + pin +
		"\n  after: [staging] # first\n  data: phi\n  target: {namespace: shop-production}\n  promotion: {mode: pull-request, soak: 1h}\n"
}

func openShop(t testing.TB) *shopRepo {
	t.Helper()
	r := &shopRepo{TB: t, Repo: gitserver.NewRepo(t)}
	files := map[string]string{}
	dir := filepath.Join("testdata", "repo")
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		name, _ := filepath.Rel(dir, path)
		files[filepath.ToSlash(name)] = string(content)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	files[productionFile] = pinnedTo("")
	r.first = r.commit("shop: open", files)
	gitserver.Git(t, r.Dir, "config", "user.name", "Ada")
	gitserver.Git(t, r.Dir, "config", "user.email", "ada@example.org")
	return r
}

func (r *shopRepo) commit(message string, files map[string]string) source.Revision {
	r.Helper()
	return source.Revision(r.Commit(r, gitserver.Commit{Message: message, Files: files}))
}

// greet changes what every environment renders to.
func (r *shopRepo) greet(greeting string) source.Revision {
	r.Helper()
	return r.commit("shop: say "+greeting, map[string]string{"base/app/kustomization.yaml": fmt.Sprintf(`apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources: [deployment.yaml]
configMapGenerator:
  - {name: app, literals: [greeting=%s]}
`, greeting)})
}

// scale changes one environment alone.
func (r *shopRepo) scale(environment string, replicas int) source.Revision {
	r.Helper()
	return r.commit(fmt.Sprintf("shop: %d in %s", replicas, environment), map[string]string{
		"overlays/shop/" + environment + "/kustomization.yaml": scaled(environment, replicas)})
}

func scaled(environment string, replicas int) string {
	return fmt.Sprintf(`apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
namespace: shop-%s
resources: [../../../base/app]
replicas: [{name: app, count: %d}]
`, environment, replicas)
}

// image changes what every environment renders to, in a file of its own.
func (r *shopRepo) image(version string) source.Revision {
	r.Helper()
	file := filepath.Join("testdata", "repo", "base", "app", "deployment.yaml")
	content, err := os.ReadFile(file)
	if err != nil {
		r.Fatal(err)
	}
	return r.commit("shop: run "+version, map[string]string{"base/app/deployment.yaml": strings.ReplaceAll(string(content), "1.0.0", version)})
}

// docs changes no environment.
func (r *shopRepo) docs(text string) source.Revision {
	r.Helper()
	return r.commit("docs", map[string]string{"README.md": text})
}

// pin moves production's pin.
func (r *shopRepo) pin(to source.Revision) source.Revision {
	r.Helper()
	return r.commit("shop: promote "+to.Short(), map[string]string{productionFile: pinnedTo(to)})
}

// undo takes a commit back as the daemon does.
func (r *shopRepo) undo(guilty source.Revision) source.Revision {
	r.Helper()
	code, out, complaints := run(testingT(r.TB), Streams{}, "revert", string(guilty), "--repo", r.Dir, "--branch", "main")
	if code != exitFine {
		r.Fatalf("%s%s", out, complaints)
	}
	return r.head()
}

func testingT(t testing.TB) *testing.T {
	real, _ := t.(*testing.T)
	return real
}

func (r *shopRepo) head() source.Revision { return source.Revision(r.Head(r, "main")) }

// release is what an environment would run at a commit.
func (r *shopRepo) release(id promotion.ID, at source.Revision) reconcile.Release {
	r.Helper()
	clone, err := openClone(context.Background(), r.Dir, "main")
	if err != nil {
		r.Fatal(err)
	}
	defer clone.Close()
	digest, err := clone.digest(context.Background(), clone.set.Environments[id], at)
	if err != nil {
		r.Fatal(err)
	}
	return reconcile.Release{Revision: at, Digest: digest, Policy: "sha256:policy"}
}

// plainly is a text without what differs from run to run.
func plainly(text string) string {
	return moment.ReplaceAllString(variable.ReplaceAllString(text, "X"), "TIME")
}
