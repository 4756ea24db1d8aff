package reconcile

import (
	"slices"
	"time"

	"chaperone.dev/chaperone/internal/promotion"
)

var newYear = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func named(name string, edit func(*Spec), after ...string) Environment {
	e := Environment{ID: promotion.ID{Pipeline: "demo", Name: name}}
	e.Spec = Spec{OnFailure: promotion.FailureRevert, Drift: promotion.DriftCorrect, MaxReverts: 3}
	for _, up := range after {
		e.Spec.After = append(e.Spec.After, promotion.ID{Pipeline: "demo", Name: up})
	}
	if edit != nil {
		edit(&e.Spec)
	}
	return e
}

func pinned(s *Spec) { s.Pinned, s.Proposes = true, true }

// frozenTo is a calendar with one freeze of a day, an hour after the start.
func frozen(s *Spec) {
	calendar, err := promotion.CalendarOf(promotion.Promotion{Freezes: []promotion.Window{
		{From: newYear.Add(time.Hour), To: newYear.Add(25 * time.Hour)},
	}})
	if err != nil {
		panic(err)
	}
	s.Calendar = calendar
}

// The accidents.
func pauses(o outside) []outside {
	var worlds []outside
	for i := range o.Environments {
		if !o.Environments[i].Requests.Paused {
			paused := o.pause(i, true)
			paused.adversity--
			worlds = append(worlds, paused)
		}
	}
	return worlds
}

func freezes(o outside) []outside {
	if o.frozenYet {
		return nil
	}
	o.frozenYet, o.Now = true, newYear.Add(time.Hour)
	o.adversity--
	return []outside{o}
}

func clockForward(o outside) []outside {
	o.Now = o.Now.Add(5 * time.Minute)
	o.adversity--
	return []outside{o}
}

func clockBack(o outside) []outside {
	o.Now = o.Now.Add(-time.Hour)
	o.adversity--
	return []outside{o}
}

func outages(o outside) []outside {
	if o.outage {
		return nil
	}
	o.outage = true
	o.adversity--
	return []outside{o}
}

func drifts(o outside) []outside {
	var worlds []outside
	for i, e := range o.Environments {
		if !e.Drifted && e.settled() {
			drifted := o.clone()
			drifted.Environments = slices.Clone(o.Environments)
			drifted.Environments[i].Drifted = true
			drifted.adversity--
			worlds = append(worlds, drifted)
		}
	}
	return worlds
}

// stories are the pipelines that are walked. Together they hold every mode,
// every order of environments, and every accident.
func stories() []*story {
	chain := []map[string]string{
		{"dev": "d1", "staging": "s1", "production": "p1"},
		{"dev": "d2", "staging": "bad-staging", "production": "p2"},
		{"staging": "s3", "production": "bad-production"},
	}
	return []*story{
		{
			name:         "three in a row",
			environments: []Environment{named("dev", frozen), named("production", frozen, "staging"), named("staging", frozen, "dev")},
			script:       chain, adversity: 1, start: newYear,
			accidents: []accident{pauses, freezes, clockForward, clockBack, outages, drifts},
		},
		{
			name:         "two before one",
			environments: []Environment{named("east", nil), named("production", nil, "east", "west"), named("west", nil)},
			script: []map[string]string{
				{"east": "e1", "west": "w1", "production": "p1"},
				{"east": "e2", "west": "bad-west", "production": "p2"},
				{"west": "w3"},
			},
			adversity: 1, start: newYear, accidents: []accident{pauses, clockForward},
		},
		{
			name:         "a pinned production",
			environments: []Environment{named("production", func(s *Spec) { pinned(s); frozen(s) }, "staging"), named("staging", frozen)},
			script: []map[string]string{
				{"staging": "s1", "production": "p1"},
				{"staging": "s2", "production": "bad-production"},
			},
			adversity: 1, start: newYear, accidents: []accident{pauses, freezes, outages},
		},
		{
			name:         "one of four is guilty",
			environments: []Environment{named("staging", frozen)},
			script:       []map[string]string{{"staging": "s1"}, {"staging": "s2"}, {"staging": "bad-staging"}, {"staging": "bad2-staging"}, {"staging": "s5"}},
			adversity:    2, start: newYear, accidents: []accident{pauses, freezes, clockForward, clockBack, outages, drifts},
		},
		{
			name: "a hold, and two in a row",
			environments: []Environment{
				named("production", nil, "staging"),
				named("staging", func(s *Spec) { s.OnFailure = promotion.FailureHold }),
			},
			script: []map[string]string{
				{"staging": "s1", "production": "p1"},
				{"staging": "bad-staging", "production": "p2"},
				{"staging": "s3", "production": "bad-production"},
			},
			adversity: 2, start: newYear, accidents: []accident{drifts, outages},
		},
	}
}
