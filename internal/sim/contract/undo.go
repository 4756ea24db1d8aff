package contract

import (
	"testing"

	"chaperone.dev/chaperone/internal/controller"
)

func job(name, hook, image string) string {
	return "apiVersion: batch/v1\nkind: Job\nmetadata: {name: " + name + ", namespace: NS, annotations: {chaperone.dev/hook: " + hook + "}}\n" +
		"spec: {backoffLimit: 0, template: {spec: {restartPolicy: Never, containers: [{name: job, image: \"registry.example.org/" + image + "\"}]}}}\n"
}

// undoCases are about migrations that are taken back.
func undoCases() []Case[ClusterFixture] {
	return []Case[ClusterFixture]{
		{"rollback hooks run once for each attempt at their release", func(t *testing.T, f ClusterFixture) {
			good := f.Set(config("a", "1"), job("move", "pre-deploy", "move:1"))
			failed := f.Set(config("a", "2"), job("move", "pre-deploy", "move:2"), job("back", "rollback", "move:2"))
			must(t, f.Apply(t.Context(), f.Env, good))
			undo := func(attempt string) string {
				t.Helper()
				must(t, f.Undo(t.Context(), f.Env, controller.Rollback{Failed: failed, Good: good, Attempt: attempt}))
				return f.Ran("back")
			}
			if undo("none") != "" {
				t.Error("a rollback hook ran before its migration was begun")
			}
			must(t, f.Apply(t.Context(), f.Env, failed))
			if f.Ran("back") != "" {
				t.Error("a rollback hook ran with its release")
			}
			first := undo("first")
			if first == "" || undo("first") != first {
				t.Errorf("ran %q, and then %q for one attempt", first, f.Ran("back"))
			}
			must(t, f.Restore(t.Context(), f.Env, good))
			f.has(t, "a=1")
			must(t, f.Apply(t.Context(), f.Env, failed))
			if second := undo("second"); second == "" || second == first {
				t.Errorf("ran %q for the next attempt, and %q for the first", second, first)
			}
		}},
	}
}
