package image.scanned_test

import data.image.scanned

image := {"image": "r.example.org/a:1@sha256:1", "digest": "sha256:1", "object": {}, "path": "p"}

scan(scanner, finished, critical) := {
	"key": "ci", "file": "f", "scanner": scanner, "version": "", "finished": finished,
	"critical": critical, "high": 7, "worst": array.slice(["CVE-1", "CVE-2"], 0, critical),
}

answers(entry, may, scans) := found if {
	found := {f.msg | some f in scanned[entry]} with input.images as [image]
		with input.evidence.images as [{"digest": "sha256:1", "scans": scans}]
		with input.now as "2026-05-20T12:00:00Z"
		with data.params.evidence as {"keys": {"ci": {"may": may}}, "scan_days": 30}
}

denials(scans) := {trim_prefix(message, "r.example.org/a:1@sha256:1… ") | some message in answers("deny", ["scan"], scans)}

test_fresh_and_clean if {
	denials([scan("trivy", "2026-05-19T12:00:00Z", 0)]) == set()
	denials([scan("trivy", "2026-04-20T12:00:00Z", 0)]) == set()
	answers("audit", ["scan"], []) == set()
}

test_none if denials([]) == {"has no scan by a key that counts; want one in the evidence"}

test_old if denials([scan("trivy", "2026-04-20T11:00:00Z", 0)]) == {"was last scanned at 2026-04-20T11:00:00Z; want that anew after 30 days"}

test_of_a_day_to_come if {
	denials([scan("trivy", "2099-05-19T12:00:00Z", 0)]) == {"was scanned at 2099-05-19T12:00:00Z, which is still to come (f)"}
	denials([scan("trivy", "2026-05-20T12:30:00Z", 0)]) == set()
}

test_critical if {
	denials([scan("trivy", "2026-05-19T12:00:00Z", 2)]) == {"has 2 critical vulnerabilities: CVE-1, CVE-2 (f)"}
	denials([scan("trivy", "2026-05-19T12:00:00Z", 3)]) == {"has 3 critical vulnerabilities: CVE-1, CVE-2, … (f)"}
}

test_the_newest_of_each_scanner_counts if {
	fixed := [scan("trivy", "2026-05-18T12:00:00Z", 1), scan("trivy", "2026-05-19T12:00:00Z", 0)]
	denials(fixed) == set()
	found := [scan("trivy", "2026-05-19T12:00:00Z", 1), scan("trivy", "2026-05-18T12:00:00Z", 0)]
	count(denials(found)) == 1
	two := [scan("grype", "2026-05-18T12:00:00Z", 1), scan("trivy", "2026-05-19T12:00:00Z", 0)]
	count(denials(two)) == 1
	old := [scan("grype", "2026-01-18T12:00:00Z", 0), scan("trivy", "2026-05-19T12:00:00Z", 0)]
	denials(old) == set()
}

test_not_judged if {
	answers("deny", ["test"], []) == set()
	count(answers("audit", ["test"], [])) == 1
}
