package rego

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"sync"

	"chaperone.dev/chaperone/internal/policy"
)

// Bounds on the answers that a bundle remembers, of which at most twice as many
// are held: enough for some releases of some thousand objects.
const (
	maxAnswers     = 32_000
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

// sumOf names a value made of what JSON is made of. Every part of it is written
// with its kind and length, so that no two values give the same bytes. Anything
// else is an error: it must not be taken for something like it.
func sumOf(value any) (sum, int, error) {
	buffer, _ := sumBuffers.Get().(*[]byte)
	defer sumBuffers.Put(buffer)
	encoded, err := appendValue((*buffer)[:0], value, 0)
	*buffer = encoded[:0]
	return sha256.Sum256(encoded), len(encoded), err
}

var sumBuffers = sync.Pool{New: func() any { return new([]byte) }}

// maxDepth bounds how deep a value may be nested.
const maxDepth = 1000

func appendValue(b []byte, value any, depth int) ([]byte, error) {
	if depth > maxDepth {
		return b, fmt.Errorf("nested more than %d deep", maxDepth)
	}
	switch value := value.(type) {
	case nil:
		return append(b, 'z'), nil
	case bool:
		if value {
			return append(b, 't'), nil
		}
		return append(b, 'f'), nil
	case string:
		return appendText(b, 's', value), nil
	case json.Number:
		return appendText(b, 'n', string(value)), nil
	case int64:
		return binary.BigEndian.AppendUint64(append(b, 'i'), uint64(value)), nil
	case float64:
		return binary.BigEndian.AppendUint64(append(b, 'd'), math.Float64bits(value)), nil
	case []any:
		return appendList(b, value, depth)
	case map[string]any:
		return appendMapping(b, value, depth)
	}
	return b, fmt.Errorf("holds a %T; want what JSON has", value)
}

func appendText(b []byte, kind byte, text string) []byte {
	b = binary.AppendUvarint(append(b, kind), uint64(len(text)))
	return append(b, text...)
}

func appendList(b []byte, list []any, depth int) (_ []byte, err error) {
	b = binary.AppendUvarint(append(b, 'a'), uint64(len(list)))
	for _, entry := range list {
		if b, err = appendValue(b, entry, depth+1); err != nil {
			return b, err
		}
	}
	return b, nil
}

func appendMapping(b []byte, mapping map[string]any, depth int) (_ []byte, err error) {
	b = binary.AppendUvarint(append(b, 'o'), uint64(len(mapping)))
	for _, key := range slices.Sorted(maps.Keys(mapping)) {
		b = appendText(b, 'k', key)
		if b, err = appendValue(b, mapping[key], depth+1); err != nil {
			return b, err
		}
	}
	return b, nil
}
