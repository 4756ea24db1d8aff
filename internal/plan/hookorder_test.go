package plan

import (
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"chaperone.dev/chaperone/internal/manifest"
)

func orderedHook(name, stage, order string) string {
	return fmt.Sprintf(`{apiVersion: batch/v1, kind: Job, metadata: {name: %s, namespace: shop, annotations: {chaperone.dev/hook: %s, chaperone.dev/hook-order: %q}}}`, name, stage, order)
}

// Of two hooks of a stage, the one with the lower number is complete before the
// other is applied, whatever they are called.
func TestHooksOfAStageRunByTheirOrder(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		var changes []Change
		orders := map[int]int{}
		for i := range rapid.IntRange(1, 8).Draw(rt, "hooks") {
			orders[i] = rapid.IntRange(-2, 2).Draw(rt, "order")
			stage := rapid.SampledFrom([]string{"pre-deploy", "post-deploy"}).Draw(rt, "stage")
			o := object(t, orderedHook(fmt.Sprintf("h%d", i), stage, fmt.Sprint(orders[i])))
			changes = append(changes, Change{ID: manifest.IDOf(o), Stage: manifest.StageOf(o), Object: o, Action: Create})
		}
		steps, err := Steps(changes)
		if err != nil {
			rt.Fatal(err)
		}
		applied, over := map[int]int{}, map[int]int{}
		for at, step := range steps {
			switch step.Kind {
			case StepApply:
				applied[step.Change] = at
			case StepAwait:
				over[step.Change] = at
			}
		}
		for a := range changes {
			for b := range changes {
				if changes[a].Stage == changes[b].Stage && orders[a] < orders[b] && !reaches(steps, applied[b], over[a]) {
					rt.Fatalf("h%d of order %d does not wait for h%d of order %d", b, orders[b], a, orders[a])
				}
			}
		}
	})
}

// reaches reports whether a step comes after another, over whichever between.
func reaches(steps []Step, from, to int) bool {
	if from == to {
		return true
	}
	for _, before := range steps[from].After {
		if reaches(steps, before, to) {
			return true
		}
	}
	return false
}

func TestHookOrderIsRefused(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		orderedHook("a", "pre-deploy", "first"): `chaperone.dev/hook-order: want a whole number from -1000 to 1000, not "first"`,
		orderedHook("a", "pre-deploy", "1001"):  "want a whole number",
		orderedHook("a", "pre-deploy", ""):      "want a whole number",
		orderedHook("a", "never", "1"):          "only the Jobs of hooks have an order",
		`{apiVersion: v1, kind: ConfigMap, metadata: {name: a, namespace: shop, annotations: {chaperone.dev/hook: pre-deploy, chaperone.dev/hook-order: "1"}}}`: "only the Jobs of hooks",
	} {
		culprits := checkDependsOn(renderedSet(t, object(t, text)))
		if len(culprits) != 1 || !strings.Contains(culprits[0].Text, want) {
			t.Errorf("%s: %v, want %q", text, culprits, want)
		}
	}
	for _, stage := range []string{"pre-deploy", "post-deploy", "rollback"} {
		if culprits := checkDependsOn(renderedSet(t, object(t, orderedHook("a", stage, "-7")))); len(culprits) != 0 {
			t.Errorf("%s: %v", stage, culprits)
		}
	}
}
