# METADATA
# title: A change passes through the environments in their order
# description: >-
#   Data that came from patients is reached through environments that hold less of
#   it: nothing enters without having been somewhere before, nothing passes by an
#   environment in between, and a person decides each time.
# scope: package
# custom:
#   id: promotion/in-order
#   code: PRM-001
#   severity: critical
#   data: [anonymized, phi]
#   waivable: false
#   controls:
#     hipaa:
#       - cite: 164.308(a)(8)
#         why: Each change is evaluated where it can do less harm first.
#     nist_800_53r5: [CM-3]
#   remediation: >-
#     Set spec.after and spec.promotion.mode of the environment, so that each
#     change comes from the environment before.
package promotion.in_order

rank := {"none": 0, "synthetic": 1, "anonymized": 2, "phi": 3}

here := input.environment

own := rank[here.data]

before contains other if {
	some other in input.pipeline
	other.order == "before"
	other.data in object.keys(rank)
}

deny contains result if {
	count(here.after) == 0
	result := {"msg": sprintf("no environment comes before one that holds %s data; want spec.after", [here.data])}
}

deny contains result if {
	here.promotion.mode != "pull-request"
	result := {"msg": sprintf("changes enter by mode %s where data is %s; want pull-request", [here.promotion.mode, here.data])}
}

deny contains result if {
	some other in before
	rank[other.data] > own
	result := {"msg": sprintf("%s, which holds %s data, comes before", [other.environment, other.data])}
}

# An environment in between holds more than all that comes before, and less
# than this one.
deny contains result if {
	some other in input.pipeline
	other.order == "beside"
	rank[other.data] < own
	every earlier in before {
		rank[other.data] > rank[earlier.data]
	}
	result := {"msg": sprintf("changes pass by %s, which holds %s data; want it in spec.after", [other.environment, other.data])}
}
