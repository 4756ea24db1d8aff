package rego

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

// A rule that would be left out for its name is no word less to worry about.
func TestRulesThatWouldBeLeftOut(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"test/two/restore_test.rego": "test/two/restore_test.rego:14: deny in a file of tests",
		"test/two/rule.REGO":         "test/two/rule.REGO:1: want .rego at the end",
		"test/two/rule.Rego":         "test/two/rule.Rego:1: want .rego at the end",
		"exceptions/a.YAML":          "exceptions/a.YAML:1: want .yaml at the end",
		"test/two/.rule.rego":        "test/two/.rule.rego:1: a rule in a hidden place",
		".two/rule.rego":             ".two/rule.rego:1: a rule in a hidden place",
		"test/.two/x/rule.rego":      "test/.two/x/rule.rego:1: a rule in a hidden place",
		"test/..two/rule.rego":       "test/..two/rule.rego:1: a rule in a hidden place",
		".regal/rules/rule.rego":     "",
		".git/x/rule.rego":           "",
		"..2026/test/two/rule.rego":  "",
		".x/notes.txt":               "",
	} {
		files := oneRule("")
		files[name] = header("test/two") + denyBad("test.two", "")
		tree, packed := mapFS(files), fstest.MapFS{"p.tgz": {Data: archiveOf(t, files, "./")}}
		for _, fsys := range []fstest.MapFS{tree, packed} {
			_, err := Load(t.Context(), fsys, Limits{})
			if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v; want %q", name, err, want)
			}
		}
	}
}

func TestForeignRuleAmongItsTests(t *testing.T) {
	t.Parallel()
	tests := fileSet{{name: "a_test.rego", kind: testFile, content: []byte("package main\n\ndeny_more contains \"x\" if input.x\n\ntest_a if true\n")}}
	modules, err := parseModules(tests)
	if err = rulesAmongTests(modules); err == nil || !strings.Contains(err.Error(), "a_test.rego:3: deny_more") {
		t.Error(err)
	}
}

// tarOf is an archive as a writer of archives makes it, up to its end.
func tarOf(t *testing.T, end func(*tar.Writer) error, all ...textFiles) []byte {
	t.Helper()
	var packed bytes.Buffer
	zipped := gzip.NewWriter(&packed)
	writer := tar.NewWriter(zipped)
	for _, files := range all {
		for _, name := range slices.Sorted(maps.Keys(files)) {
			header := &tar.Header{Name: name, Size: int64(len(files[name])), Mode: 0o600, Format: tar.FormatUSTAR}
			if err := writer.WriteHeader(header); err != nil {
				t.Fatal(err)
			}
			if _, err := writer.Write([]byte(files[name])); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := end(writer); err != nil {
		t.Fatal(err)
	}
	if err := zipped.Close(); err != nil {
		t.Fatal(err)
	}
	return packed.Bytes()
}

// What comes after the bound, or was cut off, might be rules.
func TestArchiveWithoutItsEnd(t *testing.T) {
	t.Parallel()
	limits := Limits{Bytes: 1 << 20}.withDefaults()
	rules := oneRule("")
	size := 0
	for _, content := range rules {
		size += 512 + (len(content)+511)/512*512
	}
	filling := textFiles{"logo.png": strings.Repeat("x", int(2*limits.Bytes)-size-512)}
	double := append(slices.Clone(tarOf(t, (*tar.Writer).Close, rules)), tarOf(t, (*tar.Writer).Close, textFiles{"more.rego": "package x"})...)
	for name, test := range map[string]struct {
		archive []byte
		want    string
	}{
		"whole":               {tarOf(t, (*tar.Writer).Close, rules), ""},
		"longer than is read": {tarOf(t, (*tar.Writer).Close, rules, filling, textFiles{"test/two/rule.rego": "package test.two"}), "more than 2097152 bytes when unpacked"},
		"cut between entries": {tarOf(t, (*tar.Writer).Flush, rules), "the archive has no end"},
		"two in one":          {double, "there is more after the archive's end"},
	} {
		_, err := readFiles(fstest.MapFS{"p.tgz": {Data: test.archive}}, limits)
		if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v; want %q", name, err, test.want)
		}
	}
}
