package evidence

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
)

// readScan reads a record of a scan: cosign's, which holds a report as the
// scanner wrote it, or in-toto's, which has a list of its own.
func readScan(r *reader, n node, s *statement) {
	s.kind = KindScan
	scanner := r.field(n, "scanner")
	uri := r.text(r.field(scanner, "uri"))
	s.scan.Scanner, _, _ = strings.Cut(uri, "@")
	s.scan.Version = r.text(r.field(scanner, "version"))
	finished := r.at(n, "metadata", "scanFinishedOn")
	if s.scan.Finished = r.moment(finished); s.scan.Finished == "" {
		r.refuse(finished, "when the scan ended")
	}
	r.count(r.field(scanner, "result"), &s.scan)
}

// found is how severe each vulnerability is, by its name.
type found map[string]severity

type severity int

const (
	lower severity = iota
	high
	critical
)

var severities = map[string]severity{
	"critical": critical, "high": high, "medium": lower, "low": lower, "negligible": lower, "unknown": lower, "none": lower,
}

// count reads a report by its form, and refuses one whose form is not known:
// nothing found in what is not understood is no good news.
func (r *reader) count(result node, s *Scan) {
	all := found{}
	report, _ := result.value.(map[string]any)
	_, listed := result.value.([]any)
	switch {
	case listed:
		r.inToto(result, all)
	case report["matches"] != nil:
		r.grype(result, all)
	case report["SchemaVersion"] != nil:
		r.trivy(result, all)
	default:
		r.refuse(result, "a report as Trivy or Grype write it in JSON, or a list of {id, severity}")
	}
	for name, how := range all {
		switch how {
		case critical:
			s.Critical++
			s.Worst = append(s.Worst, name)
		case high:
			s.High++
		}
	}
	slices.Sort(s.Worst)
	s.Worst = firstOf(s.Worst)
}

func (all found) add(name string, how severity) { all[name] = max(all[name], how) }

func (r *reader) severity(n node) severity {
	how, known := severities[strings.ToLower(r.text(n))]
	if !known {
		r.refuse(n, fmt.Sprintf("one of %v", slices.Sorted(maps.Keys(severities))))
	}
	return how
}

// trivy leaves Results out where it found nothing to look at.
func (r *reader) trivy(report node, all found) {
	if version, ok := report.value.(map[string]any)["SchemaVersion"].(interface{ String() string }); !ok || version.String() != "2" {
		r.refuse(r.field(report, "SchemaVersion"), "2")
	}
	for _, result := range r.list(r.field(report, "Results")) {
		for _, v := range r.list(r.field(result, "Vulnerabilities")) {
			all.add(r.required(r.field(v, "VulnerabilityID")), r.severity(r.field(v, "Severity")))
		}
	}
}

func (r *reader) grype(report node, all found) {
	for _, match := range r.list(r.field(report, "matches")) {
		v := r.field(match, "vulnerability")
		all.add(r.required(r.field(v, "id")), r.severity(r.field(v, "severity")))
	}
}

// inToto has several severities for each, by the methods that gave them, in words
// or as numbers of CVSS. The worst counts.
func (r *reader) inToto(result node, all found) {
	for _, v := range r.list(result) {
		name, worst := r.required(r.field(v, "id")), lower
		given := r.list(r.field(v, "severity"))
		if len(given) == 0 {
			r.refuse(r.field(v, "severity"), "how severe it is")
		}
		for _, each := range given {
			score := r.field(each, "score")
			number, err := strconv.ParseFloat(r.text(score), 64)
			switch {
			case err != nil || math.IsNaN(number):
				worst = max(worst, r.severity(score))
			case number >= 9:
				worst = critical
			case number >= 7:
				worst = max(worst, high)
			}
		}
		all.add(name, worst)
	}
}
