package promotion

import (
	"errors"
	"io/fs"
	"os"
	"reflect"
	"strings"
	"testing"
	"testing/fstest"

	"chaperone.dev/chaperone/internal/fault"
)

func TestLoadFileReadsOneEnvironmentAsLoadDoes(t *testing.T) {
	t.Parallel()
	fsys := tree(map[string]string{"novamind/production.yaml": complete, "novamind/staging.yaml": "", "novamind/broken.yaml": "- no"})
	fsys["environments/novamind/link.yaml"] = &fstest.MapFile{Data: []byte("staging.yaml"), Mode: fs.ModeSymlink}
	set, err := Load(fsys)
	if err != nil {
		t.Fatal(err)
	}
	for id, want := range set.Environments {
		got, found, err := LoadFile(fsys, id)
		if err != nil || !found || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %+v, %v, %v, want %+v", id, got, found, err, want)
		}
	}
	for id, f := range set.Faults {
		_, found, err := LoadFile(fsys, id)
		if !errors.Is(err, ErrInvalidFile) || !found || err.Error() != f.Err.Error() {
			t.Errorf("%s: got %v, %v, want %v", id, found, err, f.Err)
		}
	}
	if len(set.Faults) != 2 {
		t.Errorf("got faults %v", set.Faults)
	}
	// Links are not followed up: history has names that are gone.
	lonely := tree(map[string]string{"novamind/production.yaml": complete})
	if e, found, err := LoadFile(lonely, ID{"novamind", "production"}); err != nil || !found || len(e.After) != 1 {
		t.Errorf("got %+v, %v, %v", e, found, err)
	}
}

func TestLoadFileTellsAbsentFromUnreadable(t *testing.T) {
	t.Parallel()
	id := ID{"novamind", "staging"}
	disk := t.TempDir()
	if err := os.MkdirAll(disk+"/environments/novamind/directory.yaml", 0o755); err != nil {
		t.Fatal(err)
	}
	for name, fsys := range map[string]fs.FS{
		"no file": tree(map[string]string{"novamind/production.yaml": ""}), "no pipeline": tree(map[string]string{"crohns/staging.yaml": ""}),
		"nothing": fstest.MapFS{}, "disk": os.DirFS(disk),
	} {
		if e, found, err := LoadFile(fsys, id); found || err != nil || e.File != "" {
			t.Errorf("%s: got %+v, %v, %v", name, e, found, err)
		}
	}
	if _, found, err := LoadFile(os.DirFS(disk), ID{"novamind", "directory"}); found || err != nil {
		t.Errorf("a directory: got %v, %v", found, err)
	}
	broken := failing{tree(map[string]string{"novamind/staging.yaml": ""}), "environments/novamind/staging.yaml"}
	if _, found, err := LoadFile(broken, id); found || !errors.Is(err, errDisk) || errors.Is(err, ErrInvalidFile) {
		t.Errorf("unreadable: got %v, %v", found, err)
	}
	for _, odd := range []ID{{}, {"novamind", "../../secret"}, {"..", "x"}, {"Nova", "x"}, {strings.Repeat("a", 40), strings.Repeat("b", 40)}} {
		if _, found, err := LoadFile(os.DirFS(disk), odd); found || !errors.Is(err, ErrInvalidFile) {
			t.Errorf("%v: got %v, %v", odd, found, err)
		}
	}
}

// closed is a file system of which one directory cannot be read, for good.
type closed struct {
	fstest.MapFS
	dir string
}

func (c closed) ReadDir(name string) ([]fs.DirEntry, error) {
	if name == c.dir {
		return nil, fault.Terminal("", "", errors.New("more names than allowed"))
	}
	return c.MapFS.ReadDir(name)
}

// A pipeline whose directory nobody can read is that, and not one without
// environments: nothing may take over what it had.
func TestPitfall01_OnePipelineCannotBeRead(t *testing.T) {
	t.Parallel()
	const plain = "apiVersion: chaperone.dev/v1alpha1\nkind: Environment\nmetadata: {name: production}\nspec:\n" +
		"  path: overlays/a\n  target: {namespace: a}\n  data: none\n"
	heir := strings.Replace(plain, "spec:\n", "spec:\n  formerly: [shop/production]\n", 1)
	files := fstest.MapFS{
		"environments/shop/production.yaml":  {Data: []byte(plain)},
		"environments/heirs/production.yaml": {Data: []byte(heir)},
		"environments/other/production.yaml": {Data: []byte(plain)},
	}
	set, err := Load(closed{files, "environments/shop"})
	if err != nil {
		t.Fatal(err)
	}
	if _, valid := set.Environments[ID{"other", "production"}]; !valid || len(set.Environments) != 1 {
		t.Errorf("environments %v, faults %v; want other/production alone", set.Environments, set.Faults)
	}
	for id, want := range map[ID]string{
		{"shop", "production"}:  "read environments/shop: more names than allowed",
		{"heirs", "production"}: "whether shop/production still has a file cannot be told",
	} {
		if f, found := set.Fault(id); !found || !strings.Contains(f.Err.Error(), want) {
			t.Errorf("%s: %v, want %q", id, f.Err, want)
		}
	}
	if _, found := set.Fault(ID{"other", "staging"}); found {
		t.Error("an environment without a file has a fault")
	}
}
