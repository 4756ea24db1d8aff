package render

import (
	"context"
	"errors"
	"fmt"

	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/api/resmap"
	"sigs.k8s.io/kustomize/api/resource"
	"sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"

	"chaperone.dev/chaperone/internal/fault"
	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/origin"
	"chaperone.dev/chaperone/internal/plan"
	"chaperone.dev/chaperone/internal/source"
)

// build renders once.
func build(ctx context.Context, snap source.Snapshot, dir string, limits Limits, work piecework) (result Result, err error) {
	t := newTree(ctx, snap, limits)
	s := newSurvey(t)
	defer func() {
		if panicked := recover(); panicked != nil {
			err = fault.Terminal("render", dir, fmt.Errorf("kustomize: %s", clean(fmt.Sprint(panicked), s.hidden())))
		}
		if err == nil && t.refused != nil {
			err = t.refused // kustomize took an error for a file that is not there
		}
	}()
	run := func() error {
		var err error
		if result, err = piecewise(ctx, s, dir, limits, work); err == nil {
			return nil
		}
		objects, err := kustomize(t, dir)
		if err == nil {
			result, err = finish(ctx, objects, limits)
		}
		return s.explain(ctx, dir, err)
	}
	err = guard.share(ctx, func() error { // the survey parses with kustomize, which asks the schema
		if err := s.start(dir); err != nil || s.ownSchema {
			return err
		}
		return run()
	})
	if err == nil && s.ownSchema {
		err = guard.alone(ctx, s.schemas, run)
	}
	if err == nil {
		err = disorder(snap, dir, result.Set)
	}
	if err != nil {
		return Result{}, classified(ctx, dir, err)
	}
	result.Closure = t.closure
	return result, nil
}

// disorder tells where objects ask for an order that they cannot have: it is told
// here, and not first where they are applied, since only here their lines are known.
func disorder(snap source.Snapshot, dir string, set manifest.Set) error {
	culprits := plan.Disorder(set)
	if len(culprits) == 0 {
		return nil
	}
	trace := origin.Of(snap, dir)
	var faults []error
	for _, c := range culprits[:min(len(culprits), maxDisorder)] {
		place := trace.Root()
		if o, found := set.Get(c.ID); found {
			if known, is := trace.Object(o); is {
				place = known
			}
		}
		faults = append(faults, fmt.Errorf("%s:%d: %s: %s", place.File, place.Line, c.ID, c.Text))
	}
	return errors.Join(faults...)
}

// maxDisorder bounds how many objects one error tells of.
const maxDisorder = 10

// start surveys from the directory that is to be built.
func (s *survey) start(dir string) error {
	real, n, err := s.tree.resolve(dir)
	if err != nil {
		return err
	}
	switch n.kind {
	case absent:
		return fault.Terminal("render", dir, errors.New("no such directory in the repository"))
	case regular:
		return fault.Terminal("render", dir, errors.New("is a file; want the directory of a kustomization"))
	}
	_, err = s.visit(visit{dir: real})
	return err
}

// kustomize is `kustomize build` with its default flags.
func kustomize(t filesys.FileSystem, dir string) (resmap.ResMap, error) {
	options := krusty.MakeDefaultOptions()
	options.Reorder = krusty.ReorderOptionUnspecified // as the command does
	options.PluginConfig = types.DisabledPluginConfig()
	return krusty.MakeKustomizer(options).Run(t, mounted(dir))
}

// explain prefers what the file system knows to what kustomize made of it.
func (s *survey) explain(ctx context.Context, dir string, err error) error {
	if err == nil {
		return nil
	}
	if s.tree.refused != nil {
		return s.tree.refused
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return fault.Terminal("render", dir, errors.New(clean(err.Error(), s.hidden())))
}

func classified(ctx context.Context, dir string, err error) error {
	if known := (*fault.Error)(nil); errors.As(err, &known) {
		return err
	}
	if ctx.Err() != nil {
		return fault.Retryable("render", dir, err)
	}
	return fault.Terminal("render", dir, err)
}

// finish turns kustomize's objects into a result.
func finish(ctx context.Context, built resmap.ResMap, limits Limits) (Result, error) {
	if built.Size() > limits.Objects {
		return Result{}, fmt.Errorf("renders %d objects; want at most %d", built.Size(), limits.Objects)
	}
	lines := make([][]byte, 0, built.Size())
	room := limits.Output
	for _, r := range built.Resources() {
		if ctx.Err() != nil {
			return Result{}, context.Cause(ctx)
		}
		line, err := encode(r)
		if err != nil {
			return Result{}, err
		}
		if room -= int64(len(line)); room < 0 {
			return Result{}, fmt.Errorf("renders more than %d bytes; want fewer or smaller objects, or a higher limit", limits.Output)
		}
		lines = append(lines, line)
	}
	return settle(lines)
}

// encode is one object as JSON. That it can be printed as YAML, too, is part of
// the build.
func encode(r *resource.Resource) ([]byte, error) {
	line, err := r.MarshalJSON()
	if err == nil && !printable(line) {
		_, err = yaml.JSONToYAML(line)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: encode: %w", r.CurId(), err)
	}
	return line, nil
}

// printable spares the attempt to print where it cannot fail: a line of JSON in
// printable ASCII, neither deep nor with long keys, which is all that YAML's
// parser has against JSON.
func printable(line []byte) bool {
	const maxKey, maxDepth = 500, 500
	depth, begin, quoted := 0, 0, false
	for i := 0; i < len(line); i++ {
		switch c := line[i]; {
		case c < ' ' || c > '~':
			return false
		case quoted && c == '\\':
			i++
		case c == '"':
			if quoted = !quoted; quoted {
				begin = i
			}
		case quoted:
		case c == ':' && i-begin > maxKey:
			return false
		case c == '{', c == '[':
			if depth++; depth > maxDepth {
				return false
			}
		case c == '}', c == ']':
			depth--
		}
	}
	return true
}

// settle makes a result of objects in kustomize's order.
func settle(lines [][]byte) (Result, error) {
	objects := make([]*manifest.Object, len(lines))
	for i, line := range lines {
		objects[i] = &manifest.Object{}
		if err := objects[i].UnmarshalJSON(line); err != nil {
			return Result{}, fmt.Errorf("object %d: want a Kubernetes object", i+1)
		}
	}
	set, err := manifest.NewSet(objects)
	if err != nil {
		return Result{}, err
	}
	result := Result{Set: set}
	if result.Digest, err = set.Digest(); err != nil {
		return Result{}, err
	}
	result.packed, err = pack(lines)
	return result, err
}
