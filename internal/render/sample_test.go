package render

import (
	"os"
	"path/filepath"
	"testing"

	"chaperone.dev/chaperone/internal/testkit/racing"
)

// The working sample of this repository renders as by kustomize.
func TestSampleRendersAsByKustomize(t *testing.T) {
	t.Parallel()
	racing.Without(t)
	overlays, _ := filepath.Glob("../../overlays/*/*/kustomization.yaml")
	if len(overlays) == 0 {
		t.Fatal("no overlays; the sample of this repository is gone")
	}
	snap := diskSnapshot(t, "../..")
	r := New(patient)
	for _, name := range overlays {
		dir, err := filepath.Rel("../..", filepath.Dir(name))
		if err != nil {
			t.Fatal(err)
		}
		want, wantErr := kustomizeBuild(filepath.Dir(name))
		got, err := r.Render(t.Context(), snap, filepath.ToSlash(dir))
		if (err == nil) != (wantErr == nil) {
			t.Errorf("%s: we: %v; kustomize: %v", dir, err, wantErr)
			continue
		}
		if err != nil {
			t.Logf("%s: %v", dir, err)
			continue
		}
		if printed(t, got) != string(want) {
			t.Errorf("%s: differs from kustomize's", dir)
		}
		checkSet(t, got)
	}
}

// diskSnapshot reads the sample into memory, so that a file written meanwhile
// does not make half of two states.
func diskSnapshot(t *testing.T, root string) snapshot {
	t.Helper()
	f := files{}
	for _, top := range []string{"base", "overlays"} {
		err := filepath.WalkDir(filepath.Join(root, top), func(name string, entry os.DirEntry, err error) error {
			if err != nil || entry.IsDir() {
				return err
			}
			content, err := os.ReadFile(name)
			relative, _ := filepath.Rel(root, name)
			f[filepath.ToSlash(relative)] = string(content)
			return err
		})
		if err != nil {
			t.Skipf("no sample to read: %v", err)
		}
	}
	return f.snapshot()
}
