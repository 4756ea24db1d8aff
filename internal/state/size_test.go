package state

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/reconcile"
)

// etcd takes no object of more than 1.5 MiB, and the journal is not alone in
// its object. longest is above every bound that reconcile keeps its lists to.
const (
	maxJournal = 256 << 10
	longest    = 256
)

// largest is a journal with every list and every text full.
func largest() reconcile.Journal {
	at := time.Date(2026, 12, 31, 23, 59, 59, 999_999_999, time.FixedZone("", -12*3600))
	digest := reconcile.Digest(manifest.DigestBytes(nil))
	release := reconcile.Release{Revision: first, Digest: digest, Policy: digest}
	reason := slices.MaxFunc(promotion.Reasons(), func(a, b promotion.Reason) int { return len(a) - len(b) })
	digests := slices.Repeat([]reconcile.Digest{digest}, longest)
	const many = 1 << 40
	undo := reconcile.Undo{Release: release, Migrations: reconcile.Migrations(strings.Repeat("0123456789ab,", longest)), Begun: at, Round: many, Forward: true}
	return reconcile.Journal{
		Running: release, LastGood: release,
		Verified: slices.Repeat([]reconcile.Verified{{Release: release, At: at}}, longest),
		Attempt: reconcile.Attempt{Release: release, Stage: reconcile.StageCorrecting, Tries: many, Failure: reason, Guilty: first, Started: at,
			Irreversible: true, Override: true, Probe: true, Proven: true, Before: release, Held: reconcile.Hold{Reason: reason, Digest: digest},
			Undo: undo, Since: at, Regressed: at, Found: at, Tied: true,
			Step: many, Course: reconcile.Course{Steps: many, Digest: digest}, Reached: at,
			Replicas: reconcile.Replicas(strings.Repeat(strings.Repeat("a", 253)+"=2147483647,", 50))}, // as many as a file may name
		Undo:       undo,
		Watched:    reconcile.Watched{Digest: digest, Begun: at, Since: at, Before: release, Irreversible: true, Alarm: reason, Accepted: true},
		Quarantine: digests, Unapplied: digests,
		Hold:       reconcile.Hold{Reason: reason, Digest: digest},
		Retry:      reconcile.Retry{Reason: reason, Digest: digest, At: at, Tries: many},
		LastRevert: reconcile.Revert{Guilty: first, Commit: first, Digest: digest, At: at},
		Search: reconcile.Search{Failed: release, Started: at, Failing: digests, Untested: digests,
			Suspects: slices.Repeat([]reconcile.Suspect{{Revision: first, Digest: digest, Mixed: true}}, longest)},
		Reverts:  slices.Repeat([]time.Time{at}, longest),
		Proposal: reconcile.Proposal{Revision: first, Digest: digest, File: string(digest), Commit: first, Refused: reason, Tries: many, Again: at},
		Run:      reconcile.Run{At: at, Digest: digest},
		Served:   strings.Repeat("<", maxRequestID), // JSON makes six characters of it
		Branch:   strings.Repeat("<", maxRequestID),
		Accepted: first, Overridden: digest,
	}
}

func TestLargestJournalFits(t *testing.T) {
	t.Parallel()
	journal := largest()
	encoded, err := json.Marshal(journal)
	if err != nil || len(encoded) >= maxJournal {
		t.Errorf("%d bytes, %v; want less than %d", len(encoded), err, maxJournal)
	}
	if empty := unfilled("journal", reflect.ValueOf(journal), longest); len(empty) > 0 {
		t.Errorf("not filled: %v; a field that came new belongs into largest()", empty)
	}
}

// unfilled are the fields with nothing in them, and the lists with less than
// that many entries.
func unfilled(name string, v reflect.Value, entries int) (empty []string) {
	switch {
	case v.IsZero():
		return []string{name}
	case v.Type() == reflect.TypeFor[time.Time]():
	case v.Kind() == reflect.Pointer:
		return unfilled(name, v.Elem(), entries)
	case v.Kind() == reflect.Struct:
		for i := range v.NumField() {
			empty = append(empty, unfilled(name+"."+v.Type().Field(i).Name, v.Field(i), entries)...)
		}
	case v.Kind() == reflect.Slice && v.Len() < entries:
		return []string{name}
	case v.Kind() == reflect.Slice:
		return unfilled(name+"[0]", v.Index(0), entries)
	}
	return empty
}

// The tests of what comes back as it was stored say nothing about a field that
// they leave empty.
func TestFullRecordIsFull(t *testing.T) {
	t.Parallel()
	record := full()
	for name, part := range map[string]any{"Environment": record.Environment, "Status": record.Status, "Journal": record.Journal} {
		for _, field := range unfilled(name, reflect.ValueOf(part), 1) {
			if !slices.Contains([]string{"Environment.Target.Allow[0].Group", "Environment.Target.Allow[0].Kind", "Environment.Target.Allow[0].Name"}, field) {
				t.Errorf("%s is empty in full()", field)
			}
		}
	}
}

// And the server takes it, with messages as long as they get.
func TestLargestRecordIsStored(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	record := full()
	record.Journal = largest()
	record.Message, record.Evidence = strings.Repeat("<", 2*maxText), strings.Repeat("<", 2*maxText)
	f.save(f.store, record)
	got := f.get(f.another(), staging)
	before, errBefore := json.Marshal(record.Journal)
	after, errAfter := json.Marshal(got.Journal)
	if errBefore != nil || errAfter != nil || string(before) != string(after) {
		t.Errorf("the journal came back with %d bytes, was %d (%v, %v)", len(after), len(before), errBefore, errAfter)
	}
}
