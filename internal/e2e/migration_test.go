package e2e

import (
	"strings"

	"chaperone.dev/chaperone/internal/source"
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
