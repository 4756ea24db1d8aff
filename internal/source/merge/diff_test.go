package merge

import (
	"fmt"
	"math/rand"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestHunksAreGits compares single diffs with git's, so that a difference in
// the merge can be told from one in the pairing of lines. Few different lines
// make most runs ambiguous; long texts of two lines have no line rare enough
// to anchor on.
func TestHunksAreGits(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	fromFile, toFile := filepath.Join(dir, "from"), filepath.Join(dir, "to")
	for seed := range int64(250) {
		from, to := randomTexts(rand.New(rand.NewSource(seed)))
		for name, content := range map[string]string{fromFile: from, toFile: to} {
			if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		out, err := exec.Command("git", "diff", "--no-index", "--histogram", "--no-indent-heuristic", "-U0", fromFile, toFile).Output()
		if exit, ok := err.(*exec.ExitError); err != nil && (!ok || exit.ExitCode() != 1) {
			t.Fatal(err)
		}
		if got, want := headers(from, to), gitHeaders(t, string(out)); got != want {
			t.Errorf("seed %d: hunks\n%s\ngit's\n%s\nfrom %q to %q", seed, got, want, from, to)
		}
	}
}

func randomTexts(r *rand.Rand) (from, to string) {
	kinds := []int{2, 3, 6, 20}[r.Intn(4)]
	var a []string
	for range []int{5, 10, 30, 400}[r.Intn(4)] {
		a = append(a, fmt.Sprintln(r.Intn(kinds)))
	}
	b := append([]string(nil), a...)
	for range 1 + r.Intn(6) {
		i := r.Intn(len(b) + 1)
		j := min(len(b), i+r.Intn(5))
		var middle []string
		switch r.Intn(3) {
		case 1:
			middle = []string{fmt.Sprintln(r.Intn(kinds))}
		case 2:
			middle = append(append(middle, b[i:j]...), b[i:j]...)
		}
		b = append(append(append([]string(nil), b[:i]...), middle...), b[j:]...)
	}
	return strings.Join(a, ""), strings.Join(b, "")
}

func headers(from, to string) string {
	var b strings.Builder
	for _, h := range newTexts([]byte(from), []byte(to)).hunks(0, 1) {
		fmt.Fprintf(&b, "%d+%d %d+%d\n", h.baseStart, h.baseEnd-h.baseStart, h.start, h.end-h.start)
	}
	return b.String()
}

// gitHeaders reads "@@ -start,count +start,count @@"; an empty side names the
// line before it.
func gitHeaders(t *testing.T, patch string) string {
	t.Helper()
	var b strings.Builder
	for line := range strings.Lines(patch) {
		if !strings.HasPrefix(line, "@@") {
			continue
		}
		var numbers []int
		for _, field := range strings.Fields(line)[1:3] {
			start, count, counted := strings.Cut(field[1:], ",")
			if !counted {
				count = "1"
			}
			first, err := strconv.Atoi(start)
			n, err2 := strconv.Atoi(count)
			if err != nil || err2 != nil {
				t.Fatalf("hunk header %q", line)
			}
			if n > 0 {
				first--
			}
			numbers = append(numbers, first, n)
		}
		fmt.Fprintf(&b, "%d+%d %d+%d\n", numbers[0], numbers[1], numbers[2], numbers[3])
	}
	return b.String()
}

// TestDiffIsBounded: texts made to be expensive end as one big change, soon.
func TestDiffIsBounded(t *testing.T) {
	t.Parallel()
	const n = 60_000
	shuffled := rand.New(rand.NewSource(1)).Perm(n)
	ordered, twos, threes := make([]int, n), make([]int, n), make([]int, n)
	for i := range n {
		ordered[i], twos[i], threes[i] = i, shuffled[i]%2, shuffled[n-1-i]%3
	}
	for name, texts := range map[string][2][]int{
		"all lines moved":  {ordered, shuffled},
		"few lines, often": {twos, threes},
	} {
		start := time.Now()
		removed, added := diff(texts[0], texts[1], n)
		if len(removed) != n || len(added) != n {
			t.Errorf("%s: %d and %d flags, want %d", name, len(removed), len(added), n)
		}
		kept, keptToo := 0, 0
		for i := range n {
			if !removed[i] {
				kept++
			}
			if !added[i] {
				keptToo++
			}
		}
		if kept != keptToo {
			t.Errorf("%s: %d lines kept of one text, %d of the other", name, kept, keptToo)
		}
		if took := time.Since(start); took > 30*time.Second {
			t.Errorf("%s: took %v", name, took)
		}
	}
}
