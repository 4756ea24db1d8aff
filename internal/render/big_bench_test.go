package render

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
)

// big is a repository of n objects as a snapshot with its hashes at hand.
func big(b *testing.B, n int) (disk, string) {
	b.Helper()
	repo := bigRepo(n)
	root := repo.onDisk(b)
	d := disk{os.DirFS(root), map[string]string{".": "dir"}}
	for name, content := range repo {
		d.hashes[filepath.Dir(name)] = "dir"
		d.hashes[name] = fmt.Sprint(len(name), content)
	}
	return d, root
}

func renderBig(b *testing.B, r *Renderer, snap disk) time.Duration {
	b.Helper()
	begin := time.Now()
	if _, err := r.Render(b.Context(), snap, "o"); err != nil {
		b.Fatal(err)
	}
	took := time.Since(begin)
	r.fresh.forget(r.cache.entries[0].packed)
	return took
}

// BenchmarkBig is how the time grows with the objects of one overlay. x-500 is
// 2,000 objects in the time of 500; x-kustomize the time of kustomize's own
// build of 1,000, once, in that of ours of 2,000.
func BenchmarkBig(b *testing.B) {
	small, _ := big(b, 500)
	large, _ := big(b, 2_000)
	_, reference := big(b, 1_000)
	begin := time.Now()
	if _, err := krusty.MakeKustomizer(commandOptions()).Run(filesys.MakeFsOnDisk(), filepath.Join(reference, "o")); err != nil {
		b.Fatal(err)
	}
	theirs := time.Since(begin)
	var of500, of2000 time.Duration
	rounds := 0
	for b.Loop() {
		of500 += renderBig(b, New(patient), small)
		of2000 += renderBig(b, New(patient), large)
		rounds++
	}
	b.ReportMetric(of500.Seconds()*1e3/float64(rounds), "ms/500")
	b.ReportMetric(of2000.Seconds()*1e3/float64(rounds), "ms/2000")
	b.ReportMetric(float64(of2000)/float64(of500), "x-500")
	b.ReportMetric(theirs.Seconds()/(of2000.Seconds()/float64(rounds)), "x-kustomize-1000")
}

// BenchmarkBigCached is what a result costs that is asked for again: the time
// for its objects, or for its digest alone, and the memory for each object.
func BenchmarkBigCached(b *testing.B) {
	const objects = 1_000
	snap, _ := big(b, objects)
	r := New(patient)
	renderBig(b, r, snap)
	with := heap()
	result, err := r.Render(b.Context(), snap, "o")
	if err != nil {
		b.Fatal(err)
	}
	decoded := heap()
	runtime.KeepAlive(result)
	r.fresh.forget(r.cache.entries[0].packed)
	r.cache, result = cache{budget: maxCached}, Result{}
	without := heap()
	renderBig(b, r, snap)
	for _, wanted := range []string{"objects", "digest"} {
		b.Run(wanted, func(b *testing.B) {
			for b.Loop() {
				if wanted == "objects" {
					renderBig(b, r, snap)
				} else if _, err := r.Digest(b.Context(), snap, "o"); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(with-without)/objects, "B/object")
			b.ReportMetric(float64(decoded-with)/objects, "B/object-decoded")
		})
	}
}

func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
