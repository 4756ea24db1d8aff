package config

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
)

func TestPeople(t *testing.T) {
	t.Parallel()
	const one = "{alex: [Alex@example.org, 7+alex@users.noreply.example.org], kim.eu: [kim@example.org]}"
	want := map[string][]string{"alex": {"Alex@example.org", "7+alex@users.noreply.example.org"}, "kim.eu": {"kim@example.org"}}
	flags := map[string]string{"source-url": "/g"}
	for name, in := range map[string]Input{
		"file":     {Content: content("people: " + one), Flags: flags},
		"variable": {Environ: []string{"CHAPERONE_PEOPLE=" + one}, Flags: flags},
		"flag":     {Flags: map[string]string{"source-url": "/g", "people": one}},
	} {
		if c, err := Load(in); err != nil || !maps.EqualFunc(c.People, want, slices.Equal) {
			t.Errorf("%s: got %v, %v, want %v", name, c.People, err, want)
		}
	}
}

func TestPeopleAreStrict(t *testing.T) {
	t.Parallel()
	many := func(n int, entry string) string {
		var entries []string
		for i := range n {
			entries = append(entries, fmt.Sprintf(entry, i))
		}
		return strings.Join(entries, ", ")
	}
	for text, want := range map[string]string{
		"[a@x]":                                 "c.yaml:1:1: people: want a mapping of fields, not a list",
		"{alex: []}":                            "c.yaml:1:16: people.alex: want between 1 and 20 e-mail addresses, not 0",
		"{alex: [alex]}":                        `c.yaml:1:17: people.alex[0]: want an e-mail address such as alex@example.org, not "alex"`,
		"{alex: [noreply@x]}":                   "c.yaml:1:17: people.alex[0]: a noreply address is nobody's; want the address of a person",
		"{alex: [\u212aim@x]}":                  "c.yaml:1:17: people.alex[0]: want ASCII letters alone, for others look like them, not \"\u212aim@x\"",
		"{alex: [a@x, A@x]}":                    `c.yaml:1:10: people.alex: "A@x" is an address of alex already; keep one`,
		"{alex: [a@x], kim: [A@x]}":             `c.yaml:1:23: people.kim: "A@x" is an address of alex already; keep one`,
		"{two words: [a@x]}":                    `c.yaml:1:10: people.two words: want a name for one person, at most 63 letters`,
		"{a: [" + many(21, "p%d@x") + "]}":      "c.yaml:1:10: people.a: want between 1 and 20 e-mail addresses, not 21",
		"{" + many(1001, "p%d: [alex@x]") + "}": "c.yaml:1:1: people: want at most 1000 people, not 1001",
		"{robot: [Chaperone@localhost]}":        "people.robot: Chaperone@localhost is the daemon's own address, author.email; want it removed",
	} {
		c, err := Load(Input{File: "c.yaml", Content: content("people: " + text), Flags: map[string]string{"source-url": "/g"}})
		if err == nil || !strings.HasPrefix(err.Error(), want) || !reflect.DeepEqual(c, Config{}) {
			t.Errorf("%s:\n got %v\nwant %s", text, err, want)
		}
	}
}
