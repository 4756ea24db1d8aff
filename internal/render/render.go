// Package render builds one directory of a snapshot with kustomize, as a
// library, straight over the snapshot. It guarantees that the output is byte
// for byte that of `kustomize build` of the same version; that nothing but the
// snapshot is read, nothing is fetched and no process is started; that files,
// bytes, objects and time are bounded; and that the closure names every path
// whose change could change the output. Objects that ask for an order that cannot
// be had are refused, with their lines.
//
// The time of kustomize's build goes with the square of the objects, so many of
// them are built in batches (piecewise.go) where that is certain to give the
// same (division.go), and in one piece where it is not, or where anything is
// wrong. What was built is kept packed (result.go).
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
	Output  int64         // bytes of JSON in the result
	Time    time.Duration // until the answer
	Kept    int64         // bytes of results that are remembered
}

// DefaultLimits bound what one commit can make the daemon do, well above what
// an honest environment asks for.
func DefaultLimits() Limits {
	return Limits{Files: 20_000, Bytes: 64 << 20, Objects: 10_000, Output: 64 << 20, Time: time.Minute, Kept: maxCached}
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
	if l.Kept <= 0 {
		l.Kept = d.Kept
	}
	return l
}

// Stats count since New.
type Stats struct {
	Builds uint64 // renders that no earlier result answered, failed ones included
	Hits   uint64 // renders that one did
}

// Renderer renders, and remembers. It is safe for concurrent use.
type Renderer struct {
	limits Limits
	work   piecework
	builds atomic.Uint64
	hits   atomic.Uint64

	mu    sync.Mutex
	cache cache
	fresh fresh
}

// New makes a Renderer.
func New(limits Limits) *Renderer {
	limits = limits.withDefaults()
	return &Renderer{limits: limits, work: usualPiecework, cache: cache{budget: limits.Kept}}
}

// Stats tells how often kustomize was spared.
func (r *Renderer) Stats() Stats {
	return Stats{Builds: r.builds.Load(), Hits: r.hits.Load()}
}

// Render builds directory dir of a snapshot, unless an earlier render of dir
// read exactly what stands in this snapshot. Its errors are terminal, except
// where the snapshot could not be read or the time was up.
func (r *Renderer) Render(ctx context.Context, snap source.Snapshot, dir string) (Result, error) {
	e, built, err := r.entry(ctx, snap, dir)
	switch {
	case err != nil:
		return Result{}, err
	case built != nil:
		return *built, nil
	}
	set, err := r.decoded(e)
	if err != nil {
		return Result{}, fault.Terminal("render", dir, err)
	}
	return Result{Set: set, Digest: e.digest, Closure: e.closure, packed: e.packed}, nil
}

// Digest is that of Render, for whoever does not need the objects: what was
// rendered before is not even decoded.
func (r *Renderer) Digest(ctx context.Context, snap source.Snapshot, dir string) (manifest.Digest, error) {
	e, _, err := r.entry(ctx, snap, dir)
	return e.digest, err
}

// Closure is what Render reads.
func (r *Renderer) Closure(ctx context.Context, snap source.Snapshot, dir string) (source.Closure, error) {
	e, _, err := r.entry(ctx, snap, dir)
	return e.closure, err
}

// entry finds a render in the cache, or builds it. A result is there only if
// it was built now.
func (r *Renderer) entry(ctx context.Context, snap source.Snapshot, dir string) (entry, *Result, error) {
	name := path.Clean(strings.TrimSuffix(dir, "/"))
	if dir == "" || !fs.ValidPath(name) {
		return entry{}, nil, fault.Terminal("render", dir, errors.New("want a directory inside the repository, relative to its root"))
	}
	if e, found, err := r.recall(snap, name); err != nil || found {
		return e, nil, err
	}
	r.builds.Add(1)
	result, err := r.buildInTime(ctx, snap, name)
	if err != nil {
		return entry{}, nil, err
	}
	e := entry{dir: name, digest: result.Digest, closure: result.Closure, packed: result.packed}
	r.fresh.keep(e.packed, result.Set)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cache.add(e)
	return e, &result, nil
}

// recall looks for a result whose closure matches. Reading hashes can take
// time, so no lock is held meanwhile.
func (r *Renderer) recall(snap source.Snapshot, dir string) (entry, bool, error) {
	r.mu.Lock()
	candidates := r.cache.of(dir)
	r.mu.Unlock()
	for _, candidate := range candidates {
		matches, err := candidate.closure.Matches(snap)
		if err != nil {
			return entry{}, false, unread("render", dir, err)
		}
		if matches {
			r.hits.Add(1)
			return candidate, true, nil
		}
	}
	return entry{}, false, nil
}

// decoded are the objects of an entry.
func (r *Renderer) decoded(e entry) (manifest.Set, error) {
	if set, found := r.fresh.of(e.packed); found {
		return set, nil
	}
	set, err := e.packed.set()
	if err == nil {
		r.fresh.keep(e.packed, set)
	}
	return set, err
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
		result, err := build(ctx, snap, dir, r.limits, r.work)
		done <- outcome{result, err}
	}()
	select {
	case o := <-done:
		return o.result, o.err
	case <-ctx.Done():
		return Result{}, fault.Retryable("render", dir, context.Cause(ctx))
	}
}
