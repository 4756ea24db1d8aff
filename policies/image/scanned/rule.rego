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
	some image in input.images
	scans_of[image.digest] == []
	result := evidence.finding(image, "has no scan by a key that counts; want one in the evidence")
}

deny contains result if {
	some image in input.images
	scans := scans_of[image.digest]
	last := max([scan.finished | some scan in scans])
	last < oldest
	result := evidence.finding(image, sprintf("was last scanned at %s; want that anew after %d days", [last, data.params.evidence.scan_days]))
}

# A record of a day to come would be the newest for ever.
deny contains result if {
	some image in input.images
	some scan in scans_of[image.digest]
	scan.finished > soon
	result := evidence.finding(image, sprintf("was scanned at %s, which is still to come (%s)", [scan.finished, scan.file]))
}

deny contains result if {
	some image in input.images
	scans := scans_of[image.digest]
	some scan in scans
	scan.critical > 0
	newest(scan, scans)
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

# scans_of each digest; of none where no key may speak of scans.
scans_of := {image.digest: evidence.of(image).scans |
	evidence.judged("scan")
	some image in input.images
}

# newest of its scanner, as far as its key tells.
newest(scan, scans) if {
	every other in scans {
		not later(other, scan)
	}
}

later(other, scan) if {
	other.finished > scan.finished
	other.scanner == scan.scanner
	other.key == scan.key
}

# Times of scans are alike in form, so that they compare as texts.
oldest := moment(now - (data.params.evidence.scan_days * 86400000000000))

soon := moment(now + 3600000000000)

now := time.parse_rfc3339_ns(input.now)

moment(ns) := time.format([ns, "UTC", "2006-01-02T15:04:05Z07:00"])

more(scan) := ", …" if {
	scan.critical > count(scan.worst)
} else := ""
