package config

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
)

func TestGroups(t *testing.T) {
	t.Parallel()
	const one = "{release-managers: [alex@example.org, Sam@Example.org], Ops_2.eu: [kim@example.org]}"
	want := map[string][]string{"release-managers": {"alex@example.org", "Sam@Example.org"}, "Ops_2.eu": {"kim@example.org"}}
	flags := map[string]string{"source-url": "/g"}
	for name, in := range map[string]Input{
		"file":             {Content: content("groups:", "  release-managers:", "  - alex@example.org", "  - Sam@Example.org", "  Ops_2.eu: [kim@example.org]"), Flags: flags},
		"file in one line": {Content: content("groups: " + one), Flags: flags},
		"variable":         {Environ: []string{"CHAPERONE_GROUPS=" + one}, Flags: flags},
		"mounted":          {Mounted: map[string][]byte{"groups": []byte("release-managers: [alex@example.org, Sam@Example.org]\nOps_2.eu:\n- kim@example.org\n")}, Flags: flags},
		"flag":             {Flags: map[string]string{"source-url": "/g", "groups": one}},
		"all of the strongest": {Content: content("groups: {weaker: [alex@example.org]}"),
			Environ: []string{"CHAPERONE_GROUPS=" + one}, Flags: flags},
		"an empty text is none": {Content: content("groups: " + one), Environ: []string{"CHAPERONE_GROUPS="}, Flags: flags},
	} {
		if c, err := Load(in); err != nil || !maps.EqualFunc(c.Groups, want, slices.Equal) {
			t.Errorf("%s: got %v, %v, want %v", name, c.Groups, err, want)
		}
	}
	for _, nothing := range []string{"groups:", "groups: {}", "groups: null"} {
		if c, err := Load(Input{Content: content(nothing), Flags: flags}); err != nil || len(c.Groups) != 0 {
			t.Errorf("%s: got %v, %v", nothing, c.Groups, err)
		}
	}
}

func TestGroupsAreStrict(t *testing.T) {
	t.Parallel()
	many := func(n int, entry string) string {
		var entries []string
		for i := range n {
			entries = append(entries, fmt.Sprintf(entry, i))
		}
		return strings.Join(entries, ", ")
	}
	for text, want := range map[string]string{
		"release-managers":                     "c.yaml:1:9: groups: want a mapping of fields, not a text",
		"[alex@example.org]":                   "c.yaml:1:1: groups: want a mapping of fields, not a list",
		"{ops: alex@example.org}":              "c.yaml:1:15: groups.ops: want a list, not a text",
		"{ops: []}":                            "c.yaml:1:15: groups.ops: want between 1 and 500 e-mail addresses, not 0",
		"{ops: null}":                          "c.yaml:1:10: groups.ops: want between 1 and 500 e-mail addresses, not 0",
		"{ops: [alex]}":                        `c.yaml:1:16: groups.ops[0]: want an e-mail address such as alex@example.org, not "alex"`,
		"{ops: [alex@x@y, 3]}":                 `c.yaml:1:16: groups.ops[0]: want an e-mail address such as alex@example.org, not "alex@x@y"`,
		"{ops: [noreply@x.org]}":               "c.yaml:1:16: groups.ops[0]: a noreply address is nobody's; want the address of a person",
		"{ops: [a@x, a@x]}":                    `c.yaml:1:21: groups.ops[1]: "a@x" is listed twice; keep one`,
		"{ops: [a@x, A@x]}":                    `c.yaml:1:10: groups.ops: "a@x" and "A@x" are one address; keep one`,
		"{two words: [a@x]}":                   `c.yaml:1:10: groups.two words: want the name of a group, at most 63 letters`,
		"{a@x: [a@x]}":                         `c.yaml:1:10: groups.a@x: want the name of a group, at most 63 letters`,
		"{ops: [a@x], ops: [b@x]}":             "c.yaml:1:22: groups.ops: written twice, first in line 1; keep one",
		"{ops: [" + many(501, "p%d@x") + "]}":  "c.yaml:1:10: groups.ops: want between 1 and 500 e-mail addresses, not 501",
		"{" + many(101, "g%d: [alex@x]") + "}": "c.yaml:1:1: groups: want at most 100 groups, not 101",
	} {
		c, err := Load(Input{File: "c.yaml", Content: content("groups: " + text), Flags: map[string]string{"source-url": "/g"}})
		if err == nil || !strings.HasPrefix(err.Error(), want) || !reflect.DeepEqual(c, Config{}) {
			t.Errorf("%s:\n got %v\nwant %s", text, err, want)
		}
	}
	_, err := Load(Input{Environ: []string{"CHAPERONE_GROUPS={ops: [alex]}"}, Flags: map[string]string{"source-url": "/g"}})
	if err == nil || err.Error() != `CHAPERONE_GROUPS: groups:1:8: ops[0]: want an e-mail address such as alex@example.org, not "alex"` {
		t.Errorf("got %v", err)
	}
}

func TestChangedGroups(t *testing.T) {
	t.Parallel()
	load := func(text string) Config {
		c, err := Load(Input{Flags: map[string]string{"source-url": "/g", "groups": text}})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	before, same, after := load("{a: [x@y], b: [z@y]}"), load("b: [z@y]\na: [x@y]"), load("{a: [x@y], b: [z@y, w@y]}")
	if got := Changed(before, same); len(got) != 0 {
		t.Errorf("got %v", got)
	}
	if got := Changed(before, after); !slices.Equal(got, []string{"groups"}) {
		t.Errorf("got %v", got)
	}
}
