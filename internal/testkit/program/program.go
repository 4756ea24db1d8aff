// Package program builds the programs that tests run and that are modules of
// their own, because what they link is large and no part of the daemon. It
// guarantees that one is built once for all test packages, however many ask at
// the same time, and not again until its sources change.
package program

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
)

// Program is a directory below cmd that is a module.
type Program struct {
	Name string // of the directory, and of the binary
	Tags string // for the build, as Go takes them
	Env  string // a variable that may name a built one to use instead
}

// Build builds the program if its sources changed, and returns its path. Cold,
// it takes minutes.
func (p Program) Build(ctx context.Context, logf func(string, ...any)) (string, error) {
	if given := os.Getenv(p.Env); given != "" {
		if _, err := os.Stat(given); err != nil {
			return "", fmt.Errorf("%s: %w", p.Env, err)
		}
		return given, nil
	}
	root, err := moduleRoot()
	if err != nil {
		return "", err
	}
	out, err := exec.CommandContext(ctx, "go", "env", "GOCACHE").Output()
	if err != nil {
		return "", fmt.Errorf("find build cache: %w", err)
	}
	module, binary := filepath.Join(root, "cmd", p.Name), filepath.Join(strings.TrimSpace(string(out)), "chaperone", p.Name)
	if err := os.MkdirAll(filepath.Dir(binary), 0o755); err != nil {
		return "", fmt.Errorf("prepare build cache: %w", err)
	}
	unlock, err := lock(binary + ".lock")
	if err != nil {
		return "", err
	}
	defer unlock()
	return binary, p.build(ctx, module, binary, logf)
}

func (p Program) build(ctx context.Context, module, binary string, logf func(string, ...any)) error {
	key, err := p.sourceKey(module)
	if err != nil {
		return err
	}
	built, err := os.ReadFile(binary + ".key")
	if _, missing := os.Stat(binary); err == nil && missing == nil && string(built) == key {
		return nil
	}
	logf("building %s; the first time takes minutes", p.Name)
	cmd := exec.CommandContext(ctx, "go", "build", "-tags", p.Tags, "-o", binary, ".")
	cmd.Dir = module
	cmd.Env = append(os.Environ(), "GOFLAGS=-buildvcs=false", "GOWORK=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s: %w\n%s", p.Name, err, out)
	}
	return os.WriteFile(binary+".key", []byte(key), 0o644)
}

// moduleRoot is the directory of the root module, from wherever a test runs.
func moduleRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("find module: %w", err)
	}
	for ; ; dir = filepath.Dir(dir) {
		text, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err == nil && strings.HasPrefix(string(text), "module chaperone.dev/chaperone\n") {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", errors.New("find module: no go.mod of chaperone.dev/chaperone above the working directory")
		}
	}
}

// sourceKey names the sources, tests and texts left out. Comparing it is much
// quicker than asking `go build` whether anything changed.
func (p Program) sourceKey(module string) (string, error) {
	hash := sha256.New()
	fmt.Fprintln(hash, runtime.Version(), p.Tags)
	err := filepath.WalkDir(module, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || strings.HasSuffix(path, "_test.go") || strings.HasSuffix(path, ".md") {
			return err
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		fmt.Fprintln(hash, strings.TrimPrefix(path, module), len(content))
		hash.Write(content)
		return nil
	})
	if err != nil {
		return "", fmt.Errorf("read sources of %s: %w", p.Name, err)
	}
	return hex.EncodeToString(hash.Sum(nil))[:12], nil
}

func lock(name string) (unlock func(), err error) {
	file, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("lock: %w", err)
	}
	for {
		err = syscall.Flock(int(file.Fd()), syscall.LOCK_EX)
		if !errors.Is(err, syscall.EINTR) {
			break
		}
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("lock: %w", err), file.Close())
	}
	return func() { _ = file.Close() }, nil // closing unlocks
}
