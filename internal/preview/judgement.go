package preview

import (
	"regexp"

	"chaperone.dev/chaperone/internal/policy"
)

// Judge tells findings that come with a change from those that are there
// anyway. before is the zero Report where nothing ran.
func Judge(before, after policy.Report) Judgement {
	j := Judgement{Verdict: after.Verdict, Errors: after.Errors}
	old, now := shown(before.Findings), shown(after.Findings)
	matched := make([]bool, len(old))
	// The same place first: a list that grew at its beginning moves all others.
	stands := match(old, now, matched, nil, func(f policy.Finding) string { return f.Path })
	stands = match(old, now, matched, stands, func(f policy.Finding) string { return index.ReplaceAllString(f.Path, "[]") })
	for i, f := range now {
		if stands[i] {
			j.Standing = append(j.Standing, f)
		} else {
			j.New = append(j.New, f)
		}
	}
	for i, f := range old {
		if !matched[i] {
			j.Solved = append(j.Solved, f)
		}
	}
	return j
}

// shown are findings whose messages are the same in every process.
func shown(findings []policy.Finding) []policy.Finding {
	out := make([]policy.Finding, len(findings))
	for i, f := range findings {
		f.Message = redacted.ReplaceAllString(f.Message, "<secret value>")
		out[i] = f
	}
	return out
}

var index = regexp.MustCompile(`\[[0-9]+\]`)

type place struct{ rule, object, path string }

// match finds for each finding of now one of old that says the same, and is no
// weaker: one that only warned does not stand for one that stops.
func match(old, now []policy.Finding, matched, stands []bool, path func(policy.Finding) string) []bool {
	if stands == nil {
		stands = make([]bool, len(now))
	}
	key := func(f policy.Finding) place {
		k := place{rule: f.Rule, path: path(f)}
		if f.Object != nil {
			id := f.Object.ID()
			if id.Kind == "ConfigMap" || id.Kind == "Secret" {
				id.Name = hashed.ReplaceAllString(id.Name, "")
			}
			k.object = id.String()
		}
		return k
	}
	open := map[place][]int{}
	for i, f := range old {
		if !matched[i] {
			open[key(f)] = append(open[key(f)], i)
		}
	}
	for i, f := range now {
		if stands[i] {
			continue
		}
		candidates := open[key(f)]
		for n, at := range candidates {
			if old[at].Stops() || !f.Stops() {
				stands[i], matched[at] = true, true
				open[key(f)] = append(candidates[:n:n], candidates[n+1:]...)
				break
			}
		}
	}
	return stands
}

// Stopping are the findings of a judgement that keep the release out, the new
// ones first.
func (j Judgement) Stopping() (fresh, standing []policy.Finding) {
	return stopping(j.New), stopping(j.Standing)
}

func stopping(findings []policy.Finding) (out []policy.Finding) {
	for _, f := range findings {
		if f.Stops() {
			out = append(out, f)
		}
	}
	return out
}
