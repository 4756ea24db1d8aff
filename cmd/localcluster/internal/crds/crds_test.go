package crds

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestDefinitionsAreWhole(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, d := range Definitions() {
		if seen[d.Name()] {
			t.Errorf("%s is there twice", d.Name())
		}
		seen[d.Name()] = true
		if _, ok := modules[d.Group]; !ok {
			t.Errorf("%s: no module for its group", d.Name())
		}
		if err := d.check(d.open()); err != nil {
			t.Errorf("%s: the open definition: %v", d.Name(), err)
		}
	}
}

// The projects' own definitions are what the list promises. The go command fetches them as it
// fetches what is linked.
func TestLoadReadsTheModules(t *testing.T) {
	t.Parallel()
	set := Load(t.Context())
	if set.Err != nil {
		t.Fatal(set.Err)
	}
	if len(set.Open) > 0 {
		t.Errorf("open, but not by choice: %v", set.Open)
	}
	for i, d := range Definitions() {
		spec := set.objects[i].Spec.Versions[0].Schema.OpenAPIV3Schema
		if d.Open == (spec.XPreserveUnknownFields == nil) {
			t.Errorf("%s: open %v, but the schema says otherwise", d.Name(), d.Open)
		}
		if spec.Properties["spec"].Description != "" {
			t.Errorf("%s carries its prose", d.Name())
		}
	}
}

func TestReadRefusesWhatIsNotPromised(t *testing.T) {
	t.Parallel()
	d := Definition{Group: "velero.io", Versions: []string{"v1"}, Kind: "Schedule", Plural: "schedules"}
	good := `apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: schedules.velero.io}
spec:
  group: velero.io
  scope: Namespaced
  names: {kind: Schedule, plural: schedules}
  versions: [{name: v1, served: true, storage: true}]
`
	for name, tc := range map[string]struct{ file, wrong string }{
		"good":        {file: good},
		"other kind":  {strings.Replace(good, "kind: Schedule", "kind: Timetable", 1), "it defines Timetable"},
		"not served":  {strings.Replace(good, "served: true", "served: false", 1), "does not serve version v1"},
		"wrong scope": {strings.Replace(good, "Namespaced", "Cluster", 1), "it defines"},
		"no YAML":     {"{", "read definition"},
		"odd field":   {good + "  colour: red\n", "unknown field"},
		"too long":    {"# " + strings.Repeat("x", maxFile), "at most"},
		"missing":     {"", "no such file"},
	} {
		dir := t.TempDir()
		file := filepath.Join(dir, "config/crd/v1/bases/velero.io_schedules.yaml")
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if tc.file != "" {
			if err := os.WriteFile(file, []byte(tc.file), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		crd, err := d.read(map[string]string{modules[d.Group].path: dir})
		switch {
		case tc.wrong == "" && (err != nil || crd.Name != d.Name()):
			t.Errorf("%s: %v, %v", name, crd, err)
		case tc.wrong != "" && (err == nil || !strings.Contains(err.Error(), tc.wrong)):
			t.Errorf("%s: %v, want an error saying %q", name, err, tc.wrong)
		}
	}
	if _, err := d.read(nil); err == nil {
		t.Error("a missing module: no error")
	}
}

func TestReadDownloads(t *testing.T) {
	t.Parallel()
	dirs, err := readDownloads(strings.NewReader(`{"Path": "a", "Version": "v1", "Dir": "/a"} {"Path": "b", "Version": "v2", "Error": "offline"}`))
	if len(dirs) != 1 || dirs["a"] != "/a" || err == nil || !strings.Contains(err.Error(), "module b v2: offline") {
		t.Errorf("%v, %v", dirs, err)
	}
	if _, err := readDownloads(strings.NewReader(`{"Path"`)); err == nil {
		t.Error("cut off output: no error")
	}
}
