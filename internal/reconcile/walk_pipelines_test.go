package reconcile

import (
	"time"

	"chaperone.dev/chaperone/internal/promotion"
)

// files is what a commit writes.
type files = map[string]string

// stories are the pipelines that are walked. Together they hold every mode,
// every order of environments, and every accident.
func stories() []*story {
	return []*story{
		threeInARow(), twoBeforeOne(), pinnedProduction(), oneOfFour(), twoOfThree(), untestableMiddle(),
		frozenStaging(), heldStaging(), policiesChange(), patientsData(), calendars(), watched(), watchedUpstream(), breaker(), askedAgain(), placesAndTypos(), signatures(), migrations(),
		strategies(), migrationsInSteps(),
	}
}

func threeInARow() *story {
	return &story{
		name:         "three in a row",
		environments: []Environment{named("dev", frozen), named("production", frozen, "staging"), named("staging", frozen, "dev")},
		script: []change{
			{files: files{"dev": "d1", "staging": "s1", "production": "p1"}},
			{files: files{"dev": "d2", "staging": "bad-staging", "production": "p2"}},
			{files: files{"staging": "s3", "production": "bad-production"}},
		},
		adversity: 1, start: newYear,
		accidents: []accident{crashes, outagesOfGit, pauses, freezes, clockForward, clockBack, outages, drifts, retries, exchanges, rewrites},
		rests: rests{
			"staging":    {promotion.NoLastGood, promotion.RevertConflict},
			"production": {promotion.SeveralSuspects, promotion.RevertConflict, promotion.NoLastGood, promotion.WaitingForUpstream},
		},
	}
}

func twoBeforeOne() *story {
	return &story{
		name:         "two before one",
		environments: []Environment{named("east", nil), named("production", nil, "east", "west"), named("west", nil)},
		script: []change{
			{files: files{"east": "e1", "west": "w1", "production": "p1"}},
			{files: files{"east": "e2", "west": "bad-west", "production": "p2"}},
		},
		parallel: 2, adversity: 1, start: newYear, accidents: []accident{crashes, pauses, drifts},
		rests: rests{"west": {promotion.NoLastGood, promotion.RevertConflict}, "production": {promotion.WaitingForUpstream}},
	}
}

func pinnedProduction() *story {
	return &story{
		name:         "a pinned production",
		environments: []Environment{named("production", all(pinned, frozen), "staging"), named("staging", frozen)},
		script: []change{
			{files: files{"staging": "s1", "production": "p1"}},
			{files: files{"staging": "s2", "production": "bad-production"}},
		},
		adversity: 1, start: newYear,
		accidents: []accident{crashes, outagesOfGit, pauses, freezes, outages, drifts, declines, retries, exchanges, rewrites},
		rests:     rests{"production": {promotion.WaitingForPromotion, promotion.NoLastGood, promotion.Quarantined, promotion.RevertConflict}},
	}
}

func oneOfFour() *story {
	return &story{
		name:         "one of four is guilty",
		environments: []Environment{named("staging", frozen)},
		script: []change{
			{files: files{"staging": "s1", "staging.b": "b1", "staging.c": "c1"}}, {files: files{"staging": "s2"}},
			{files: files{"staging.b": "bad-staging"}}, {files: files{"staging.c": "c4"}}, {files: files{"staging": "s5"}},
		},
		adversity: 1, start: newYear,
		accidents: []accident{crashes, outagesOfGit, pauses, outages, retries, exchanges},
		rests:     rests{"staging": {promotion.NoLastGood}},
	}
}

// twoOfThree: two commits break the same environment, each in its own way.
func twoOfThree() *story {
	return &story{
		name:         "two of three are guilty",
		environments: []Environment{named("staging", nil)},
		script: []change{
			{files: files{"staging": "s1", "staging.b": "b1", "staging.c": "c1"}}, {files: files{"staging": "bad-staging"}},
			{files: files{"staging.b": "b3"}}, {files: files{"staging.c": "bad-staging2"}},
		},
		adversity: 1, start: newYear, accidents: []accident{crashes, outages, retries},
		rests: rests{"staging": {promotion.NoLastGood, promotion.SeveralSuspects}},
	}
}

// untestableMiddle: of the suspects, some may not be deployed.
func untestableMiddle() *story {
	return &story{
		name:         "a middle that cannot be tried",
		environments: []Environment{named("staging", nil)},
		script: []change{
			{files: files{"staging": "s1", "staging.b": "b1", "staging.c": "c1"}}, {files: files{"staging.c": "denied1"}},
			{files: files{"staging.b": "bad-staging"}}, {files: files{"staging.c": "c4"}}, {files: files{"staging": "s5"}},
		},
		adversity: 1, start: newYear, untestable: true, accidents: []accident{crashes, pauses, exchanges, rewrites},
		rests: rests{"staging": {promotion.NoLastGood, promotion.SeveralSuspects}},
	}
}

// frozenStaging: a freeze that begins at any moment of a release and its revert.
func frozenStaging() *story {
	return &story{
		name:         "a freeze",
		environments: []Environment{named("staging", frozen)},
		script:       []change{{files: files{"staging": "s1"}}, {files: files{"staging": "bad-staging"}}},
		adversity:    2, start: newYear, accidents: []accident{crashes, freezes, drifts},
		rests: rests{"staging": {promotion.NoLastGood}},
	}
}

func heldStaging() *story {
	return &story{
		name:         "a hold, and two in a row",
		environments: []Environment{named("production", nil, "staging"), named("staging", holds)},
		script: []change{
			{files: files{"staging": "s1", "production": "p1"}},
			{files: files{"staging": "bad-staging", "production": "p2"}},
			{files: files{"staging": "s3", "production": "bad-production"}},
		},
		adversity: 2, start: newYear, accidents: []accident{drifts, outages, retries},
		rests: rests{
			"staging":    {promotion.NoLastGood, promotion.RevertDisabled},
			"production": {promotion.SeveralSuspects, promotion.WaitingForUpstream, promotion.NoLastGood},
		},
	}
}

// policiesChange: what one bundle denies the other allows.
func policiesChange() *story {
	return &story{
		name:         "policies change",
		environments: []Environment{named("production", reported, "staging"), named("staging", nil)},
		script: []change{
			{files: files{"staging": "s1", "production": "p1"}},
			{files: files{"staging": "denied1", "production": "p2"}},
			{files: files{"staging": "errs1", "production": "denied2"}},
		},
		adversity: 2, start: newYear, accidents: []accident{crashes, exchanges, drifts},
		rests: rests{"staging": {promotion.PolicyError, promotion.PolicyDenied}, "production": {promotion.WaitingForUpstream}},
	}
}

// patientsData: what cannot be taken back, and who agrees to it.
func patientsData() *story {
	return &story{
		name:         "patients' data",
		environments: []Environment{named("production", all(pinned, phi, approvals), "staging"), named("staging", nil)},
		script: []change{
			{files: files{"staging": "s1", "production": "p1"}},
			{files: files{"staging": "s2", "production": "big+bad-production"}},
		},
		adversity: 1, start: newYear, accidents: []accident{crashes, mergesUnapproved, breaksGlass, retries, exchanges},
		rests: rests{
			"staging":    {promotion.NoLastGood, promotion.RevertConflict},
			"production": {promotion.WaitingForPromotion, promotion.IrreversibleFailed, promotion.NoLastGood, promotion.Quarantined},
		},
	}
}

// watched: what passes fails later, by its own fault or not.
func watched() *story {
	return &story{
		name: "what passed is watched",
		environments: []Environment{named("staging", all(frozen, func(s *Spec) {
			s.Watch = promotion.Watch{For: 3 * time.Minute, Every: time.Minute, RevertWithin: time.Minute}
		}))},
		script: []change{
			{files: files{"staging": "s1"}}, {files: files{"staging": "late2"}}, {files: files{"staging": "s3"}},
		},
		adversity: 1, start: newYear,
		accidents: []accident{crashes, pauses, freezes, outages, drifts, outagesOfGit, clockBack},
		rests:     rests{"staging": {promotion.Regressed, promotion.RevertConflict, promotion.Quarantined}},
	}
}

// watchedUpstream: what passed in staging may fail there before production has it.
func watchedUpstream() *story {
	return &story{
		name: "what fails upstream since it passed",
		environments: []Environment{named("production", nil, "staging"), named("staging", func(s *Spec) {
			s.Watch = promotion.Watch{For: 2 * time.Minute, Every: time.Minute}
		})},
		script:    []change{{files: files{"staging": "s1", "production": "p1"}}, {files: files{"staging": "s2", "production": "p2"}}},
		adversity: 2, start: newYear, accidents: []accident{crashes, pauses, retries},
	}
}

// calendars: soaked, on schedule, in a window, and out of the freeze.
func calendars() *story {
	return &story{
		name:         "a calendar",
		environments: []Environment{named("production", all(soaks, scheduled), "staging"), named("staging", windowed)},
		script: []change{
			{files: files{"staging": "s1", "production": "p1"}},
			{files: files{"staging": "s2", "production": "bad-production"}},
			{files: files{"staging": "s3", "production": "p3"}, urgent: true},
		},
		adversity: 1, start: newYear, timed: true,
		accidents: []accident{crashes, clockForward, clockBack, hours, drifts},
		rests:     rests{"production": {promotion.NoLastGood, promotion.Quarantined}},
	}
}

func breaker() *story {
	return &story{
		name:         "one revert a day",
		environments: []Environment{named("staging", oneRevert)},
		script: []change{
			{files: files{"staging": "s1", "staging.b": "b1"}},
			{files: files{"staging": "bad-staging"}}, {files: files{"staging.b": "bad-staging2"}}, {files: files{"staging": "s4"}},
		},
		adversity: 1, start: newYear, accidents: []accident{crashes, retries, clockForward, clockBack},
		rests: rests{"staging": {promotion.NoLastGood, promotion.TooManyReverts, promotion.SeveralSuspects, promotion.RevertConflict}},
	}
}

// askedAgain: a person asks for what failed, at any moment, and twice.
func askedAgain() *story {
	return &story{
		name:         "asked again",
		environments: []Environment{named("staging", nil)},
		script:       []change{{files: files{"staging": "s1"}}, {files: files{"staging": "bad-staging"}}},
		adversity:    3, start: newYear, accidents: []accident{crashes, outages, retries, rewrites, pauses},
		rests: rests{"staging": {promotion.NoLastGood}},
	}
}

// placesAndTypos: a file that is wrong, gone, or names another place.
func placesAndTypos() *story {
	return &story{
		name:         "another place",
		environments: []Environment{named("production", nil, "staging"), named("staging", nil)},
		script: []change{
			{files: files{"staging": "s1", "production": "p1"}},
			{files: files{"staging": "s2", "production": "bad-production"}},
		},
		adversity: 1, start: newYear, accidents: []accident{typos, moves},
		rests: rests{"production": {promotion.NoLastGood}},
	}
}

// signatures: what somebody unknown wrote waits, until somebody known writes it
// anew.
func signatures() *story {
	return &story{
		name:         "signatures",
		environments: []Environment{named("production", all(pinned, signed), "staging"), named("staging", signed)},
		script: []change{
			{files: files{"staging": "s1", "production": "p1"}},
			{files: files{"staging": "unsigned1", "production": "p2"}},
			{files: files{"staging": "s3", "production": "unsigned2"}},
		},
		adversity: 1, start: newYear, accidents: []accident{crashes, pauses, retries, exchanges},
		rests: rests{
			"staging":    {promotion.SignatureRequired},
			"production": {promotion.SignatureRequired, promotion.WaitingForPromotion, promotion.WaitingForUpstream},
		},
	}
}
