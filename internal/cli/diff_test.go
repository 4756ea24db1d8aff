package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"chaperone.dev/chaperone/internal/cluster"
	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/render"
	"chaperone.dev/chaperone/internal/source/worktree"
)

const canary = "secret-canary-7e02"

// shopOn is a working tree whose one environment runs in a namespace of the test.
type shopOn struct {
	*installation
	repo, target string
}

func newShop(t *testing.T) *shopOn {
	t.Helper()
	s := &shopOn{installation: install(t), repo: t.TempDir()}
	s.target = s.cluster.Namespace(t)
	s.write("environments/shop/staging.yaml", `apiVersion: chaperone.dev/v1alpha1
kind: Environment
metadata: {name: staging}
spec:
  data: synthetic
  target: {namespace: `+s.target+`}
`)
	s.kustomization("app.yaml", "secret.yaml")
	s.app("one", canary)
	return s
}

func (s *shopOn) write(name, content string) {
	s.Helper()
	file := filepath.Join(s.repo, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		s.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		s.Fatal(err)
	}
}

func (s *shopOn) kustomization(resources ...string) {
	s.Helper()
	s.write("overlays/shop/staging/kustomization.yaml", "namespace: "+s.target+"\nresources: ["+strings.Join(resources, ", ")+"]\n")
}

func (s *shopOn) app(greeting, secret string) {
	s.Helper()
	s.write("overlays/shop/staging/app.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: app}\ndata: {greeting: "+greeting+"}\n")
	s.write("overlays/shop/staging/secret.yaml", "apiVersion: v1\nkind: Secret\nmetadata: {name: app}\nstringData: {token: "+secret+"}\n")
}

// apply does what the daemon would.
func (s *shopOn) apply() {
	s.Helper()
	tree, err := worktree.Open(s.repo)
	if err != nil {
		s.Fatal(err)
	}
	defer tree.Close()
	set, err := promotion.Load(tree)
	if err != nil {
		s.Fatal(err)
	}
	env := set.Environments[staging]
	rendered, err := render.New(render.DefaultLimits()).Render(s.Context(), tree, env.Path)
	if err != nil {
		s.Fatal(err)
	}
	on, err := cluster.Connect(s.cluster.Config(), cluster.Options{DaemonNamespace: s.namespace})
	if err != nil {
		s.Fatal(err)
	}
	defer on.Close()
	p, err := on.Plan(s.Context(), cluster.OwnerOf(env), rendered.Set)
	if err == nil {
		_, err = on.Apply(s.Context(), cluster.OwnerOf(env), p, nil)
	}
	if err == nil {
		_, err = on.Prune(s.Context(), cluster.OwnerOf(env), rendered.Set)
	}
	if err != nil {
		s.Fatal(err)
	}
}

// diff wants an exit code, and never the secret.
func (s *shopOn) diff(want int, args ...string) (out, complaints string) {
	s.Helper()
	code, out, complaints := s.run("diff", append([]string{"shop/staging", "--repo", s.repo}, args...)...)
	if code != want {
		s.Errorf("diff %s: exit code %d, want %d\n%s%s", args, code, want, out, complaints)
	}
	if strings.Contains(out+complaints, canary) {
		s.Errorf("diff %s shows the secret:\n%s%s", args, out, complaints)
	}
	narrow(s.T, out)
	return out, complaints
}

func TestDiff(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	out, _ := s.diff(exitNo)
	if want := "shop/staging: 2 create\n  create  ConfigMap/" + s.target + "/app\n  create  Secret/" + s.target + "/app\n"; out != want {
		t.Errorf("before it runs:\n%s\nwant\n%s", out, want)
	}
	s.apply()
	if out, _ := s.diff(exitFine); out != "shop/staging: 2 unchanged\n" {
		t.Errorf("after:\n%s", out)
	}
	if out, _ := s.diff(exitFine, "--all"); strings.Count(out, "\n  unchanged  ") != 2 {
		t.Errorf("with --all:\n%s", out)
	}
	if out, _ := s.diff(exitFine, "-o", "json"); !strings.Contains(out, `"changes": []`) || !strings.Contains(out, `"unchanged": 2`) {
		t.Errorf("without a difference: %s", out)
	}
	if out, _ := s.diff(exitFine, "-o", "diff"); out != "# shop/staging: 2 unchanged\n" {
		t.Errorf("without a difference: %s", out)
	}

	s.app("two", canary+"-changed")
	s.kustomization("app.yaml", "secret.yaml", "more.yaml")
	s.write("overlays/shop/staging/more.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: more}\n")
	out, _ = s.diff(exitNo)
	for _, want := range []string{
		"shop/staging: 1 create, 2 update\n", "\n  create  ConfigMap/" + s.target + "/more\n",
		"\n  update  ConfigMap/" + s.target + "/app\n      data.greeting: \"one\" -> \"two\"\n", "\n  update  Secret/" + s.target + "/app\n",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	s.kustomization("app.yaml")
	if out, _ = s.diff(exitNo); !strings.Contains(out, "\n  delete  Secret/"+s.target+"/app\n") {
		t.Errorf("with an object gone:\n%s", out)
	}
	if code, out, _ := run(t, Streams{Terminal: true}, "diff", "shop/staging", "--repo", s.repo, "--kubeconfig", s.cluster.Kubeconfig,
		"--namespace", s.namespace); code != exitNo || !strings.Contains(out, "  "+red+"delete"+plain+"  Secret/") {
		t.Errorf("on a terminal: exit code %d\n%q", code, out)
	}
}

// What the daemon would refuse is shown with why, and answers no.
func TestDiffRefused(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	s.kustomization("app.yaml", "bad.yaml")
	s.write("overlays/shop/staging/bad.yaml", "apiVersion: v1\nkind: Service\nmetadata: {name: Not_A_Name}\nspec: {ports: [{port: 80}]}\n")
	if _, complaints := s.diff(exitNo); !strings.Contains(complaints, "Service/"+s.target+"/Not_A_Name") {
		t.Errorf("an object that the server rejects: %q", complaints)
	}
	s.kustomization("app.yaml", "elsewhere.yaml")
	s.write("overlays/shop/staging/kustomization.yaml", "resources: [elsewhere.yaml]\n")
	s.write("overlays/shop/staging/elsewhere.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: app, namespace: kube-system}\n")
	if _, complaints := s.diff(exitNo); !strings.Contains(complaints, "ConfigMap/kube-system/app") {
		t.Errorf("an object outside the target: %q", complaints)
	}
}
