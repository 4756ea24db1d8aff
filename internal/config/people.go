package config

import (
	"fmt"
	"strings"

	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/source"
	"chaperone.dev/chaperone/internal/strictyaml"
)

const (
	maxJoined    = 1000 // people with several addresses
	maxAddresses = 20   // of one
)

// readPeople joins the addresses of one person. Each belongs to one person at
// most, in whatever letters it is written.
func readPeople(o *strictyaml.Object) map[string][]string {
	names := o.Names()
	if len(names) > maxJoined {
		o.Problem("want at most %d people, not %d", maxJoined, len(names))
		return nil
	}
	read := make(map[string][]string, len(names))
	owner := map[string]string{}
	for _, name := range names {
		v := o.Value(name)
		if promotion.CheckGroup(name) != nil {
			v.Problem("want a name for one person, at most 63 letters, digits, - . and _, such as alex, not %.80q", name)
			continue
		}
		read[name] = o.Strings(name, promotion.CheckAddress)
		if n := len(read[name]); n == 0 || n > maxAddresses {
			v.Problem("want between 1 and %d e-mail addresses, not %d", maxAddresses, n)
		}
		for _, given := range read[name] {
			address := source.Address(given)
			if before, taken := owner[address]; taken && given != "" {
				v.Problem("%q is an address of %s already; keep one", given, before)
			}
			owner[address] = name
		}
	}
	return read
}

// checkPeople keeps the daemon from being taken for a person.
func (c *Config) checkPeople() []error {
	var problems []error
	for name, addresses := range c.People {
		for _, address := range addresses {
			if source.Address(address) == source.Address(strings.TrimSpace(c.Author.Email)) {
				problems = append(problems, fmt.Errorf("people.%s: %s is the daemon's own address, author.email; want it removed", name, address))
			}
		}
	}
	return problems
}
