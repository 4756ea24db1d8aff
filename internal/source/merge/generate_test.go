package merge_test

import (
	"fmt"
	"math/rand"
	"strings"

	"chaperone.dev/chaperone/internal/source/merge"
)

// history is what reverts look at: the tree before the first guilty commit, the
// tree of each guilty one, and the head some changes later. The newest is taken
// back first.
type history struct {
	seed    int64
	states  []files // before, then after each guilty commit
	merging bool    // the guilty commits are merges
	head    files
}

// Few names and few different lines, so that changes meet often. Some names
// are not UTF-8, hold what a shell or a quoting would trip on, or sort
// differently as a file and as a directory.
var names = []string{
	"a", "b", "c", "a/x", "a/y", "a/z/x", "b/x", "b/y/y", "d.yaml", "e/f/g/h", "a.b", "a-b", "a/z/y", "a0",
	"\xff\xfe", "caf\xe9/x", "ü/ü.yaml", "with space", "tab\there", "line\nbreak", `quote"d\`, "-dash", ":colon", "e/f/\xc3\x28", "*",
}

func randomHistory(seed int64) history {
	r := rand.New(rand.NewSource(seed))
	f := files{}
	for range 1 + r.Intn(6) {
		f.put(names[r.Intn(len(names))], randomFile(r))
	}
	h := history{seed: seed, states: []files{f}, merging: r.Intn(3) == 0}
	for range []int{1, 1, 1, 1, 2, 3}[r.Intn(6)] {
		f = mutated(r, f)
		h.states = append(h.states, f)
	}
	h.head = mutated(r, f)
	for range r.Intn(2) {
		h.head = mutated(r, h.head)
	}
	if r.Intn(12) == 0 { // somebody took a part of it back already
		for _, path := range h.states[0].paths() { // in order, so that a seed is one history
			if r.Intn(2) == 0 {
				h.head.put(path, h.states[0][path])
			}
		}
	}
	return h
}

// disguised gives every file a head that tells its path, and outweighs the
// rest of it: no file is like one of another path any more, and all that was
// changed is changed still. What is empty stays so: Git takes no empty file for
// one that was renamed, and merges it with any other that was added.
func (h history) disguised() history {
	longest := 0
	for _, state := range append(h.states[:len(h.states):len(h.states)], h.head) {
		for _, f := range state {
			longest = max(longest, len(f.content))
		}
	}
	d := h
	d.states, d.head = nil, h.head.disguised(longest)
	for _, state := range h.states {
		d.states = append(d.states, state.disguised(longest))
	}
	return d
}

func (f files) disguised(longest int) files {
	d := files{}
	for path, file := range f {
		mask := fmt.Sprintf("%x\n", object("path", []byte(path)))
		switch {
		case file.mode == merge.Symlink || file.mode == merge.Submodule:
		case strings.Contains(file.content, "\x00"):
			mask = "\x00" + mask
			fallthrough
		default:
			for i := range longest/20 + 3 {
				mask += fmt.Sprintf("%x\n", object("path", fmt.Append(nil, path, i)))
			}
		}
		if file.content != "" {
			file.content = mask + file.content
		}
		d[path] = file
	}
	return d
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
	case 4:
		return text(strings.ReplaceAll(randomText(r), "\n", "\r\n"))
	case 5:
		return text(strings.TrimSuffix(randomText(r), "\n"))
	case 6:
		return text("caf\xe9\n" + randomText(r))
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
		switch r.Intn(18) {
		case 0:
			delete(f, path)
		case 1, 2: // moved, as it is or with a change
			moved := f[path]
			delete(f, path)
			if r.Intn(2) == 0 {
				moved = edited(r, moved)
			}
			f.put(names[r.Intn(len(names))], moved)
		case 3:
			f[path] = randomFile(r)
		case 4:
			f[path] = chmod(f[path])
		case 5:
			f[path] = edited(r, chmod(f[path]))
		case 6:
			moveDirectory(r, f, path)
		default:
			f[path] = edited(r, f[path])
		}
	}
	if len(f) == 0 {
		f.put("kept", text("kept\n"))
	}
	return f
}

// moveDirectory deletes, moves or copies the directory that path is in.
func moveDirectory(r *rand.Rand, f files, path string) {
	dir, _, nested := strings.Cut(path, "/")
	if !nested {
		return
	}
	to := []string{"", "a", "b", "moved", "e/f"}[r.Intn(5)]
	copied := r.Intn(4) == 0
	before := f.clone()
	for _, name := range before.paths() {
		below, inside := strings.CutPrefix(name, dir+"/")
		if !inside {
			continue
		}
		if !copied {
			delete(f, name)
		}
		if to != "" {
			f.put(to+"/"+below, before[name])
		}
	}
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
