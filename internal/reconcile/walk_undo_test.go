package reconcile

import (
	"strings"

	"chaperone.dev/chaperone/internal/promotion"
)

// migrationWord begins the name of what a release does to the data, which a
// rollback hook of its undoes.
const migrationWord = "mig"

// migrationsIn are those that a release has.
func migrationsIn(d Digest) Migrations {
	var found []string
	for file := range strings.SplitSeq(string(d), "+") {
		if strings.HasPrefix(file, migrationWord) {
			found = append(found, file)
		}
	}
	return MigrationsOf(found...)
}

func (m Migrations) and(others Migrations) Migrations {
	return MigrationsOf(append(strings.Fields(string(m)), strings.Fields(string(others))...)...)
}

// migrating are those that last good does not have.
func migrating(lastGood, to Digest) Migrations {
	var found []string
	for word := range strings.FieldsSeq(string(migrationsIn(to))) {
		if lastGood != "" && !migrationsIn(lastGood).Covers(Migrations(word)) {
			found = append(found, word)
		}
	}
	return MigrationsOf(found...)
}

// undo is what the adapter promises: it undoes all, or says that it did not.
func (o *outside) undo(into []end, a *Action) []end {
	i := o.number(a.Environment)
	all, t := o.with(i)
	t.schema, t.halfway = t.proven, false
	half, t := o.with(i)
	t.halfway = true
	done, lost := all.ended(a, OutcomeDone, ""), half.accident(a, OutcomeRetry, promotion.ClusterUnavailable)
	done.touched, lost.touched = true, true
	return append(into, done, lost, half.accident(a, OutcomeFailed, promotion.RollbackFailed))
}

func migrations() *story {
	return &story{
		name:         "migrations",
		environments: []Environment{named("dev", nil)},
		script: []change{
			{files: files{"dev": "d1"}},
			{files: files{"dev": "bad", "dev.schema": "mig1"}},
			{files: files{"dev.text": "t"}},
			{files: files{"dev.schema": "mig2"}},
		},
		adversity: 2, start: newYear, accidents: []accident{crashes, retries, typos},
		rests: rests{"dev": {promotion.NoLastGood, promotion.RevertConflict, promotion.SeveralSuspects, promotion.Quarantined}},
	}
}
