// Package sim runs the real controller in a simulated world: Git, clusters,
// policies, the daemon's own storage, people, and time. It guarantees that what
// happens follows from a scenario and a seed alone, so that a failure replays
// exactly; that every rule that must never break is checked at every step,
// against what is true in the world and not what the daemon believes; and that
// its fakes promise no more than the real adapters do: both pass the same
// contract.
package sim

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"chaperone.dev/chaperone/internal/controller"
	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/reconcile"
	"chaperone.dev/chaperone/internal/source"
	"chaperone.dev/chaperone/internal/state"
)

// Sim is one simulated world.
type Sim struct {
	pace    *pace
	mishaps *mishaps
	poll    time.Duration
	begins  time.Time // what the daemon's clock shows at first
	groups  map[string][]string
	// webhooks tell the daemon of each push at once.
	webhooks bool

	mu       sync.Mutex // held while something happens; nobody waits holding it
	shiftMu  sync.Mutex
	shift    time.Duration // of the daemon's clock
	git      *server
	clusters *clusters
	policies *policyState
	store    *storage
	replicas []*replica
	lives    int
	nudge    map[int]func() // by life: tells it of a push
	nudged   uint64
	stale    bool // the call under way gets an old answer
	doubled  bool // two replicas have acted at once
	renders  map[renderKey]renderResult
	byDigest map[manifest.Digest]*rendered
	files    map[source.Revision]promotion.Set

	truths     map[promotion.ID]*truth
	shownAs    map[promotion.ID]*shownAs
	lastTouch  time.Duration
	trace      []entry
	violations []string
}

// entry is one line of the trace.
type entry struct {
	at                 time.Duration
	life               int
	what, object, note string
}

func (e entry) String() string {
	who := "      "
	if e.life > 0 {
		who = fmt.Sprintf("life %d", e.life)
	}
	return strings.TrimRight(fmt.Sprintf("%16.9f  %s  %-20s %s  %s", e.at.Seconds(), who, e.what, e.object, e.note), " ")
}

// shownAs is what people see of an environment.
type shownAs struct {
	status  reconcile.Status
	message string
	rested  time.Duration // when it was last seen to be neither on its way nor unknown
}

// newSim makes an empty world; the bubble of testing/synctest is the caller's.
func newSim(seed uint64) *Sim {
	s := &Sim{
		pace: newPace(seed), poll: 30 * time.Second, begins: time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC), // a Monday
		groups: map[string][]string{}, git: newServer(), clusters: newClusters(), policies: newPolicies(), store: newStorage(),
		nudge: map[int]func(){}, renders: map[renderKey]renderResult{}, byDigest: map[manifest.Digest]*rendered{},
		files: map[source.Revision]promotion.Set{}, truths: map[promotion.ID]*truth{}, shownAs: map[promotion.ID]*shownAs{},
		trace: make([]entry, 0, 4096),
	}
	s.mishaps = newMishaps(s.pace)
	return s
}

// now is what the daemon's clock shows.
func (s *Sim) now() time.Time { return s.begins.Add(s.pace.elapsed() + s.clockShift()) }

func (s *Sim) clockShift() time.Duration {
	s.shiftMu.Lock()
	defer s.shiftMu.Unlock()
	return s.shift
}

func (s *Sim) ports(l *life) controller.Ports {
	return controller.Ports{
		Source: sourcePort{l}, Renderer: rendererPort{l}, Policies: policiesPort{l}, Cluster: clusterPort{l},
		Store: storePort{l}, Telemetry: telemetryPort{l},
	}
}

// maxTrace keeps a run that does not end from filling the memory.
const maxTrace = 400_000

func (s *Sim) note(l *life, what, object, text string) {
	number := 0
	if l != nil {
		number = l.number
	}
	if len(s.trace) < maxTrace {
		s.trace = append(s.trace, entry{s.pace.elapsed(), number, what, object, text})
	}
}

func (s *Sim) noteCall(l *life, call id, text string) { s.note(l, call.op, call.object, text) }

func (s *Sim) noteResult(l *life, call id, met mishap, err error) {
	text := string(met.kind)
	if err != nil {
		text = strings.TrimSpace(text + " " + err.Error())
	}
	s.note(l, call.op, call.object, text)
}

// touched notes that something changed outside the daemon.
func (s *Sim) touched(env *promotion.ID) {
	s.lastTouch = s.pace.elapsed()
	if env != nil {
		s.clusters.tell(*env)
	}
}

// published takes in what a life shows to people.
func (s *Sim) published(l *life, view controller.View) {
	l.view = view
	for _, e := range view.Environments {
		known := s.shownAs[e.ID]
		if known == nil {
			known = &shownAs{}
			s.shownAs[e.ID] = known
		}
		if e.Status.Phase != reconcile.PhaseProgressing {
			known.rested = s.pace.elapsed()
		}
		if known.status.Reason == e.Status.Reason && known.status.Phase == e.Status.Phase && known.message == e.Message {
			continue
		}
		s.note(l, "status", e.ID.String(), fmt.Sprintf("%s %s: %s", e.Status.Phase, e.Status.Reason, e.Message))
		s.checkShown(l, e)
		known.status, known.message = e.Status, e.Message
	}
}

// saved takes in what a life stored.
func (s *Sim) saved(l *life, r state.Record) {
	j := r.Journal
	s.note(l, "stored", r.ID.String(), fmt.Sprintf("stage=%s hold=%s tries=%d quarantine=%d", j.Attempt.Stage, j.Hold.Reason, j.Attempt.Tries, len(j.Quarantine)))
}

// environments are what the files at a commit say.
func (s *Sim) environments(revision source.Revision) promotion.Set {
	if known, found := s.files[revision]; found {
		return known
	}
	c, found := s.git.commits[revision]
	if !found {
		return promotion.Set{}
	}
	set, err := promotion.Load(c.snapshot)
	if err != nil {
		set = promotion.Set{}
	}
	s.files[revision] = set
	return set
}

// file is an environment's file at the head of the branch.
func (s *Sim) file(env promotion.ID) (promotion.Environment, bool) {
	file, found := s.environments(s.git.refs[mainBranch]).Environments[env]
	return file, found
}

func (s *Sim) truth(env promotion.ID) *truth {
	if s.truths[env] == nil {
		s.truths[env] = newTruth()
	}
	return s.truths[env]
}

// stopAll ends every replica and waits until nothing of them is left.
func (s *Sim) stopAll() {
	for _, r := range s.replicas {
		s.end(r)
	}
}

// end stops a replica for good.
func (s *Sim) end(r *replica) {
	s.mu.Lock()
	r.stop = true
	l := r.life
	s.mu.Unlock()
	if l != nil {
		l.kill()
	}
	if r.ended != nil {
		<-r.ended
	}
}
