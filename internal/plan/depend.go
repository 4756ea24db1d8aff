package plan

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/strictyaml"
)

const (
	// maxDependencies bounds what one object may depend on.
	maxDependencies = 100
	dependencyForm  = "want group/Kind/namespace/name, such as apps/Deployment/shop/db, /ConfigMap/shop/settings (the core group is empty) " +
		"or rbac.authorization.k8s.io/ClusterRole//reader (no namespace)"
)

// Dependency is an object as chaperone.dev/depends-on names it.
func Dependency(id manifest.ID) string {
	return strings.Join([]string{id.Group, id.Kind, id.Namespace, id.Name}, "/")
}

// ParseDependsOn reads the value of chaperone.dev/depends-on.
func ParseDependsOn(text string) ([]manifest.ID, error) {
	entries := strings.Split(text, ",")
	if len(entries) > maxDependencies {
		return nil, fmt.Errorf("names %d objects; want at most %d", len(entries), maxDependencies)
	}
	ids := make([]manifest.ID, 0, len(entries))
	for i, entry := range entries {
		id, err := parseDependency(strings.TrimSpace(entry))
		if err == nil && slices.Contains(ids, id) {
			err = errors.New("is listed twice; keep one")
		}
		if err != nil {
			return nil, fmt.Errorf("entry %d %.120q: %w", i+1, strings.TrimSpace(entry), err)
		}
		ids = append(ids, id)
	}
	return ids, nil
}

func parseDependency(entry string) (manifest.ID, error) {
	parts := strings.Split(entry, "/")
	switch {
	case entry == "":
		return manifest.ID{}, errors.New("is empty; " + dependencyForm)
	case len(parts) != 4:
		return manifest.ID{}, errors.New(likelyForm(parts))
	}
	id := manifest.ID{Group: parts[0], Kind: parts[1], Namespace: parts[2], Name: parts[3]}
	switch {
	case apiVersion.MatchString(id.Group):
		id.Group = ""
		return id, fmt.Errorf("has a version in the place of the group, and the core group is empty; want %q", Dependency(id))
	case id.Group != "" && !dnsName.MatchString(id.Group):
		return id, fmt.Errorf("%.60q is no API group; %s", id.Group, dependencyForm)
	case !kindWord.MatchString(id.Kind):
		return id, fmt.Errorf("%.60q is no kind; %s", id.Kind, dependencyForm)
	case id.Namespace != "" && !dnsName.MatchString(id.Namespace):
		return id, fmt.Errorf("%.60q is no namespace; %s", id.Namespace, dependencyForm)
	case badName(id.Name):
		return id, errors.New("has no valid name; " + dependencyForm)
	}
	return id, nil
}

var (
	apiVersion = regexp.MustCompile(`^v[0-9]+((alpha|beta)[0-9]+)?$`)
	dnsName    = regexp.MustCompile(`^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$`)
	kindWord   = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9]{0,62}$`)
)

func badName(name string) bool {
	return name == "" || name == "." || name == ".." || len(name) > 253 ||
		strings.ContainsFunc(name, func(r rune) bool { return unicode.IsSpace(r) || !unicode.IsPrint(r) || r == '%' })
}

// likelyForm corrects what people write instead: the core group left out, the
// version left in, or an object as messages name it.
func likelyForm(parts []string) string {
	kind, group, dotted := strings.Cut(parts[0], ".")
	first := kind[:min(1, len(kind))]
	upper := first != strings.ToLower(first)
	switch {
	case len(parts) == 5 && apiVersion.MatchString(parts[1]):
		return fmt.Sprintf("has a version, which does not count; want %.200q", strings.Join(slices.Delete(slices.Clone(parts), 1, 2), "/"))
	case len(parts) == 3 && upper && dotted:
		return fmt.Sprintf("want %.200q", strings.Join([]string{group, kind, parts[1], parts[2]}, "/"))
	case len(parts) == 3 && upper:
		return fmt.Sprintf("has no group; want %.200q if it is of the core group, and else the group before it", "/"+strings.Join(parts, "/"))
	}
	return fmt.Sprintf("has %d parts; %s", len(parts), dependencyForm)
}

// dependsOn are the objects that an object of a release names; what is wrong
// with the annotation is the error, free of its object's name.
func dependsOn(o *manifest.Object) ([]manifest.ID, error) {
	text, given, err := unstructured.NestedString(o.Object, "metadata", "annotations", manifest.AnnotationDependsOn)
	if !given || err != nil {
		return nil, nil // what is no string the server refuses
	}
	ids, err := ParseDependsOn(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", manifest.AnnotationDependsOn, err)
	}
	return ids, nil
}

// checkDependsOn finds what is wrong with the annotations of a release.
func checkDependsOn(release manifest.Set) []Culprit {
	var culprits []Culprit
	for _, o := range release.Objects() {
		ids, err := dependsOn(o)
		for i, id := range ids {
			if err == nil {
				err = checkDependency(release, o, i, id)
			}
		}
		if err == nil {
			err = checkUndoes(release, o)
		}
		if err == nil {
			_, err = hookOrder(o)
		}
		if err != nil {
			culprits = append(culprits, Culprit{ID: manifest.IDOf(o), Text: err.Error()})
		}
	}
	return culprits
}

// order refuses what cannot be put in order, and puts the rest in it.
func (b *builder) order() *Refusal {
	if wrong := checkDependsOn(b.Desired); len(wrong) > 0 {
		return &Refusal{Reason: promotion.ApplyRejected, Objects: wrong, Text: "the release asks for an order that it cannot have"}
	}
	if !slices.ContainsFunc(b.changes, func(c Change) bool {
		return writing(c) || c.Object.GetAnnotations()[manifest.AnnotationDependsOn] != ""
	}) {
		return nil
	}
	g, refusal := ordered(b.changes)
	if refusal != nil {
		return refusal
	}
	sorted := make([]Change, 0, len(b.changes))
	for _, node := range g.inStages() {
		if node < len(b.changes) {
			sorted = append(sorted, b.changes[node])
		}
	}
	b.changes = sorted
	return nil
}

func checkDependency(release manifest.Set, o *manifest.Object, i int, id manifest.ID) error {
	wrong := func(format string, values ...any) error {
		return fmt.Errorf("%s: entry %d %q: %s", manifest.AnnotationDependsOn, i+1, Dependency(id), fmt.Sprintf(format, values...))
	}
	dependency, found := release.Get(id)
	switch {
	case id == manifest.IDOf(o):
		return wrong("is the object itself; name another, or remove it")
	case !found:
		if near := nearest(release, id); near != "" {
			return wrong("is not in the release; did you mean %q?", near)
		}
		return wrong("is not in the release; name an object that it renders, or remove it")
	case manifest.StageOf(dependency) == manifest.StageRollback && manifest.StageOf(o) != manifest.StageRollback:
		return wrong("is a rollback hook, which a release does not apply; name another, or remove it")
	}
	return nil
}

// nearest is the object of a release that was likely meant.
func nearest(release manifest.Set, id manifest.ID) string {
	var all, names []string
	for _, o := range release.Objects() {
		other := manifest.IDOf(o)
		if strings.EqualFold(other.Kind, id.Kind) && other.Name == id.Name {
			return Dependency(other)
		}
		all = append(all, Dependency(other))
		if other.GroupKind() == id.GroupKind() && other.Namespace == id.Namespace {
			names = append(names, other.Name)
		}
	}
	if name := strictyaml.Nearest(id.Name, names); name != "" {
		id.Name = name
		return Dependency(id)
	}
	return strictyaml.Nearest(Dependency(id), all)
}

// Disorder finds what is wrong with the order that a release asks for, as far as
// it can be seen without a cluster: annotations that say none, and objects that
// wait for each other. Objects whose namespace only the target gives are not found
// by it; Steps refuses those.
func Disorder(release manifest.Set) []Culprit {
	var culprits []Culprit
	var changes []Change
	for _, o := range release.Objects() {
		id, stage := manifest.IDOf(o), manifest.StageOf(o)
		_, err := dependsOn(o)
		if err == nil {
			_, err = hookOrder(o)
		}
		if err != nil {
			culprits = append(culprits, Culprit{ID: id, Text: err.Error()})
		}
		if stage != manifest.StageRollback {
			changes = append(changes, Change{ID: id, Stage: stage, Action: Create, Object: o})
		}
	}
	if len(culprits) > 0 || !slices.ContainsFunc(changes, func(c Change) bool { return c.Object.GetAnnotations()[manifest.AnnotationDependsOn] != "" }) {
		return culprits
	}
	g := referring(changes)
	cycle := g.cycle()
	if at := slices.IndexFunc(cycle, func(e edge) bool { return e.why == whyDepends }); at >= 0 {
		before := cycle[(at+len(cycle)-1)%len(cycle)].from
		return []Culprit{{ID: changes[before].ID, Text: cyclic(g.sentence(cycle))}}
	}
	return nil
}
