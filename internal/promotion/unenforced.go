package promotion

import (
	"slices"

	"chaperone.dev/chaperone/internal/strictyaml"
)

// unenforced ends the refusal of what design.md describes and this version does
// not do yet. Whoever writes a freeze or an approval relies on it: ignoring it
// would fail open.
const unenforced = "is not enforced by this version; remove it rather than rely on it"

// unenforcedFields are refused unless empty. To support one, take it out here
// and decode it.
var unenforcedFields = map[string][]string{
	"spec.promotion": {"schedule", "timeZone", "windows", "freezes", "approval"},
	"spec.verify":    {"jobs", "metrics"},
}

// unenforcedModes likewise.
var unenforcedModes = []Mode{ModeSchedule}

func refuseUnenforced(o *strictyaml.Object) {
	for _, name := range unenforcedFields[o.Path()] {
		if v := o.Value(name); !v.IsEmpty() {
			v.Problem("%s %s", name, unenforced)
		}
	}
}

func decodeMode(promotion *strictyaml.Object) Mode {
	v := promotion.Value("mode")
	if mode, _ := v.Scalar(); slices.Contains(unenforcedModes, Mode(mode)) {
		v.Problem("%s %s", mode, unenforced)
		return ModeAutomatic
	}
	return strictyaml.Enum(promotion, "mode", ModeAutomatic, ModeAutomatic, ModePullRequest)
}
