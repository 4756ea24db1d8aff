# METADATA
# title: Backups of real patient data are in a second region, too
# description: >-
#   What takes a whole region away takes the data and its backups with it, unless
#   another region has a copy.
# scope: package
# custom:
#   id: backup/second-region
#   code: BAK-005
#   severity: medium
#   data: [phi]
#   waivable: false
#   controls:
#     hipaa:
#       - cite: 164.308(a)(7)(ii)(B)
#         why: Data that a disaster takes can be restored from where the disaster was not.
#     nist_800_53r5: [CP-10]
#   remediation: >-
#     Add a Schedule to a BackupStorageLocation in another region, or say in
#     governance.backup.replica where else backups are kept.
package backup.second_region

import data.lib.backups

deny contains result if {
	some volume in backups.volumes
	count(regions(volume)) < 2
	not declared
	result := {
		"msg": sprintf("backups of volume %s are in %d region; want two", [volume.name, count(regions(volume))]),
		"object": volume.object,
		"path": volume.path,
	}
}

regions(volume) := {region |
	some plan in backups.covering(volume)
	location := backups.location(plan)
	region := object.get(location, ["spec", "config", "region"], "")
	region != ""
}

declared if {
	backup := input.environment.governance.backup
	replica := backup.replica
	places := {"", object.get(backup, "location", "")}
	not replica in places
}
