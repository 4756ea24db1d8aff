package promotion

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"chaperone.dev/chaperone/internal/strictyaml"
)

const (
	maxProtect = 200
	maxIgnore  = 200
	maxFields  = 50
)

// parseKind reads "Kind" or "Kind.group".
func parseKind(s string) (group, kind string, err error) {
	kind, group, hasGroup := strings.Cut(s, ".")
	if !kindName.MatchString(kind) || hasGroup && checkSubdomain(group) != nil {
		return "", "", fmt.Errorf("want a kind such as ConfigMap or Deployment.apps, not %.80q", s)
	}
	return group, kind, nil
}

func badObjectName(name string) bool {
	return name == "" || name == "." || name == ".." || len(name) > maxSubdomain || strings.ContainsAny(name, "/%*") ||
		strings.ContainsFunc(name, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) })
}

// ParseProtection reads an entry of protect.
func ParseProtection(s string) (Protection, error) {
	text, name, named := strings.Cut(s, "/")
	group, kind, err := parseKind(text)
	if err != nil || named && badObjectName(name) {
		return Protection{}, fmt.Errorf("want a kind or an object, such as StatefulSet.apps or ConfigMap/settings, not %.120q", s)
	}
	return Protection{Group: group, Kind: kind, Name: name}, nil
}

// String is what ParseProtection reads.
func (p Protection) String() string {
	text := p.Kind
	if p.Group != "" {
		text += "." + p.Group
	}
	if p.Name != "" {
		text += "/" + p.Name
	}
	return text
}

func decodeProtect(v strictyaml.Value) []Protection {
	limit(v, maxProtect)
	var all []Protection
	for _, entry := range v.List() {
		text, written := entry.Scalar()
		if !written {
			continue
		}
		p, err := ParseProtection(text)
		switch {
		case err != nil:
			entry.Problem("%v", err)
		case slices.Contains(all, p):
			entry.Problem("%q is listed twice; keep one", text)
		default:
			all = append(all, p)
		}
	}
	return all
}

var tools = []string{string(ToolKubectl), string(ToolHelm), string(ToolFlux), string(ToolArgoCD), string(ToolOther)}

func decodeAdopt(v strictyaml.Value) []Tool {
	var all []Tool
	for _, entry := range v.List() {
		text, written := entry.Scalar()
		switch {
		case !written:
		case !slices.Contains(tools, text):
			entry.Problem("%s, not %.40q", strictyaml.OneOf(tools), text)
		case slices.Contains(all, Tool(text)):
			entry.Problem("%q is listed twice; keep one", text)
		default:
			all = append(all, Tool(text))
		}
	}
	return all
}

// fieldPath is names with dots between, each with selectors of list items.
var fieldPath = regexp.MustCompile(`^[A-Za-z_][-A-Za-z0-9_]*(\[[^\[\]]+\])*(\.[A-Za-z_][-A-Za-z0-9_]*(\[[^\[\]]+\])*)*$`)

func checkField(s string) error {
	first, _, _ := strings.Cut(s, ".")
	switch {
	case len(s) > maxText || !fieldPath.MatchString(s):
		return fmt.Errorf("want the path of a field, such as spec.replicas, "+
			"spec.template.spec.containers[name=api].image or metadata.annotations[example.org/note], not %.120q", s)
	case first == "apiVersion" || first == "kind" || first == "status" || s == "metadata" || s == "metadata.name" || s == "metadata.namespace":
		return fmt.Errorf("%.80q cannot be given away; want a field that the release sets, such as spec.replicas", s)
	}
	return nil
}

func checkManager(s string) error {
	if s == "" || len(s) > 128 || strings.ContainsFunc(s, unicode.IsControl) {
		return errors.New("want the name of a field manager as managedFields has it, at most 128 characters")
	}
	return nil
}

func decodeIgnoreDrift(spec *strictyaml.Object) []Ignore {
	limit(spec.Value("ignoreDrift"), maxIgnore)
	var all []Ignore
	for _, o := range spec.Objects("ignoreDrift") {
		ignore := Ignore{Fields: o.Strings("fields", checkField), Managers: o.Strings("managers", checkManager)}
		limit(o.Value("fields"), maxFields)
		limit(o.Value("managers"), maxFields)
		if kind := o.String("kind", "", func(s string) error { _, _, err := parseKind(s); return err }); kind != "" {
			ignore.Group, ignore.Kind, _ = parseKind(kind) // checked just now
		}
		ignore.Name = o.String("name", "", func(s string) error {
			if badObjectName(s) {
				return fmt.Errorf("want the name of an object, not %.80q", s)
			}
			return nil
		})
		if o.Present() && len(ignore.Fields)+len(ignore.Managers) == 0 {
			o.Problem("want fields, managers or both: an object whose every field is anybody's is not this environment's")
		}
		all = append(all, ignore)
	}
	return all
}
