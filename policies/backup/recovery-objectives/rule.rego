# METADATA
# title: Recovery objectives are declared, in bounds, and kept by the backups
# description: >-
#   The environment says how long it may be away (RTO) and how much may be lost
#   (RPO), and its backups come at least that often. Whatever is declared,
#   critical systems are back within 72 hours.
# scope: package
# custom:
#   id: backup/recovery-objectives
#   code: BAK-006
#   severity: high
#   data: [phi]
#   waivable: false
#   controls:
#     hipaa:
#       - cite: 164.308(a)(7)(ii)(B)
#         why: How fast what is lost is restored is decided before it is lost.
#       - cite: 164.308(a)(7)(ii)(E)
#         why: The objectives say how critical the system is.
#     nist_800_53r5: [CP-9]
#   remediation: >-
#     Set governance.recovery {rto, rpo} of the environment, and back up at least
#     as often as rpo.
package backup.recovery_objectives

import data.lib.backups

recovery := input.environment.governance.recovery

objectives := {
	"rto": {"declared": backups.hours(recovery.rto), "most": data.params.backup.rto_hours},
	"rpo": {"declared": backups.hours(recovery.rpo), "most": data.params.backup.rpo_hours},
}

deny contains result if {
	some name, objective in objectives
	objective.declared <= 0
	result := {"msg": sprintf("governance.recovery.%s is not declared; want at most %vh", [name, objective.most])}
}

deny contains result if {
	some name, objective in objectives
	most := min([objective.most, 72])
	objective.declared > most
	result := {"msg": sprintf("governance.recovery.%s is %v hours; want at most %v", [name, objective.declared, most])}
}

deny contains result if {
	rpo := objectives.rpo.declared
	rpo > 0
	some volume in backups.volumes
	intervals := {plan.seconds | some plan in backups.covering(volume); plan.seconds > 0}
	not within(intervals, rpo * 3600)
	result := {
		"msg": sprintf("volume %s is not backed up as often as governance.recovery.rpo promises, every %v hours", [volume.name, rpo]),
		"object": volume.object,
		"path": volume.path,
	}
}

within(intervals, most) if min(intervals) <= most
