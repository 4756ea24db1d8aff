package plan

import (
	"strings"
	"testing"

	"chaperone.dev/chaperone/internal/promotion"
)

// What a controller waits with, and what it reports, is dropped by the next
// apply once it is taken over: the clean-up never runs (kubernetes#99003).
func TestPitfall16_AdoptionLeavesControllersTheirFields(t *testing.T) {
	t.Parallel()
	const finalizer = `"f:finalizers":{".":{},"v:\"example.org/drop-backup\"":{}}`
	const waits = ".metadata.finalizers .metadata.finalizers[=\"example.org/drop-backup\"]"
	w := owner
	w.Adopt = []promotion.Tool{promotion.ToolKubectl, promotion.ToolOther}
	for name, c := range map[string]struct {
		manager, fields string
		want            string
	}{
		"an operator's alone":    {"db-operator", `{"f:metadata":{` + finalizer + `},"f:status":{"f:phase":{}}}`, "db-operator Update: " + waits + " .status.phase"},
		"beside what it applied": {"db-operator", `{"f:metadata":{` + finalizer + `},"f:spec":{"f:class":{}}}`, "chaperone Apply: .spec.class .spec.size; db-operator Update: " + waits},
		"by a person":            {"kubectl-edit", `{"f:metadata":{` + finalizer + `,"f:ownerReferences":{"k:{\"uid\":\"1\"}":{}}},"f:spec":{"f:class":{}}}`, "chaperone Apply: .spec.class .spec.size; kubectl-edit Update: " + waits + ` .metadata.ownerReferences[uid="1"]`},
		"before it was recorded": {beforeFirstApply, `{"f:spec":{"f:class":{}},"f:status":{"f:phase":{}}}`, "before-first-apply Update: .status.phase; chaperone Apply: .spec.class .spec.size"},
	} {
		live := object(t, "apiVersion: example.org/v1\nkind: DB\nmetadata: {name: db, namespace: shop, finalizers: [example.org/drop-backup]}\nspec: {size: 1, class: a}\nstatus: {phase: Ready}")
		live = wrote(live, "kubectl-client-side-apply", "Update", "", `{"f:spec":{"f:size":{}}}`)
		live = wrote(live, c.manager, "Update", "", c.fields)
		inherited, heir, err := w.Inherit(live)
		if err != nil || !heir {
			t.Fatal(heir, err)
		}
		got := strings.Join(managersOn(inherited), "; ")
		want := c.want
		if !strings.Contains(want, "chaperone") {
			want = "chaperone Apply: .spec.size; " + want
		}
		if got != want {
			t.Errorf("%s: %s\nwant %s", name, got, want)
		}
		if other := w.Other(inherited); other != "" {
			t.Errorf("%s: it belongs to %s afterwards", name, other)
		}
		if _, again, err := w.Inherit(inherited); again || err != nil {
			t.Errorf("%s: there is more to take over (%v)", name, err)
		}
	}
}
