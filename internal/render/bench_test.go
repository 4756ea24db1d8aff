package render

import (
	"crypto/sha256"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"

	"chaperone.dev/chaperone/internal/source"
)

// repositoryRoot is where the sample's overlays are.
const repositoryRoot = "../.."

// disk is a snapshot of files that are read from disk, as kustomize reads
// them, with hashes at hand, as Git has them.
type disk struct {
	fs.FS
	hashes map[string]string
}

func (d disk) Revision() source.Revision              { return source.WorkingTree }
func (d disk) Hash(name string) (string, error)       { return d.hashes[name], nil }
func (d disk) Lstat(name string) (fs.FileInfo, error) { return fs.Lstat(d.FS, name) }
func (d disk) ReadLink(name string) (string, error)   { return fs.ReadLink(d.FS, name) }

func openDisk(b *testing.B, root string) disk {
	b.Helper()
	d := disk{os.DirFS(root), map[string]string{".": source.Dir}}
	for _, top := range []string{"base", "overlays"} {
		err := fs.WalkDir(d.FS, top, func(name string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() {
				d.hashes[name] = source.Dir
				return err
			}
			content, err := os.ReadFile(filepath.Join(root, name))
			d.hashes[name] = fmt.Sprintf("%x", sha256.Sum256(content))
			return err
		})
		if err != nil {
			b.Skipf("no sample to render: %v", err)
		}
	}
	return d
}

// environments are the overlays of the sample, by directory.
func environments(b *testing.B) []string {
	b.Helper()
	found, err := filepath.Glob(filepath.Join(repositoryRoot, "overlays", "*", "*", "kustomization.yaml"))
	if err != nil || len(found) == 0 {
		b.Skip("no overlays/*/*/kustomization.yaml to render yet")
	}
	dirs := make([]string, 0, len(found))
	for _, name := range found {
		dir, err := filepath.Rel(repositoryRoot, filepath.Dir(name))
		if err != nil {
			b.Fatal(err)
		}
		dirs = append(dirs, filepath.ToSlash(dir))
	}
	return dirs
}

// runKustomize is kustomize's own library call, on disk, to the YAML.
func runKustomize(b *testing.B, dir string) time.Duration {
	b.Helper()
	begin := time.Now()
	built, err := krusty.MakeKustomizer(commandOptions()).Run(filesys.MakeFsOnDisk(), filepath.Join(repositoryRoot, dir))
	if err == nil {
		_, err = built.AsYaml()
	}
	if err != nil {
		b.Fatal(err)
	}
	return time.Since(begin)
}

// BenchmarkRender measures each environment beside kustomize in the same run.
// x-kustomize is our time in kustomize's; ours ends with a set and its digest,
// kustomize's with the YAML.
func BenchmarkRender(b *testing.B) {
	snap := openDisk(b, repositoryRoot)
	for _, dir := range environments(b) {
		b.Run(dir+"/cold", func(b *testing.B) {
			var ours, theirs time.Duration
			b.ReportAllocs()
			for b.Loop() {
				begin := time.Now()
				if _, err := New(patient).Render(b.Context(), snap, dir); err != nil {
					b.Fatal(err)
				}
				ours += time.Since(begin)
				b.StopTimer()
				theirs += runKustomize(b, dir)
				b.StartTimer()
			}
			b.ReportMetric(float64(ours)/float64(theirs), "x-kustomize")
		})
		b.Run(dir+"/cached", func(b *testing.B) {
			const baseline = 5
			var ours, theirs time.Duration
			for range baseline {
				theirs += runKustomize(b, dir)
			}
			r, renders := New(patient), 0
			if _, err := r.Render(b.Context(), snap, dir); err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				begin := time.Now()
				if _, err := r.Render(b.Context(), snap, dir); err != nil {
					b.Fatal(err)
				}
				ours += time.Since(begin)
				renders++
			}
			b.ReportMetric(float64(ours)/float64(renders)/(float64(theirs)/baseline), "x-kustomize")
		})
	}
}

// BenchmarkKustomize is what BenchmarkRender is compared with, by itself.
func BenchmarkKustomize(b *testing.B) {
	for _, dir := range environments(b) {
		b.Run(dir, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				runKustomize(b, dir)
			}
		})
	}
}
