package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"sigs.k8s.io/kustomize/kyaml/resid"

	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/origin"
	"chaperone.dev/chaperone/internal/policy"
	"chaperone.dev/chaperone/internal/promotion"
)

// maxManifests bounds one file of `check -f`.
const maxManifests = 32 << 20

// given are the manifests of -f, and where in the files each stands.
type given struct {
	manifest.Set
	traces []*origin.Trace
}

// given reads the manifests of -f. Those that say no namespace are in the
// environment's.
func (f *checkFlags) given(c *command, env promotion.Environment) (given, error) {
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
	for _, o := range objects {
		gvk := o.GroupVersionKind()
		if o.GetNamespace() == "" && !resid.NewGvk(gvk.Group, gvk.Version, gvk.Kind).IsClusterScoped() {
			o.SetNamespace(env.Target.Namespace)
		}
	}
	var err error
	if g.Set, err = manifest.NewSet(objects); err != nil {
		return g, fmt.Errorf("%s: %w", strings.Join(f.files, ", "), err)
	}
	return g, nil
}

func readFile(c *command, name string, longest int64) ([]byte, error) {
	from := c.In
	if name != "-" {
		file, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		defer file.Close()
		from = file
	}
	content, err := io.ReadAll(io.LimitReader(from, longest+1))
	if err == nil && int64(len(content)) > longest {
		err = fmt.Errorf("%s: more than %d bytes", name, longest)
	}
	return content, err
}

// merged is what is there, with what is given in its place or beside it.
func merged(there, given manifest.Set) (manifest.Set, error) {
	objects := slices.Clone(given.Objects())
	replaced := identities(given)
	for _, o := range there.Objects() {
		if !replaced[manifest.IDOf(o)] {
			objects = append(objects, o)
		}
	}
	return manifest.NewSet(objects)
}

func identities(set manifest.Set) map[manifest.ID]bool {
	ids := map[manifest.ID]bool{}
	for _, o := range set.Objects() {
		ids[manifest.IDOf(o)] = true
	}
	return ids
}

// brought is the report on what is given: findings on it, and those elsewhere
// that were not there without it.
func brought(before, after policy.Report, given manifest.Set) policy.Report {
	own := identities(given)
	known := map[string]bool{}
	key := func(f policy.Finding) string {
		object := ""
		if f.Object != nil {
			object = f.Object.String()
		}
		return fmt.Sprintf("%q %q %q %q", f.Rule, object, f.Path, f.Message)
	}
	for _, f := range before.Findings {
		known[key(f)] = true
	}
	after.Findings = slices.DeleteFunc(after.Findings, func(f policy.Finding) bool {
		return known[key(f)] && (f.Object == nil || !own[f.Object.ID()])
	})
	if after.Verdict == policy.VerdictDeny && len(after.Stopping()) == 0 {
		after.Verdict = policy.VerdictAllow
	}
	return after
}
