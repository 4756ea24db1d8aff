package gogit

import (
	"bytes"
	"crypto/sha1"
	"encoding/binary"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/storage/memory"
)

var someObjects = []packed{
	{plumbing.BlobObject, []byte("hello\n")},
	{plumbing.BlobObject, nil},
	{plumbing.BlobObject, bytes.Repeat([]byte("0123456789abcdef"), 10_000)},
	{plumbing.TreeObject, []byte("100644 a\x00" + "\xce\x01\x36\x25\x03\x0b\xa8\xdb\xa9\x06\xf7\x56\x96\x7f\x9e\x9c\xa3\x94\x46\x4a")},
}

// TestPackIsGits: git takes the packs that we write, and finds in them what we
// put there.
func TestPackIsGits(t *testing.T) {
	t.Parallel()
	pack, err := writePack(someObjects)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, args := range [][]string{{"init", "-q", "--bare", "."}, {"unpack-objects", "-q", "--strict"}, {"fsck", "--strict"}} {
		cmd := exec.Command("git", args...)
		cmd.Dir, cmd.Stdin, cmd.Env = dir, bytes.NewReader(pack), gitEnvironment()
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("git %v: %v %s", args, err, out)
		}
	}
	for _, o := range someObjects {
		hash := plumbing.ComputeHash(o.kind, o.content).String()
		cmd := exec.Command("git", "cat-file", o.kind.String(), hash)
		cmd.Dir, cmd.Env = dir, gitEnvironment()
		if out, err := cmd.Output(); err != nil || !bytes.Equal(out, o.content) {
			t.Errorf("%s %s: %d bytes, %v; want %d", o.kind, hash, len(out), err, len(o.content))
		}
	}
}

func TestReceivePackRefuses(t *testing.T) {
	t.Parallel()
	good, err := writePack(someObjects)
	if err != nil {
		t.Fatal(err)
	}
	signed := func(body string) []byte {
		sum := sha1.Sum([]byte(body))
		return append([]byte(body), sum[:]...)
	}
	limits := Limits{Object: 200_000, Pack: 100_000}.orDefaults()
	for _, test := range []struct {
		name string
		pack []byte
		want string
	}{
		{"nothing", nil, "damaged"},
		{"cut off", good[:len(good)-30], "damaged"},
		{"a bit flipped", append(append([]byte(nil), good[:50]...), append([]byte{good[50] ^ 1}, good[51:]...)...), "damaged"},
		{"no pack", signed("hello, world"), "damaged"},
		{"fewer objects than it says", signed("PACK\x00\x00\x00\x02\x00\x00\x00\x05"), "damaged"},
		{"more objects than can be", signed("PACK\x00\x00\x00\x02\xff\xff\xff\xff"), "damaged"},
		{"an object of terabytes", signed("PACK\x00\x00\x00\x02\x00\x00\x00\x01\xbf\xff\xff\xff\xff\xff\x01x\x9c\x03\x00\x00\x00\x00\x01"), "bytes, of which"},
		{"too many bytes", signed("PACK" + strings.Repeat("x", 200_000)), "more than the 100000 bytes"},
	} {
		dir := t.TempDir()
		_, err := receivePackInto(dir, memory.NewStorage(), bytes.NewReader(test.pack), limits)
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", test.name, err, test.want)
		}
		left, globErr := filepath.Glob(filepath.Join(dir, "objects", "pack", "*"))
		if globErr != nil || len(left) > 0 {
			t.Errorf("%s: left behind: %v", test.name, left)
		}
	}
}

// TestDeltaThatGrows: a few bytes may say that they make a file of terabytes;
// that is believed, and refused, before it is made.
func TestDeltaThatGrows(t *testing.T) {
	t.Parallel()
	base := packed{plumbing.BlobObject, bytes.Repeat([]byte("a"), 100)}
	for _, test := range []struct {
		size    uint64
		problem string
	}{{200, ""}, {1 << 40, "a file of 1099511627776 bytes"}, {1<<64 - 1, "bytes, of which"}} {
		delta := binary.AppendUvarint(binary.AppendUvarint(nil, 100), test.size)
		delta = append(delta, 0x90, 100, 0x90, 100) // twice: copy all 100 bytes
		pack, err := writePack([]packed{base, {plumbing.REFDeltaObject, delta}})
		if err != nil {
			t.Fatal(err)
		}
		// A delta names its base between header and content.
		name := plumbing.ComputeHash(base.kind, base.content)
		at := bytes.LastIndex(pack, []byte{0x70 | byte(len(delta)), 0x78}) + 1
		pack = append(append(append([]byte(nil), pack[:at]...), name[:]...), pack[at:len(pack)-sha1.Size]...)
		sum := sha1.Sum(pack)
		store := memory.NewStorage()
		_, err = receivePackInto(t.TempDir(), store, bytes.NewReader(append(pack, sum[:]...)), Limits{}.orDefaults())
		if (err == nil) != (test.problem == "") || err != nil && !strings.Contains(err.Error(), test.problem) {
			t.Errorf("a delta that makes %d bytes: %v, want %q", test.size, err, test.problem)
		}
		if err == nil {
			want := plumbing.ComputeHash(plumbing.BlobObject, bytes.Repeat([]byte("a"), 200))
			if _, err := store.EncodedObject(plumbing.BlobObject, want); err != nil {
				t.Errorf("what the delta makes: %v", err)
			}
		}
	}
}

func FuzzReceivePack(f *testing.F) {
	good, err := writePack(someObjects[:2])
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good[:len(good)-sha1.Size])
	f.Add([]byte("PACK\x00\x00\x00\x02\x00\x00\x00\x01\x60\x00x\x9c\x03\x00\x00\x00\x00\x01"))
	f.Fuzz(func(t *testing.T, body []byte) {
		sum := sha1.Sum(body)
		dir := t.TempDir()
		limits := Limits{Object: 1 << 20, Pack: 1 << 20}.orDefaults()
		_, err := receivePackInto(dir, memory.NewStorage(), bytes.NewReader(append(body[:len(body):len(body)], sum[:]...)), limits)
		if _, statErr := os.Stat(filepath.Join(dir, "objects", "pack")); statErr != nil && !errors.Is(err, errBadPack) {
			t.Errorf("%v, %v", err, statErr)
		}
	})
}
