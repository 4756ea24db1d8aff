package demo

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// layout is where the demo keeps what it makes.
type layout struct{ dir string }

func (l layout) cluster() string    { return filepath.Join(l.dir, "cluster") }
func (l layout) kubeconfig() string { return filepath.Join(l.dir, "kubeconfig") }
func (l layout) repository() string { return filepath.Join(l.dir, "deployments.git") }
func (l layout) clone() string      { return filepath.Join(l.dir, "clone") }
func (l layout) policies() string   { return filepath.Join(l.dir, "policies") }
func (l layout) mirror() string     { return filepath.Join(l.dir, "mirror") }
func (l layout) config() string     { return filepath.Join(l.dir, "chaperone.yaml") }
func (l layout) log() string        { return filepath.Join(l.dir, "chaperone.log") }

// makeDirectory takes a directory that is new or empty: all that is in it at
// the end is the demo's, and may go.
func (d *demo) makeDirectory(context.Context) error {
	dir, err := d.Dir, error(nil)
	if dir == "" {
		dir, err = os.MkdirTemp("", "chaperone-demo-")
	} else {
		dir, err = emptyDirectory(dir)
	}
	if err != nil {
		return fmt.Errorf("make directory: %w", err)
	}
	d.place = layout{dir}
	d.later(func(context.Context) error {
		if d.Keep {
			d.report.say("kept %s", dir)
			return nil
		}
		if err := os.RemoveAll(dir); err != nil {
			return fmt.Errorf("demo: remove directory: %w", err)
		}
		return nil
	})
	return nil
}

func emptyDirectory(dir string) (string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	entries, err := os.ReadDir(dir)
	if err == nil && len(entries) > 0 {
		err = fmt.Errorf("%s is not empty, and the demo removes its directory at the end; name a new one", dir)
	}
	return dir, err
}

// sample is what the demo's repository is made of.
var sample = []string{"base", "overlays", "environments", "policies"}

// checkSample tells a wrong --repo before anything is started.
func checkSample(repo string) error {
	for _, name := range sample {
		info, err := os.Stat(filepath.Join(repo, name))
		if errors.Is(err, fs.ErrNotExist) || err == nil && !info.IsDir() {
			return fmt.Errorf("%s has no directory %s; want the working tree of chaperone's own repository, as --repo", repo, name)
		}
		if err != nil {
			return fmt.Errorf("read the sample: %w", err)
		}
	}
	return nil
}

// Bounds of what is copied: a wrong directory should not fill the disk.
const (
	maxSampleFiles = 5000
	maxSampleBytes = 64 << 20
)

// copyTree copies regular files; the sample has no others.
func copyTree(from, to string) error {
	files, bytes := 0, int64(0)
	return filepath.WalkDir(from, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		if entry.IsDir() {
			return os.MkdirAll(filepath.Join(to, name), 0o755)
		}
		info, err := entry.Info()
		if err != nil || !info.Mode().IsRegular() {
			return err
		}
		files, bytes = files+1, bytes+info.Size()
		if files > maxSampleFiles || bytes > maxSampleBytes {
			return fmt.Errorf("%s holds more than %d files or %d bytes; want the sample alone", from, maxSampleFiles, maxSampleBytes)
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, name), content, 0o644)
	})
}
