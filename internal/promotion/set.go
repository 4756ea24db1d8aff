package promotion

import (
	"errors"
	"maps"
	"slices"
)

// ErrNoEnvironments means that the source has no environment files at all. It
// is an error and not an empty Set: a tree read wrongly must never look like
// one where every environment was retired.
var ErrNoEnvironments = errors.New("no environment files; want environments/<pipeline>/<name>.yaml")

// Fault is why an environment is not in the Set.
type Fault struct {
	Reason Reason // InvalidEnvironment, DependencyCycle or UnknownEnvironment
	Err    error
}

// Set is what the environment files of one snapshot say.
type Set struct {
	// Environments are the valid ones. An ID in After may be one of Faults.
	Environments map[ID]Environment
	// Faults are the others: their file is there and stops them.
	Faults map[ID]Fault
	// Unreadable are the pipelines of whose directory nothing is known: neither
	// which environments they have, nor which are gone.
	Unreadable map[string]error
	// Misplaced are files below environments/ that look like an environment's
	// and stand where none is read.
	Misplaced []error
}

// Fault is why an environment is not among the valid ones. Found is false where
// it has no file.
func (s Set) Fault(id ID) (f Fault, found bool) {
	if f, found = s.Faults[id]; found {
		return f, true
	}
	if err, unreadable := s.Unreadable[id.Pipeline]; unreadable {
		return Fault{Reason: InvalidEnvironment, Err: err}, true
	}
	return Fault{}, false
}

// IDs are all environments that have a file, sorted, faulty ones included.
func (s Set) IDs() []ID {
	ids := slices.Collect(maps.Keys(s.Environments))
	ids = slices.AppendSeq(ids, maps.Keys(s.Faults))
	slices.SortFunc(ids, ID.Compare)
	return ids
}

// Pipelines are the names of all pipelines, sorted, faulty ones included.
func (s Set) Pipelines() []string {
	var names []string
	for _, id := range s.IDs() {
		names = append(names, id.Pipeline)
	}
	return slices.Compact(names)
}

// Order is a pipeline's valid environments, each after all that it names in
// After, and by name where that leaves a choice.
func (s Set) Order(pipeline string) []ID {
	var ids []ID
	for _, id := range s.IDs() {
		if _, valid := s.Environments[id]; valid && id.Pipeline == pipeline {
			ids = append(ids, id)
		}
	}
	return topological(ids, func(id ID) []ID { return s.Environments[id].After })
}
