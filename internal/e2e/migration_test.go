package e2e

import (
	"strings"
	"sync/atomic"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"chaperone.dev/chaperone/internal/source"
	"chaperone.dev/chaperone/internal/testkit/localcluster"
)

// undoable is a release with a migration, and with the hook that undoes it.
func undoable(tag, image string) map[string]string {
	change := migration(tag, image)
	change["base/demo/kustomization.yaml"] = kustomization("deployment.yaml", "service.yaml", "migrate.yaml", "unmigrate.yaml")
	change["base/demo/unmigrate.yaml"] = strings.NewReplacer("name: migrate", "name: unmigrate", "pre-deploy", "rollback").
		Replace(change["base/demo/migrate.yaml"])
	return change
}

// A bad release that has changed the data is undone by its own rollback hook,
// and then taken back like any other.
var migrationStory = story{
	begin: func(w *world) source.Revision {
		return w.push("break it", undoable("2.0.0-errors-100", image("migrate")))
	},
	end: badStory.end,
}

// The API server goes away while a release is taken back that has a migration: as
// its rollback hook is begun, and again between that and the end of the restore.
// When it is back the daemon goes on, and the hook has run once.
func TestPitfall22_APIServerGoneWhileAMigrationIsTakenBack(t *testing.T) {
	quick(t)
	cluster := localcluster.StartOwn(t)
	for _, at := range []string{"jobs/unmigrate", "deployments/app"} {
		w := worldOn(t, cluster, alone())
		daemon := w.start()
		w.awaitRuns(development, w.first)
		namespace := w.namespaces[development.String()]
		half, gone := make(chan struct{}), make(chan struct{})
		var undoing atomic.Bool
		w.api.set(once(func(c call) fate {
			if c.changes(namespace, "jobs/unmigrate") {
				undoing.Store(true)
			}
			if !undoing.Load() || !c.changes(namespace, at) {
				return fate{}
			}
			return fate{lose: true, sent: true, then: func() { close(half); <-gone }}
		}))
		bad := migrationStory.begin(w)
		w.awaitDone(at+" to be written", half)
		cluster.Stop(t)
		close(gone)
		before := w.api.failed.Load()
		w.await("requests to fail", func() bool { return w.api.failed.Load() > before+5 })
		cluster.Restart(t)
		w.api.set(nil)
		migrationStory.end(w, bad)
		if ran := w.ran(namespace, "unmigrate"); ran != 1 {
			t.Errorf("%s: the rollback hook has run %d times, want once", at, ran)
		}
		daemon.stop()
	}
}

// ran is how many Jobs of a name were given a pod, by what their controller tells:
// they are gone by now.
func (w *world) ran(namespace, job string) int {
	w.Helper()
	events, err := w.client.CoreV1().Events(namespace).List(w.Context(), metav1.ListOptions{})
	if err != nil {
		w.Fatal(err)
	}
	jobs := map[types.UID]bool{}
	for _, e := range events.Items {
		if e.InvolvedObject.Kind == "Job" && e.InvolvedObject.Name == job && e.Reason == "SuccessfulCreate" {
			jobs[e.InvolvedObject.UID] = true
		}
	}
	return len(jobs)
}
