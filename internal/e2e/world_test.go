package e2e

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/source"
	"chaperone.dev/chaperone/internal/state"
	"chaperone.dev/chaperone/internal/testkit/gitserver"
	"chaperone.dev/chaperone/internal/testkit/localcluster"
)

// token opens the Git server. It is a canary, too: it must not be seen.
const token = "token-canary-91c7f2"

// patience is for what takes a moment; a rollout under load is one.
const patience = 3 * time.Minute

var (
	development = promotion.ID{Pipeline: "demo", Name: "development"}
	staging     = promotion.ID{Pipeline: "demo", Name: "staging"}
	production  = promotion.ID{Pipeline: "demo", Name: "production"}
)

// world is all there is in a test but the daemon.
type world struct {
	*testing.T
	cluster    *localcluster.Cluster
	client     kubernetes.Interface
	api        *api
	namespace  string            // the daemon's
	namespaces map[string]string // of environments, by ID
	stops      []stop
	repo       *gitserver.Repo
	git        *gitserver.HTTP
	tokenFile  string
	policies   string // directory
	store      *state.Store
	first      source.Revision
	log        *logBuffer
}

var installed struct {
	sync.Mutex
	on map[string]bool
}

// newWorld makes the source, on the shared cluster.
func newWorld(t *testing.T, stops []stop, changes ...map[string]string) *world {
	t.Helper()
	return worldOn(t, localcluster.Start(t), stops, changes...)
}

func worldOn(t *testing.T, cluster *localcluster.Cluster, stops []stop, changes ...map[string]string) *world {
	t.Helper()
	install(t, cluster)
	w := &world{
		T: t, cluster: cluster, client: cluster.Client(), stops: stops, namespaces: map[string]string{},
		namespace: cluster.Namespace(t), api: newAPI(t, cluster.Config()), policies: filepath.Join(t.TempDir(), "policies"),
		tokenFile: filepath.Join(t.TempDir(), "token"), repo: gitserver.NewRepo(t), log: &logBuffer{},
	}
	for _, s := range stops {
		w.namespaces[s.pipeline+"/"+s.name] = cluster.Namespace(t)
	}
	write(t, w.tokenFile, token+"\n")
	writePolicies(t, w.policies, "forbidden")
	w.git = gitserver.ServeHTTP(t, w.repo, token)
	store, err := state.New(cluster.Config(), w.namespace, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	w.store = store
	all := files(stops, w.namespaces)
	for _, change := range changes {
		for name, content := range change {
			all[name] = content
		}
	}
	w.first = w.push("first", all)
	return w
}

func install(t *testing.T, cluster *localcluster.Cluster) {
	t.Helper()
	installed.Lock()
	defer installed.Unlock()
	if installed.on[cluster.Config().Host] {
		return
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := state.InstallCRDs(ctx, cluster.Config()); err != nil {
		t.Fatal(err)
	}
	if installed.on == nil {
		installed.on = map[string]bool{}
	}
	installed.on[cluster.Config().Host] = true
}

// push commits changes to the branch, as a merged pull request does. A file
// with empty content is removed.
func (w *world) push(message string, changes ...map[string]string) source.Revision {
	w.Helper()
	c := gitserver.Commit{Message: message, Files: map[string]string{}}
	for _, change := range changes {
		for name, content := range change {
			if content == "" {
				c.Delete = append(c.Delete, name)
				continue
			}
			c.Files[name] = content
		}
	}
	return source.Revision(w.repo.Commit(w.T, c))
}

// pin is the change that moves an environment's pin.
func (w *world) pin(id promotion.ID, to source.Revision) map[string]string {
	w.Helper()
	for _, s := range w.stops {
		if s.pipeline == id.Pipeline && s.name == id.Name {
			return map[string]string{s.path(): s.file(w.namespaces[id.String()], string(to))}
		}
	}
	w.Fatalf("no environment %s", id)
	return nil
}

func (w *world) head() source.Revision {
	w.Helper()
	return source.Revision(w.repo.Head(w.T, gitserver.Main))
}

// reverts are the daemon's revert commits on the branch, newest first.
func (w *world) reverts() []source.Commit {
	w.Helper()
	var found []source.Commit
	for _, hash := range strings.Fields(gitserver.Git(w.T, w.repo.Dir, "rev-list", gitserver.Main)) {
		c := source.Commit{Revision: source.Revision(hash), Message: gitserver.Git(w.T, w.repo.Dir, "log", "-1", "--format=%B", hash)}
		if _, is := c.Reverts(); is {
			found = append(found, c)
		}
	}
	return found
}

// tree is the hash of the whole content at a revision.
func (w *world) tree(revision source.Revision) string {
	w.Helper()
	return gitserver.Git(w.T, w.repo.Dir, "rev-parse", string(revision)+"^{tree}")
}

// record is what the daemon has stored; the zero record before it has.
func (w *world) record(id promotion.ID) state.Record {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	r, err := w.store.Get(ctx, id)
	if err != nil {
		return state.Record{ID: id}
	}
	return r
}

// await looks until a condition holds. On failure it tells where everything stood.
func (w *world) await(what string, holds func() bool) {
	w.Helper()
	end := time.Now().Add(patience)
	for !holds() {
		if time.Now().After(end) {
			w.Fatalf("waited %s for: %s\n%s", patience, what, w.scene())
		}
		select {
		case <-w.Context().Done():
			w.Fatalf("interrupted while waiting for: %s", what)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// awaitReason waits until an environment says why it is where it is.
func (w *world) awaitReason(id promotion.ID, reason promotion.Reason) state.Record {
	w.Helper()
	var r state.Record
	w.await(fmt.Sprintf("%s to be %s", id, reason), func() bool {
		r = w.record(id)
		return r.Status.Reason == reason
	})
	return r
}

// awaitRuns waits until an environment is at rest with a revision that it
// verified.
func (w *world) awaitRuns(id promotion.ID, revision source.Revision) state.Record {
	w.Helper()
	var r state.Record
	w.await(fmt.Sprintf("%s to run %s, verified", id, revision.Short()), func() bool {
		r = w.record(id)
		return r.Status.Reason == promotion.UpToDate && r.Journal.Attempt.Stage == "" && r.Journal.LastGood.Revision == revision
	})
	return r
}

// awaitHeld waits until an environment is held.
func (w *world) awaitHeld(id promotion.ID, reason promotion.Reason) state.Record {
	w.Helper()
	var r state.Record
	w.await(fmt.Sprintf("%s to be held: %s", id, reason), func() bool {
		r = w.record(id)
		return r.Status.Phase == "Held" && r.Status.Reason == reason
	})
	return r
}

// never makes sure that a condition does not hold for a while.
func (w *world) never(what string, during time.Duration, holds func() bool) {
	w.Helper()
	for end := time.Now().Add(during); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		if holds() {
			w.Fatalf("%s\n%s", what, w.scene())
		}
	}
}

// scene is where every environment stands, and what the daemon said last.
func (w *world) scene() string {
	var b strings.Builder
	for _, s := range w.stops {
		r := w.record(promotion.ID{Pipeline: s.pipeline, Name: s.name})
		fmt.Fprintf(&b, "%s: %s/%s: %s\n  journal %+v\n", r.ID, r.Status.Phase, r.Status.Reason, r.Message, r.Journal)
		if d := w.app(r.ID); d != nil {
			fmt.Fprintf(&b, "  app %s, generation %d: %+v\n", w.runs(r.ID), d.Generation, d.Status)
		}
	}
	fmt.Fprintf(&b, "--- log\n%s", w.log.tail(80))
	return b.String()
}

// app is the Deployment of an environment, nil where there is none.
func (w *world) app(id promotion.ID) *appsv1.Deployment {
	d, err := w.client.AppsV1().Deployments(w.namespaces[id.String()]).Get(context.Background(), "app", metav1.GetOptions{})
	if err != nil {
		return nil
	}
	return d
}

// runs is the tag of the app that the cluster is told to run.
func (w *world) runs(id promotion.ID) string {
	d := w.app(id)
	if d == nil {
		return ""
	}
	return strings.TrimPrefix(d.Spec.Template.Spec.Containers[0].Image, image(""))
}

// greetings are the hashed ConfigMaps of an environment: their texts by name.
func (w *world) greetings(id promotion.ID) map[string]string {
	w.Helper()
	list, err := w.client.CoreV1().ConfigMaps(w.namespaces[id.String()]).List(w.Context(), metav1.ListOptions{})
	if err != nil {
		w.Fatal(err)
	}
	texts := map[string]string{}
	for _, c := range list.Items {
		if strings.HasPrefix(c.Name, "app-") {
			texts[c.Name] = strings.TrimSpace(c.Data["greeting.txt"])
		}
	}
	return texts
}

// wantApp makes sure of what an environment is told to run, and that it does.
func (w *world) wantApp(id promotion.ID, tag string) {
	w.Helper()
	d := w.app(id)
	if d == nil || w.runs(id) != tag {
		w.Errorf("%s runs %q, want %q\n%s", id, w.runs(id), tag, w.scene())
		return
	}
	w.await(fmt.Sprintf("%s to have its pods ready", id), func() bool {
		d := w.app(id)
		return d != nil && d.Status.ObservedGeneration == d.Generation && d.Status.ReadyReplicas == *d.Spec.Replicas &&
			d.Status.UpdatedReplicas == *d.Spec.Replicas
	})
}
