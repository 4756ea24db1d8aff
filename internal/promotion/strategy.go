package promotion

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"chaperone.dev/chaperone/internal/strictyaml"
)

// Strategy is how one Deployment of a release takes the place of last good's.
// Without one it is replaced by rolling, pod after pod. Exactly one of BlueGreen
// and Canary is given.
type Strategy struct {
	Deployment string // workload: Deployment/NAME, in the target namespace
	Service    string // through which its pods get their requests
	BlueGreen  *BlueGreen
	Canary     *Canary
}

// BlueGreen starts the new version beside the old, verifies it through a Service
// of its own, and then switches all requests at once.
type BlueGreen struct {
	Preview time.Duration // watched before the switch; default 0, as long as its checks take
	Keep    time.Duration // the old version runs on after the switch, for a way back; default 10m
	Checks  []string      // names of checks under verify; none: all
}

// Canary gives the new version a growing share of the requests.
type Canary struct {
	Route  string // HTTPRoute whose weights share the requests; "" shares them by the number of pods
	Steps  []CanaryStep
	Checks []string // names of checks under verify; none: all
}

// CanaryStep is one share, and how long it is watched.
type CanaryStep struct {
	Weight int           // percent, 1 to 99, more with each step
	For    time.Duration // default 5m
}

// Defaults and bounds of strategies.
const (
	DefaultKeep    = 10 * time.Minute
	DefaultStepFor = 5 * time.Minute
	// MaxCanarySteps is how many shares a canary may have.
	MaxCanarySteps = 10

	maxStrategies = 50
	maxStepFor    = 24 * time.Hour
	wholeWeight   = 100
)

// decodeStrategies wants to know the checks that steps may name.
func decodeStrategies(spec *strictyaml.Object, checks []string) []Strategy {
	limit(spec.Value("strategies"), maxStrategies)
	d := strategies{checks: checks, lines: map[string]int{}}
	for _, o := range spec.Objects("strategies") {
		d.add(o)
	}
	return d.all
}

type strategies struct {
	checks []string
	lines  map[string]int // where a workload or a Service has been named
	all    []Strategy
}

func (d *strategies) add(o *strictyaml.Object) {
	o.Require("workload", "want what it is about, such as Deployment/api")
	s := Strategy{Deployment: decodeWorkload(o.Value("workload"))}
	d.once(o.Value("workload"), "Deployment/"+s.Deployment, s.Deployment != "")
	blueGreen, canary := o.Object("blueGreen"), o.Object("canary")
	s.BlueGreen, s.Canary = d.blueGreen(blueGreen), d.canary(canary)
	switch {
	case blueGreen.Present() && canary.Present():
		canary.Problem("there is blueGreen as well; want one of them")
	case !blueGreen.Present() && !canary.Present():
		o.Problem("want blueGreen or canary; a workload without a strategy is rolled, so remove it to have that")
	}
	for _, kind := range []*strictyaml.Object{blueGreen, canary} {
		if name := d.service(kind); name != "" {
			s.Service = name
		}
	}
	d.all = append(d.all, s)
}

func (d *strategies) service(o *strictyaml.Object) string {
	name := o.String("service", "", checkLabel)
	if o.Present() {
		o.Require("service", "want the Service through which the workload gets its requests, such as api")
	}
	d.once(o.Value("service"), "Service/"+name, name != "")
	return name
}

// once refuses what two strategies name: neither could tell its own pods from
// the other's.
func (d *strategies) once(v strictyaml.Value, name string, named bool) {
	line, twice := d.lines[name]
	switch {
	case !named:
	case twice:
		v.Problem("%s has a strategy in line %d too; keep one", name, line)
	default:
		d.lines[name] = v.Line()
	}
}

func (d *strategies) blueGreen(o *strictyaml.Object) *BlueGreen {
	b := BlueGreen{
		Preview: o.Duration("preview", 0, 0, maxStepFor),
		Keep:    o.Duration("keep", DefaultKeep, 0, maxStepFor),
		Checks:  d.named(o),
	}
	if !o.Present() {
		return nil
	}
	return &b
}

func (d *strategies) canary(o *strictyaml.Object) *Canary {
	c := Canary{Route: decodeRoute(o.Value("route")), Steps: decodeCanarySteps(o), Checks: d.named(o)}
	if !o.Present() {
		return nil
	}
	return &c
}

// named are the checks that a strategy names, each of which there must be: one
// that is misspelt would never fail.
func (d *strategies) named(o *strictyaml.Object) []string {
	limit(o.Value("checks"), maxChecks)
	return o.Strings("checks", func(name string) error {
		switch {
		case slices.Contains(d.checks, name):
			return nil
		case len(d.checks) == 0:
			return fmt.Errorf("there is no check %.80q under verify; write it there, or remove it here", name)
		}
		return fmt.Errorf("there is no check %.80q under verify; %s", name, strictyaml.OneOf(d.checks))
	})
}

func decodeCanarySteps(canary *strictyaml.Object) []CanaryStep {
	if canary.Present() {
		canary.Require("steps", "want at least one share, such as [{weight: 10, for: 5m}]")
	}
	v := canary.Value("steps")
	limit(v, MaxCanarySteps)
	if v.IsList() && len(v.List()) == 0 {
		v.Problem("want at least one share, such as [{weight: 10, for: 5m}]")
	}
	var all []CanaryStep
	for _, o := range canary.Objects("steps") {
		o.Require("weight", "want the share of the requests in percent, such as 10")
		step := CanaryStep{
			Weight: o.Int("weight", 0, 1, wholeWeight-1),
			For:    o.Duration("for", DefaultStepFor, 0, maxStepFor),
		}
		if last := len(all) - 1; last >= 0 && step.Weight != 0 && step.Weight <= all[last].Weight {
			o.Value("weight").Problem("want more than the %d of the step before, not %d", all[last].Weight, step.Weight)
		}
		all = append(all, step)
	}
	return all
}

// others are kinds that people may want a strategy for, and why there is none.
var others = map[string]string{
	"StatefulSet": "its pods have names and volumes of their own, so a copy would be another database; remove it, and it is rolled pod after pod",
	"DaemonSet":   "a node runs one of its pods, and a copy would be a second; remove it, and it is rolled node after node",
	"Job":         "a Job runs once; remove it",
	"CronJob":     "a CronJob gets no requests; remove it",
	"Rollout":     "Argo Rollouts has strategies of its own, which are watched; remove it",
	"Canary":      "Flagger has strategies of its own, which are watched; remove it",
}

func decodeWorkload(v strictyaml.Value) string {
	text, written := v.Scalar()
	if !written {
		return ""
	}
	kind, name, found := strings.Cut(text, "/")
	bare, group, grouped := strings.Cut(kind, ".")
	switch why, known := others[bare]; {
	case known:
		v.Problem("%.80q cannot have a strategy: %s", text, why)
	case !found || bare != "Deployment" || grouped && group != "apps" || checkSubdomain(name) != nil:
		v.Problem("want a Deployment and its name, such as Deployment/api, not %.80q", text)
	default:
		return name
	}
	return ""
}

func decodeRoute(v strictyaml.Value) string {
	text, written := v.Scalar()
	if !written {
		return ""
	}
	kind, name, _ := strings.Cut(text, "/")
	bare, group, grouped := strings.Cut(kind, ".")
	if bare != "HTTPRoute" || grouped && group != "gateway.networking.k8s.io" || checkSubdomain(name) != nil {
		v.Problem("want an HTTPRoute of the Gateway API and its name, such as HTTPRoute/web, not %.80q", text)
		return ""
	}
	return name
}

// CheckNames are the names under which a strategy may name checks.
func (v Verify) CheckNames() []string {
	names := make([]string, 0, len(v.HTTP)+len(v.Metrics))
	for _, check := range v.HTTP {
		names = append(names, check.Name)
	}
	for _, check := range v.Metrics {
		names = append(names, check.Name)
	}
	for _, check := range v.Jobs {
		names = append(names, check.Name)
	}
	return names
}
