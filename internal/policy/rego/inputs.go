package rego

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/open-policy-agent/opa/v1/ast"

	"chaperone.dev/chaperone/internal/policy"
)

// input is what one evaluation's queries share. Each part is converted at most
// once, when a rule is asked that looks at it; many releases are judged without.
type input struct {
	objects []*object
	refs    []policy.ObjectRef
	terms   []term // of objects
	parts   map[string]*term
	sums    []sum // of objects
	size    int   // about, in bytes
}

// term is a part of the input as rules see it.
type term struct {
	native any
	load   func() (any, error) // makes native when it is wanted
	sum    sum
	once   sync.Once
	value  *ast.Term
	err    error
}

func (t *term) convert() (*ast.Term, error) {
	t.once.Do(func() {
		if t.load != nil {
			if t.native, t.err = t.load(); t.err != nil {
				return
			}
		}
		value, err := ast.InterfaceToValue(t.native)
		t.value, t.err = ast.NewTerm(value), err
	})
	return t.value, t.err
}

// newInput names every part of the input by its content.
func newInput(in policy.Input, b *Bundle) (*input, error) {
	i := &input{objects: in.Objects, parts: map[string]*term{}}
	if err := i.readObjects(b.limits.InputBytes); err != nil {
		return nil, err
	}
	images, err := imagesTerm(in, b)
	if err != nil {
		return nil, err
	}
	in.Images = nil
	document, err := in.Document()
	if err != nil {
		return nil, err
	}
	for name, value := range document {
		part := &term{native: value}
		switch name {
		case "objects":
			part.sum = sumOfSums(i.sums)
		case "images":
			part = images
		default:
			if part.sum, _, err = sumOf(value); err != nil {
				return nil, fmt.Errorf("input.%s: %w", name, err)
			}
		}
		i.parts[name] = part
	}
	return i, nil
}

// imagesTerm is the list of images, which is long, and looked at by few rules.
func imagesTerm(in policy.Input, b *Bundle) (*term, error) {
	if in.Images == nil && b.sees.has("images") {
		in.Images = policy.Images(in.Objects, b.templates)
	}
	encoded, err := json.Marshal(in.Images)
	if err != nil {
		return nil, fmt.Errorf("encode input.images: %w", err)
	}
	load := func() (any, error) {
		document, err := policy.Input{Images: in.Images}.Document()
		return document["images"], err
	}
	return &term{load: load, sum: sha256.Sum256(encoded)}, nil
}

func (i *input) readObjects(limit int) (err error) {
	i.refs, i.terms = make([]policy.ObjectRef, len(i.objects)), make([]term, len(i.objects))
	i.sums = make([]sum, len(i.objects))
	size := 0
	for n, o := range i.objects {
		i.refs[n], i.terms[n].native = policy.RefOf(o), o.Object
		if i.sums[n], size, err = sumOf(o.Object); err != nil {
			return fmt.Errorf("%s: %w", i.refs[n], err)
		}
		if i.size += size; i.size > limit {
			return fmt.Errorf("the release is larger than the %d bytes that policies may look at", limit)
		}
	}
	return nil
}

func sumOfSums(sums []sum) (all sum) {
	h := sha256.New()
	for _, s := range sums {
		h.Write(s[:]) // never fails
	}
	h.Sum(all[:0])
	return all
}

// ref names the object at a place; nil is the release.
func (i *input) ref(place int) *policy.ObjectRef {
	if place == aboutRelease {
		return nil
	}
	return &i.refs[place]
}

// context names the rules of a group and everything they look at but the
// object: for all objects, it is the same.
func (i *input) context(g group) (all sum) {
	h := sha256.New()
	for _, r := range g.rules {
		fmt.Fprintf(h, "%d:%s", len(r.ID), r.ID) // never fails
	}
	for _, name := range g.sees.names() {
		if part := i.parts[name]; part != nil {
			fmt.Fprintf(h, "%s:", name)
			h.Write(part.sum[:])
		}
	}
	h.Sum(all[:0])
	return all
}

// key names what a group is asked at a place.
func (i *input) key(g group, place int) sum {
	if place == aboutRelease {
		return g.context
	}
	var both [2 * len(sum{})]byte
	copy(both[:], g.context[:])
	copy(both[len(sum{}):], i.sums[place][:])
	return sha256.Sum256(both[:])
}

// document has the parts that are looked at, and no others: what no rule looks
// at need not be converted.
func (i *input) document(sees footprint, place int) (ast.Value, error) {
	var items [][2]*ast.Term
	for _, name := range slices.Sorted(maps.Keys(i.parts)) {
		if !sees.has(name) {
			continue
		}
		value, err := i.part(name)
		if err != nil {
			return nil, fmt.Errorf("convert input.%s: %w", name, err)
		}
		items = append(items, ast.Item(ast.StringTerm(name), value))
	}
	if place != aboutRelease {
		value, err := i.terms[place].convert()
		if err != nil {
			return nil, fmt.Errorf("convert input.object: %w", err)
		}
		items = append(items, ast.Item(ast.StringTerm("object"), value))
	}
	return ast.NewObject(items...), nil
}

// part converts a part. The list of objects is made of the objects' own terms.
func (i *input) part(name string) (*ast.Term, error) {
	part := i.parts[name]
	if name != "objects" {
		return part.convert()
	}
	part.once.Do(func() {
		terms := make([]*ast.Term, len(i.terms))
		for n := range i.terms {
			if terms[n], part.err = i.terms[n].convert(); part.err != nil {
				return
			}
		}
		part.value = ast.NewTerm(ast.NewArray(terms...))
	})
	return part.value, part.err
}
