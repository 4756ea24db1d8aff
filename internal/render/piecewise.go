package render

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	yaml "go.yaml.in/yaml/v3"
	"sigs.k8s.io/kustomize/api/resmap"
	"sigs.k8s.io/kustomize/api/resource"
	"sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/kustomize/kyaml/resid"
)

// piecework says when a build is done in batches: kustomize's own takes time
// that goes with the square of the objects.
type piecework struct {
	from  int // objects, below which it is not worth it
	batch int // objects in one batch
	gain  int // how many times fewer pairs of objects there must be than in one piece; 0 for any
}

var usualPiecework = piecework{from: 150, batch: 60, gain: 2}

// maxRounds is how often a batch is built again with more that it turned out
// to need.
const maxRounds = 3

// assembly joins the batches of one build.
type assembly struct {
	ctx      context.Context
	division *division
	bundles  *bundles
	limits   Limits
	room     int64 // for more bytes
	records  []record
	seen     map[identity]bool
}

// record is one object of the result.
type record struct {
	id   resid.ResId
	line []byte
	rank int
}

// identity is what no two objects of a result share.
type identity struct{ group, version, kind, namespace, name string }

// piecewise builds in batches, or leaves everything as it was for a build in one
// piece: that is what tells what is wrong, if anything is.
func piecewise(ctx context.Context, s *survey, dir string, limits Limits, work piecework) (result Result, err error) {
	defer func() {
		if panicked := recover(); panicked != nil {
			err = errUncertain
		}
		if err != nil {
			s.tree.refused, s.tree.served = nil, 0
		}
	}()
	lines, err := inBatches(ctx, s, dir, limits, work)
	if err != nil {
		return Result{}, err
	}
	if s.tree.refused != nil {
		return Result{}, s.tree.refused
	}
	result, err = settle(lines)
	result.pieces = true
	return result, err
}

// inBatches builds dir in batches. Any error means that it is to be built in
// one piece: only that tells what is wrong.
func inBatches(ctx context.Context, s *survey, dir string, limits Limits, work piecework) ([][]byte, error) {
	d, err := divide(s, dir)
	if err != nil {
		return nil, err
	}
	b, err := d.bundle()
	if err != nil {
		return nil, err
	}
	batches := b.batches(work.batch)
	if !worthwhile(d, b, batches, work) || !d.eachOnce(b, batches) {
		return nil, errUncertain
	}
	a := &assembly{ctx: ctx, division: d, bundles: b, limits: limits, room: limits.Output, seen: map[identity]bool{}}
	for _, one := range batches {
		if err := a.build(dir, one); err != nil {
			return nil, err
		}
	}
	return a.sorted()
}

// perLoad is what loading a kustomization costs, in pairs of objects.
const perLoad = 250

// worthwhile: the batches are expected to take less time than one piece.
func worthwhile(d *division, b *bundles, batches []batch, work piecework) bool {
	objects := 0
	for _, one := range b.all {
		objects += one.objects
	}
	effort, whole := 0, objects*objects+perLoad*len(d.sections)
	for _, one := range batches {
		count := b.objects(one)
		effort += count*count + perLoad*choose(b.in(one)).loads(d)
	}
	return objects >= work.from && len(batches) > 1 && effort*work.gain <= whole
}

// in tells whether a part is in a batch.
func (b *bundles) in(one batch) func(part int) bool {
	return func(part int) bool { return part == everywhere || one.given[b.of[part]] }
}

// build builds a batch and takes the objects that it owns. An object that still
// holds a name of a bundle that was not given might have been made to refer to
// it, so the batch is built again with that.
func (a *assembly) build(dir string, one batch) error {
	for range maxRounds {
		if a.ctx.Err() != nil {
			return context.Cause(a.ctx)
		}
		files, err := a.division.reworded(a.bundles.in(one))
		if err != nil {
			return err
		}
		built, err := kustomize(&rewordedTree{tree: a.division.survey.tree, files: files}, dir)
		if err != nil {
			return err
		}
		owned, missing, err := a.owned(built, one)
		if err != nil {
			return err
		}
		if len(missing) == 0 {
			return a.take(owned)
		}
		one.give(missing)
	}
	return errUncertain
}

// owned are the objects that belong to the batch, and the bundles that they
// turn out to need.
func (a *assembly) owned(built resmap.ResMap, one batch) ([]*resource.Resource, []int, error) {
	mine := make(map[int]bool, len(one.owned))
	for _, n := range one.owned {
		mine[n] = true
	}
	var owned []*resource.Resource
	var missing []int
	for _, r := range built.Resources() {
		n, err := a.bundles.ofObject(r.GetName())
		if err != nil {
			return nil, nil, err
		}
		if !mine[n] {
			continue
		}
		owned = append(owned, r)
		scalarsOf(r.YNode(), func(scalar *yaml.Node, key bool) {
			if of, known := a.bundles.byName[scalar.Value]; known && !key && !one.given[of] {
				missing = append(missing, of)
			}
		})
	}
	return owned, missing, nil
}

// hashed is a name with the suffix that kustomize gives what it generates.
var hashed = regexp.MustCompile(`^(.+)-[bcdfghkmt2456789]{10}$`)

// ofObject is the bundle of an object by its final name, which may end in a hash.
func (b *bundles) ofObject(name string) (int, error) {
	n, known := b.byName[name]
	if at := hashed.FindStringSubmatch(name); at != nil {
		if generated, also := b.byName[at[1]]; also && b.all[generated].generated {
			if known && generated != n {
				return 0, errUncertain
			}
			return generated, nil
		}
	}
	if !known {
		return 0, errUncertain
	}
	return n, nil
}

// take encodes objects, so that a batch's can go before the next is built.
func (a *assembly) take(objects []*resource.Resource) error {
	for _, r := range objects {
		id := r.CurId()
		key := identity{id.Group, id.Version, id.Kind, id.EffectiveNamespace(), id.Name}
		if a.seen[key] || len(a.records) >= a.limits.Objects {
			return errUncertain
		}
		a.seen[key] = true
		line, err := encode(r)
		if err != nil {
			return err
		}
		if a.room -= int64(len(line)); a.room < 0 {
			return errUncertain
		}
		a.records = append(a.records, record{id: id, line: line})
	}
	return nil
}

// sorted are the lines in the order in which kustomize sorts objects.
func (a *assembly) sorted() ([][]byte, error) {
	ranks, err := a.ranks()
	if err != nil {
		return nil, err
	}
	for i := range a.records {
		a.records[i].rank = ranks[kindOf(a.records[i].id)]
	}
	slices.SortFunc(a.records, func(x, y record) int {
		return cmp.Or(cmp.Compare(x.rank, y.rank), strings.Compare(placeOf(x.id), placeOf(y.id)))
	})
	lines := make([][]byte, len(a.records))
	for i, r := range a.records {
		lines[i] = r.line
	}
	return lines, nil
}

// placeOf orders objects of one kind.
func placeOf(id resid.ResId) string {
	return cmp.Or(id.Namespace, "~X") + "|" + cmp.Or(id.Name, "~N")
}

// kindOf is a kind in a version of its group, as an object says it.
func kindOf(id resid.ResId) [2]string { return [2]string{id.Gvk.ApiVersion(), id.Kind} }

// ranks asks kustomize for the order of the kinds, by building an object of each.
func (a *assembly) ranks() (map[[2]string]int, error) {
	kinds, stubs := map[[2]string]bool{}, []string{}
	for _, r := range a.records {
		kind := kindOf(r.id)
		if strings.ContainsAny(kind[0]+kind[1], "_~") {
			return nil, errUncertain // kustomize joins them with such
		}
		if !kinds[kind] {
			kinds[kind] = true
			stubs = append(stubs, fmt.Sprintf("{apiVersion: %q, kind: %q, metadata: {name: x}}\n", kind[0], kind[1]))
		}
	}
	k := types.Kustomization{Resources: []string{"stubs.yaml"}, SortOptions: a.division.top.k.SortOptions}
	content, err := json.Marshal(k)
	if err != nil {
		return nil, err
	}
	memory := filesys.MakeFsInMemory()
	if err := errors.Join(memory.WriteFile(mounted("kustomization.yaml"), content),
		memory.WriteFile(mounted("stubs.yaml"), []byte(strings.Join(stubs, separatorLine)))); err != nil {
		return nil, err
	}
	built, err := kustomize(memory, ".")
	if err != nil || built.Size() != len(kinds) {
		return nil, errUncertain
	}
	ranks := map[[2]string]int{}
	for i, r := range built.Resources() {
		ranks[kindOf(r.CurId())] = i
	}
	return ranks, nil
}
