package rego

import (
	"context"
	"slices"
	"sync"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/storage"
	"github.com/open-policy-agent/opa/v1/topdown"
	"github.com/open-policy-agent/opa/v1/util"
)

// document is a step of a name below `data`, as `lib` in data.lib.pods.specs,
// or all of it: then rules give it a value.
type document struct {
	below    map[string]*document
	number   int // of those with a value; -1 for a step
	function bool
	sees     footprint // what its value depends on
}

// documentsOf finds all documents of a compiler's modules.
func documentsOf(compiler *ast.Compiler) *document {
	found := &finder{footprints: footprints{compiler: compiler, known: map[util.T]footprint{}}}
	root := compiler.RuleTree.Child(ast.DefaultRootDocument.Value)
	if root == nil {
		return nil
	}
	return found.document(root)
}

type finder struct {
	footprints
	numbers int
}

func (f *finder) document(node *ast.TreeNode) *document {
	d := &document{number: -1, below: map[string]*document{}}
	if len(node.Values) > 0 && len(node.Children) == 0 {
		d.number = f.numbers
		f.numbers++
		for _, r := range node.Values {
			d.sees |= f.of(r)
			d.function = d.function || len(r.Head.Args) > 0
		}
		return d
	}
	for key, child := range node.Children {
		if name, ok := key.(ast.String); ok && len(node.Values) == 0 {
			d.below[string(name)] = f.document(child)
		}
	}
	return d
}

// find is the document that a reference begins with, and what comes after it.
func (d *document) find(ref ast.Ref) (*document, []*ast.Term) {
	for i := 1; i < len(ref) && d != nil; i++ {
		name, ok := ref[i].Value.(ast.String)
		if !ok {
			return nil, nil
		}
		if d = d.below[string(name)]; d != nil && d.number >= 0 {
			return d, ref[i+1:]
		}
	}
	return nil, nil
}

// worth is what was found of a document. A value of nil: it is undefined.
type worth struct {
	value *ast.Term
	known bool
}

// findings are shared by queries: of documents that are the same in all of them.
type findings struct {
	mu    sync.RWMutex
	known map[int]worth
}

func (f *findings) get(number int) worth {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.known[number]
}

func (f *findings) put(number int, found worth) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.known == nil {
		f.known = map[int]worth{}
	}
	f.known[number] = found
}

// memory is OPA's cache of documents and of calls of functions, for one query
// after the other. OPA forgets everything between two. But documents that look
// at nothing of the input are worth the same for as long as the bundle is in
// force, and those that do not look at the object under test are so for a whole
// evaluation: an index of the release is made once. What holds below a `with` is
// left to OPA.
type memory struct {
	names      *document
	constants  *findings // of the bundle
	evaluation *findings
	found      map[int]worth // in this query
	toShare    []*document
	calls      map[call]int
	called     []called
	args       []*ast.Term // of all calls
	other      topdown.VirtualCache
	depth      int // of `with`
	base       baseDocuments
}

// call tells most calls from each other; called is one of those that it does not.
type call struct{ number, args, hash int }

type called struct {
	first int // of its arguments
	next  int // of the same call; -1 for none
	worth
}

func newMemory(names *document, constants, evaluation *findings) *memory {
	return &memory{names: names, constants: constants, evaluation: evaluation, found: map[int]worth{}, calls: map[call]int{}}
}

// begin another query.
func (m *memory) begin() topdown.VirtualCache {
	m.other, m.depth = topdown.NewVirtualCache(), 0
	clear(m.found)
	clear(m.calls)
	clear(m.args)
	clear(m.called)
	m.args, m.called, m.toShare = m.args[:0], m.called[:0], m.toShare[:0]
	return m
}

func (m *memory) Push() {
	m.depth++
	m.other.Push()
}

func (m *memory) Pop() {
	m.depth--
	m.other.Pop()
}

// Keys are asked for where values are shown to a debugger.
func (m *memory) Keys() []ast.Ref { return m.other.Keys() }

func (m *memory) find(ref ast.Ref) (*document, []*ast.Term) {
	if m.depth > 0 {
		return nil, nil
	}
	d, rest := m.names.find(ref)
	if d == nil || d.function != (len(rest) > 0) {
		return nil, nil // such as one value of a mapping
	}
	return d, rest
}

func (m *memory) Get(ref ast.Ref) (value *ast.Term, undefined bool) {
	d, args := m.find(ref)
	if d == nil {
		return m.other.Get(ref)
	}
	var found worth
	switch shared := m.shared(d); {
	case d.function:
		if i := m.lookup(callOf(d, args), args); i >= 0 {
			found = m.called[i].worth
		}
	default:
		if found = m.found[d.number]; !found.known && shared != nil {
			found = shared.get(d.number)
		}
	}
	return found.value, found.known && found.value == nil
}

func (m *memory) Put(ref ast.Ref, value *ast.Term) {
	d, args := m.find(ref)
	if d == nil {
		m.other.Put(ref, value)
		return
	}
	found := worth{value: value, known: true}
	if d.function {
		m.keep(callOf(d, args), args, found)
		return
	}
	m.found[d.number] = found
	if m.shared(d) != nil {
		m.toShare = append(m.toShare, d)
	}
}

// share what the query found, once it has ended without an error. Until then a
// document may lack what a built-in function did not answer: OPA goes on, and
// says so at the end.
func (m *memory) share() {
	for _, d := range m.toShare {
		m.shared(d).put(d.number, m.found[d.number])
	}
	m.toShare = m.toShare[:0]
}

// shared is where a document is known to other queries, too.
func (m *memory) shared(d *document) *findings {
	switch {
	case d.sees == 0:
		return m.constants
	case !d.sees.has("object"):
		return m.evaluation
	}
	return nil
}

func callOf(d *document, args []*ast.Term) call {
	hash := 0
	for _, arg := range args {
		hash = 31*hash + arg.Hash()
	}
	return call{number: d.number, args: len(args), hash: hash}
}

func (m *memory) lookup(c call, args []*ast.Term) int {
	i, ok := m.calls[c]
	if !ok {
		return -1
	}
	for i >= 0 {
		first := m.called[i].first
		if slices.EqualFunc(m.args[first:first+c.args], args, (*ast.Term).Equal) {
			return i
		}
		i = m.called[i].next
	}
	return -1
}

func (m *memory) keep(c call, args []*ast.Term, found worth) {
	if i := m.lookup(c, args); i >= 0 {
		m.called[i].worth = found
		return
	}
	next, ok := m.calls[c]
	if !ok {
		next = -1
	}
	m.calls[c] = len(m.called)
	m.called = append(m.called, called{first: len(m.args), next: next, worth: found})
	m.args = append(m.args, args...)
}

// baseDocuments are OPA's cache of data files, of which all is there from the
// beginning.
type baseDocuments struct{ data ast.Value }

// readBase has nothing where the store does not answer: OPA then asks it itself,
// and says why.
func readBase(ctx context.Context, store storage.Store) baseDocuments {
	all, err := storage.ReadOne(ctx, store, storage.RootPath)
	if err != nil {
		return baseDocuments{}
	}
	data, _ := all.(ast.Value)
	return baseDocuments{data}
}

func (b baseDocuments) Get(ref ast.Ref) ast.Value {
	if b.data == nil || len(ref) < 2 {
		return nil
	}
	value, err := b.data.Find(ref[1:])
	if err != nil {
		return nil // OPA looks itself
	}
	return value
}

func (b baseDocuments) Put(ast.Ref, ast.Value) {}
