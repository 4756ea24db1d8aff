package promotion

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"path"
	"regexp"
	"strconv"
	"strings"
	"unicode"

	"chaperone.dev/chaperone/internal/strictyaml"
)

var (
	label     = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`)
	subdomain = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`)
	kindName  = regexp.MustCompile(`^[A-Z][A-Za-z0-9]*$`)
)

const (
	maxLabel     = 63
	maxSubdomain = 253
	maxText      = 4096
)

func checkLabel(s string) error {
	if len(s) > maxLabel || !label.MatchString(s) {
		return fmt.Errorf("want at most %d lower-case letters, digits and -, such as novamind, not %.80q", maxLabel, s)
	}
	return nil
}

func checkSubdomain(s string) error {
	if len(s) > maxSubdomain || !subdomain.MatchString(s) {
		return fmt.Errorf("want a Kubernetes object's name (lower-case letters, digits, - and .), not %.80q", s)
	}
	return nil
}

func checkSecret(s string) error {
	if err := checkSubdomain(s); err != nil {
		return fmt.Errorf("want the name of a Secret in the daemon's namespace, not %.80q", s)
	}
	return nil
}

// checkID bounds the two parts of an ID together, so that they fit one label
// value with a character between them.
func checkID(id ID) error {
	for _, part := range []string{id.Pipeline, id.Name} {
		if err := checkLabel(part); err != nil {
			return fmt.Errorf("name of the directory and of the file: %w", err)
		}
	}
	if length := len(id.Pipeline) + len(id.Name); length >= maxLabel {
		return fmt.Errorf("pipeline and name have %d characters; want at most %d together", length, maxLabel-1)
	}
	return nil
}

func checkUpstream(s string) error {
	if strings.Contains(s, "/") {
		return fmt.Errorf("want the name of an environment of this pipeline, such as %.80q, not %.80q", path.Base(s), s)
	}
	return checkLabel(s)
}

func checkPath(s string) error {
	clean := path.Clean(s)
	switch {
	case s == "":
		return errors.New("want a directory of the repository, or remove path for the default overlays/<pipeline>/<name>")
	case path.IsAbs(s):
		return fmt.Errorf("%.200q begins at the machine's root; want a directory of the repository, such as overlays/novamind/production", s)
	case clean == ".." || strings.HasPrefix(clean, "../"):
		return fmt.Errorf("%.200q leaves the repository; want a directory in it, such as overlays/novamind/production", s)
	case strings.Contains(s, `\`):
		return fmt.Errorf("want / between directories, not a backslash, in %.200q", s)
	case clean == Dir || strings.HasPrefix(clean, Dir+"/"):
		return fmt.Errorf("%.200q is where environments are described, which is read at the head; want what is rendered elsewhere, such as overlays/novamind/production", s)
	case clean != s || !fs.ValidPath(s):
		return fmt.Errorf("want it written as %.200q, not %.200q", clean, s)
	}
	return nil
}

func checkLine(s string) error {
	if len(s) > maxText || strings.ContainsFunc(s, unicode.IsControl) {
		return fmt.Errorf("want one line of at most %d bytes", maxText)
	}
	return nil
}

func checkGroup(s string) error {
	if s == "" || strings.ContainsFunc(s, unicode.IsSpace) {
		return fmt.Errorf("want the name of a group, without spaces, not %.80q", s)
	}
	return checkLine(s)
}

// ParseAllowance reads an entry of target.allow.
func ParseAllowance(s string) (Allowance, error) {
	if namespace, is := strings.CutPrefix(s, "namespace:"); is {
		if err := checkLabel(namespace); err != nil {
			return Allowance{}, fmt.Errorf("namespace: %w", err)
		}
		return Allowance{Namespace: namespace}, nil
	}
	kind, name, found := strings.Cut(s, "/")
	kind, group, hasGroup := strings.Cut(kind, ".")
	badName := name == "" || name == "." || name == ".." || len(name) > maxSubdomain || strings.ContainsAny(name, "/%*") ||
		strings.ContainsFunc(name, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) })
	if !found || badName || !kindName.MatchString(kind) || hasGroup && checkSubdomain(group) != nil {
		return Allowance{}, fmt.Errorf("want namespace:NAME, Kind/name or Kind.group/name, such as namespace:shared or "+
			"ClusterRole.rbac.authorization.k8s.io/novamind-viewer, each named in full, not %.120q", s)
	}
	return Allowance{Group: group, Kind: kind, Name: name}, nil
}

// String is what ParseAllowance reads.
func (a Allowance) String() string {
	switch {
	case a.Namespace != "":
		return "namespace:" + a.Namespace
	case a.Group == "":
		return a.Kind + "/" + a.Name
	}
	return a.Kind + "." + a.Group + "/" + a.Name
}

// decodePart reads a share, written as 0.05 or "5%".
func decodePart(v strictyaml.Value, fallback float64) (float64, error) {
	text, written := v.Scalar()
	if !written {
		return fallback, nil
	}
	digits, percent := strings.CutSuffix(text, "%")
	part, err := strconv.ParseFloat(strings.TrimSpace(digits), 64)
	if err != nil || math.IsNaN(part) || math.IsInf(part, 0) {
		return fallback, fmt.Errorf(`want a share such as 0.05 or "5%%", not %.40q`, text)
	}
	if percent {
		part /= 100
	}
	return part, nil
}
