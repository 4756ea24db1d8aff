package render

import (
	"maps"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// inBatchesOf is a renderer that divides even the smallest repository.
func inBatchesOf(objects int) *Renderer {
	r := New(patient)
	r.work = piecework{from: 2, batch: objects}
	return r
}

// inOnePiece is one that never does.
func inOnePiece() *Renderer {
	r := New(patient)
	r.work = piecework{from: 1 << 30, batch: 1}
	return r
}

// Whatever is built in batches is what kustomize builds in one piece; what is
// wrong is said in the same words, and the closure is the same.
func TestBatchesAreKustomizesOwnBuild(t *testing.T) {
	t.Parallel()
	built, pieces, refused, begin := 0, 0, 0, time.Now()
	rapid.Check(t, func(rt *rapid.T) {
		if time.Since(begin) > enough {
			return
		}
		repo := drawReferring(rt)
		if rapid.IntRange(0, 5).Draw(rt, "usual") == 0 {
			repo = drawRepo(rt)
		}
		size := rapid.IntRange(1, 6).Draw(rt, "batch")
		want, wantErr := inOnePiece().Render(t.Context(), repo.snapshot(), "o")
		got, err := inBatchesOf(size).Render(t.Context(), repo.snapshot(), "o")
		if (err == nil) != (wantErr == nil) {
			rt.Fatalf("in batches: %v\nin one piece: %v\n%s", err, wantErr, repo.show())
		}
		if err != nil {
			refused++
			return
		}
		built++
		if got.pieces {
			pieces++
		}
		if printed(t, got) != printed(t, want) {
			rt.Fatalf("in batches:\n%s\nin one piece:\n%s\n%s", printed(t, got), printed(t, want), repo.show())
		}
		if got.Digest != want.Digest || !maps.Equal(got.Closure, want.Closure) {
			rt.Fatalf("digest %s, closure %v\nwant %s, %v\n%s", got.Digest, got.Closure, want.Digest, want.Closure, repo.show())
		}
	})
	t.Logf("%d built, %d of them in batches, %d refused", built, pieces, refused)
}
