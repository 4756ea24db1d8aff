package cli

import (
	"context"
	"io/fs"
	"path"
	"strings"

	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/origin"
	"chaperone.dev/chaperone/internal/policy"
	"chaperone.dev/chaperone/internal/promotion"
)

// sources knows where the objects of one environment come from.
type sources struct {
	tree    fs.FS // nil without a repository
	env     promotion.Environment
	given   []*origin.Trace // of the files of -f
	objects manifest.Set
	bundle  string        // directory of the policies, as findings name it
	traced  *origin.Trace // of the environment's directory, once asked for
}

// maxLocated bounds how many findings are looked for in files. Nobody works off
// so many; those after them have their path.
const maxLocated = 20_000

// add tells of each finding where it is to be changed.
func (s sources) add(ctx context.Context, report policy.Report) (policy.Report, error) {
	for i := range report.Findings {
		if err := ctx.Err(); err != nil {
			return report, err
		}
		f := &report.Findings[i]
		if f.Source != nil { // of an exception
			f.Source = &policy.Place{File: path.Join(s.bundle, f.Source.File), Line: f.Source.Line, Exact: f.Source.Exact}
			continue
		}
		if i >= maxLocated {
			continue
		}
		if place, known := s.of(*f); known {
			f.Source = &policy.Place{File: place.File, Line: place.Line, Exact: place.Exact}
		}
	}
	return report, nil
}

func (s *sources) of(f policy.Finding) (origin.Place, bool) {
	if f.Object == nil {
		return s.environment(f.Path)
	}
	o, found := s.objects.Get(f.Object.ID())
	if !found { // a rule may name what is not there
		return s.environment("")
	}
	for _, trace := range s.given {
		if _, known := trace.Object(o); known {
			return trace.Field(o, f.Path), true
		}
	}
	if s.tree == nil {
		return origin.Place{}, false
	}
	if s.traced == nil {
		s.traced = origin.Of(s.tree, s.env.Path)
	}
	return s.traced.Field(o, f.Path), true
}

// environment is a place in the environment's own file, whose fields rules know
// as input.environment.
func (s *sources) environment(field string) (origin.Place, bool) {
	if s.tree == nil {
		return origin.Place{}, false
	}
	content, err := fs.ReadFile(s.tree, s.env.File)
	if err != nil {
		return origin.Place{File: s.env.File, Line: 1}, true
	}
	objects, err := manifest.Decode(s.env.File, content)
	field, isField := strings.CutPrefix(strings.TrimPrefix(field, "input."), "environment.")
	if err != nil || len(objects) != 1 || !isField {
		return origin.Place{File: s.env.File, Line: 1}, true
	}
	return origin.OfFile(s.env.File, content).Field(objects[0], "spec."+field), true
}
