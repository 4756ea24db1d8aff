# METADATA
# title: Real patient data is backed up each day, and each hour what has changed
# description: >-
#   Every volume that may hold real patient data is in a full backup at least once
#   a day and in an incremental one at least once an hour. What is kept by other
#   means than objects is declared in governance.backup of the environment.
# scope: package
# custom:
#   id: backup/scheduled
#   code: BAK-001
#   severity: critical
#   data: [phi]
#   waivable: false
#   controls:
#     hipaa:
#       - cite: 164.308(a)(7)(ii)(A)
#         why: There are retrievable exact copies of what the volumes hold, none older than an hour.
#     nist_800_53r5: [CP-9]
#   remediation: >-
#     Add Schedules of Velero that take the namespace (full and incremental), or
#     annotate what makes the backups with chaperone.dev/backup, or declare it in
#     governance.backup of the environment.
package backup.scheduled

import data.lib.backups

deny contains result if {
	some volume in backups.volumes
	not taken[["full", volume]]
	result := {
		"msg": sprintf("no full backup at least every %v hours takes volume %s", [data.params.backup.full_hours, volume.name]),
		"object": volume.object,
		"path": volume.path,
	}
}

deny contains result if {
	some volume in backups.volumes
	not taken[["incremental", volume]]
	result := {
		"msg": sprintf("no backup at least every %v hours takes what has changed on volume %s", [data.params.backup.incremental_hours, volume.name]),
		"object": volume.object,
		"path": volume.path,
	}
}

# A full backup is also one of what has changed.
taken contains ["full", volume] if {
	some volume in backups.volumes
	some plan in backups.covering(volume)
	plan.kind == "full"
	plan.seconds > 0
	plan.seconds <= data.params.backup.full_hours * 3600
}

taken contains ["incremental", volume] if {
	some volume in backups.volumes
	some plan in backups.covering(volume)
	plan.seconds > 0
	plan.seconds <= data.params.backup.incremental_hours * 3600
}
