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

// Built is a program that can be run.
type Built struct {
	Path string
	Key  string // of the sources, or of the program that was given
	Dir  string // where what is known about it may be kept
}

// Build builds the program if its sources changed. Cold, it takes minutes.
func (p Program) Build(ctx context.Context, logf func(string, ...any)) (Built, error) {
	out, err := exec.CommandContext(ctx, "go", "env", "GOCACHE").Output()
	if err != nil {
		return Built{}, fmt.Errorf("find build cache: %w", err)
	}
	b := Built{Dir: filepath.Join(strings.TrimSpace(string(out)), "chaperone")}
	if err := os.MkdirAll(b.Dir, 0o755); err != nil {
		return b, fmt.Errorf("prepare build cache: %w", err)
	}
	if path := os.Getenv(p.Env); path != "" {
		b.Path = path
		b.Key, err = givenKey(path)
		if err != nil {
			return b, fmt.Errorf("%s: %w", p.Env, err)
		}
		return b, nil
	}
	b.Path = filepath.Join(b.Dir, p.Name)
	unlock, err := b.Lock(p.Name)
	if err != nil {
		return b, err
	}
	defer unlock()
	b.Key, err = p.build(ctx, b.Path, logf)
	return b, err
}

// givenKey tells a program that somebody else built from others.
func givenKey(path string) (string, error) {
	about, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(fmt.Appendln(nil, path, about.Size(), about.ModTime()))
	return hex.EncodeToString(sum[:])[:12], nil
}

func (p Program) build(ctx context.Context, binary string, logf func(string, ...any)) (key string, err error) {
	root, err := moduleRoot()
	if err != nil {
		return "", err
	}
	module := filepath.Join(root, "cmd", p.Name)
	if key, err = p.sourceKey(module); err != nil {
		return "", err
	}
	built, err := os.ReadFile(binary + ".key")
	if _, missing := os.Stat(binary); err == nil && missing == nil && string(built) == key {
		return key, nil
	}
	logf("building %s; the first time takes minutes", p.Name)
	cmd := exec.CommandContext(ctx, "go", "build", "-tags", p.Tags, "-o", binary, ".")
	cmd.Dir = module
	cmd.Env = append(os.Environ(), "GOFLAGS=-buildvcs=false", "GOWORK=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build %s: %w\n%s", p.Name, err, out)
	}
	return key, os.WriteFile(binary+".key", []byte(key), 0o644)
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

// Lock lets one process at a time do something with the program.
func (b Built) Lock(what string) (unlock func(), err error) {
	file, err := os.OpenFile(filepath.Join(b.Dir, what+".lock"), os.O_CREATE|os.O_RDWR, 0o644)
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
