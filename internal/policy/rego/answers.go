package rego

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"sync"

	"chaperone.dev/chaperone/internal/policy"
)

// Bounds on the answers that a bundle remembers, of which at most twice as many
// are held: enough for some releases of some thousand objects.
const (
	maxAnswers     = 16_000
	maxAnswerBytes = 8 << 20
)

// sum names a value by its content.
type sum = [sha256.Size]byte

// answers remembers what rules answered, by a sum over the rules and everything
// that they look at. What goes first is what was not asked for longest, in
// halves: all that was asked for since the last half filled up stays.
type answers struct {
	mu       sync.Mutex
	new, old map[sum][]policy.Result
	bytes    int // of new
}

func (a *answers) get(key sum) ([]policy.Result, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if results, found := a.new[key]; found {
		return results, true
	}
	results, found := a.old[key]
	if found {
		a.keep(key, results)
	}
	return results, found
}

func (a *answers) put(key sum, results []policy.Result) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.keep(key, results)
}

func (a *answers) keep(key sum, results []policy.Result) {
	if a.new == nil || len(a.new) >= maxAnswers || a.bytes >= maxAnswerBytes {
		a.old, a.new, a.bytes = a.new, map[sum][]policy.Result{}, 0
	}
	a.new[key] = results
	for _, r := range results {
		a.bytes += len(r.Message) + len(r.Path) + len(r.Rule)
	}
}

// sumOf names a value made of what JSON is made of, and tells about how large
// it is. Every part of it is written with its kind and length, so that no two
// values give the same bytes. Anything else is an error: it must not be taken for
// something like it.
func sumOf(value any) (sum, int, error) {
	w, _ := sumWriters.Get().(*sumWriter)
	defer sumWriters.Put(w)
	w.bytes, w.keys = w.bytes[:0], w.keys[:0]
	err := w.value(value, 0)
	size := len(w.bytes)
	all := sha256.Sum256(w.bytes)
	if cap(w.bytes) > 1<<20 {
		w.bytes = nil // one large value must not stay for good
	}
	return all, size, err
}

var sumWriters = sync.Pool{New: func() any { return &sumWriter{} }}

// sumWriter writes values; keys is a stack of those of the mappings around.
type sumWriter struct {
	bytes []byte
	keys  []string
}

// maxDepth bounds how deep a value may be nested.
const maxDepth = 1000

func (w *sumWriter) value(value any, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("nested more than %d deep", maxDepth)
	}
	switch value := value.(type) {
	case nil:
		w.bytes = append(w.bytes, 'z')
	case bool:
		w.bytes = strconv.AppendBool(w.bytes, value)
	case string:
		w.text('s', value)
	case json.Number:
		w.text('n', string(value))
	case int64:
		w.number('i', uint64(value))
	case float64:
		w.number('d', math.Float64bits(value))
	case []any:
		return w.list(value, depth)
	case map[string]any:
		return w.mapping(value, depth)
	default:
		return fmt.Errorf("holds a %T; want what JSON has", value)
	}
	return nil
}

func (w *sumWriter) text(kind byte, text string) {
	w.number(kind, uint64(len(text)))
	w.bytes = append(w.bytes, text...)
}

func (w *sumWriter) number(kind byte, n uint64) {
	w.bytes = binary.AppendUvarint(append(w.bytes, kind), n)
}

func (w *sumWriter) list(list []any, depth int) error {
	w.number('a', uint64(len(list)))
	for _, entry := range list {
		if err := w.value(entry, depth+1); err != nil {
			return err
		}
	}
	return nil
}

func (w *sumWriter) mapping(mapping map[string]any, depth int) error {
	w.number('o', uint64(len(mapping)))
	bottom := len(w.keys)
	for key := range mapping {
		w.keys = append(w.keys, key)
	}
	top := len(w.keys)
	slices.Sort(w.keys[bottom:top])
	for i := bottom; i < top; i++ {
		key := w.keys[i] // those above come and go
		w.text('k', key)
		if err := w.value(mapping[key], depth+1); err != nil {
			return err
		}
	}
	w.keys = w.keys[:bottom]
	return nil
}
