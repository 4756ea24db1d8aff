package localcluster

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

// EnvProgram names a built program to use instead of building one.
const EnvProgram = "CHAPERONE_LOCALCLUSTER"

// builder makes the program from the nested module, once for all.
type builder struct {
	module string // directory of the nested module
	cache  string // where the program and what is known about it is kept
	binary string
	key    string // of the sources
}

// Build builds the program if its sources changed and returns its path. Cold,
// it takes minutes.
func Build(ctx context.Context, logf func(string, ...any)) (string, error) {
	b, err := findBuilder()
	if err != nil {
		return "", err
	}
	unlock, err := b.lock()
	if err != nil {
		return "", err
	}
	defer unlock()
	return b.binary, b.build(ctx, logf)
}

func findBuilder() (builder, error) {
	root, err := moduleRoot()
	if err != nil {
		return builder{}, err
	}
	out, err := exec.Command("go", "env", "GOCACHE").Output()
	if err != nil {
		return builder{}, fmt.Errorf("find build cache: %w", err)
	}
	if program := os.Getenv(EnvProgram); program != "" {
		return given(program, filepath.Join(strings.TrimSpace(string(out)), "chaperone"))
	}
	b := builder{module: filepath.Join(root, "cmd", "localcluster"), cache: filepath.Join(strings.TrimSpace(string(out)), "chaperone")}
	b.binary = filepath.Join(b.cache, "localcluster")
	if err := os.MkdirAll(b.cache, 0o755); err != nil {
		return b, fmt.Errorf("prepare build cache: %w", err)
	}
	b.key, err = sourceKey(b.module)
	return b, err
}

// given is a program that somebody else built.
func given(program, cache string) (builder, error) {
	about, err := os.Stat(program)
	if err != nil {
		return builder{}, fmt.Errorf("%s: %w", EnvProgram, err)
	}
	sum := sha256.Sum256(fmt.Appendln(nil, program, about.Size(), about.ModTime()))
	return builder{cache: cache, binary: program, key: hex.EncodeToString(sum[:])[:12]}, os.MkdirAll(cache, 0o755)
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

// sourceKey names the sources, tests and texts left out. Comparing it is much quicker
// than asking `go build` whether anything changed.
func sourceKey(module string) (string, error) {
	hash := sha256.New()
	fmt.Fprintln(hash, runtime.Version())
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
		return "", fmt.Errorf("read sources of the local cluster: %w", err)
	}
	return hex.EncodeToString(hash.Sum(nil))[:12], nil
}

// lock lets one process at a time build or start.
func (b builder) lock() (unlock func(), err error) {
	file, err := os.OpenFile(filepath.Join(b.cache, "lock"), os.O_CREATE|os.O_RDWR, 0o644)
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

func (b builder) build(ctx context.Context, logf func(string, ...any)) error {
	if b.module == "" {
		return nil
	}
	keyFile := b.binary + ".key"
	built, err := os.ReadFile(keyFile)
	if _, missing := os.Stat(b.binary); err == nil && missing == nil && string(built) == b.key {
		return nil
	}
	logf("building the local cluster; the first time takes minutes")
	cmd := exec.CommandContext(ctx, "go", "build", "-o", b.binary, ".")
	cmd.Dir = b.module
	cmd.Env = append(os.Environ(), "GOFLAGS=", "GOWORK=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build local cluster: %w\n%s", err, out)
	}
	return os.WriteFile(keyFile, []byte(b.key), 0o644)
}
