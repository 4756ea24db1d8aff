package health

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"chaperone.dev/chaperone/internal/manifest"
)

// Item is one object that is not ready.
type Item struct {
	ID     manifest.ID `json:"id"`
	Status Status      `json:"status"`
	Pods   string      `json:"pods,omitempty"` // what its newest pods say
}

// String names the object first, as a person scanning a list looks for it.
func (i Item) String() string {
	if i.Pods == "" {
		return fmt.Sprintf("%s: %s", i.ID, i.Status.Message)
	}
	return fmt.Sprintf("%s: %s (%s)", i.ID, i.Status.Message, i.Pods)
}

// Summary is the judgement of a release's objects together.
type Summary struct {
	Ready   int    // objects that are Current
	Failed  []Item // definitive ones first
	Waiting []Item // in progress, terminating, or not there; those whose pods say why first
	Unknown []Item
}

// Summarize judges every object. An object that another one controls (a pod of
// a Deployment that is among the objects or not) is judged through its
// controller and counts for nothing itself: pods come and go with a healthy
// rollout. Callers pass such objects along for the evidence they give.
func Summarize(objects map[manifest.ID]*manifest.Object, missing []manifest.ID) Summary {
	return Rules{}.Summarize(objects, missing)
}

// Summarize is Summarize, by an environment's own rules before all others.
func (r Rules) Summarize(objects map[manifest.ID]*manifest.Object, missing []manifest.ID) Summary {
	var s Summary
	relatives := newFamily(objects)
	for id, o := range objects {
		if o != nil {
			if _, _, _, controlled := controllerOf(o); controlled {
				continue
			}
		}
		item := Item{ID: id, Status: r.Of(o)}
		if item.Status.State != Current && o != nil {
			item.Pods = relatives.evidence(o)
		}
		s.add(item)
	}
	for _, id := range missing {
		if objects[id] == nil {
			s.add(Item{ID: id, Status: Missing(id)})
		}
	}
	s.sort()
	return s
}

// Add counts one more object, such as one that is gone and whose end was seen.
func (s *Summary) Add(item Item) {
	s.add(item)
	s.sort()
}

func (s *Summary) sort() {
	for _, items := range [][]Item{s.Failed, s.Waiting, s.Unknown} {
		slices.SortFunc(items, worstFirst)
	}
}

func (s *Summary) add(item Item) {
	switch item.Status.State {
	case Current:
		s.Ready++
	case Failed:
		s.Failed = append(s.Failed, item)
	case Unknown:
		s.Unknown = append(s.Unknown, item)
	default:
		s.Waiting = append(s.Waiting, item)
	}
}

func worstFirst(a, b Item) int {
	first := func(flag bool) int {
		if flag {
			return 0
		}
		return 1
	}
	return cmp.Or(
		cmp.Compare(first(a.Status.Definitive), first(b.Status.Definitive)),
		cmp.Compare(first(a.Pods != ""), first(b.Pods != "")),
		a.ID.Compare(b.ID))
}

// Total is the number of objects judged.
func (s Summary) Total() int { return s.Ready + len(s.Failed) + len(s.Waiting) + len(s.Unknown) }

// AllReady is false for nothing at all: no data is not success.
func (s Summary) AllReady() bool { return s.Total() > 0 && s.Ready == s.Total() }

// Definitive are the failures that waiting cannot heal.
func (s Summary) Definitive() []Item {
	end := slices.IndexFunc(s.Failed, func(i Item) bool { return !i.Status.Definitive })
	if end < 0 {
		return s.Failed
	}
	return s.Failed[:end]
}

// Worst are the messages of at most n objects, failed ones first, and how many
// more there are.
func (s Summary) Worst(n int) []string {
	return messages(slices.Concat(s.Failed, s.Waiting, s.Unknown), n)
}

func messages(items []Item, n int) []string {
	n = max(n, 0)
	told := make([]string, 0, min(n, len(items))+1)
	for _, item := range items[:min(n, len(items))] {
		told = append(told, item.String())
	}
	if more := len(items) - len(told); more > 0 {
		told = append(told, fmt.Sprintf("and %d more", more))
	}
	return told
}

// evidenceItems is how many objects a sentence of evidence names.
const evidenceItems = 3

// DeadlineEvidence states what was not ready when the time was up.
func DeadlineEvidence(s Summary, waited time.Duration) string {
	if s.Total() == 0 {
		return fmt.Sprintf("there was no object to judge in %s", Span(waited))
	}
	return fmt.Sprintf("%d of %d objects not ready after %s: %s",
		s.Total()-s.Ready, s.Total(), Span(waited), strings.Join(s.Worst(evidenceItems), "; "))
}

// FailureEvidence states what failed for good, before the time was up.
func FailureEvidence(s Summary, waited time.Duration) string {
	failed := s.Definitive()
	return fmt.Sprintf("%d of %d objects failed within %s: %s",
		len(failed), s.Total(), Span(waited), strings.Join(messages(failed, evidenceItems), "; "))
}

// Span writes a duration the way people say it: 200ms, 1.5s, 60s, 10m, 1h30m.
func Span(d time.Duration) string {
	switch {
	case d < 10*time.Second:
		return d.Round(100 * time.Millisecond).String()
	case d.Round(time.Second) < 2*time.Minute:
		return fmt.Sprintf("%ds", int(d.Round(time.Second).Seconds()))
	}
	s := d.Round(time.Second).String()
	s = strings.Replace(s, "m0s", "m", 1)
	return strings.Replace(s, "h0m", "h", 1)
}
