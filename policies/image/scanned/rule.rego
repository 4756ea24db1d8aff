# METADATA
# title: Images were scanned lately, and no critical vulnerability is open
# description: >-
#   What is known of an image changes while the image does not. A scan is a signed
#   record (of cosign or in-toto) in environments/<pipeline>/evidence, by a key in
#   params.evidence; the newest of each scanner counts, and one at least is of the
#   last days. Records are read at the head of the branch: an image that is pinned
#   long since is scanned again without a release.
# scope: package
# custom:
#   id: image/scanned
#   code: IMG-004
#   severity: high
#   data: [anonymized, phi]
#   waivable: true
#   controls:
#     hipaa:
#       - cite: 164.308(a)(5)(ii)(B)
#         why: Known holes, by which malice gets in, are looked for in everything that runs.
#     nist_800_53r5: [RA-5]
#   remediation: >-
#     Scan the image and commit the signed record: `trivy image --format cosign-vuln
#     --output scan.json IMAGE@DIGEST`, `cosign attest --type vuln --predicate
#     scan.json --key … IMAGE@DIGEST`, then `cosign download attestation
#     IMAGE@DIGEST > environments/<pipeline>/evidence/<name>.scan.jsonl`. Where it
#     finds something critical, move to an image in which that is fixed.
package image.scanned

import data.lib.evidence

deny contains result if {
	some image in judged
	count(evidence.of(image).scans) == 0
	result := evidence.finding(image, "has no scan by a key that counts; want one in the evidence")
}

deny contains result if {
	some image in judged
	ages := {age(scan) | some scan in evidence.of(image).scans}
	count(ages) > 0
	min(ages) > data.params.evidence.scan_days
	result := evidence.finding(image, sprintf("was scanned %d days ago; want that anew after %d days", [
		floor(min(ages)),
		data.params.evidence.scan_days,
	]))
}

# A record of a day to come would be the newest for ever.
deny contains result if {
	some image in judged
	some scan in evidence.of(image).scans
	age(scan) * 24 < -1
	result := evidence.finding(image, sprintf("was scanned at %s, which is still to come (%s)", [scan.finished, scan.file]))
}

deny contains result if {
	some image in judged
	some scan in newest(evidence.of(image).scans)
	scan.critical > 0
	result := evidence.finding(image, sprintf("has %d critical vulnerabilities: %s%s (%s)", [
		scan.critical,
		concat(", ", scan.worst),
		more(scan),
		scan.file,
	]))
}

audit contains {"msg": "no key may speak of scans (params.evidence.keys): vulnerabilities of images are not judged"} if {
	not evidence.judged("scan")
}

judged contains image if {
	evidence.judged("scan")
	some image in input.images
}

# newest of each scanner, and of each key that speaks for it. Times are alike in
# form, so that they compare as texts.
newest(scans) := {scan |
	some by in {[scan.key, scan.scanner] | some scan in scans}
	own := [scan | some scan in scans; [scan.key, scan.scanner] == by]
	last := max([scan.finished | some scan in own])
	some scan in own
	scan.finished == last
}

# age in days.
age(scan) := (time.parse_rfc3339_ns(input.now) - time.parse_rfc3339_ns(scan.finished)) / 86400000000000

more(scan) := ", …" if {
	scan.critical > count(scan.worst)
} else := ""
