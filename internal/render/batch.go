package render

import "slices"

// bundle are the parts that share names, directly or by way of others. What
// kustomize makes of them depends on them and on the bundles that they need.
type bundle struct {
	parts   []int
	objects int
	needs   []int // bundles that own a name which is a value here

	generated bool // some object may end in a hash
}

// batch is one build: the bundles whose objects are taken from it, and all that
// it is given.
type batch struct {
	owned []int
	given []bool // by bundle
}

// bundles are a division's parts in bundles.
type bundles struct {
	all    []bundle
	of     []int          // by part
	byName map[string]int // which bundle owns a name
	common []int          // bundles that any object may need
}

// bundle finds out which parts belong together.
func (d *division) bundle() (*bundles, error) {
	root := make([]int, len(d.parts))
	for i := range root {
		root[i] = i
	}
	find := func(i int) int {
		for root[i] != i {
			root[i] = root[root[i]]
			i = root[i]
		}
		return i
	}
	owner := map[string]int{}
	for i, p := range d.parts {
		for _, name := range p.names {
			if other, known := owner[name]; known {
				root[find(i)] = find(other)
			} else {
				owner[name] = i
			}
		}
	}
	b := &bundles{of: make([]int, len(d.parts)), byName: make(map[string]int, len(owner))}
	number := map[int]int{}
	for i, p := range d.parts {
		n, known := number[find(i)]
		if !known {
			n = len(b.all)
			number[find(i)] = n
			b.all = append(b.all, bundle{})
		}
		b.of[i] = n
		b.all[n].parts = append(b.all[n].parts, i)
		b.all[n].objects += p.objects
		b.all[n].generated = b.all[n].generated || p.generated
	}
	for name, i := range owner {
		b.byName[name] = b.of[i]
	}
	return b, b.need(d)
}

func (b *bundles) need(d *division) error {
	for n := range b.all {
		spaced := d.spaced
		for _, p := range b.all[n].parts {
			b.all[n].needs = append(b.all[n].needs, b.owners(d.parts[p].values, n)...)
			spaced = spaced || d.parts[p].spaced
		}
		if spaced {
			more, err := b.spaces(d, b.all[n].parts)
			if err != nil {
				return err
			}
			b.all[n].needs = append(b.all[n].needs, more...)
		}
		slices.Sort(b.all[n].needs)
		b.all[n].needs = slices.Compact(b.all[n].needs)
	}
	b.common = b.owners(d.common, everywhere)
	slices.Sort(b.common)
	b.common = slices.Compact(b.common)
	return nil
}

// spaces are bundles of objects of the namespaces among the values of some
// parts. Nothing among them deletes, so that their objects are certainly there.
func (b *bundles) spaces(d *division, of []int) ([]int, error) {
	if d.drops {
		return nil, errUncertain
	}
	values := slices.Clone(d.common)
	for _, p := range of {
		values = append(values, d.parts[p].values...)
	}
	var found []int
	for _, value := range values {
		for _, parts := range d.spaces[value] {
			i := slices.IndexFunc(parts, func(part int) bool {
				return !slices.ContainsFunc(b.all[b.of[part]].parts, func(p int) bool { return d.parts[p].deletes })
			})
			if i < 0 {
				return nil, errUncertain
			}
			found = append(found, b.of[parts[i]])
		}
	}
	return found, nil
}

// owners are the bundles that own one of the values as a name, but for self.
func (b *bundles) owners(values []string, self int) []int {
	var found []int
	for _, value := range values {
		if n, known := b.byName[value]; known && n != self {
			found = append(found, n)
		}
	}
	return found
}

// popular is by how many others a bundle is needed before it goes into each of
// their batches rather than all of them into its own.
const popular = 8

// batches puts bundles that need each other together, as long as they are not
// too many, and packs what then belongs together into batches of about size
// objects.
func (b *bundles) batches(size int) []batch {
	needed := make([]int, len(b.all))
	for _, one := range b.all {
		for _, n := range one.needs {
			needed[n]++
		}
	}
	groups := b.groups(size, needed)
	var made []batch
	room := 0
	for _, group := range groups {
		objects := 0
		for _, n := range group {
			objects += b.all[n].objects
		}
		if len(made) == 0 || room < objects {
			made, room = append(made, batch{given: make([]bool, len(b.all))}), size
		}
		last := &made[len(made)-1]
		room -= objects
		last.owned = append(last.owned, group...)
	}
	for i := range made {
		made[i].give(b.common)
		for _, n := range made[i].owned {
			made[i].give([]int{n})
			made[i].give(b.all[n].needs)
		}
	}
	return made
}

func (b *batch) give(bundles []int) {
	for _, n := range bundles {
		b.given[n] = true
	}
}

// groups joins along needs, up to size objects, in the order of the bundles.
func (b *bundles) groups(size int, needed []int) [][]int {
	at := make([]int, len(b.all))
	members, objects := make([][]int, len(b.all)), make([]int, len(b.all))
	for n := range b.all {
		at[n], members[n], objects[n] = n, []int{n}, b.all[n].objects
	}
	for n := range b.all {
		for _, other := range b.all[n].needs {
			to, from := at[n], at[other]
			if to == from || needed[other] > popular || objects[to]+objects[from] > size {
				continue
			}
			for _, m := range members[from] {
				at[m] = to
			}
			members[to], objects[to] = append(members[to], members[from]...), objects[to]+objects[from]
			members[from] = nil
		}
	}
	return slices.DeleteFunc(members, func(group []int) bool { return len(group) == 0 })
}

// objects is how many a batch builds, those of others included.
func (b *bundles) objects(one batch) int {
	count := 0
	for n, given := range one.given {
		if given {
			count += b.all[n].objects
		}
	}
	return count
}
