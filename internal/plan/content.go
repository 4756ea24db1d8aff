package plan

import (
	"fmt"
	"strings"

	"github.com/aymanbagabas/go-udiff"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
	"sigs.k8s.io/yaml"

	"chaperone.dev/chaperone/internal/manifest"
)

// Content is an object before and after a change as YAML, in the fields that
// we own and free of secrets; "" where there is none.
type Content struct{ Before, After string }

// show gives each change that touches the cluster its content.
func (in Input) show(changes []Change) {
	if !in.Contents {
		return
	}
	for i, c := range changes {
		seen := in.Seen[c.ID]
		switch c.Action {
		case Create:
			changes[i].Content = &Content{After: in.text(c.Object, nil)}
		case Update:
			changes[i].Content = in.updated(c, seen)
		case Replace:
			changes[i].Content = &Content{Before: in.text(seen.Live, managed(seen.Live, in.Manager)), After: in.text(c.Object, nil)}
		case Delete:
			changes[i].Content = &Content{Before: in.text(seen.Live, managed(seen.Live, in.Manager))}
		}
	}
}

// updated shows the same fields on both sides: those that we own before or
// after. A field that we let go of and another manager keeps does not change;
// one that is taken over and not rendered goes.
func (in Input) updated(c Change, seen Seen) *Content {
	inherited, _, _ := in.Owner.Inherit(seen.Live)
	was := managed(inherited, in.Manager)
	if seen.Tried == nil {
		return &Content{Before: in.text(seen.Live, was), After: in.text(c.Object, nil)}
	}
	will := managed(seen.Tried, in.Manager)
	if was == nil {
		was = &fieldpath.Set{}
	}
	if will != nil {
		was = was.Union(will)
	}
	return &Content{Before: in.text(seen.Live, was), After: in.text(seen.Tried, was)}
}

// text is an object in the fields of a set, or whole without one. It is
// redacted before anything else is done with it.
func (in Input) text(o *manifest.Object, set *fieldpath.Set) string {
	if o == nil {
		return ""
	}
	shown := in.Redact.Object(o).Object
	if set != nil {
		owned, _ := project(shown, set).(map[string]any)
		shown = identified(owned, shown)
	}
	written, err := yaml.Marshal(shown)
	if err != nil {
		return "(cannot be shown)\n"
	}
	return string(written)
}

// identified adds what nobody owns: which object it is.
func identified(owned, object map[string]any) map[string]any {
	for _, key := range []string{"apiVersion", "kind"} {
		owned[key] = object[key]
	}
	metadata, _ := owned["metadata"].(map[string]any)
	if metadata == nil {
		metadata = map[string]any{}
		owned["metadata"] = metadata
	}
	all, _ := object["metadata"].(map[string]any)
	for _, key := range []string{"name", "namespace"} {
		if v, found := all[key]; found {
			metadata[key] = v
		}
	}
	return owned
}

// project is a value in the fields of a set.
func project(node any, set *fieldpath.Set) any {
	switch node := node.(type) {
	case map[string]any:
		kept := map[string]any{}
		for key, child := range node {
			if part, owned := projected(child, set, fieldpath.FieldNameElement(key)); owned {
				kept[key] = part
			}
		}
		return kept
	case []any:
		var kept []any
		for _, item := range node {
			element, found := elementOf(item, set)
			if !found {
				continue
			}
			if part, owned := projected(item, set, element); owned {
				kept = append(kept, part)
			}
		}
		return kept
	}
	return node
}

func projected(child any, set *fieldpath.Set, element fieldpath.PathElement) (part any, owned bool) {
	if below := set.WithPrefix(element); !below.Empty() {
		part = project(child, below)
		fields, isMap := part.(map[string]any)
		return part, !isMap || len(fields) > 0 || set.Members.Has(element) || isEmpty(child)
	}
	return child, set.Members.Has(element)
}

// How much of one object a unified diff shows.
const (
	maxDiffLines = 1000
	maxDiffLine  = 1000 // characters
	diffContext  = 3    // lines
)

// Unified is the change as a unified diff of YAML, as people know it from
// version control; "" where no field that we own changes, or for a plan without
// contents. What is too long is left out, and says so.
func (c Change) Unified() string {
	if c.Content == nil || c.Content.Before == c.Content.After {
		return ""
	}
	const none = "/dev/null"
	from, to := c.ID.String()+" on the cluster", c.ID.String()+" to be"
	if c.Content.Before == "" {
		from = none
	}
	if c.Content.After == "" {
		to = none
	}
	return Unified(from, to, *c.Content, diffContext)
}

// Unified is what differs, with so many lines of context, as a unified diff. What
// is too long is left out, and says so.
func Unified(from, to string, content Content, context int) string {
	text, err := udiff.ToUnified(from, to, content.Before, udiff.Lines(content.Before, content.After), context)
	if err != nil {
		return fmt.Sprintf("--- %s\n+++ %s\n# cannot be shown\n", from, to)
	}
	return bounded(text)
}

func bounded(text string) string {
	lines := strings.SplitAfter(text, "\n")
	var b strings.Builder
	for i, line := range lines {
		if i == maxDiffLines {
			fmt.Fprintf(&b, "# %d more lines are not shown\n", len(lines)-1-i)
			break
		}
		if len(line) <= maxDiffLine {
			b.WriteString(line)
			continue
		}
		shown := strings.ToValidUTF8(line[:maxDiffLine], "")
		fmt.Fprintf(&b, "%s… # %d more characters, %s in all\n", shown, len(line)-1-len(shown), manifest.DigestBytes([]byte(line)).Short())
	}
	return b.String()
}
