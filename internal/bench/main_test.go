package bench

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// program is the daemon, built once for all benchmarks.
var program string

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(run(m))
}

func run(m *testing.M) int {
	if flag.Lookup("test.bench").Value.String() == "" {
		return m.Run()
	}
	dir, err := os.MkdirTemp("", "chaperone-bench-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	if program, err = build(dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	code := m.Run()
	results.print(os.Stdout)
	return code
}

// build makes the program that users run, as `make build` does: with cgo the
// linker exports every symbol for plugins, which no user's program has, and a
// fifth of it is that. To see only that everything runs, it has the flags of
// `go test`, and so uses what that compiled.
//
// BENCH_PROGRAM names one to measure instead, such as that of an earlier release.
func build(dir string) (string, error) {
	if given := os.Getenv("BENCH_PROGRAM"); given != "" {
		return given, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	binary := filepath.Join(dir, "chaperone")
	cmd := exec.CommandContext(ctx, "go", "build", "-ldflags", "-s -w", "-o", binary, "./cmd/chaperone")
	cmd.Dir = filepath.Join("..", "..")
	cmd.Env = append(os.Environ(), "GOFLAGS=-buildvcs=false")
	if !smoke() {
		cmd.Env = append(os.Environ(), "GOFLAGS=-buildvcs=false -trimpath -tags=timetzdata", "CGO_ENABLED=0")
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the daemon: %w\n%s", err, out)
	}
	return binary, nil
}

// smoke reports whether only to see that everything runs, with few objects.
func smoke() bool { return flag.Lookup("test.benchtime").Value.String() == "1x" }

// rounds is how many measurements a median is of; with -benchtime 3x it is three.
func rounds() int {
	if strings.HasSuffix(flag.Lookup("test.benchtime").Value.String(), "x") {
		return 1
	}
	return 5
}

// size is the number of objects: the one wanted, or a small one for a smoke test.
func size(wanted int) int {
	if smoke() {
		return min(wanted, 40)
	}
	return wanted
}

// machine is what the figures were taken on.
func machine() string {
	memory, model := "", ""
	for file, want := range map[string]*string{"/proc/meminfo": &memory, "/proc/cpuinfo": &model} {
		*want = firstValue(file, map[string]bool{"MemTotal": true, "model name": true})
	}
	return fmt.Sprintf("%d cores (%s), %s memory, %s %s/%s", runtime.NumCPU(), model, memory, runtime.Version(), runtime.GOOS, runtime.GOARCH)
}

func firstValue(file string, keys map[string]bool) string {
	f, err := os.Open(file)
	if err != nil {
		return "unknown"
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		key, value, _ := strings.Cut(lines.Text(), ":")
		if keys[strings.TrimSpace(key)] {
			return strings.TrimSpace(value)
		}
	}
	return "unknown"
}
