# METADATA
# title: Anonymized data has somebody who attests it
# description: >-
#   Data is anonymous by one of the two ways that the Privacy Rule knows, and
#   somebody says so with name and date.
# scope: package
# custom:
#   id: data/deidentification-attested
#   code: DAT-002
#   severity: high
#   data: [anonymized]
#   waivable: false
#   controls:
#     hipaa:
#       - cite: 164.514(a)
#         why: Only what was de-identified as the rule has it is no patient data any more.
#       - cite: 164.502(b)
#         why: Tests get data that tells nothing of a patient.
#     nist_800_53r5: [SI-19]
#   remediation: >-
#     Have the data made anonymous and set governance.deidentification {method,
#     by, date} of the environment.
package data.deidentification_attested

attested := input.environment.governance.deidentification

deny contains result if {
	attested == null
	result := {"msg": "governance.deidentification does not say how, by whom and when the data was made anonymous"}
}

deny contains result if {
	method := attested.method
	not method in {"safe-harbor", "expert-determination"}
	result := {"msg": "governance.deidentification.method: want safe-harbor or expert-determination"}
}

deny contains result if {
	some field in ["by", "date"]
	trim_space(attested[field]) == ""
	result := {"msg": sprintf("governance.deidentification.%s is empty", [field])}
}

deny contains result if {
	attested.date != ""
	time.parse_rfc3339_ns(sprintf("%sT00:00:00Z", [attested.date])) > time.parse_rfc3339_ns(input.now) + 86400000000000
	result := {"msg": sprintf("governance.deidentification.date %s is in the future", [attested.date])}
}
