# METADATA
# title: Databases of real patient data go back to any moment
# description: >-
#   A backup of an hour ago holds neither what was entered since nor what was
#   overwritten: databases keep their log of changes as well.
# scope: package
# custom:
#   id: backup/point-in-time
#   code: BAK-004
#   severity: low
#   data: [phi]
#   waivable: false
#   controls:
#     hipaa:
#       - cite: 164.308(a)(7)(ii)(B)
#         why: Lost data is restored up to the moment of the loss.
#     nist_800_53r5: [CP-10]
#   remediation: >-
#     Archive the log of changes (such as PostgreSQL's WAL), and say by what in
#     the annotation chaperone.dev/point-in-time-recovery or in
#     governance.backup.pointInTime.
package backup.point_in_time

import data.lib.backups
import data.lib.objects
import data.lib.release

deny contains result if {
	some volume in backups.volumes
	some o in release.of_kind("StatefulSet.apps")
	objects.ref(o) == volume.object
	database(o)
	release.annotation(o, "chaperone.dev/point-in-time-recovery") == ""
	not declared
	result := {
		"msg": "nothing says by what it goes back to a moment between two backups",
		"object": volume.object,
		"path": "metadata.annotations[\"chaperone.dev/point-in-time-recovery\"]",
	}
}

declared if {
	backup := input.environment.governance.backup
	backup.pointInTime != ""
}

database(o) if {
	some image in input.images
	image.object == objects.ref(o)
	regex.match(data.params.backup.database_images, image.name)
}
