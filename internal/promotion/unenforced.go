package promotion

import (
	"chaperone.dev/chaperone/internal/strictyaml"
)

// unenforced ends the refusal of what design.md describes and this version does
// not do yet. Whoever writes a smoke test relies on it: ignoring it would fail
// open.
const unenforced = "is not enforced by this version; remove it rather than rely on it"

// unenforcedFields are refused unless empty. To support one, take it out here
// and decode it.
var unenforcedFields = map[string][]string{}

func refuseUnenforced(o *strictyaml.Object) {
	for _, name := range unenforcedFields[o.Path()] {
		if v := o.Value(name); !v.IsEmpty() {
			v.Problem("%s %s", name, unenforced)
		}
	}
}
