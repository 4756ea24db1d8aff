package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"

	"chaperone.dev/chaperone/internal/controller"
	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/sim/contract"
	"chaperone.dev/chaperone/internal/source"
	"chaperone.dev/chaperone/internal/source/gogit"
	"chaperone.dev/chaperone/internal/state"
	"chaperone.dev/chaperone/internal/testkit/gitserver"
	"chaperone.dev/chaperone/internal/testkit/localcluster"
	"chaperone.dev/chaperone/internal/verify"
)

// What the simulation's world promises, the real adapters keep: a Git server
// over HTTP, an API server, and what this package makes of their adapters.

func TestSourceContract(t *testing.T) {
	t.Parallel()
	contract.Run(t, contract.SourceCases(), func(t *testing.T) contract.SourceFixture {
		repo := gitserver.NewRepo(t)
		server := gitserver.ServeHTTP(t, repo, "token")
		open := func() controller.Source {
			opened, err := gogit.Open(t.Context(), gogit.Options{
				URL: server.URL, Branch: gitserver.Main, CacheDir: filepath.Join(t.TempDir(), "cache"),
				Timeout: 20 * time.Second, Credentials: gogit.Credentials{TokenFile: tokenFile(t)}, Author: gogit.DefaultAuthor,
			})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(opened.Close)
			return &repository{Repository: opened, polled: func(context.Context, source.Revision) {}}
		}
		r := realSource{t, repo}
		return contract.SourceFixture{
			Source: open(), Another: open, Commit: r.commit, Between: r.between, Move: r.move, Refuse: r.refuse,
			Head: func(branch string) source.Revision { return source.Revision(repo.Head(t, branch)) },
			Message: func(at source.Revision) string {
				return gitserver.Git(t, repo.Dir, "log", "-1", "--format=%B", string(at))
			},
			File: r.file,
			Lose: func() { server.LosePushAnswers(1) },
			Down: server.Down, Up: func() { server.Up(t) },
		}
	})
}

func tokenFile(t *testing.T) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(name, []byte("token\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// realSource is what people do to a real repository.
type realSource struct {
	t    *testing.T
	repo *gitserver.Repo
}

func (r realSource) commit(c contract.Commit) source.Revision {
	return source.Revision(r.repo.Commit(r.t, gitserver.Commit{
		Branch: c.Branch, Parent: string(c.Parent), Merge: string(c.Merge), Message: c.Message, Files: c.Files, Delete: c.Delete,
	}))
}

func (r realSource) between(c contract.Commit) {
	c.Branch, c.Parent = "between", source.Revision(r.repo.Head(r.t, gitserver.Main))
	r.repo.BeforePush(r.t, "git update-ref refs/heads/main "+string(r.commit(c))+"; mv hooks/pre-receive hooks/done")
}

func (r realSource) move(branch string, to source.Revision) {
	if to == "" {
		r.repo.Delete(r.t, branch)
		return
	}
	r.repo.Move(r.t, branch, string(to))
}

func (r realSource) refuse(why string) {
	if why == "" {
		r.repo.AcceptPushes(r.t)
		return
	}
	r.repo.RefusePushes(r.t, why)
}

func (r realSource) file(at source.Revision, path string) string {
	if gitserver.Git(r.t, r.repo.Dir, "ls-tree", "--name-only", string(at), path) == "" {
		return ""
	}
	return r.repo.File(r.t, string(at), path)
}

var environments = schema.GroupVersionResource{Group: "chaperone.dev", Version: "v1alpha1", Resource: "environments"}

// install installs the custom resources once for all tests.
var install = sync.OnceValue(func() func(*testing.T, *localcluster.Cluster) {
	var once sync.Once
	return func(t *testing.T, local *localcluster.Cluster) {
		once.Do(func() {
			if err := state.InstallCRDs(t.Context(), local.Config()); err != nil {
				t.Error(err)
			}
		})
	}
})

func TestStoreContract(t *testing.T) {
	t.Parallel()
	contract.Run(t, contract.StoreCases(), func(t *testing.T) contract.StoreFixture {
		local := localcluster.Start(t)
		install()(t, local)
		namespace := local.Namespace(t)
		open := func() *state.Store {
			store, err := state.New(local.Config(), namespace, time.Now)
			if err != nil {
				t.Fatal(err)
			}
			return store
		}
		store := open()
		objects, err := dynamic.NewForConfig(local.Config())
		if err != nil {
			t.Fatal(err)
		}
		check := func(err error) {
			if err != nil {
				t.Error(err)
			}
		}
		return contract.StoreFixture{
			Store: store, Other: open(),
			Pause: func(id promotion.ID, p *state.Pause) { check(store.SetPause(t.Context(), id, p)) },
			Retry: func(id promotion.ID, r state.Retry) { check(store.SetRetry(t.Context(), id, r)) },
			Delete: func(id promotion.ID) {
				check(objects.Resource(environments).Namespace(namespace).Delete(t.Context(), state.ObjectName(id), metav1.DeleteOptions{}))
			},
			Set: func(name string) manifest.Set {
				return decoded(t, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: "+name+", namespace: v1}\n")
			},
		}
	})
}

func decoded(t *testing.T, texts ...string) manifest.Set {
	t.Helper()
	objects, err := manifest.Decode("a.yaml", []byte(strings.Join(texts, "\n---\n")))
	if err != nil {
		t.Fatal(err)
	}
	set, err := manifest.NewSet(objects)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func TestClusterContract(t *testing.T) {
	t.Parallel()
	contract.Run(t, contract.ClusterCases(), func(t *testing.T) contract.ClusterFixture {
		local := localcluster.Start(t)
		on := &clusters{
			connections: &connections{own: local.Config(), namespace: "chaperone-contract", redactor: newRedactor(), log: slog.New(slog.DiscardHandler),
				request: func(string, string, int) {}, open: map[target]*connection{}},
			verifier: verify.New(verify.NewClient(nil), verify.SystemClock(), 200*time.Millisecond),
		}
		t.Cleanup(on.Close)
		namespace := local.Namespace(t)
		return realCluster{t: t, local: local, namespace: namespace}.fixture(on, promotion.Environment{
			ID: promotion.ID{Pipeline: "demo", Name: "staging"}, Target: promotion.Target{Namespace: namespace}, Prune: true, MaxDeletePart: 0.5,
			Verify: promotion.Verify{Timeout: 20 * time.Second, Settle: 200 * time.Millisecond},
		})
	})
}

// realCluster is what people see and do on a real API server.
type realCluster struct {
	t         *testing.T
	local     *localcluster.Cluster
	namespace string
}

func (r realCluster) fixture(on controller.Cluster, env promotion.Environment) contract.ClusterFixture {
	configs := r.local.Client().CoreV1().ConfigMaps(r.namespace)
	return contract.ClusterFixture{
		Cluster: on, Env: env,
		Set: func(texts ...string) manifest.Set {
			return decoded(r.t, strings.ReplaceAll(strings.Join(texts, "\n---\n"), "NS", r.namespace))
		},
		Value: func(name string) string {
			o, err := configs.Get(r.t.Context(), name, metav1.GetOptions{})
			if !r.found(err) {
				return ""
			}
			return o.Data["value"]
		},
		Ran: func(name string) string {
			job, err := r.local.Client().BatchV1().Jobs(r.namespace).Get(r.t.Context(), name, metav1.GetOptions{})
			if !r.found(err) {
				return ""
			}
			return string(job.UID)
		},
		Change: func(name, value string) {
			patch := fmt.Sprintf(`{"data":{"value":%q}}`, value)
			if _, err := configs.Patch(r.t.Context(), name, types.MergePatchType, []byte(patch), metav1.PatchOptions{FieldManager: "somebody"}); err != nil {
				r.t.Error(err)
			}
		},
		Delete: func(name string) {
			if err := configs.Delete(r.t.Context(), name, metav1.DeleteOptions{}); err != nil {
				r.t.Error(err)
			}
		},
		Volume: func(name string) bool {
			_, err := r.local.Client().CoreV1().PersistentVolumeClaims(r.namespace).Get(r.t.Context(), name, metav1.GetOptions{})
			return r.found(err)
		},
	}
}

func (r realCluster) found(err error) bool {
	r.t.Helper()
	if err != nil && !apierrors.IsNotFound(err) {
		r.t.Error(err)
	}
	return err == nil
}

// What only marks tell of is deleted once a person agrees, and until then it is
// told how, as a reason of its own: the command works as it stands.
func TestPruneWaitsForAPersonWhereTheInventoryWasLost(t *testing.T) {
	t.Parallel()
	local := localcluster.Start(t)
	on := &clusters{connections: &connections{own: local.Config(), namespace: "chaperone-contract", redactor: newRedactor(),
		log: slog.New(slog.DiscardHandler), request: func(string, string, int) {}, open: map[target]*connection{}}}
	t.Cleanup(on.Close)
	r := realCluster{t: t, local: local, namespace: local.Namespace(t)}
	env := promotion.Environment{ID: promotion.ID{Pipeline: "demo", Name: "staging"}, Target: promotion.Target{Namespace: r.namespace}, Prune: true}
	object := func(name string) string {
		return "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: " + name + ", namespace: " + r.namespace + "}\ndata: {value: a}"
	}
	if err := on.Apply(t.Context(), env, decoded(t, object("one"), object("two"))); err != nil {
		t.Fatal(err)
	}
	r.fixture(on, env).Delete("chaperone-inventory-demo-staging")
	next := decoded(t, object("one"))
	if err := on.Apply(t.Context(), env, next); err != nil {
		t.Fatal(err)
	}
	var refusal *controller.Refusal
	err := on.Prune(t.Context(), env, next)
	command := "kubectl annotate configmap -n " + r.namespace + " chaperone-inventory-demo-staging chaperone.dev/prune=allow"
	if !errors.As(err, &refusal) || refusal.Reason != promotion.InventoryRebuilt || !strings.Contains(err.Error(), "/two") || !strings.HasSuffix(err.Error(), command) {
		t.Errorf("prune: %v; want the object and %q", err, command)
	}
	configs := local.Client().CoreV1().ConfigMaps(r.namespace)
	patch := []byte(`{"metadata":{"annotations":{"chaperone.dev/prune":"allow"}}}`)
	if _, err := configs.Patch(t.Context(), "chaperone-inventory-demo-staging", types.MergePatchType, patch, metav1.PatchOptions{FieldManager: "kubectl-annotate"}); err != nil {
		t.Fatal(err)
	}
	if err := on.Prune(t.Context(), env, next); err != nil {
		t.Errorf("prune once a person agreed: %v", err)
	}
	if _, err := configs.Get(t.Context(), "two", metav1.GetOptions{}); r.found(err) {
		t.Error("it is still there")
	}
}
