package config

import (
	"encoding/json"
	"strings"

	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/strictyaml"
)

const (
	maxGroups = 100
	maxPeople = 500 // in one group
)

// addresses is a mapping of names to lists of e-mail addresses. Where a setting
// is one text it is written as YAML in one line. The strongest place gives all
// of it: places are not mixed.
func addresses(key, usage string, field func(*Config) *map[string][]string, mapping func(*strictyaml.Object) map[string][]string) Setting {
	tree := func(c *Config, o *strictyaml.Object) {
		if o.Present() {
			*field(c) = mapping(o)
		}
	}
	return Setting{Key: key, Usage: usage, tree: tree,
		read: func(c *Config, s string) error {
			document := strictyaml.Parse(key, []byte(s))
			tree(c, document.Root())
			return document.Err()
		},
		write: func(c Config) string {
			text, err := json.Marshal(*field(&c)) // sorted, for comparing
			if err != nil {
				return err.Error()
			}
			return string(text)
		},
	}
}

func readGroups(o *strictyaml.Object) map[string][]string {
	names := o.Names()
	if len(names) > maxGroups {
		o.Problem("want at most %d groups, not %d", maxGroups, len(names))
		return nil
	}
	read := make(map[string][]string, len(names))
	for _, name := range names {
		v := o.Value(name)
		if err := promotion.CheckGroup(name); err != nil {
			v.Problem("%v", err)
			continue
		}
		people := o.Strings(name, promotion.CheckAddress)
		if len(people) == 0 || len(people) > maxPeople {
			v.Problem("want between 1 and %d e-mail addresses, not %d", maxPeople, len(people))
		}
		read[name] = people
	}
	reportTwins(o, read)
	return read
}

// reportTwins finds an address that is listed twice in other letters: it would
// look like two people, and is one.
func reportTwins(o *strictyaml.Object, read map[string][]string) {
	for name, people := range read {
		seen := map[string]string{}
		for _, person := range people {
			lower := strings.ToLower(person)
			if before, twice := seen[lower]; twice && person != "" {
				o.Value(name).Problem("%q and %q are one address; keep one", before, person)
			}
			seen[lower] = person
		}
	}
}
