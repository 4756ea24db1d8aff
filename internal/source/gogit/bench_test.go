package gogit_test

import (
	"bufio"
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/metrics"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"chaperone.dev/chaperone/internal/source"
	"chaperone.dev/chaperone/internal/source/gogit"
	"chaperone.dev/chaperone/internal/testkit/gitserver"
	"chaperone.dev/chaperone/internal/testkit/waiting"
)

// The repository of the benchmarks: one in which a team deploys from 200 files
// among everybody else's.
const (
	bigFiles   = 100_000
	bigCommits = 10_000
	bigClosure = 200
)

// bigRepository is made once; benchmarks add commits to it and measure in turns
// with git, so that both meet the same repository and the same machine.
var bigRepository = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "chaperone-big-")
	if err != nil {
		return "", err
	}
	bigMade.Store(&dir)
	return dir, importAll(dir, bigFiles, bigCommits)
})

// importAll makes a repository with so many files and commits in dir.
func importAll(dir string, files, commits int) error {
	for _, args := range [][]string{{"init", "-q", "--bare", "--initial-branch=main", dir}, {"-C", dir, "fast-import", "--quiet", "--done"},
		{"-C", dir, "config", "uploadpack.allowFilter", "true"}, {"-C", dir, "repack", "-adq"}} {
		cmd := exec.Command("git", args...)
		if slices.Contains(args, "fast-import") {
			reader, writer := io.Pipe()
			go func() { _ = writer.CloseWithError(writeAll(writer, files, commits)) }()
			cmd.Stdin = reader
		}
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("git %v: %w: %s", args, err, out)
		}
	}
	return nil
}

// writeAll tells git fast-import the whole history.
func writeAll(to io.Writer, files, commits int) error {
	b := bufio.NewWriter(to)
	file := func(name, content string) {
		fmt.Fprintf(b, "M 100644 inline %s\ndata %d\n%s\n", name, len(content), content)
	}
	other := func(i int) string { return fmt.Sprintf("team%d/service%d/file%d.txt", i/5000, i/100%50, i%100) }
	at := time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC).Unix()
	for n := range commits {
		fmt.Fprintf(b, "commit refs/heads/main\ncommitter Dev <dev@example.org> %d +0000\ndata 6\nchange\n", at+int64(n)*600)
		if n == 0 {
			for i := range files - bigClosure {
				// What does not compress: a monorepo's weight is not in its manifests.
				file(other(i), noise(i))
			}
			for i := range bigClosure {
				file(closureFile(i), manifestText(i, 0))
			}
			continue
		}
		file(other(n*5101%(files-bigClosure)), noise(n+files))
		if n%50 == 0 {
			file(closureFile(n/50%bigClosure), manifestText(n/50%bigClosure, n))
		}
	}
	fmt.Fprintln(b, "done")
	return b.Flush()
}

func closureFile(i int) string { return fmt.Sprintf("base/app%d/object%d.yaml", i/10, i%10) }

func manifestText(i, version int) string {
	return fmt.Sprintf("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: config-%d\ndata:\n  version: \"%d\"\n%s", i, version,
		strings.Repeat("  # what somebody wrote about it\n", 20))
}

// noise is a kilobyte that is different for each n and no pattern.
func noise(n int) string {
	b := make([]byte, 0, 1024)
	x := uint64(n)*0x9E3779B97F4A7C15 + 1
	for len(b) < 1024 {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		b = append(b, "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_"[x%64])
	}
	return string(b)
}

// big is the repository behind an HTTP server.
func big(b *testing.B) (*gitserver.Repo, string) {
	b.Helper()
	dir, err := bigRepository()
	if err != nil {
		b.Fatal(err)
	}
	repo := &gitserver.Repo{Dir: dir}
	return repo, gitserver.ServeHTTP(b, repo, "").URL
}

// TestMain removes the large repository, which outlives every benchmark.
func TestMain(m *testing.M) {
	waiting.Parallel(4)
	code := m.Run()
	if made := bigMade.Load(); made != nil {
		_ = os.RemoveAll(*made)
	}
	os.Exit(code)
}

var bigMade atomic.Pointer[string]

func commitBig(b *testing.B, repo *gitserver.Repo, n int) string {
	return repo.Commit(b, gitserver.Commit{Message: "more", Files: map[string]string{closureFile(n % bigClosure): manifestText(n%bigClosure, bigCommits+n)}})
}

// rounds is how many measurements a median is of, each side in its turn.
func rounds() int {
	if flag.Lookup("test.benchtime").Value.String() == "1x" { // only to see that it runs
		return 1
	}
	return 5
}

// measured is how long something took each time, and the most memory it had.
type measured struct {
	took []time.Duration
	peak uint64 // bytes
}

func (m *measured) median() time.Duration {
	slices.Sort(m.took)
	return m.took[len(m.took)/2]
}

// ours measures a call: its time, and by how much the heap grew while it ran.
func (m *measured) ours(b *testing.B, call func()) {
	b.Helper()
	runtime.GC()
	before, done, most := heap(), make(chan struct{}), make(chan uint64)
	go func() {
		var peak uint64
		for {
			peak = max(peak, heap())
			select {
			case <-done:
				most <- max(peak, heap())
				return
			case <-time.After(time.Millisecond):
			}
		}
	}()
	began := time.Now()
	call()
	m.took = append(m.took, time.Since(began))
	close(done)
	m.peak = max(m.peak, <-most-before)
}

func heap() uint64 {
	sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}

// git measures commands, and the largest process of them.
func (m *measured) git(b *testing.B, commands ...[]string) {
	b.Helper()
	began := time.Now()
	for _, args := range commands {
		cmd := exec.Command("git", args...)
		cmd.Env = append(os.Environ(), "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null", "GIT_AUTHOR_NAME=Dev", "GIT_AUTHOR_EMAIL=dev@example.org",
			"GIT_COMMITTER_NAME=Dev", "GIT_COMMITTER_EMAIL=dev@example.org", "GIT_TERMINAL_PROMPT=0")
		var said bytes.Buffer
		cmd.Stdout, cmd.Stderr = &said, &said
		if err := cmd.Start(); err != nil {
			b.Fatal(err)
		}
		done, most := make(chan struct{}), make(chan uint64)
		go func() { most <- watched(cmd.Process.Pid, done) }()
		err := cmd.Wait()
		close(done)
		m.peak = max(m.peak, <-most)
		if err != nil {
			b.Fatalf("git %v: %v: %s", args, err, said.String()[:min(said.Len(), 2000)])
		}
	}
	m.took = append(m.took, time.Since(began))
}

// watched is the most memory that a process or one of its children was seen to
// have had. What the system says afterwards counts the process that started it.
func watched(pid int, done <-chan struct{}) (peak uint64) {
	for {
		for _, p := range append(children(pid), pid) {
			peak = max(peak, highWater(p))
		}
		select {
		case <-done:
			return peak
		case <-time.After(time.Millisecond):
		}
	}
}

func children(pid int) (all []int) {
	content, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	for field := range strings.FieldsSeq(string(content)) {
		if child, err := strconv.Atoi(field); err == nil {
			all = append(append(all, child), children(child)...)
		}
	}
	return all
}

// highWater is in bytes, and zero where the system has no such file.
func highWater(pid int) uint64 {
	content, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	_, rest, _ := strings.Cut(string(content), "VmHWM:")
	fields := strings.Fields(rest)
	if len(fields) == 0 {
		return 0
	}
	kib, _ := strconv.ParseUint(fields[0], 10, 64)
	return kib << 10
}

func report(b *testing.B, ours, git measured) {
	const mib = 1 << 20
	b.ReportMetric(float64(ours.median().Microseconds())/1000, "ours-ms")
	b.ReportMetric(float64(git.median().Microseconds())/1000, "git-ms")
	b.ReportMetric(float64(ours.median())/float64(git.median()), "×git")
	b.ReportMetric(float64(ours.peak)/mib, "ours-MiB")
	b.ReportMetric(float64(git.peak)/mib, "git-MiB")
}

func openBig(b *testing.B, url string) *gogit.Repository {
	b.Helper()
	r, err := gogit.Open(b.Context(), gogit.Options{URL: url, Branch: "main", CacheDir: filepath.Join(b.TempDir(), "cache")})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(r.Close)
	return r
}

func pollBig(b *testing.B, r *gogit.Repository) source.Revision {
	b.Helper()
	head, err := r.Poll(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	return head.Revision
}

func readClosure(b *testing.B, r *gogit.Repository) {
	b.Helper()
	snapshot, err := r.Snapshot(r.Head())
	if err != nil {
		b.Fatal(err)
	}
	n := 0
	err = fs.WalkDir(snapshot, "base", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		n++
		content, err := fs.ReadFile(snapshot, name)
		if err == nil && !bytes.HasPrefix(content, []byte("apiVersion")) {
			err = fmt.Errorf("%s: %q", name, content)
		}
		return err
	})
	if err != nil || n != bigClosure {
		b.Fatalf("%d files: %v", n, err)
	}
}

// BenchmarkGit compares with the git command line, in turns, on a repository with
// 100,000 files and 10,000 commits behind an HTTP server.
func BenchmarkGit(b *testing.B) {
	repo, url := big(b)
	mirror := filepath.Join(b.TempDir(), "git")
	var made measured
	made.git(b, []string{"clone", "-q", "--bare", "--filter=blob:none", url, mirror},
		[]string{"-C", mirror, "archive", "--output", os.DevNull, "main", "base"}) // so that its files are there
	r := openBig(b, url)
	pollBig(b, r)
	readClosure(b, r)
	n := 0
	turns := func(name string, ours func(), git func(*measured), before func()) {
		b.Run(name, func(b *testing.B) {
			var o, g measured
			for b.Loop() {
				for range rounds() {
					before()
					o.ours(b, ours)
					git(&g)
				}
			}
			report(b, o, g)
		})
	}
	turns("poll", func() { pollBig(b, r) }, func(g *measured) { g.git(b, []string{"ls-remote", url, "refs/heads/main"}) }, func() {})
	turns("fetch", func() { pollBig(b, r) }, func(g *measured) {
		g.git(b, []string{"-C", mirror, "fetch", "-q", "origin", "main:main"})
	}, func() { n++; commitBig(b, repo, n) })
	turns("closure", func() { readClosure(b, r) }, func(g *measured) {
		g.git(b, []string{"-C", mirror, "archive", "--output", os.DevNull, "--format=tar", "main", "base"})
	}, func() {})
	turns("first", func() {
		fresh := openBig(b, url)
		pollBig(b, fresh)
		readClosure(b, fresh)
	}, func(g *measured) {
		dir := filepath.Join(b.TempDir(), fmt.Sprint("fresh-", len(g.took)))
		g.git(b, []string{"clone", "-q", "--filter=blob:none", "--sparse", url, dir}, []string{"-C", dir, "sparse-checkout", "set", "base"})
	}, func() {})
}

// BenchmarkGitHistory compares first fetches, with the closure, from repositories
// that have fewer files and a longer history each: what the daemon holds in memory
// must not grow with it.
func BenchmarkGitHistory(b *testing.B) {
	for _, commits := range []int{1_000, 10_000, 50_000} {
		b.Run(fmt.Sprintf("commits=%d", commits), func(b *testing.B) {
			dir := filepath.Join(b.TempDir(), "long.git")
			if err := importAll(dir, 2000, commits); err != nil {
				b.Fatal(err)
			}
			url := gitserver.ServeHTTP(b, &gitserver.Repo{Dir: dir}, "").URL
			var o, g measured
			for b.Loop() {
				for range rounds() {
					fresh := openBig(b, url)
					o.ours(b, func() {
						pollBig(b, fresh)
						readClosure(b, fresh)
					})
					fresh.Close()
					clone := filepath.Join(b.TempDir(), fmt.Sprint("fresh-", len(g.took)))
					g.git(b, []string{"clone", "-q", "--filter=blob:none", "--sparse", url, clone}, []string{"-C", clone, "sparse-checkout", "set", "base"})
				}
			}
			report(b, o, g)
			b.ReportMetric(wholeHistory(b, url), "whole-MiB")
		})
	}
}

// wholeHistory is the memory that it takes to look through all of a history, for a
// commit that it does not have.
func wholeHistory(b *testing.B, url string) float64 {
	b.Helper()
	r := openBig(b, url)
	pollBig(b, r)
	var m measured
	m.ours(b, func() {
		if _, err := r.Commit(source.Revision(strings.Repeat("1", 40))); !errors.Is(err, source.ErrUnknownRevision) {
			b.Fatal(err)
		}
	})
	return float64(m.peak) / (1 << 20)
}

// BenchmarkGitRevert takes a commit back and pushes that. Git has a working tree
// for it, with no more files in it than it needs.
func BenchmarkGitRevert(b *testing.B) {
	repo, url := big(b)
	work := filepath.Join(b.TempDir(), "work")
	var made measured
	made.git(b, []string{"clone", "-q", "--filter=blob:none", "--sparse", url, work}, []string{"-C", work, "sparse-checkout", "set", "base"})
	r := openBig(b, url)
	pollBig(b, r)
	readClosure(b, r)
	n := bigClosure / 2
	var o, g measured
	for b.Loop() {
		for range rounds() {
			n++
			guilty := commitBig(b, repo, n)
			o.ours(b, func() {
				result, err := r.Revert(b.Context(), gogit.RevertRequest{Guilty: source.Revision(guilty), Note: note})
				if err != nil || result.Outcome != gogit.Reverted {
					b.Fatalf("%+v, %v", result, err)
				}
			})
			n++
			guilty = commitBig(b, repo, n)
			g.git(b, []string{"-C", work, "pull", "-q", "--ff-only"}, []string{"-C", work, "revert", "--no-edit", guilty}, []string{"-C", work, "push", "-q"})
		}
	}
	report(b, o, g)
}
