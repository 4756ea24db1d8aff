package cli

import (
	"fmt"
	"strings"
	"testing"

	"chaperone.dev/chaperone/internal/testkit/gitserver"
)

// The revision that the daemon comes to next is the pin's, and the branch's
// newest where there is none. An environment that waits for its first promotion
// runs nothing.
func TestDiffOfTheNextRevision(t *testing.T) {
	t.Parallel()
	in := install(t)
	target := in.cluster.Namespace(t)
	repo := gitserver.NewRepo(t)
	commit := func(greeting, extra string) string {
		return repo.Commit(t, gitserver.Commit{Files: map[string]string{
			"environments/shop/staging.yaml": "apiVersion: chaperone.dev/v1alpha1\nkind: Environment\nmetadata: {name: staging}\n" +
				"spec:\n  data: none\n  target: {namespace: " + target + "}\n" + extra,
			"overlays/shop/staging/kustomization.yaml": "namespace: " + target + "\nresources: [app.yaml]\n",
			"overlays/shop/staging/app.yaml":           "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: app}\ndata: {greeting: " + greeting + "}\n",
		}})
	}
	diff := func(want int) (out, complaints string) {
		t.Helper()
		code, out, complaints := in.run("diff", "shop/staging", "--repo", repo.Dir, "--revision", "next", "-o", "diff")
		if code != want {
			t.Errorf("exit code %d, want %d\n%s%s", code, want, out, complaints)
		}
		return out, complaints
	}
	commit("waiting", "  promotion: {mode: pull-request}\n")
	if _, complaints := diff(exitNo); !strings.Contains(complaints, "runs nothing until its first promotion is merged") {
		t.Errorf("before the first promotion: %q", complaints)
	}
	older := commit("older", "")
	if out, _ := diff(exitNo); !strings.Contains(out, "+  greeting: older\n") {
		t.Errorf("without a pin:\n%s", out)
	}
	commit("newer", fmt.Sprintf("  promotion: {mode: pull-request}\n  revision: %s\n", older))
	if out, _ := diff(exitNo); !strings.Contains(out, "+  greeting: older\n") {
		t.Errorf("with a pin:\n%s", out)
	}
}
