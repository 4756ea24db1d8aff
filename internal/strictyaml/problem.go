package strictyaml

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Problem is one fault of a file.
type Problem struct {
	File   string
	Line   int // from 1; 0 is unknown
	Column int // from 1; 0 is unknown
	Field  string
	Text   string // what is wrong, and what would be right
}

// Error is "file:line:column: field: text", without what is unknown.
func (p Problem) Error() string {
	var b strings.Builder
	b.WriteString(p.File)
	if p.Line > 0 {
		fmt.Fprintf(&b, ":%d", p.Line)
		if p.Column > 0 {
			fmt.Fprintf(&b, ":%d", p.Column)
		}
	}
	for _, part := range []string{p.Field, p.Text} {
		if part != "" {
			b.WriteString(": " + part)
		}
	}
	return b.String()
}

// maxProblems bounds what one file can make a person read.
const maxProblems = 100

// Problems are all the faults of a file, in its order.
type Problems []Problem

// Error has one line for each.
func (p Problems) Error() string {
	lines := make([]string, 0, len(p))
	for _, problem := range p {
		lines = append(lines, problem.Error())
	}
	return strings.Join(lines, "\n")
}

// Unwrap lets errors.As find a Problem.
func (p Problems) Unwrap() []error {
	errs := make([]error, 0, len(p))
	for _, problem := range p {
		errs = append(errs, problem)
	}
	return errs
}

func (p Problems) sorted() Problems {
	sorted := slices.Clone(p)
	slices.SortStableFunc(sorted, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	sorted = slices.Compact(sorted) // two readers of one field may report the same
	if more := len(sorted) - maxProblems; more > 0 {
		sorted = append(sorted[:maxProblems], Problem{File: p[0].File, Text: fmt.Sprintf("and %d problems more", more)})
	}
	return sorted
}
