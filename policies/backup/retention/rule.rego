# METADATA
# title: Full backups are kept long enough
# description: >-
#   Backups of real patient data are kept for 30 days, of anonymized data for 7.
#   This is not the retention of documentation, which is six years (audit/log-
#   retention).
# scope: package
# custom:
#   id: backup/retention
#   code: BAK-002
#   severity: high
#   data: [anonymized, phi]
#   waivable: false
#   controls:
#     hipaa:
#       - cite: 164.308(a)(7)(ii)(A)
#         why: A copy is of use only while it is there when the loss is noticed.
#     nist_800_53r5: [CP-9]
#   remediation: >-
#     Set ttl of the Schedule, expires of the SnapshotSchedule, the annotation
#     chaperone.dev/backup-retention, or governance.backup.retention.
package backup.retention

import data.lib.backups

wanted := data.params.backup.retention_hours[input.environment.data]

deny contains result if {
	some plan in backups.plans
	plan.kind == "full"
	plan.kept < wanted
	result := {
		"msg": sprintf("kept for %v hours; want at least %v where data is %s", [plan.kept, wanted, input.environment.data]),
		"object": plan.object,
		"path": plan.path,
	}
}

# An incremental one is of use until the next full one is there.
deny contains result if {
	some plan in backups.plans
	plan.kind == "incremental"
	plan.kept < data.params.backup.full_hours
	result := {
		"msg": sprintf("kept for %v hours; want at least %v, until the next full backup", [plan.kept, data.params.backup.full_hours]),
		"object": plan.object,
		"path": plan.path,
	}
}
