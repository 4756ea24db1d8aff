package rego

import (
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"

	"chaperone.dev/chaperone/internal/testkit/racing"
)

// podFiles are the sample's rules about pods alone, or those of them that keep
// wants, judging by one version of the Pod Security Standards.
func podFiles(t testing.TB, version string, keep func(id string) bool) fstest.MapFS {
	t.Helper()
	files := fstest.MapFS{}
	for name, file := range sampleFiles(t) {
		parts := strings.SplitN(name, "/", 3)
		isRule := parts[0] == "pod" && len(parts) == 3
		if isRule && keep(parts[0]+"/"+parts[1]) || parts[0] == "lib" || parts[0] == "params" {
			files[name] = file
		}
	}
	const params, latest = "params/data.yaml", "\npod_security_version: latest\n"
	text := string(files[params].Data)
	if !strings.Contains(text, latest) {
		t.Fatalf("%s has no %q", params, latest)
	}
	files[params] = &fstest.MapFile{Data: []byte(strings.Replace(text, latest, "\npod_security_version: \""+version+"\"\n", 1))}
	return files
}

func everyRule(string) bool { return true }

// A security team sets the version and changes nothing else: tests and
// examples of the rules hold with each.
func TestPodSecurityVersionMayBeSet(t *testing.T) {
	t.Parallel()
	versions := []string{"1.0", "1.24", "v1.37", "1.7", "1.18", "1.21", "1.30", "1.33", "1.34", "1.37", "1.99"}
	if racing.Few() {
		versions = versions[:3]
	}
	for _, version := range versions {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			if _, err := Load(t.Context(), podFiles(t, version, everyRule), Limits{}); err != nil {
				t.Error(err)
			}
		})
	}
}

// One that cannot be read must not look like one that allows everything.
func TestPodSecurityVersionUnreadable(t *testing.T) {
	t.Parallel()
	var files fs.FS = podFiles(t, "2.0", everyRule)
	if _, err := Load(t.Context(), files, Limits{}); err == nil || !strings.Contains(err.Error(), `pod_security_version 2.0; want latest or such as`) {
		t.Errorf("%v; want the bundle refused for its version", err)
	}
}
