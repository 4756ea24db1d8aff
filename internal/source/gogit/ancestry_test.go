package gogit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"testing"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"
	"pgregory.net/rapid"

	"chaperone.dev/chaperone/internal/source"
)

// made is one commit of a history that a test makes.
type made struct {
	parents []int
	email   string
	minute  int
	files   map[string]string // path to content; nil is one file that no other commit has
}

// tree writes a commit's files, with what they hold.
func (m made) tree(storage objectWriter, number int) (plumbing.Hash, error) {
	files := m.files
	if files == nil {
		files = map[string]string{"own": fmt.Sprint(number)}
	}
	return writeTree(storage, files)
}

func writeTree(storage objectWriter, files map[string]string) (plumbing.Hash, error) {
	var t object.Tree
	below := map[string]map[string]string{}
	for _, path := range slices.Sorted(maps.Keys(files)) {
		if dir, rest, found := strings.Cut(path, "/"); found {
			if below[dir] == nil {
				below[dir] = map[string]string{}
			}
			below[dir][rest] = files[path]
			continue
		}
		hash, err := storage.SetEncodedObject(memoryObject(plumbing.BlobObject, []byte(files[path])))
		if err != nil {
			return hash, err
		}
		t.Entries = append(t.Entries, object.TreeEntry{Name: path, Mode: filemode.Regular, Hash: hash})
	}
	for dir, inside := range below {
		hash, err := writeTree(storage, inside)
		if err != nil {
			return hash, err
		}
		t.Entries = append(t.Entries, object.TreeEntry{Name: dir, Mode: filemode.Dir, Hash: hash})
	}
	sort.Sort(object.TreeEntrySorter(t.Entries))
	encoded := &plumbing.MemoryObject{}
	if err := t.Encode(encoded); err != nil {
		return plumbing.ZeroHash, err
	}
	return storage.SetEncodedObject(encoded)
}

// history writes commits into a repository of its own.
func history(t interface{ Fatal(...any) }, dir string, limits Limits, all []made) (*objects, []source.Revision) {
	storage := openStorage(dir)
	o, err := newObjects(limits)
	if err = errors.Join(err, storage.Init()); err != nil {
		t.Fatal(err)
	}
	o.use(storage)
	revisions := make([]source.Revision, len(all))
	for i, m := range all {
		when := time.Unix(1_700_000_000, 0).UTC().Add(time.Duration(m.minute) * time.Minute)
		who := object.Signature{Name: "A", Email: m.email, When: when}
		tree, err := m.tree(storage, i)
		if err != nil {
			t.Fatal(err)
		}
		c := object.Commit{Author: who, Committer: who, Message: fmt.Sprint(i), TreeHash: tree}
		for _, parent := range m.parents {
			c.ParentHashes = append(c.ParentHashes, plumbing.NewHash(string(revisions[parent])))
		}
		encoded := &plumbing.MemoryObject{}
		if err := c.Encode(encoded); err != nil {
			t.Fatal(err)
		}
		hash, err := storage.SetEncodedObject(encoded)
		if err != nil {
			t.Fatal(err)
		}
		revisions[i] = revisionOf(hash)
	}
	return o, revisions
}

// below is what each commit can be reached from, the slow and simple way.
func below(all []made, from int) []bool {
	found := make([]bool, len(all))
	for stack := []int{from}; len(stack) > 0; {
		i := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		if !found[i] {
			found[i] = true
			stack = append(stack, all[i].parents...)
		}
	}
	return found
}

// drawHistory draws a graph with merges and several roots, whose clocks run
// backwards if they may.
func drawHistory(t *rapid.T, honest bool) []made {
	all := make([]made, rapid.IntRange(2, 24).Draw(t, "commits"))
	for i := range all {
		all[i] = made{email: fmt.Sprintf("%d@example.org", i), minute: i}
		if !honest {
			all[i].minute = rapid.IntRange(0, 24).Draw(t, "minute")
		}
		for range min(i, rapid.IntRange(0, 3).Draw(t, "parents")) {
			parent := rapid.IntRange(max(0, i-6), i-1).Draw(t, "parent")
			if !slices.Contains(all[i].parents, parent) {
				all[i].parents = append(all[i].parents, parent)
			}
		}
	}
	return all
}

// TestAncestryOfAnyHistory: Contains is exact whatever the clocks say. Authors
// are exact while clocks are honest, and never too few.
func TestAncestryOfAnyHistory(t *testing.T) {
	t.Parallel()
	dir, n := t.TempDir(), 0
	rapid.Check(t, func(t *rapid.T) {
		honest := rapid.Bool().Draw(t, "honest")
		all := drawHistory(t, honest)
		n++
		o, revisions := history(t, filepath.Join(dir, fmt.Sprint(n)), Limits{}, all)
		defer o.use(nil)
		left, right := rapid.IntRange(0, len(all)-1).Draw(t, "left"), rapid.IntRange(0, len(all)-1).Draw(t, "right")
		ofLeft, ofRight := below(all, left), below(all, right)
		for i := range all {
			if got, err := o.contains(t.Context(), revisions[i], revisions[right]); err != nil || got != ofRight[i] {
				t.Fatalf("commit %d below %d: %v, %v", i, right, got, err)
			}
		}
		people, err := o.Authors(t.Context(), revisions[left], revisions[right], len(all))
		if err != nil {
			t.Fatal(err)
		}
		commits, err := o.Beyond(t.Context(), revisions[left], revisions[right])
		if err != nil {
			t.Fatal(err)
		}
		for i := range all {
			want := ofRight[i] && !ofLeft[i]
			got := slices.ContainsFunc(people, func(p source.Person) bool { return p.Email == all[i].email })
			brought := slices.ContainsFunc(commits, func(c source.Commit) bool { return c.Revision == revisions[i] })
			if brought != got {
				t.Fatalf("commit %d in %d..%d: %v, and its author %v", i, left, right, brought, got)
			}
			if want && !got || got && !want && (honest || !ofRight[i]) {
				t.Fatalf("author of commit %d in %d..%d: %v, want %v", i, left, right, got, want)
			}
		}
	})
}

// straight is a history without merges, each commit by one of a few people.
func straight(n int) []made {
	all := make([]made, n)
	for i := range all {
		all[i] = made{email: fmt.Sprintf("%d@example.org", i%3), minute: i}
		if i > 0 {
			all[i].parents = []int{i - 1}
		}
	}
	return all
}

func TestAuthors(t *testing.T) {
	t.Parallel()
	all := straight(6)
	all[4].email, all[5].email = "1@EXAMPLE.ORG", "" // who is 1, and somebody without an address
	o, r := history(t, t.TempDir(), Limits{}, all)
	unknown := source.Revision(strings.Repeat("1", 40))
	for _, test := range []struct {
		name        string
		after, upTo source.Revision
		max         int
		want        string
		err         error
	}{
		{"all, the newest first", r[0], r[5], 5, " 1@EXAMPLE.ORG 0@example.org 2@example.org", nil},
		{"one commit", r[1], r[2], 1, "2@example.org", nil},
		{"without after", "", r[2], 1, "2@example.org", nil},
		{"none", r[2], r[2], 1, "", nil},
		{"backwards, as a rollback", r[5], r[2], 1, "", nil},
		{"too many", r[0], r[5], 4, "", source.ErrTooFar},
		{"unknown after", unknown, r[5], 10, "", source.ErrUnknownRevision},
		{"unknown upTo", r[0], unknown, 10, "", source.ErrUnknownRevision},
		{"no upTo", r[0], "", 10, "", source.ErrUnknownRevision},
	} {
		people, err := o.Authors(t.Context(), test.after, test.upTo, test.max)
		if got := emails(people); got != test.want || !errors.Is(err, test.err) {
			t.Errorf("%s: %q, %v; want %q, %v", test.name, got, err, test.want, test.err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := o.Authors(ctx, r[0], r[5], 10); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// Who merges, or moves a pin, approves; who changes what a pin renders writes.
func TestWhoOnlyMergedWroteNothing(t *testing.T) {
	t.Parallel()
	const pin = "environments/demo/staging.yaml"
	environment := func(extra string) string {
		return "apiVersion: chaperone.dev/v1alpha1\nkind: Environment\nmetadata: {name: staging}\nspec:\n  target: {namespace: demo}\n" + extra
	}
	base := map[string]string{"a": "1", "b": "1", pin: environment("")}
	with := func(path, content string) map[string]string {
		files := maps.Clone(base)
		files[path] = content
		return files
	}
	clean := with("a", "2")
	clean["b"] = "2"
	evil := maps.Clone(clean)
	evil["c"] = "slipped in"
	for name, test := range map[string]struct {
		merged map[string]string
		want   string
	}{
		"a clean merge": {clean, "dev other"}, "a merge that adds a file": {evil, "manager dev other"},
		"a merge that takes one side": {with("a", "2"), "dev other"},
	} {
		o, r := history(t, t.TempDir(), Limits{}, []made{
			{email: "first", files: base},
			{email: "other", minute: 1, parents: []int{0}, files: with("b", "2")},
			{email: "dev", minute: 2, parents: []int{0}, files: with("a", "2")},
			{email: "manager", minute: 3, parents: []int{1, 2}, files: test.merged},
		})
		people, err := o.Authors(t.Context(), r[0], r[3], 10)
		if got := emails(people); got != test.want || err != nil {
			t.Errorf("%s: %q, %v; want %q", name, got, err, test.want)
		}
	}
	o, r := history(t, t.TempDir(), Limits{}, []made{
		{email: "first", files: base},
		{email: "dev", minute: 1, parents: []int{0}, files: with("a", "2")},
		{email: "manager", minute: 2, parents: []int{0, 1}, files: with("a", "2")},
		{email: "manager", minute: 3, parents: []int{2}, files: map[string]string{"a": "2", "b": "1", pin: environment("# new\n")}},
		{email: "both", minute: 4, parents: []int{3}, files: map[string]string{"a": "3", "b": "1", pin: environment("# newer\n")}},
	})
	for _, test := range []struct {
		after, upTo source.Revision
		want        string
	}{{"", r[2], "dev"}, {r[0], r[3], "dev"}, {r[2], r[3], ""}, {r[3], r[4], "both"}} {
		people, err := o.Authors(t.Context(), test.after, test.upTo, 10)
		if got := emails(people); got != test.want || err != nil {
			t.Errorf("%s..%s: %q, %v; want %q", test.after.Short(), test.upTo.Short(), got, err, test.want)
		}
	}
}

// TestWhatIsRenderedBelowEnvironments: a base of an overlay may lie anywhere, so
// only what is read as an environment's file is left out.
func TestWhatIsRenderedBelowEnvironments(t *testing.T) {
	t.Parallel()
	const valid = "apiVersion: chaperone.dev/v1alpha1\nkind: Environment\nmetadata: {name: x}\nspec:\n  target: {namespace: demo}\n"
	for _, test := range []struct {
		path, before, after string
		wrote               bool
	}{
		{"environments/demo/x.yaml", valid, valid + "# moved\n", false},
		{"environments/demo/x.yaml", "", valid, false},
		{"environments/demo/x.yaml", valid, "", false},
		{"environments/demo/x.yaml", "kind: Deployment\n", "kind: Deployment\nspec: {}\n", true},
		{"environments/demo/x.yaml", "kind: Deployment\n", valid, true},
		{"environments/demo/kustomization.yaml", "resources: []\n", "resources: [x]\n", true},
		{"environments/demo/base/x.yaml", "", valid, true},
		{"environments/demo/x.yml", "", valid, true},
		{"environments/x.yaml", "", valid, true},
		{"base/demo/x.yaml", "", valid, true},
	} {
		files := func(content string) map[string]string {
			if content == "" {
				return map[string]string{"a": "1"}
			}
			return map[string]string{"a": "1", test.path: content}
		}
		o, r := history(t, t.TempDir(), Limits{}, []made{
			{email: "first", files: files(test.before)}, {email: "dev", minute: 1, parents: []int{0}, files: files(test.after)},
		})
		people, err := o.Authors(t.Context(), r[0], r[1], 10)
		if wrote := len(people) == 1; wrote != test.wrote || err != nil {
			t.Errorf("%s: %q to %q: wrote %t, %v; want %t", test.path, test.before, test.after, wrote, err, test.wrote)
		}
	}
}

// TestAuthorsByTheirLetters: A to Z are a to z, and no other letters are.
func TestAuthorsByTheirLetters(t *testing.T) {
	t.Parallel()
	all := straight(4)
	all[1].email, all[2].email, all[3].email = "carolk@x", "CarolK@x", "carol\u212a@x"
	o, r := history(t, t.TempDir(), Limits{}, all)
	people, err := o.Authors(t.Context(), r[0], r[3], 10)
	if got := emails(people); got != "carol\u212a@x CarolK@x" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
}

func emails(people []source.Person) string {
	var all []string
	for _, p := range people {
		all = append(all, p.Email)
	}
	return strings.Join(all, " ")
}

// TestAuthorsWhenClocksRunBackwards: what was looked at before it was known to be
// common does not count.
func TestAuthorsWhenClocksRunBackwards(t *testing.T) {
	t.Parallel()
	o, r := history(t, t.TempDir(), Limits{}, []made{
		{email: "root", minute: 15}, {email: "fork", minute: 5, parents: []int{0}},
		{email: "left", minute: 4, parents: []int{1}}, {email: "right", minute: 20, parents: []int{1}},
	})
	people, err := o.Authors(t.Context(), r[2], r[3], 10)
	if err != nil || len(people) != 1 || people[0].Email != "right" {
		t.Errorf("Authors = %v, %v", people, err)
	}
}

// TestAncestryNearTheHeadIsCheap: what lies below both costs nothing, and a
// question asked again costs nothing at all.
func TestAncestryNearTheHeadIsCheap(t *testing.T) {
	t.Parallel()
	const commits = 400
	all := append(straight(commits), made{parents: []int{commits - 3}, minute: commits}) // and one beside the line
	o, r := history(t, t.TempDir(), Limits{History: 8}, all)
	head, beside := r[commits-1], r[commits]
	for revision, want := range map[source.Revision]bool{head: true, r[commits-4]: true, beside: false} {
		if got, err := o.contains(t.Context(), revision, head); err != nil || got != want {
			t.Errorf("contains = %v, %v; want %v", got, err, want)
		}
	}
	if people, err := o.Authors(t.Context(), r[commits-4], head, 3); err != nil || len(people) != 3 {
		t.Errorf("Authors = %v, %v", people, err)
	}
	for range 2 {
		if _, err := o.contains(t.Context(), r[0], head); !errors.Is(err, source.ErrTooFar) {
			t.Errorf("past the limit: %v", err)
		}
	}
	if _, err := o.Authors(t.Context(), r[0], head, commits); !errors.Is(err, source.ErrTooFar) {
		t.Errorf("past the limit: %v", err)
	}
	o.use(nil) // nothing can be read any more
	o.commits.Purge()
	if got, err := o.contains(t.Context(), beside, head); got || err != nil {
		t.Errorf("asked again: %v, %v", got, err)
	}
	if _, err := o.contains(t.Context(), beside, r[3]); err == nil {
		t.Error("another head was answered from memory")
	}
}

// TestWithFileWritesTreesAsGitDoes: a directory sorts as if its name ended in a
// slash, and a mode that nobody writes any more is kept.
func TestWithFileWritesTreesAsGitDoes(t *testing.T) {
	t.Parallel()
	o, _ := history(t, t.TempDir(), Limits{}, nil)
	w := newWorkspace(o)
	entry := func(b *bytes.Buffer, mode, name string, hash plumbing.Hash) {
		fmt.Fprintf(b, "%s %s\x00%s", mode, name, hash[:])
	}
	blob, fresh := w.add(plumbing.BlobObject, []byte("1")), plumbing.ComputeHash(plumbing.BlobObject, []byte("2"))
	tree := func(leaf, sub plumbing.Hash) []byte {
		var b bytes.Buffer
		entry(&b, "100664", "a", leaf)
		entry(&b, "100644", "e-x", blob)
		entry(&b, "100644", "e.txt", blob)
		entry(&b, "40000", "e", sub)
		entry(&b, "120000", "e0", blob)
		return b.Bytes()
	}
	var before, after bytes.Buffer
	entry(&before, "100755", "x", blob)
	entry(&after, "100755", "x", fresh)
	root := w.add(plumbing.TreeObject, tree(blob, w.add(plumbing.TreeObject, before.Bytes())))
	for file, want := range map[string][]byte{
		"a":   tree(fresh, plumbing.ComputeHash(plumbing.TreeObject, before.Bytes())),
		"e/x": tree(blob, plumbing.ComputeHash(plumbing.TreeObject, after.Bytes())),
	} {
		got, err := w.withFile(root, file, []byte("2"))
		if err != nil || !bytes.Equal(w.made[got].content, want) {
			t.Errorf("%s: %q, %v; want %q", file, w.made[got].content, err, want)
		}
	}
	for _, file := range []string{"b", "e/y"} {
		if _, err := w.withFile(root, file, nil); err == nil {
			t.Errorf("%s was written", file)
		}
	}
}
