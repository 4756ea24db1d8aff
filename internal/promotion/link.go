package promotion

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"chaperone.dev/chaperone/internal/strictyaml"
)

func (l *loader) pipelines() []string {
	seen := map[string]bool{}
	for id := range l.drafts {
		seen[id.Pipeline] = true
	}
	return slices.Sorted(maps.Keys(seen))
}

// refuseDisputed stops environments that would take over what is not theirs to
// take: a former one whose file is still there, or that another names as well.
func (l *loader) refuseDisputed() {
	claims := map[ID][]ID{}
	for id, d := range l.drafts {
		for _, former := range d.Formerly {
			claims[former] = append(claims[former], id)
		}
	}
	disputed := map[ID]error{}
	for id, d := range l.drafts {
		var problems []error
		for i, former := range d.Formerly {
			others := slices.DeleteFunc(slices.Clone(claims[former]), func(other ID) bool { return other == id })
			_, valid := l.drafts[former]
			_, faulty := l.set.Faults[former]
			if err, unreadable := l.set.Unreadable[former.Pipeline]; unreadable {
				problems = append(problems, d.formerly[i].At("whether %s still has a file cannot be told: %v", former, err))
			}
			if valid || faulty {
				problems = append(problems, d.formerly[i].At("%s still has a file; remove environments/%s.yaml, or this entry", former, former))
			}
			if len(others) > 0 {
				problems = append(problems, d.formerly[i].At("%s takes over %s as well; remove one of the two entries",
					slices.MinFunc(others, ID.Compare), former))
			}
		}
		if len(problems) > 0 {
			disputed[id] = errors.Join(problems...)
		}
	}
	for id, err := range disputed {
		delete(l.drafts, id)
		l.invalid(id, err)
	}
}

// link looks up what the drafts of a pipeline come after. An upstream whose own
// file is invalid counts as there: its downstream wait for it.
func (l *loader) link(pipeline string) {
	var ids []ID
	names := []string{}
	for id := range l.drafts {
		if id.Pipeline == pipeline {
			ids = append(ids, id)
			names = append(names, id.Name)
		}
	}
	for id := range l.set.Faults {
		if id.Pipeline == pipeline {
			names = append(names, id.Name)
		}
	}
	slices.SortFunc(ids, ID.Compare)
	slices.Sort(names)

	if err := l.unknown(ids, names); err != nil {
		l.stop(ids, Fault{Reason: UnknownEnvironment, Err: err})
		return
	}
	if circle := cycle(ids, l.after); circle != nil {
		l.stop(ids, Fault{Reason: DependencyCycle, Err: l.describe(circle)})
		return
	}
	for _, id := range ids {
		l.set.Environments[id] = l.drafts[id].Environment
	}
}

func (l *loader) after(id ID) []ID { return l.drafts[id].After }

func (l *loader) stop(ids []ID, f Fault) {
	for _, id := range ids {
		l.set.Faults[id] = f
	}
}

func (l *loader) unknown(ids []ID, names []string) error {
	var problems []error
	for _, id := range ids {
		d := l.drafts[id]
		others := slices.DeleteFunc(slices.Clone(names), func(name string) bool { return name == id.Name })
		for i, up := range d.After {
			if !slices.Contains(names, up.Name) {
				problems = append(problems, d.after[i].At("%s has no environment %q; %s",
					id.Pipeline, up.Name, strictyaml.DidYouMean(up.Name, others)))
			}
		}
	}
	return errors.Join(problems...)
}

// describe says which files to look at, in the order of the circle.
func (l *loader) describe(circle []ID) error {
	names := make([]string, 0, len(circle))
	places := make([]error, 0, len(circle))
	for i, id := range circle {
		names = append(names, id.Name)
		if i == len(circle)-1 {
			continue
		}
		d := l.drafts[id]
		place := d.after[slices.Index(d.After, circle[i+1])]
		places = append(places, place.At("%s comes after %s", id.Name, circle[i+1].Name))
	}
	summary := fmt.Errorf("environments come after themselves: %s; remove one of these", strings.Join(names, " → "))
	return errors.Join(append([]error{summary}, places...)...)
}
