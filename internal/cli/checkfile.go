package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/origin"
	"chaperone.dev/chaperone/internal/policy"
)

// maxManifests bounds one file of `check -f`.
const maxManifests = 32 << 20

// given are the manifests of -f, and where in the files each stands.
type given struct {
	manifest.Set
	traces []*origin.Trace
}

// given reads the manifests of -f, and leaves them as they are: the daemon judges
// what is rendered, in which many objects say no namespace, too.
func (f *checkFlags) given(c *command) (given, error) {
	var g given
	var objects []*manifest.Object
	for _, name := range f.files {
		content, err := readFile(c, name, maxManifests)
		if err != nil {
			return g, err
		}
		decoded, err := manifest.Decode(name, content)
		if err != nil {
			return g, err
		}
		objects = append(objects, decoded...)
		g.traces = append(g.traces, origin.OfFile(name, content))
	}
	if len(f.files) > 0 && len(objects) == 0 {
		return g, errors.New("no object in the files given; nothing to judge is not a pass")
	}
	var err error
	if g.Set, err = manifest.NewSet(objects); err != nil {
		return g, fmt.Errorf("%s: %w", strings.Join(f.files, ", "), err)
	}
	return g, nil
}

func readFile(c *command, name string, longest int64) ([]byte, error) {
	if name == "-" {
		return readBounded(c.In, name, longest)
	}
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return readBounded(file, name, longest)
}

func readBounded(from io.Reader, name string, longest int64) ([]byte, error) {
	content, err := io.ReadAll(io.LimitReader(from, longest+1))
	if err == nil && int64(len(content)) > longest {
		err = fmt.Errorf("%s: more than %d bytes", name, longest)
	}
	return content, err
}

// merged is what is there, with what is given in its place or beside it. What
// says no namespace lands in the environment's.
func merged(there, given manifest.Set, namespace string) (manifest.Set, error) {
	objects := slices.Clone(given.Objects())
	replaced := identities(given, namespace)
	for _, o := range there.Objects() {
		if !replaced[policy.RefOf(o).In(namespace)] {
			objects = append(objects, o)
		}
	}
	return manifest.NewSet(objects)
}

func identities(set manifest.Set, namespace string) map[manifest.ID]bool {
	ids := map[manifest.ID]bool{}
	for _, o := range set.Objects() {
		ids[policy.RefOf(o).In(namespace)] = true
	}
	return ids
}

// comparison is what tells findings that manifests bring from those that are
// there anyway.
type comparison struct {
	nothing policy.Report // on the environment with nothing in it
	before  policy.Report // on what is there
	alone   policy.Report // on nothing but what is given
	after   policy.Report
	// imagined: there is no environment, and what is said of it is nobody's fault.
	imagined bool
}

// brought is the report on what is given: findings on it, those that it has by
// itself, and those elsewhere that were not there without it. Where nothing at all
// may run in the environment, neither may this: its file may say less than it holds.
func (c comparison) brought(given manifest.Set, namespace string) policy.Report {
	own, report := identities(given, namespace), c.after
	nothing, before, alone := keysOf(c.nothing), keysOf(c.before), keysOf(c.alone)
	report.Findings = slices.DeleteFunc(slices.Clone(report.Findings), func(f policy.Finding) bool {
		key := findingKey(f)
		itself := f.Object != nil && own[f.Object.In(namespace)] || alone[key] && !nothing[key]
		closed := f.Object == nil && f.Stops() && nothing[key] && !c.imagined
		return before[key] && !itself && !closed
	})
	if report.Verdict == policy.VerdictDeny && len(report.Stopping()) == 0 {
		report.Verdict = policy.VerdictAllow
	}
	return report
}

func keysOf(report policy.Report) map[string]bool {
	keys := map[string]bool{}
	for _, f := range report.Findings {
		keys[findingKey(f)] = true
	}
	return keys
}

func findingKey(f policy.Finding) string {
	object := ""
	if f.Object != nil {
		object = f.Object.String()
	}
	return fmt.Sprintf("%q %q %q %q", f.Rule, object, f.Path, f.Message)
}
