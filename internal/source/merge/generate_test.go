package merge_test

import (
	"fmt"
	"math/rand"
	"strings"

	"chaperone.dev/chaperone/internal/source/merge"
)

// history is what a revert looks at: the tree before the guilty commit, the
// guilty tree, and the head some changes later.
type history struct{ parent, guilty, head files }

// Few names and few different lines, so that changes meet often.
var names = []string{"a", "b", "c", "a/x", "a/y", "a/z/x", "b/x", "b/y/y", "d.yaml", "e/f/g/h", "a.b", "a-b"}

func randomHistory(r *rand.Rand) history {
	f := files{}
	for range 1 + r.Intn(6) {
		f.put(names[r.Intn(len(names))], randomFile(r))
	}
	var h history
	h.parent = f
	h.guilty = mutated(r, h.parent)
	h.head = mutated(r, h.guilty)
	for range r.Intn(2) {
		h.head = mutated(r, h.head)
	}
	if r.Intn(12) == 0 { // somebody took a part of it back already
		for path, f := range h.parent {
			if r.Intn(2) == 0 {
				h.head.put(path, f)
			}
		}
	}
	return h
}

func randomFile(r *rand.Rand) file {
	switch r.Intn(14) {
	case 0:
		return file{merge.Symlink, fmt.Sprintf("target-%d", r.Intn(3))}
	case 1:
		return file{merge.Executable, randomText(r)}
	case 2:
		return file{merge.Regular, randomText(r) + "\x00" + randomText(r)}
	case 3:
		return file{merge.Submodule, fmt.Sprint(r.Intn(3))}
	}
	return text(randomText(r))
}

func randomText(r *rand.Rand) string {
	kinds := []int{2, 3, 8, 100}[r.Intn(4)]
	length := []int{0, 1, 5, 20, 60, 300}[r.Intn(6)]
	var lines []string
	for range length {
		lines = append(lines, randomLine(r, kinds))
	}
	return strings.Join(lines, "")
}

func randomLine(r *rand.Rand, kinds int) string {
	return strings.Repeat("  ", r.Intn(2)) + fmt.Sprintf("key%d: value\n", r.Intn(kinds))
}

func mutated(r *rand.Rand, f files) files {
	f = f.clone()
	for range 1 + r.Intn(3) {
		paths := f.paths()
		if len(paths) == 0 || r.Intn(8) == 0 {
			f.put(names[r.Intn(len(names))], randomFile(r))
			continue
		}
		path := paths[r.Intn(len(paths))]
		switch r.Intn(14) {
		case 0:
			delete(f, path)
		case 1: // moved, as it is
			moved := f[path]
			delete(f, path)
			f.put(names[r.Intn(len(names))], moved)
		case 2:
			f[path] = randomFile(r)
		case 3:
			f[path] = chmod(f[path])
		default:
			f[path] = edited(r, f[path])
		}
	}
	if len(f) == 0 {
		f.put("kept", text("kept\n"))
	}
	return f
}

func chmod(f file) file {
	switch f.mode {
	case merge.Regular:
		f.mode = merge.Executable
	case merge.Executable:
		f.mode = merge.Regular
	}
	return f
}

func edited(r *rand.Rand, f file) file {
	if f.mode == merge.Submodule || f.mode == merge.Symlink {
		return file{f.mode, fmt.Sprintf("target-%d", r.Intn(3))}
	}
	lines := strings.SplitAfter(f.content, "\n")
	for range 1 + r.Intn(3) {
		lines = editedLines(r, lines)
	}
	f.content = strings.Join(lines, "")
	return f
}

func editedLines(r *rand.Rand, lines []string) []string {
	from := r.Intn(len(lines) + 1)
	to := min(len(lines), from+r.Intn(4))
	block := append([]string(nil), lines[from:to]...)
	before, after := append([]string(nil), lines[:from]...), append([]string(nil), lines[to:]...)
	switch r.Intn(8) {
	case 0: // removed
		return append(before, after...)
	case 1: // repeated
		return append(append(append(before, block...), block...), after...)
	case 2: // replaced
		return append(append(before, randomLine(r, 8), randomLine(r, 8)), after...)
	case 3: // moved to the end
		return append(append(before, after...), block...)
	case 4: // other line ends
		for i := range block {
			block[i] = strings.Replace(strings.Replace(block[i], "\n", "\r\n", 1), "\r\r", "\r", 1)
		}
		return append(append(before, block...), after...)
	case 5: // final newline gone, or there
		whole := strings.Join(lines, "")
		if cut, had := strings.CutSuffix(whole, "\n"); had {
			return strings.SplitAfter(cut, "\n")
		}
		return strings.SplitAfter(whole+"\n", "\n")
	}
	return append(append(append(before, randomLine(r, 8)), block...), after...)
}
