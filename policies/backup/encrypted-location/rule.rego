# METADATA
# title: Backups are encrypted where they are kept, and not public
# description: >-
#   A backup is a copy of the patients' data: it is encrypted in its bucket,
#   reached over TLS that is checked, and by no public address.
# scope: package
# custom:
#   id: backup/encrypted-location
#   code: BAK-003
#   severity: high
#   data: [phi]
#   controls:
#     hipaa:
#       - cite: 164.312(a)(2)(iv)
#         why: The copies of patient data are encrypted like the data.
#     nist_800_53r5: [CP-9(8)]
#   remediation: >-
#     Name a key in spec.config of the BackupStorageLocation (kmsKeyId,
#     kmsKeyName), and leave out publicUrl and insecureSkipTLSVerify.
package backup.encrypted_location

import data.lib.backups
import data.lib.objects
import data.lib.release

locations := release.of_kind("BackupStorageLocation.velero.io")

deny contains result if {
	some o in locations
	not encrypted(o)
	result := {
		"msg": "nothing says that backups are encrypted there",
		"object": objects.ref(o),
		"path": "spec.config",
	}
}

deny contains result if {
	some o in locations
	some fault in open(o)
	result := {"msg": fault.msg, "object": objects.ref(o), "path": fault.path}
}

deny contains result if {
	some plan in backups.plans
	plan.what in {"velero", "declared"}
	not backups.location(plan)
	not declared
	result := {
		"msg": "where it is kept is not among the objects; want governance.backup.encrypted to say that it is encrypted",
		"object": plan.object,
		"path": "spec.template.storageLocation",
	}
}

declared if input.environment.governance.backup.encrypted == true

encrypted(o) if {
	some key in data.params.backup.encrypting_config[object.get(o, ["spec", "provider"], "")]
	value := object.get(o, ["spec", "config", key], "")
	not value in {"", null}
}

open(o) := (plain | unchecked) | public if {
	config := object.get(o, ["spec", "config"], {})
	plain := {{"msg": "reached without TLS", "path": sprintf("spec.config.%s", [key])} |
		some key in ["s3Url", "publicUrl"]
		startswith(lower(object.get(config, key, "")), "http://")
	}
	unchecked := {{"msg": "whoever answers is taken for the store", "path": "spec.config.insecureSkipTLSVerify"} |
		object.get(config, "insecureSkipTLSVerify", "false") != "false"
	}
	public := {{"msg": "has a public address", "path": "spec.config.publicUrl"} |
		object.get(config, "publicUrl", "") != ""
	}
}
