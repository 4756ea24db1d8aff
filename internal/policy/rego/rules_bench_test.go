package rego

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"chaperone.dev/chaperone/internal/policy"
	"chaperone.dev/chaperone/internal/promotion"
)

// BenchmarkRules asks each rule alone about everything that it is for, in an
// environment of 200 objects, and prints what it costs, the most costly first:
// go test -run '^$' -bench Rules -benchtime 5x -v ./internal/policy/rego
//
// Rules share what their helpers find out, so together they cost less than the
// sum. Of each the quickest round counts: others may be busy meanwhile.
func BenchmarkRules(b *testing.B) {
	bundle := loadSample(b)
	for name, manifests := range map[string][]string{"workloads": workloads(199), "environment": services(200)} {
		b.Run(name, func(b *testing.B) { eachRule(b, bundle, inputOf(b, promotion.DataPHI, manifests...)) })
	}
}

func eachRule(b *testing.B, bundle *Bundle, in policy.Input) {
	var costs []cost
	for _, r := range bundle.rules {
		if r.AppliesTo(in.Environment.Data) {
			costs = append(costs, cost{rule: r, quickest: math.MaxInt64})
		}
	}
	for b.Loop() {
		for i := range costs {
			costs[i].ask(bundle, in)
		}
	}
	slices.SortFunc(costs, func(x, y cost) int { return cmp.Compare(y.quickest, x.quickest) })
	var table strings.Builder
	var all time.Duration
	for _, c := range costs {
		all += c.quickest
		fmt.Fprintf(&table, "\n%10.2f ms %9d allocations %5d asked %5d results  %s", 1e3*c.quickest.Seconds(), c.allocations, c.asked, c.results, c.rule.ID)
	}
	b.Log(table.String())
	b.ReportMetric(1e3*all.Seconds(), "ms-in-all")
}

// cost is what it takes to ask one rule.
type cost struct {
	rule           *rule
	quickest       time.Duration
	allocations    uint64
	asked, results int
}

func (c *cost) ask(bundle *Bundle, in policy.Input) {
	e := newEvaluation(bundle, in)
	var err error
	if e.input, err = newInput(in, bundle); err != nil {
		panic(err)
	}
	tasks := e.plan([]*rule{c.rule})
	for _, t := range tasks { // what is converted once for all is nobody's
		if _, err := e.input.document(c.rule.sees, t.place); err != nil {
			panic(err)
		}
	}
	e.watch = newWatchdog(context.Background(), bundle.limits, e.input.size)
	defer e.watch.stop()
	on, memory := e.watch.worker(), e.memory()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	began := time.Now()
	results := 0
	for _, t := range tasks {
		for _, o := range (&asking{evaluation: e, worker: on, memory: memory, place: t.place}).ask(t.groups) {
			results += len(o.results)
		}
	}
	c.quickest = min(c.quickest, time.Since(began))
	runtime.ReadMemStats(&after)
	c.allocations, c.asked, c.results = after.Mallocs-before.Mallocs, len(tasks), results
}
