package strategy

import (
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/labels"

	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/promotion"
)

// mover is a workload that a release changes and that has a strategy.
type mover struct {
	promotion.Strategy
	old, new *manifest.Object // the Deployment of last good, and of the release
	track    string
	copyName string // of the copy
	copySvc  string // of the Service by which the copy is asked
	pods     int    // how many last good has
	scaler   *manifest.Object
	checks   []string
	phases   []state
	promotes bool // a step of its own makes the workload the new version
}

// traffic is whose pods the Services of a workload have.
type traffic int

const (
	toStable traffic = iota
	toBoth
	toCopy
)

// state is how far a workload is in one step.
type state struct {
	kind     Kind
	weight   int
	share    int // percent that the route gives the copy; 0 leaves the route as it is
	replicas int // of the copy; 0 is no copy
	to       traffic
	fresh    bool // the workload itself is the new version
	watch    time.Duration
}

// at is the state in one step of several, and whether it is another than in the
// step before.
func (m *mover) at(i, length int) (state, bool) {
	if m.promotes && i == length-1 {
		return m.promoted(), true
	}
	if len(m.phases) == 0 {
		return state{kind: KindStart, to: toStable}, false
	}
	if last := len(m.phases) - 1; i > last {
		return m.phases[last], false
	}
	return m.phases[i], true
}

// promoted is the new version in the workload's place, with the requests where
// they were.
func (m *mover) promoted() state {
	now := state{to: toStable}
	if len(m.phases) > 0 {
		now = m.phases[len(m.phases)-1]
	}
	now.kind, now.fresh, now.watch = KindPromote, true, 0
	return now
}

func (m *mover) plan(d *designer) {
	switch {
	case m.BlueGreen != nil:
		m.promotes, m.checks = true, m.BlueGreen.Checks
		m.phases = []state{
			{kind: KindPreview, replicas: m.pods, to: toStable, watch: m.BlueGreen.Preview},
			{kind: KindSwitch, weight: 100, replicas: m.pods, to: toCopy, watch: m.BlueGreen.Keep},
		}
	case m.Canary.Route != "":
		m.promotes, m.checks = true, m.Canary.Checks
		m.byRoute()
	default:
		m.checks = m.Canary.Checks
		m.byPods(d)
	}
}

// byRoute has the pods of a share ready before the share: while one step is
// watched the pods for the next one start.
func (m *mover) byRoute() {
	steps := m.Canary.Steps
	m.phases = []state{{kind: KindStart, replicas: part(m.pods, steps[0].Weight), to: toStable}}
	for i, step := range steps {
		next := steps[min(i+1, len(steps)-1)].Weight
		m.phases = append(m.phases, state{kind: KindWeigh, weight: step.Weight, share: step.Weight,
			replicas: part(m.pods, next), to: toStable, watch: step.For})
	}
}

// byPods adds pods to those behind the Service. As those of the old version all
// stay, no more than half can be new.
func (m *mover) byPods(d *designer) {
	for _, step := range m.Canary.Steps {
		want := divide(m.pods*step.Weight, 100-step.Weight)
		replicas := min(max(1, want), m.pods)
		m.phases = append(m.phases, state{kind: KindWeigh, weight: step.Weight, replicas: replicas, to: toBoth, watch: step.For})
		if share := 100 * replicas / (replicas + m.pods); share != step.Weight {
			d.note(fmt.Sprintf("Deployment/%s: %d %% of the requests comes to %d of %d pods, about %d %%; an HTTPRoute divides them exactly",
				m.Deployment, step.Weight, replicas, replicas+m.pods, share))
		}
	}
}

// part is a percentage of pods, rounded up, at least one.
func part(pods, percent int) int { return max(1, divide(pods*percent, 100)) }

func divide(n, by int) int { return (n + by - 1) / by }

// byNumber reports whether the share of a canary is its share of the pods.
func (m *mover) byNumber() bool { return m.Canary != nil && m.Canary.Route == "" }

func (m *mover) copies() bool { return len(m.phases) > 0 }

func (m *mover) newPods() labels.Set { return podLabels(m.new) }

func (m *mover) copyPods() labels.Set { return tracked(podLabels(m.new), m.track) }

func (m *mover) move(now state) Move {
	move := Move{Deployment: m.Deployment, Kind: now.kind, Weight: now.weight, Service: m.Service}
	if now.replicas > 0 && now.to != toCopy {
		move.Asked = m.copySvc
	}
	return move
}

func (m *mover) text(now state) string {
	workload, beside := "Deployment/"+m.Deployment, "Deployment/"+m.copyName
	switch now.kind {
	case KindStart:
		if !m.copies() {
			return workload + " stays as it was"
		}
		return fmt.Sprintf("%s starts with %s and has no requests yet", beside, podsText(now.replicas))
	case KindPreview:
		return fmt.Sprintf("%s runs beside %s with %s, and is asked through Service/%s", beside, workload, podsText(now.replicas), m.copySvc)
	case KindSwitch:
		return fmt.Sprintf("Service/%s sends all requests to %s, and %s stays as it was for a way back", m.Service, beside, workload)
	case KindPromote:
		if !m.copies() {
			return workload + " is rolled to the new version behind the Services as they were"
		}
		return fmt.Sprintf("%s itself becomes the new version, while %s has requests", workload, beside)
	}
	if now.share > 0 {
		return fmt.Sprintf("HTTPRoute/%s sends %d %% of the requests for Service/%s to %s", m.Canary.Route, now.share, m.Service, beside)
	}
	return fmt.Sprintf("%s is %d of the %s behind Service/%s", beside, now.replicas, podsText(now.replicas+m.pods), m.Service)
}

func podsText(n int) string {
	if n == 1 {
		return "1 pod"
	}
	return fmt.Sprintf("%d pods", n)
}
