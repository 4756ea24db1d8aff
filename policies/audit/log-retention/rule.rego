# METADATA
# title: Audit records are kept for six years, in one place
# description: >-
#   The environment says where its audit records go, and that they stay for 2190
#   days: six years. How long backups are kept is another matter.
# scope: package
# custom:
#   id: audit/log-retention
#   code: AUD-001
#   severity: high
#   data: [anonymized, phi]
#   waivable: false
#   controls:
#     hipaa:
#       - cite: 164.312(b)
#         why: What was done in systems with patient data is recorded, and can be looked at.
#       - cite: 164.316(b)(2)(i)
#         why: Records are kept for six years.
#     nist_800_53r5: [AU-11]
#   remediation: >-
#     Set governance.audit of the environment, such as {sink: elasticsearch,
#     retention: 2190d}.
package audit.log_retention

kept := input.environment.governance.audit

deny contains result if {
	trim_space(kept.sink) == ""
	result := {"msg": "governance.audit.sink does not say where audit records go"}
}

deny contains result if {
	days := time.parse_duration_ns(kept.retention) / 86400000000000
	days < data.params.audit.retention_days
	result := {"msg": sprintf("governance.audit.retention is %d days; want at least %d", [floor(days), data.params.audit.retention_days])}
}
