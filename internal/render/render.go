// Package render builds one directory of a snapshot with kustomize, as a
// library, straight over the snapshot. It guarantees that the output is byte
// for byte that of `kustomize build` of the same version; that nothing but the
// snapshot is read, nothing is fetched and no process is started; that files,
// bytes, objects and time are bounded; and that the closure names every path
// whose change could change the output.
package render

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"chaperone.dev/chaperone/internal/fault"
	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/source"
)

// Limits bound one render. A field that is not above zero takes its default.
type Limits struct {
	Files   int           // paths that are looked at, and kustomizations that are loaded, each as often as it is
	Bytes   int64         // read, a file as often as kustomize reads it
	Objects int           // in the result
	Output  int64         // bytes of YAML in the result
	Time    time.Duration // until the answer
}

// DefaultLimits bound what one commit can make the daemon do, well above what
// an honest environment asks for.
func DefaultLimits() Limits {
	return Limits{Files: 5_000, Bytes: 64 << 20, Objects: 10_000, Output: 64 << 20, Time: time.Minute}
}

func (l Limits) withDefaults() Limits {
	d := DefaultLimits()
	if l.Files <= 0 {
		l.Files = d.Files
	}
	if l.Bytes <= 0 {
		l.Bytes = d.Bytes
	}
	if l.Objects <= 0 {
		l.Objects = d.Objects
	}
	if l.Output <= 0 {
		l.Output = d.Output
	}
	if l.Time <= 0 {
		l.Time = d.Time
	}
	return l
}

// Result is one render. It is shared with later callers and not to be changed.
// An empty Set is no error here: whoever applies or prunes refuses it.
type Result struct {
	Set     manifest.Set
	Digest  manifest.Digest
	Closure source.Closure
	YAML    []byte // exactly what `kustomize build` prints
}

// Stats count since New.
type Stats struct {
	Builds uint64 // renders that no earlier result answered, failed ones included
	Hits   uint64 // renders that one did
}

// Renderer renders, and remembers. It is safe for concurrent use.
type Renderer struct {
	limits Limits
	builds atomic.Uint64
	hits   atomic.Uint64

	mu    sync.Mutex
	cache cache
}

// New makes a Renderer.
func New(limits Limits) *Renderer {
	limits = limits.withDefaults()
	return &Renderer{limits: limits, cache: cache{budget: 4 * limits.Output}}
}

// Stats tells how often kustomize was spared.
func (r *Renderer) Stats() Stats {
	return Stats{Builds: r.builds.Load(), Hits: r.hits.Load()}
}

// Render builds directory dir of a snapshot, unless an earlier render of dir
// read exactly what stands in this snapshot. Its errors are terminal, except
// where the snapshot could not be read or the time was up.
func (r *Renderer) Render(ctx context.Context, snap source.Snapshot, dir string) (Result, error) {
	name := path.Clean(strings.TrimSuffix(dir, "/"))
	if dir == "" || !fs.ValidPath(name) {
		return Result{}, fault.Terminal("render", dir, errors.New("want a directory inside the repository, relative to its root"))
	}
	if found, err := r.recall(snap, name); err != nil || found != nil {
		return deref(found), err
	}
	r.builds.Add(1)
	result, err := r.buildInTime(ctx, snap, name)
	if err != nil {
		return Result{}, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cache.add(name, result)
	return result, nil
}

func deref(result *Result) Result {
	if result == nil {
		return Result{}
	}
	return *result
}

// recall looks for a result whose closure matches. Reading hashes can take
// time, so no lock is held meanwhile.
func (r *Renderer) recall(snap source.Snapshot, dir string) (*Result, error) {
	r.mu.Lock()
	candidates := r.cache.of(dir)
	r.mu.Unlock()
	for _, candidate := range candidates {
		matches, err := candidate.Closure.Matches(snap)
		if err != nil {
			return nil, fault.Retryable("render", dir, err)
		}
		if matches {
			r.hits.Add(1)
			return &candidate, nil
		}
	}
	return nil, nil
}

// buildInTime answers by the deadline even though kustomize cannot be
// interrupted: what goes on behind is a build whose next look at a file fails.
func (r *Renderer) buildInTime(parent context.Context, snap source.Snapshot, dir string) (Result, error) {
	late := fmt.Errorf("takes longer than %v; want a smaller environment or a higher limit", r.limits.Time)
	ctx, cancel := context.WithTimeoutCause(parent, r.limits.Time, late)
	defer cancel()
	type outcome struct {
		result Result
		err    error
	}
	done := make(chan outcome, 1)
	go func() {
		result, err := build(ctx, snap, dir, r.limits)
		done <- outcome{result, err}
	}()
	select {
	case o := <-done:
		return o.result, o.err
	case <-ctx.Done():
		return Result{}, fault.Retryable("render", dir, context.Cause(ctx))
	}
}

// cachedPerDir is how many results of one directory are kept: enough for head,
// last good and the commits of a bisection between them.
const cachedPerDir = 8

// cache holds the newest results first, within a budget of YAML bytes.
type cache struct {
	budget  int64
	entries []entry
}

type entry struct {
	dir    string
	result Result
}

func (c *cache) of(dir string) []Result {
	var found []Result
	for _, e := range c.entries {
		if e.dir == dir {
			found = append(found, e.result)
		}
	}
	return found
}

func (c *cache) add(dir string, result Result) {
	kept := []entry{{dir, result}}
	size, same := int64(len(result.YAML)), 1
	for _, e := range c.entries {
		if e.dir == dir {
			if same++; same > cachedPerDir {
				continue
			}
		}
		if size += int64(len(e.result.YAML)); size > c.budget {
			break
		}
		kept = append(kept, e)
	}
	c.entries = kept
}
