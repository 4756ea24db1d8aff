package controller

import (
	"slices"
	"strings"
	"unicode"

	"chaperone.dev/chaperone/internal/source"
)

// people tells who is behind an e-mail address.
type people struct {
	self   string
	joined map[string]string   // address to the name of who has several
	groups map[string][]string // of the daemon's configuration
}

func (c *Controller) people() people {
	p := people{self: source.Address(strings.TrimSpace(c.Self)), joined: map[string]string{}, groups: c.Groups}
	for name, addresses := range c.People {
		for _, address := range addresses {
			p.joined[source.Address(address)] = name + " of people" // no address has a space
		}
	}
	return p
}

// who is equal for all addresses of one person, and "" for nobody: the daemon,
// addresses that nobody reads, and such as could look like another one's.
func (p people) who(person source.Person) string {
	address := source.Address(person.Email)
	name, joined := p.joined[address]
	switch {
	case address == "", address == p.self, strings.ContainsFunc(address, func(r rune) bool { return r > unicode.MaxASCII }):
		return ""
	case joined:
		return name
	case ofForge(address):
		return ""
	}
	return address
}

// ofForge: what forges write where they act, or where people hide their address.
func ofForge(address string) bool {
	return strings.Contains(address, "noreply") || strings.Contains(address, "no-reply")
}

// among looks somebody up among addresses and groups. A group that the daemon's
// configuration does not know has no members.
func (p people) among(who string, from []string) bool {
	is := func(address string) bool { return who != "" && p.who(source.Person{Email: address}) == who }
	return slices.ContainsFunc(from, func(entry string) bool {
		return is(entry) || slices.ContainsFunc(p.groups[entry], is)
	})
}
