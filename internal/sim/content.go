package sim

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"sync"

	yaml "go.yaml.in/yaml/v3"

	"chaperone.dev/chaperone/internal/fault"
	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/source"
)

// canary stands in every Secret of the simulation; whoever sees it elsewhere has
// found a leak.
const canary = "canary-5f1d"

// mark is a word in an object's content that says how the object behaves.
type mark string

// The marks. Where one counts stands beside it in the content: names of
// environments, or everywhere.
const (
	markFails     mark = "fails"           // its checks answer no
	markLate      mark = "fails-later"     // and only some time after they said yes
	markLoaded    mark = "fails-loaded"    // they do once it has half of the requests
	markHangs     mark = "hangs"           // it never becomes ready
	markErrs      mark = "cannot-be-asked" // its checks cannot be asked
	markNoData    mark = "no-data"         // its checks have nothing to go by
	markRejected  mark = "rejected"        // the dry run refuses it
	markStops     mark = "stops-apply"     // its apply ends for good, in the middle
	markHookFails mark = "hook-fails"      // the hook that it is fails
	markStays     mark = "stays"           // a finalizer keeps it from being deleted
	markDenied    mark = "denied"          // the policies deny it
	markUnjudged  mark = "unjudged"        // a policy cannot be evaluated on it
)

var marks = []mark{markFails, markLate, markLoaded, markHangs, markErrs, markNoData, markRejected, markStops, markHookFails, markStays, markDenied, markUnjudged}

// everywhere is the place of a mark that counts in every environment.
const everywhere = "everywhere"

// rendered is a render with what the simulation wants to know of it. It is
// shared by everybody and never changed.
type rendered struct {
	set    manifest.Set
	digest manifest.Digest
	texts  map[manifest.ID]string
	marked []marked // in the order of the objects
}

type marked struct {
	mark  mark
	id    manifest.ID
	where []string
}

// has finds the first object that bears a mark in an environment.
func (r *rendered) has(m mark, environment string) (manifest.ID, bool) {
	for _, at := range r.marked {
		if at.mark == m && (slices.Contains(at.where, everywhere) || slices.Contains(at.where, environment)) {
			return at.id, true
		}
	}
	return manifest.ID{}, false
}

// bad lists the objects that fail their checks in an environment, with their
// content: what a commit is guilty of if it brought them.
func (r *rendered) bad(environment string) map[string]bool {
	bad := map[string]bool{}
	for _, at := range r.marked {
		counts := slices.Contains(at.where, everywhere) || slices.Contains(at.where, environment)
		if counts && (at.mark == markFails || at.mark == markLate || at.mark == markLoaded || at.mark == markHangs || at.mark == markHookFails) {
			bad[r.texts[at.id]] = true
		}
	}
	return bad
}

// Renders are the same in every simulation, so that they are made once.
var (
	renders sync.Map // of the sha256 of all that was read: *rendered or error
	sets    sync.Map // of a set's first object: *rendered
)

// knownSet is what is known of a set that was rendered here.
func knownSet(set manifest.Set) *rendered {
	if set.Len() == 0 {
		return &rendered{}
	}
	found, ok := sets.Load(set.Objects()[0])
	if ok && slices.Equal(found.(*rendered).set.Objects(), set.Objects()) {
		return found.(*rendered)
	}
	made, err := describe(set) // one step of a release, or a set from elsewhere
	if err != nil {
		return &rendered{set: set}
	}
	return made
}

// rendererPort builds a directory as kustomize would, of a subset: resources
// that are files of the directory or other directories, and a namespace.
type rendererPort struct{ *life }

// Render implements controller.Renderer.
func (p rendererPort) Render(ctx context.Context, snap source.Snapshot, dir string) (manifest.Set, manifest.Digest, error) {
	var made *rendered
	err := p.call(ctx, "Renderer.Render", strings.TrimPrefix(dir, "overlays/"), speedRender, func() (err error) {
		s, ok := snap.(*snapshot)
		if !ok {
			return errors.New("not a snapshot of this simulation")
		}
		made, err = p.s.render(s.commit, dir)
		return err
	})
	if err != nil {
		return manifest.Set{}, "", err
	}
	return made.set, made.digest, nil
}

// Digest implements controller.Renderer.
func (p rendererPort) Digest(ctx context.Context, snap source.Snapshot, dir string) (manifest.Digest, error) {
	_, digest, err := p.Render(ctx, snap, dir)
	return digest, err
}

// Closure implements controller.Renderer: the directory, and all bases.
func (p rendererPort) Closure(ctx context.Context, snap source.Snapshot, dir string) (source.Closure, error) {
	closure := source.Closure{}
	err := p.call(ctx, "Renderer.Closure", strings.TrimPrefix(dir, "overlays/"), speedRender, func() error {
		s, ok := snap.(*snapshot)
		if !ok {
			return errors.New("not a snapshot of this simulation")
		}
		for name := range s.commit.files {
			if !strings.HasPrefix(name, dir+"/") && !strings.HasPrefix(name, "base/") {
				continue
			}
			hash, err := s.Hash(name)
			if err != nil {
				return err
			}
			closure[name] = hash
		}
		return nil
	})
	return closure, err
}

// renderKey names a render in one simulation.
type renderKey struct {
	revision source.Revision
	dir      string
}

type renderResult struct {
	made *rendered
	err  error
}

// render is the truth about what a directory holds at a commit.
func (s *Sim) render(c *commit, dir string) (*rendered, error) {
	key := renderKey{c.Revision, dir}
	if known, found := s.renders[key]; found {
		return known.made, known.err
	}
	var result renderResult
	result.made, result.err = build(c.files, dir)
	s.renders[key] = result
	if result.err == nil {
		s.byDigest[result.made.digest] = result.made
	}
	return result.made, result.err
}

type input struct {
	namespace, file, content string
}

func build(tree files, dir string) (*rendered, error) {
	inputs, err := collect(tree, dir, "", 0)
	if err != nil {
		return nil, fault.Terminal("render", dir, err)
	}
	h := sha256.New()
	for _, in := range inputs {
		fmt.Fprintf(h, "%s\x00%s\x00%s\x00", in.namespace, in.file, in.content)
	}
	key := string(h.Sum(nil))
	if known, found := renders.Load(key); found {
		return unpacked(known)
	}
	made, err := assemble(inputs)
	var result any = made
	if err != nil {
		result = fault.Terminal("render", dir, err)
	} else if made.set.Len() > 0 {
		sets.Store(made.set.Objects()[0], made)
	}
	stored, _ := renders.LoadOrStore(key, result)
	return unpacked(stored)
}

func unpacked(stored any) (*rendered, error) {
	if err, failed := stored.(error); failed {
		return nil, err
	}
	return stored.(*rendered), nil
}

type kustomization struct {
	Namespace string   `yaml:"namespace"`
	Resources []string `yaml:"resources"`
}

// collect reads a directory and those that it names.
func collect(tree files, dir, namespace string, depth int) ([]input, error) {
	content, found := tree[dir+"/kustomization.yaml"]
	if !found || depth > 5 {
		return nil, fmt.Errorf("%s: no kustomization.yaml", dir)
	}
	var k kustomization
	if err := yaml.Unmarshal([]byte(content), &k); err != nil {
		return nil, fmt.Errorf("%s/kustomization.yaml: %w", dir, err)
	}
	if namespace == "" {
		namespace = k.Namespace
	}
	var inputs []input
	for _, resource := range k.Resources {
		at := path.Join(dir, resource)
		if strings.HasPrefix(resource, "../") {
			below, err := collect(tree, at, namespace, depth+1)
			if err != nil {
				return nil, err
			}
			inputs = append(inputs, below...)
		}
	}
	for _, file := range sortedFiles(tree, dir) {
		inputs = append(inputs, input{namespace, file, tree[file]})
	}
	return inputs, nil
}

func sortedFiles(tree files, dir string) []string {
	var found []string
	for file := range tree {
		if path.Dir(file) == dir && path.Base(file) != "kustomization.yaml" {
			found = append(found, file)
		}
	}
	slices.Sort(found)
	return found
}

// assemble makes objects of files. A later file replaces an earlier one's object
// of the same name, as a patch would.
func assemble(inputs []input) (*rendered, error) {
	var objects []*manifest.Object
	for _, in := range inputs {
		decoded, err := manifest.Decode(in.file, []byte(in.content))
		if err != nil {
			return nil, err
		}
		for _, o := range decoded {
			o.SetNamespace(in.namespace)
			objects = slices.DeleteFunc(objects, func(earlier *manifest.Object) bool { return manifest.IDOf(earlier) == manifest.IDOf(o) })
			objects = append(objects, o)
		}
	}
	set, err := manifest.NewSet(objects)
	if err != nil {
		return nil, err
	}
	return describe(set)
}

func describe(set manifest.Set) (*rendered, error) {
	made := &rendered{set: set, texts: map[manifest.ID]string{}}
	var err error
	if made.digest, err = set.Digest(); err != nil {
		return nil, err
	}
	for _, o := range set.Objects() {
		text, err := o.MarshalJSON()
		if err != nil {
			return nil, err
		}
		made.texts[manifest.IDOf(o)] = string(bytes.TrimSpace(text))
		for _, m := range marks {
			if where, found := o.GetAnnotations()["sim/"+string(m)]; found {
				made.marked = append(made.marked, marked{m, manifest.IDOf(o), strings.Split(where, ",")})
			}
		}
	}
	return made, nil
}

// at is what an environment's path renders to at a commit, as its file at head
// says.
func (s *Sim) at(c *commit, env promotion.Environment) (*rendered, error) {
	return s.render(c, env.Path)
}
