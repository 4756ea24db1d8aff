# METADATA
# title: An environment holds what it is registered for
# description: >-
#   How strictly a release is judged depends on spec.data of the environment's
#   file, which whoever merges to the source can write. So what each environment
#   holds at least stands in the bundle as well, and no environment holds less
#   than one that it comes after.
# scope: package
# custom:
#   id: data/class-as-registered
#   code: DAT-005
#   severity: critical
#   data: [synthetic, anonymized, phi]
#   waivable: false
#   controls:
#     hipaa:
#       - cite: 164.308(a)(4)(i)
#         why: Who may change a release cannot take the protection of patient data from it.
#     nist_800_53r5: [CM-5]
#   remediation: >-
#     Set spec.data of the environment to what it is registered for. Where it is to
#     hold less from now on, have the security team change params.data_classes.
package data.class_as_registered

rank := {"none": 0, "synthetic": 1, "anonymized": 2, "phi": 3}

here := input.environment

deny contains result if {
	rank[here.data] < rank[registered]
	result := {"msg": sprintf("spec.data of %s is %s; it is registered for %s", [here.id, here.data, registered])}
}

# A slip in the parameters is not a pass.
deny contains result if {
	not rank[registered]
	result := {"msg": sprintf("params.data_classes has %v for %s; want none, synthetic, anonymized or phi", [registered, here.id])}
}

# Of environments with such data, promotion/in-order says it.
deny contains result if {
	rank[here.data] < rank.anonymized
	some other in input.pipeline
	other.order == "before"
	rank[other.data] >= rank.anonymized
	result := {"msg": sprintf("spec.data is %s, and %s, which comes before, holds %s data; want at least that", [
		here.data,
		other.environment,
		other.data,
	])}
}

# Of environments with such data, promotion/verification-evidence says it.
deny contains result if {
	rank[here.data] < rank.anonymized
	some id in here.after
	known := readable
	not id in known
	result := {"msg": sprintf("nothing is known of %s, which comes before, so nobody can tell whether spec.data may be %s", [
		id,
		here.data,
	])}
}

readable := {other.environment | some other in input.pipeline} - {other.environment |
	some other in input.pipeline
	other.data == "unknown"
}

default registered := "none"

registered := classes[matching[0]] if count(matching) > 0

classes := data.params.data_classes

# The environment itself, its pipeline, or all: the nearest that is listed.
matching := [key |
	some key in [here.id, sprintf("%s/*", [here.pipeline]), "*"]
	classes[key]
]
