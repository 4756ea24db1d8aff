package sim

import (
	"errors"

	"chaperone.dev/chaperone/internal/fault"
	"chaperone.dev/chaperone/internal/source"

	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// mishapKind is what goes wrong with one call of a port.
type mishapKind string

// The kinds. Not every call can meet every one of them.
const (
	noMishap      mishapKind = ""
	fails         mishapKind = "fail"         // an error, and no effect
	losesAnswer   mishapKind = "lose"         // the effect, and an error instead of its answer
	repeats       mishapKind = "repeat"       // the effect twice; the second answer comes back
	delays        mishapKind = "delay"        // minutes pass before the effect
	isStale       mishapKind = "stale"        // an answer of some time ago
	crashesBefore mishapKind = "crash before" // the daemon is gone, and no effect
	crashesAfter  mishapKind = "crash after"  // the effect, and the daemon is gone
)

// id names one call: the nth of an operation on an object by one life of the
// daemon.
type id struct {
	life   int
	op     string // such as Store.Save
	object string // such as demo/staging; may be empty
	n      uint64 // from 1
}

func (i id) String() string {
	text := i.op
	if i.object != "" {
		text += " of " + i.object
	}
	return fmt.Sprintf("%s, call %d in life %d", text, i.n, i.life)
}

// fault is one that happened, or is to happen.
type mishap struct {
	id   id
	kind mishapKind
	by   time.Duration // delays
}

// String is a step of a scenario.
func (f mishap) String() string {
	text := string(f.kind) + " " + f.id.op
	if f.id.object != "" {
		text += " of " + f.id.object
	}
	if f.kind == delays {
		text += " by " + f.by.String()
	}
	return fmt.Sprintf("%s, call %d in life %d", text, f.id.n, f.id.life)
}

// possible are the kinds that an operation can meet, besides a crash.
var possible = map[string][]mishapKind{
	"Source.Poll":         {fails, delays, isStale},
	"Source.Snapshot":     {fails},
	"Source.Commit":       {fails},
	"Source.FirstParents": {fails},
	"Source.Changed":      {fails},
	"Source.Contains":     {fails},
	"Source.Authors":      {fails},
	"Git.Fetch":           {fails, delays},
	"Git.Push":            {fails, losesAnswer, repeats, delays},
	"Renderer.Render":     {fails, delays},
	"Policies.Judge":      {fails, delays},
	"Cluster.Apply":       {fails, delays},
	"Cluster.Surplus":     {fails, delays},
	"Cluster.Prune":       {fails, delays},
	"Cluster.Undo":        {fails, delays},
	"Cluster.Hook":        {fails, losesAnswer},
	"Cluster.Restore":     {fails, delays},
	"Cluster.Correct":     {fails, delays},
	"Cluster.Write":       {fails, losesAnswer},
	"Cluster.Delete":      {fails, losesAnswer},
	"Cluster.Drift":       {fails, delays},
	"Cluster.Drill":       {fails},
	"Cluster.Watch":       {fails},
	"Cluster.Verify":      {fails, delays},
	"Cluster.Checks":      {fails},
	"Store.Load":          {fails, delays},
	"Store.Get":           {fails, delays},
	"Store.Current":       {fails, delays},
	"Store.SaveSpec":      {fails, losesAnswer, repeats, delays},
	"Store.Save":          {fails, losesAnswer, repeats, delays},
	"Store.WatchRequests": {fails, delays},
	"Store.Deliver":       {fails, repeats, delays},
	"Store.PutBundle":     {fails, losesAnswer, repeats, delays},
	"Store.Bundle":        {fails, delays},
	"Store.KeepBundles":   {fails, losesAnswer, repeats},
	"Store.PutRelease":    {fails, losesAnswer, repeats, delays},
	"Store.Event":         {fails, delays},
}

// rates are how often calls meet faults by chance.
type rates struct {
	fault float64 // any but a crash
	crash float64
}

// order is a fault that a scenario asks for by operation, wherever it comes up.
type order struct {
	op, object string
	skip       int // so many calls before
	times      int
	kind       mishapKind
	by         time.Duration
}

// faults decides what goes wrong with which call.
type mishaps struct {
	pace   *pace
	rates  rates
	listed map[id]mishap
	orders []*order
	crash  uint64 // this call of all crashes the daemon…
	after  bool   // …after its effect
	off    bool   // nothing by chance any more

	calls uint64   // so far
	met   []mishap // by chance or listed, in order
}

func newMishaps(p *pace) *mishaps { return &mishaps{pace: p, listed: map[id]mishap{}} }

// at decides about one call.
func (f *mishaps) at(call id) mishap {
	f.calls++
	if f.crash != 0 && f.calls == f.crash {
		if f.after {
			return mishap{id: call, kind: crashesAfter}
		}
		return mishap{id: call, kind: crashesBefore}
	}
	if ordered, found := f.ordered(call); found {
		return ordered
	}
	met, found := f.listed[call]
	if !found {
		met = f.drawn(call)
	}
	if met.kind != noMishap {
		f.met = append(f.met, met)
	}
	return met
}

func (f *mishaps) ordered(call id) (mishap, bool) {
	for i, o := range f.orders {
		if o.op != call.op || o.object != "" && o.object != call.object {
			continue
		}
		if o.skip > 0 {
			o.skip--
			continue
		}
		if o.times--; o.times <= 0 {
			f.orders = slices.Delete(slices.Clone(f.orders), i, i+1)
		}
		return mishap{id: call, kind: o.kind, by: o.by}, true
	}
	return mishap{}, false
}

func (f *mishaps) drawn(call id) mishap {
	none := mishap{id: call}
	if f.off || f.rates == (rates{}) {
		return none
	}
	what := strings.Join([]string{"fault", strconv.Itoa(call.life), call.op, call.object}, "|")
	switch chance := f.pace.chance(what, call.n); {
	case chance < f.rates.crash/2:
		none.kind = crashesBefore
	case chance < f.rates.crash:
		none.kind = crashesAfter
	case chance < f.rates.crash+f.rates.fault:
		kinds := possible[call.op]
		if len(kinds) == 0 {
			return none
		}
		pick := f.pace.hash("kind|"+what, call.n)
		none.kind = kinds[pick%uint64(len(kinds))]
		if none.kind == delays {
			none.by = time.Duration(1+pick/7%600) * time.Second
		}
	}
	return none
}

// failure is what a caller hears of a call that went wrong.
func failure(op string) error {
	if strings.HasPrefix(op, "Git.") || op == "Source.Poll" {
		return fault.Retryable(op, "git", fmt.Errorf("%w: connection reset", source.ErrUnavailable))
	}
	return fault.Retryable(op, "", errors.New("connection reset"))
}
