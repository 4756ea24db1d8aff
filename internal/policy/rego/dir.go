package rego

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// dataLink is the symbolic link that the kubelet keeps in a mounted ConfigMap
// or Secret and swaps to publish a new version as a whole. The files beside it
// are links through it.
const dataLink = "..data"

// readAttempts is how often a directory is read anew when it was swapped while
// being read.
const readAttempts = 5

// LoadDir reads a bundle from a directory: a checkout, or a ConfigMap as the
// kubelet mounts it. Of a mounted one, a single version is read; files of two
// versions never mix.
//
// Keys of a ConfigMap have no slashes. Either it holds one key policies.tar.gz
// (`tar -czf policies.tar.gz -C policies .`), which is read as the tree it
// holds and keeps a large bundle under the limit of 1 MiB; or the volume's
// `items` name a path for each key:
//
//	configMap:
//	  name: chaperone-policies
//	  items:
//	  - {key: pod-privileged-rule, path: pod/privileged/rule.rego}
//	  - {key: params, path: params/data.yaml}
func LoadDir(ctx context.Context, dir string, limits Limits) (*Bundle, error) {
	limits = limits.withDefaults()
	files, err := readDir(dir, limits)
	if err != nil {
		return nil, fmt.Errorf("read policies from %s: %w", dir, err)
	}
	b, err := load(ctx, files, limits)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	return b, nil
}

// readDir reads until what it read is what was there before and after.
func readDir(dir string, limits Limits) (fileSet, error) {
	for attempt := 1; ; attempt++ {
		before, err := published(dir)
		if err != nil {
			return nil, err
		}
		files, readErr := readRoot(before, limits)
		after, err := published(dir)
		switch {
		case err != nil:
			return nil, err
		case after == before:
			return files, readErr
		case attempt == readAttempts:
			return nil, fmt.Errorf("changed %d times while being read", attempt)
		}
	}
}

// published is the directory that holds the files now.
func published(dir string) (string, error) {
	target, err := os.Readlink(filepath.Join(dir, dataLink))
	if errors.Is(err, fs.ErrNotExist) {
		return dir, nil // not a volume of the kubelet
	}
	if err != nil {
		return "", err
	}
	if !filepath.IsLocal(target) {
		return "", fmt.Errorf("%s points to %s; want a directory beside it", dataLink, target)
	}
	return filepath.Join(dir, target), nil
}

// readRoot reads through os.Root, which no symbolic link leads out of.
func readRoot(dir string, limits Limits) (fileSet, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	files, err := readFiles(root.FS(), limits)
	return files, errors.Join(err, root.Close())
}
