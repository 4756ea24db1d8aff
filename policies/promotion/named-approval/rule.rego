# METADATA
# title: Somebody who may has approved this very release, lately
# description: >-
#   A release enters where patients' data is when people of named groups have
#   agreed to exactly it: by the commit that pins the environment to it. The
#   approval gate finds out whose word counts; that the gate is there, that enough
#   have spoken, and that the word is of these days, is this rule's.
# scope: package
# custom:
#   id: promotion/named-approval
#   code: PRM-002
#   severity: critical
#   data: [anonymized, phi]
#   waivable: false
#   controls:
#     hipaa:
#       - cite: 164.308(a)(4)(ii)(B)
#         why: Who lets a change in to patient data is authorized to, by name.
#       - cite: 164.312(a)(2)(i)
#         why: It is a person who agreed, and it is known which one.
#     nist_800_53r5: [CM-3(1)]
#   remediation: >-
#     Set promotion.approval {required, from, notAuthor} of the environment. Where
#     the approval is old, have the pin moved anew.
package promotion.named_approval

asked := input.environment.promotion.approval

deny contains result if {
	asked.required < least
	result := {"msg": sprintf("promotion.approval.required is %d; want at least %d", [asked.required, least])}
}

# Its file may ask more, and never less than the bundle does.
default least := 1

least := max([1, listed[0]]) if is_number(listed[0])

listed := [number |
	some key in [input.environment.id, sprintf("%s/*", [input.environment.pipeline]), input.environment.data]
	number := data.params.promotion.least_approvals[key]
]

# A slip in the parameters is not a pass.
deny contains result if {
	table := data.params.promotion.least_approvals
	not is_object(table)
	result := {"msg": sprintf("params.promotion.least_approvals is %v; want numbers by environment, pipeline or data", [table])}
}

deny contains result if {
	some number in listed
	type_name(number) != "number"
	result := {"msg": sprintf("params.promotion.least_approvals has %v for %s; want a number", [number, input.environment.id])}
}

deny contains result if {
	count(asked.from) == 0
	result := {"msg": "promotion.approval.from names nobody; want the group whose word counts"}
}

deny contains result if {
	input.approval.state == "unknown"
	result := {"msg": "who approved cannot be told"}
}

deny contains result if {
	input.approval.state == "pinned"
	some approver in input.approval.by
	days := (time.parse_rfc3339_ns(input.now) - given(approver)) / 86400000000000
	days > data.params.promotion.approval_days
	result := {"msg": sprintf("%s approved it %d days ago; want it approved anew after %d days", [
		approver.name,
		floor(days),
		data.params.promotion.approval_days,
	])}
}

# The date of a commit is its author's to choose.
deny contains result if {
	input.approval.state == "pinned"
	some approver in input.approval.by
	ahead := given(approver) - time.parse_rfc3339_ns(input.now)
	ahead > 3600000000000
	result := {"msg": sprintf("%s approved it at %s, which is still to come; want it approved anew", [approver.name, approver.when])}
}

deny contains result if {
	input.approval.state == "pinned"
	input.approval.override == ""
	count(input.approval.by) < asked.required
	result := {"msg": sprintf("%d of %d who must agree have agreed", [count(input.approval.by), asked.required])}
}

given(approver) := time.parse_rfc3339_ns(approver.when) if {
	approver.when != ""
} else := 0
