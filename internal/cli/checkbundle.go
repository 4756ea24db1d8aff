package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"chaperone.dev/chaperone/internal/policy/rego"
)

// bundle is what judges: a directory, or the signed archive that a daemon takes.
func (f *checkFlags) bundle(ctx context.Context) (*rego.Bundle, error) {
	if f.policies == "" && remote(f.repo) {
		return nil, errors.New("check: want --policies with a repository elsewhere: whoever writes a release must not choose its judge")
	}
	path, limits := f.policiesPath(), rego.DefaultLimits()
	packed := strings.HasSuffix(path, ".tar.gz") || strings.HasSuffix(path, ".tgz")
	switch {
	case packed && f.keyFile == "":
		return nil, errors.New("check: want --policies-key-file with an archive of policies: who signed it is not for the archive to tell")
	case !packed && f.keyFile != "":
		return nil, fmt.Errorf("check --policies-key-file: only with an archive of policies (.tar.gz), not %s", path)
	case !packed:
		b, err := rego.LoadDir(ctx, path, limits)
		if errors.Is(err, fs.ErrNotExist) && f.policies == "" {
			return nil, fmt.Errorf("%w; run it where policies/ is, or name their directory with --policies", err)
		}
		return b, err
	}
	encoded, err := os.ReadFile(f.keyFile)
	if err != nil {
		return nil, err
	}
	key, err := rego.ParseKey(encoded)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.keyFile, err)
	}
	archive, err := readFile(nil, path, limits.Bytes)
	if err != nil {
		return nil, err
	}
	return rego.LoadSigned(ctx, archive, key, path, limits)
}

func (f *checkFlags) policiesPath() string {
	if f.policies != "" {
		return f.policies
	}
	return filepath.Join(f.repo, "policies")
}

// bundleDir is the policies' path as findings name files: from the repository.
func (f *checkFlags) bundleDir() string {
	path := f.policiesPath()
	if inside, err := filepath.Rel(f.repo, path); err == nil && filepath.IsLocal(inside) {
		path = inside
	}
	return filepath.ToSlash(path)
}
