# METADATA
# title: A restore was tried within a year
# description: >-
#   A backup that nobody has ever restored is a hope. The environment says when
#   one was last tried.
# scope: package
# custom:
#   id: backup/restore-tested
#   code: BAK-007
#   severity: low
#   data: [phi]
#   controls:
#     hipaa:
#       - cite: 164.308(a)(7)(ii)(D)
#         why: The plan is tested by carrying it out.
#   remediation: >-
#     Restore a backup elsewhere, look at what came back, and write the day into
#     governance.backup.restoreTested.
package backup.restore_tested

deny contains result if {
	not tested
	result := {"msg": "governance.backup.restoreTested does not say when a restore was last tried"}
}

deny contains result if {
	days := (now - tested) / 86400000000000
	days > data.params.backup.restore_test_days
	result := {"msg": sprintf("a restore was last tried %d days ago; want at most %d", [floor(days), data.params.backup.restore_test_days])}
}

now := time.parse_rfc3339_ns(input.now)

tested := time.parse_rfc3339_ns(sprintf("%sT00:00:00Z", [backup.restoreTested])) if {
	backup := input.environment.governance.backup
	backup.restoreTested != ""
}
