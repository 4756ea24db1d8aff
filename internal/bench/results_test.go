package bench

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// results are told at the end, all together: a benchmark's own line has no room
// for them.
var results ledger

type ledger struct {
	mu       sync.Mutex
	sections []*section
}

// section is what one benchmark has to tell.
type section struct {
	title string
	lines []string
}

func (l *ledger) print(w io.Writer) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.sections) == 0 {
		return
	}
	fmt.Fprintf(w, "\nmachine: %s\n", machine())
	for _, s := range l.sections {
		fmt.Fprintf(w, "\n%s\n", s.title)
		for _, line := range s.lines {
			fmt.Fprintf(w, "  %s\n", line)
		}
	}
}

func (l *ledger) section(format string, args ...any) *section {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := &section{title: fmt.Sprintf(format, args...)}
	l.sections = append(l.sections, s)
	return s
}

func (s *section) say(format string, args ...any) {
	s.lines = append(s.lines, fmt.Sprintf(format, args...))
}

// samples are measurements of several things, by name, in order of the first.
type samples struct {
	names  []string
	values map[string][]float64
}

func newSamples() *samples { return &samples{values: map[string][]float64{}} }

func (s *samples) add(name string, value float64) {
	if _, known := s.values[name]; !known {
		s.names = append(s.names, name)
	}
	s.values[name] = append(s.values[name], value)
}

func (s *samples) took(name string, d time.Duration) { s.add(name, d.Seconds()) }

func (s *samples) median(name string) float64 {
	sorted := slices.Sorted(slices.Values(s.values[name]))
	if len(sorted) == 0 {
		return 0
	}
	return (sorted[(len(sorted)-1)/2] + sorted[len(sorted)/2]) / 2
}

func (s *samples) most(name string) float64 {
	if len(s.values[name]) == 0 {
		return 0
	}
	return slices.Max(s.values[name])
}

// report tells every median beside all its measurements; a name that ends in
// "-x" or a unit that go test knows becomes a metric of the benchmark.
func (s *samples) report(b *testing.B, to *section) {
	b.Helper()
	b.ReportMetric(0, "ns/op") // means nothing here
	for _, name := range s.names {
		var all []string
		for _, v := range s.values[name] {
			all = append(all, number(v))
		}
		to.say("%-34s %8s   of %s", name, number(s.median(name)), strings.Join(all, " "))
		b.ReportMetric(s.median(name), strings.ReplaceAll(name, " ", "-"))
	}
}

func number(v float64) string {
	switch {
	case v == float64(int64(v)):
		return fmt.Sprintf("%d", int64(v))
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 1:
		return fmt.Sprintf("%.2f", v)
	}
	return fmt.Sprintf("%.4f", v)
}
