package promotion

import (
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"
)

var update = flag.Bool("update", false, "write the error texts of testdata/environment.*.yaml anew; read the difference before committing")

const valid = "apiVersion: chaperone.dev/v1alpha1\nkind: Environment\nmetadata:\n  name: NAME\nspec:\n  data: none\n  target: {namespace: novamind}\n"

func tree(files map[string]string) fstest.MapFS {
	fsys := fstest.MapFS{}
	for name, content := range files {
		if content == "" {
			content = strings.Replace(valid, "NAME", strings.TrimSuffix(filepath.Base(name), ".yaml"), 1)
		}
		fsys["environments/"+name] = &fstest.MapFile{Data: []byte(content)}
	}
	return fsys
}

var (
	place = regexp.MustCompile(`^environments/novamind/production\.yaml(:[1-9][0-9]*){1,2}: `)
	fix   = regexp.MustCompile(`want |did you mean|keep one|remove |write |quote |indent |mend |close |save `)
)

// Every environment.<thing>-<fault>.yaml is wrong in the way its name says, and
// its .txt is what a person gets to read.
func TestEveryFaultNamesItsPlaceAndTheFix(t *testing.T) {
	t.Parallel()
	fixtures, err := filepath.Glob("testdata/environment.*.yaml")
	if err != nil || len(fixtures) < 100 {
		t.Fatalf("found %d fixtures, %v", len(fixtures), err)
	}
	for _, fixture := range fixtures {
		t.Run(filepath.Base(fixture), func(t *testing.T) {
			t.Parallel()
			content, err := os.ReadFile(fixture)
			if err != nil {
				t.Fatal(err)
			}
			got := faultText(t, content)
			golden := strings.TrimSuffix(fixture, ".yaml") + ".txt"
			if *update {
				if err := os.WriteFile(golden, []byte(got+"\n"), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if got+"\n" != string(want) {
				t.Errorf("got:\n%s\nwant:\n%s", got, want)
			}
			for line := range strings.SplitSeq(got, "\n") {
				if !place.MatchString(line) {
					t.Errorf("no file and line: %s", line)
				}
				if !fix.MatchString(line) {
					t.Errorf("does not say what would be right: %s", line)
				}
				if strings.Contains(line, "hunter2") || strings.Contains(line, "31415926") {
					t.Errorf("shows a secret: %s", line)
				}
			}
		})
	}
}

// faultText is the error of one wrong file among good ones, which it must leave
// alone.
func faultText(t *testing.T, content []byte) string {
	t.Helper()
	fsys := tree(map[string]string{"novamind/staging.yaml": "", "novamind/testing.yaml": "", "crohns/production.yaml": ""})
	fsys["environments/novamind/production.yaml"] = &fstest.MapFile{Data: content}
	set, err := Load(fsys)
	if err != nil {
		t.Fatal(err)
	}
	if len(set.Environments) != 3 || len(set.Faults) != 1 {
		t.Errorf("got %d environments and %d faults, want the other three to be valid", len(set.Environments), len(set.Faults))
	}
	f, faulty := set.Faults[ID{"novamind", "production"}]
	if !faulty || f.Reason != InvalidEnvironment {
		t.Fatalf("got %+v, want %s", set, InvalidEnvironment)
	}
	return f.Err.Error()
}
