package between

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

// Places knows where the objects of environments come from.
type Places struct {
	Tree     fs.FS           // that the environments are rendered from; nil without a repository
	Settings fs.FS           // that the environments' own files are in
	Given    []*origin.Trace // of files that stand in place of the tree's
	Bundle   string          // directory of the policies, as findings name it
	Max      int             // findings that are looked for in files; those after them have their path
	traced   map[string]*origin.Trace
}

// Locate tells of each finding where it is to be changed.
func (p *Places) Locate(ctx context.Context, env promotion.Environment, objects manifest.Set, findings []policy.Finding) error {
	for i := range findings {
		if err := ctx.Err(); err != nil {
			return err
		}
		f := &findings[i]
		if f.Source != nil { // of an exception
			f.Source = &policy.Place{File: path.Join(p.Bundle, f.Source.File), Line: f.Source.Line, Exact: f.Source.Exact}
			continue
		}
		if i >= p.Max {
			continue
		}
		if place, known := p.of(env, objects, *f); known {
			f.Source = &policy.Place{File: place.File, Line: place.Line, Exact: place.Exact}
		}
	}
	return nil
}

func (p *Places) of(env promotion.Environment, objects manifest.Set, f policy.Finding) (origin.Place, bool) {
	if f.Object == nil {
		return p.setting(env, f.Path)
	}
	o, found := objects.Get(f.Object.ID())
	if !found { // a rule may name what is not there
		return p.setting(env, "")
	}
	for _, trace := range p.Given {
		if _, known := trace.Object(o); known {
			return trace.Field(o, f.Path), true
		}
	}
	if p.Tree == nil {
		return origin.Place{}, false
	}
	if p.traced == nil {
		p.traced = map[string]*origin.Trace{}
	}
	if p.traced[env.Path] == nil {
		p.traced[env.Path] = origin.Of(p.Tree, env.Path)
	}
	return p.traced[env.Path].Field(o, f.Path), true
}

// setting is a place in the environment's own file, whose fields rules know as
// input.environment.
func (p *Places) setting(env promotion.Environment, field string) (origin.Place, bool) {
	if p.Settings == nil {
		return origin.Place{}, false
	}
	first := origin.Place{File: env.File, Line: 1}
	content, err := fs.ReadFile(p.Settings, env.File)
	if err != nil {
		return first, true
	}
	objects, err := manifest.Decode(env.File, content)
	field, isField := strings.CutPrefix(strings.TrimPrefix(field, "input."), "environment.")
	if err != nil || len(objects) != 1 || !isField {
		return first, true
	}
	return origin.OfFile(env.File, content).Field(objects[0], "spec."+field), true
}
