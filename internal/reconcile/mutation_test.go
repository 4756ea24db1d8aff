//go:build mutation

package reconcile

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"strconv"
	"strings"
	"testing"
	"time"
)

// The proof has teeth: each guard is taken away in turn, and then a table or a
// walk must find something wrong. They hold decisions against Violations and
// against what happened, not against the guard.

// finding keeps the first thing that a table reports.
type finding struct{ first string }

func (f *finding) Helper()           {}
func (f *finding) Error(args ...any) { f.Errorf("%s", fmt.Sprint(args...)) }
func (f *finding) Errorf(format string, args ...any) {
	if f.first == "" {
		f.first = fmt.Sprintf(format, args...)
	}
}

// guards reads the list from where it stands.
func guards(t *testing.T) []guard {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "guards.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var found []guard
	ast.Inspect(file, func(n ast.Node) bool {
		if value, is := n.(*ast.ValueSpec); is {
			for _, v := range value.Values {
				if text, err := strconv.Unquote(v.(*ast.BasicLit).Value); err == nil {
					found = append(found, guard(text))
				}
			}
		}
		return true
	})
	return found
}

// foundByTables is the first thing that the tables find wrong.
func foundByTables() string {
	for _, table := range tables {
		f := &finding{}
		if err := safely(func() error { table.run(f); return nil }); err != nil {
			f.Errorf("%v", err)
		}
		if f.first != "" {
			return fmt.Sprintf("table %q: %s", table.name, f.first)
		}
	}
	return ""
}

// foundByWalking is the first thing that a walk finds wrong.
func foundByWalking(limit int, only func(*story) bool) string {
	for _, s := range stories() {
		if !only(s) {
			continue
		}
		if err := safely(func() error { _, err := s.walk(limit); return err }); err != nil {
			text, _, _ := strings.Cut(err.Error(), "\nin ")
			return "walk of " + text
		}
	}
	return ""
}

// safely takes a panic for something wrong, which it is.
func safely(f func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v", r)
		}
	}()
	return f()
}

func TestMutation(t *testing.T) {
	list := guards(t)
	if len(list) < 20 {
		t.Fatalf("%d guards are listed, want 20 at least", len(list))
	}
	if found := foundByTables(); found != "" {
		t.Fatalf("with every guard in place: %s", found)
	}
	began := time.Now()
	for _, g := range list {
		found := withoutGuard(g)
		if found == "" {
			t.Errorf("%s: taken away, and nothing was found wrong", g)
		}
		t.Logf("%s: %.300s", g, found)
	}
	t.Logf("%d guards, %.1f s", len(list), time.Since(began).Seconds())
}

// withoutGuard is the first thing that is found wrong without a guard: by the walk
// in which it shows first, by the tables, or else by any walk.
func withoutGuard(g guard) string {
	off = g
	defer func() { off = "" }()
	if name := walksFor[g]; name != "" {
		if found := foundByWalking(200_000, func(s *story) bool { return s.name == name }); found != "" {
			return found
		}
	}
	if found := foundByTables(); found != "" {
		return found
	}
	return foundByWalking(20_000, func(*story) bool { return true })
}

// walksFor names the walk in which the lack of a guard shows first. Where none
// stands, the tables are faster.
var walksFor = map[guard]string{
	guardFanIn:            "two before one",
	guardWindow:           "a calendar",
	guardSchedule:         "a calendar",
	guardGrace:            "a calendar",
	guardOnce:             "a calendar",
	guardMoved:            "another place",
	guardWatchTied:        "what passed is watched",
	guardWatchSoon:        "what passed is watched",
	guardBusy:             "three in a row",
	guardUndo:             "migrations",
	guardHalfUndone:       "migrations",
	guardCarriesOn:        "migrations",
	guardFinish:           "three in a row",
	guardRestore:          "two of three are guilty",
	guardServed:           "three in a row",
	guardQuarantined:      "three in a row",
	guardIrreversibleHold: "patients' data",
	guardProven:           "two of three are guilty",
	guardRevertDisabled:   "a hold, and two in a row",
	guardNarrowGood:       "three in a row",
	guardForwardWhole:     "steps over a migration",
	guardLastStep:         "steps",
	guardSameCourse:       "steps",
}
