package preview

import (
	"fmt"
	"regexp"

	"sigs.k8s.io/yaml"

	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/plan"
	"chaperone.dev/chaperone/internal/promotion"
)

// maxDiffs bounds the bytes of all diffs of one environment. What is beyond is
// counted, and has no diff.
const maxDiffs = 256 << 10

// Compare tells what changes from one render to the next in an environment. The
// refusal is of what its guards would stop.
func Compare(env promotion.Environment, from, to manifest.Set, redact manifest.Redactor) (Difference, *plan.Refusal) {
	c := comparison{redact: redact, marks: map[string]string{}}
	gone, refusal := plan.Foresee(plan.GuardsOf(env), from, to)
	renamed := generated(from, to)
	for _, o := range to.Objects() {
		id := manifest.IDOf(o)
		old, found := from.Get(id)
		was := ""
		if !found {
			if old = renamed[id]; old != nil {
				was = old.GetName()
				old = old.DeepCopy()
				old.SetName(id.Name) // which is said beside the difference
			}
		}
		c.add(id, old, o, was)
	}
	taken := map[manifest.ID]bool{}
	for _, old := range renamed {
		taken[manifest.IDOf(old)] = true
	}
	for _, change := range gone {
		if taken[change.ID] {
			continue // it goes as the one with the next hash comes
		}
		old, _ := from.Get(change.ID)
		c.gone(change, old)
	}
	return Difference{Objects: c.objects, Irreversible: plan.Irreversible(from, to)}, refusal
}

type comparison struct {
	redact  manifest.Redactor
	marks   map[string]string
	objects []Object
	bytes   int
}

func (c *comparison) add(id manifest.ID, old, now *manifest.Object, was string) {
	before, after := c.text(old), c.text(now)
	if before == after {
		return
	}
	o := Object{ID: id, Was: was, Action: plan.Update}
	if old == nil {
		o.Action = plan.Create
	}
	c.objects = append(c.objects, c.shown(o, before, after))
}

func (c *comparison) gone(change plan.Change, old *manifest.Object) {
	o := Object{ID: change.ID, Action: change.Action, Reason: change.Reason}
	if change.Action == plan.Delete {
		o = c.shown(o, c.text(old), "")
	}
	c.objects = append(c.objects, o)
}

// shown gives an object its diff, while there is room.
func (c *comparison) shown(o Object, before, after string) Object {
	if c.bytes < maxDiffs {
		o.Diff = hunks(before, after)
		c.bytes += len(o.Diff)
	}
	return o
}

// text is an object as YAML. Redaction comes before anything else is done with it.
func (c *comparison) text(o *manifest.Object) string {
	if o == nil {
		return ""
	}
	text, err := yaml.Marshal(c.redact.Object(o).Object)
	if err != nil {
		return fmt.Sprintf("# %s cannot be shown\n", manifest.IDOf(o))
	}
	return c.stable(string(text))
}

var redacted = regexp.MustCompile(`<redacted [0-9a-f]{8}>`)

// stable numbers the marks of secret values in the order in which they come:
// they are made anew by each process, and a text that is posted must not change
// because of that.
func (c *comparison) stable(text string) string {
	return redacted.ReplaceAllStringFunc(text, func(mark string) string {
		if c.marks[mark] == "" {
			c.marks[mark] = fmt.Sprintf("<secret value %d>", len(c.marks)+1)
		}
		return c.marks[mark]
	})
}

// hashed is how kustomize ends the names of what it generates: with ten
// characters of a hash of the content.
var hashed = regexp.MustCompile(`-[bcdfghkmt24-9]{10}$`)

// generated pairs objects that go with those that come in their place: the same
// but for the hash in the name. Where there are several, none is paired.
func generated(from, to manifest.Set) map[manifest.ID]*manifest.Object {
	stem := func(id manifest.ID) (manifest.ID, bool) {
		name := hashed.ReplaceAllString(id.Name, "")
		is := name != id.Name && id.Group == "" && (id.Kind == "ConfigMap" || id.Kind == "Secret")
		id.Name = name
		return id, is
	}
	gone, several := map[manifest.ID]*manifest.Object{}, map[manifest.ID]bool{}
	for _, o := range from.Objects() {
		id := manifest.IDOf(o)
		key, is := stem(id)
		if _, stays := to.Get(id); !is || stays {
			continue
		}
		several[key] = gone[key] != nil
		gone[key] = o
	}
	came := map[manifest.ID][]manifest.ID{}
	for _, o := range to.Objects() {
		id := manifest.IDOf(o)
		if key, is := stem(id); is {
			if _, was := from.Get(id); !was {
				came[key] = append(came[key], id)
			}
		}
	}
	pairs := map[manifest.ID]*manifest.Object{}
	for key, ids := range came {
		if len(ids) == 1 && gone[key] != nil && !several[key] {
			pairs[ids[0]] = gone[key]
		}
	}
	return pairs
}
