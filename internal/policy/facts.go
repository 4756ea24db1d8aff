package policy

import (
	"slices"
	"time"

	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/source"
)

// Knowledge says where a fact about an environment comes from. A rule that
// needs a fact must not take StateUnknown for nothing found.
type Knowledge string

// What is known of an environment.
const (
	StateUnknown  Knowledge = "unknown"  // could not be found out
	StateNone     Knowledge = "none"     // nothing was verified there yet
	StateRendered Knowledge = "rendered" // what the same tree would run there, by a local command
	StateVerified Knowledge = "verified" // its last good
)

// Upstream is what one of the `after` environments verified last.
type Upstream struct {
	Environment promotion.ID    `json:"environment"`
	State       Knowledge       `json:"state"`
	Revision    source.Revision `json:"revision"`
	Digest      manifest.Digest `json:"digest"`
	Images      []string        `json:"images"`    // as written
	Workloads   []string        `json:"workloads"` // as Kind.group/name
}

// LastGood is what the environment itself verified last.
type LastGood struct {
	State    Knowledge       `json:"state"`
	Revision source.Revision `json:"revision"`
	Digest   manifest.Digest `json:"digest"`
	Images   []string        `json:"images"`
}

// The places that another environment of the pipeline may have.
const (
	OrderBefore = "before" // a change passes through it first, directly or not
	OrderAfter  = "after"
	OrderBeside = "beside"
	// OrderUnknown: its file cannot be read, and no other says.
	OrderUnknown = "unknown"
)

// DataUnknown is what an environment holds whose file cannot be read.
const DataUnknown promotion.Data = "unknown"

// Neighbour is another environment of the pipeline: what its file says, and
// what its last good takes from outside.
type Neighbour struct {
	Environment promotion.ID   `json:"environment"`
	Name        string         `json:"name"`
	Data        promotion.Data `json:"data"`
	Order       string         `json:"order"`
	Mode        promotion.Mode `json:"mode"`
	Access      []string       `json:"access"`
	Checks      int            `json:"checks"` // of its verification, beside that objects are ready
	State       Knowledge      `json:"state"`  // of References; unknown where data is of the same class, as they are not compared
	References  []Reference    `json:"references"`
}

// Looks says which facts about releases a rule looks at.
type Looks struct{ Upstream, Pipeline, LastGood bool }

// Neighbours are the other environments of a pipeline, ordered by name, without
// what they take from outside. Of unread ones only their names are known: they
// are told of, as whatever looks at others must not take them for not there.
func Neighbours(env promotion.Environment, all []promotion.Environment, unread ...promotion.ID) []Neighbour {
	before, after := map[promotion.ID][]promotion.ID{env.ID: env.After}, map[promotion.ID][]promotion.ID{}
	for _, e := range all {
		before[e.ID] = e.After
		for _, id := range e.After {
			after[id] = append(after[id], e.ID)
		}
	}
	earlier, later := reached(before, env.ID), reached(after, env.ID)
	neighbours := []Neighbour{}
	for _, e := range all {
		if e.ID.Pipeline != env.ID.Pipeline || e.ID == env.ID {
			continue
		}
		neighbours = append(neighbours, Neighbour{
			Environment: e.ID, Name: e.ID.Name, Data: e.Data, Order: orderOf(e.ID, earlier, later, OrderBeside),
			Mode: e.Promotion.Mode, Access: e.Access, Checks: len(e.Verify.HTTP), State: StateUnknown,
		})
	}
	for _, id := range unread {
		if id.Pipeline == env.ID.Pipeline && id != env.ID {
			neighbours = append(neighbours, Neighbour{
				Environment: id, Name: id.Name, Data: DataUnknown, Order: orderOf(id, earlier, later, OrderUnknown), State: StateUnknown,
			})
		}
	}
	slices.SortFunc(neighbours, func(a, b Neighbour) int { return a.Environment.Compare(b.Environment) })
	return neighbours
}

func orderOf(id promotion.ID, earlier, later map[promotion.ID]bool, otherwise string) string {
	switch {
	case earlier[id]:
		return OrderBefore
	case later[id]:
		return OrderAfter
	}
	return otherwise
}

// reached are the environments that edges lead to, over any others.
func reached(edges map[promotion.ID][]promotion.ID, from promotion.ID) map[promotion.ID]bool {
	seen := map[promotion.ID]bool{}
	next := slices.Clone(edges[from])
	for len(next) > 0 {
		id := next[len(next)-1]
		next = next[:len(next)-1]
		if !seen[id] {
			seen[id] = true
			next = append(next, edges[id]...)
		}
	}
	return seen
}

// Compared reports whether what another environment takes from outside is
// compared with what env takes: where both hold data of one class, they may
// share it. Of one that cannot be read there is nothing to compare.
func (n Neighbour) Compared(env promotion.Environment) bool {
	return n.Data != DataUnknown && classOf(n.Data) != classOf(env.Data)
}

func classOf(data promotion.Data) promotion.Data {
	if data == promotion.DataNone || data == "" {
		return promotion.DataSynthetic
	}
	return data
}

// How far an approval has come.
const (
	ApprovalUnknown  = "unknown"
	ApprovalProposed = "proposed" // nobody could agree yet: the environment is not pinned to this release
	ApprovalPinned   = "pinned"   // By are those whose word counts
	ApprovalVerified = "verified" // the release is last good; who agreed to it then is in its record
)

// Agreement is who agreed to this release, by the commit that moved the pin to
// it: another release would need another pin.
type Agreement struct {
	State    string     `json:"state"`
	By       []Approver `json:"by"`
	Override string     `json:"override"` // reason of a reviewed break-glass override; "" is none
}

// Approver is one person whose word counts, once.
type Approver struct {
	Person
	Revision source.Revision `json:"revision"` // that was agreed to
}

// Schedule is when an object asks for something to be done again and again.
type Schedule struct {
	Object   ObjectRef `json:"object"`
	Path     string    `json:"path"`
	Schedule string    `json:"schedule"`
	Seconds  int64     `json:"seconds"` // the longest time between two; 0 when it is not understood
}

// scheduleFields are where kinds have cron expressions.
var scheduleFields = []string{"schedule", "frequency"}

func schedulesOf(set manifest.Set) []Schedule {
	schedules := []Schedule{}
	for _, o := range set.Objects() {
		spec, _ := o.Object["spec"].(map[string]any)
		for _, field := range scheduleFields {
			if text, is := spec[field].(string); is {
				schedules = append(schedules, Schedule{Object: RefOf(o), Path: "spec." + field, Schedule: text, Seconds: secondsBetween(text)})
			}
		}
	}
	return schedules
}

func secondsBetween(expression string) int64 {
	interval, err := promotion.Interval(expression)
	if err != nil {
		return 0
	}
	return int64(interval / time.Second)
}

// Footprint is what other environments' rules look at of a release.
type Footprint struct {
	Images     []string
	Workloads  []string
	References []Reference
}

// FootprintOf reads a release. It holds no secret value.
func FootprintOf(env promotion.Environment, set manifest.Set, templates PodTemplates, redactor manifest.Redactor) Footprint {
	f := Footprint{References: References(env, set, redactor)}
	for _, image := range Images(set.Objects(), templates) {
		f.Images = append(f.Images, image.Image)
	}
	slices.Sort(f.Images)
	f.Images = slices.Compact(f.Images)
	for _, o := range set.Objects() {
		if len(templates.PodSpecs(o)) > 0 {
			f.Workloads = append(f.Workloads, kindKey(o)+"/"+o.GetName())
		}
	}
	slices.Sort(f.Workloads)
	f.Workloads = slices.Compact(f.Workloads)
	return f
}

// fillFacts makes what nobody set empty, and says that it is not known.
func (in *Input) fillFacts() {
	in.Upstream, in.Pipeline = slices.Clone(in.Upstream), slices.Clone(in.Pipeline)
	for i := range in.Upstream {
		u := &in.Upstream[i]
		notNil(&u.Images)
		notNil(&u.Workloads)
		known(&u.State)
	}
	for i := range in.Pipeline {
		n := &in.Pipeline[i]
		notNil(&n.References)
		notNil(&n.Access)
		known(&n.State)
	}
	notNil(&in.Upstream)
	notNil(&in.Pipeline)
	notNil(&in.References)
	notNil(&in.Schedules)
	notNil(&in.LastGood.Images)
	notNil(&in.Approval.By)
	known(&in.LastGood.State)
	if in.Approval.State == "" {
		in.Approval.State = ApprovalUnknown
	}
}

func known(state *Knowledge) {
	if *state == "" {
		*state = StateUnknown
	}
}
