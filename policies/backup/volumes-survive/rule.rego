# METADATA
# title: Volumes with real patient data outlive their claims
# description: >-
#   Deleting a StatefulSet, a claim or an environment must not delete what
#   patients have entrusted: a person deletes that, after a last backup.
# scope: package
# custom:
#   id: backup/volumes-survive
#   code: BAK-008
#   severity: high
#   data: [phi]
#   kinds: [StatefulSet.apps, StorageClass.storage.k8s.io, PersistentVolume, PersistentVolumeClaim]
#   controls:
#     hipaa:
#       - cite: 164.310(d)(2)(iv)
#         why: There is a copy of the data before the volume is let go.
#     nist_800_53r5: [CP-9, MP-6]
#   remediation: >-
#     Keep Retain everywhere, and leave chaperone.dev/prune out. To let a volume
#     go, back it up, and delete it by hand.
package backup.volumes_survive

import data.lib.objects
import data.lib.release

kind := objects.kind_key(input.object)

spec := object.get(input.object, "spec", {})

deny contains result if {
	kind == "StatefulSet.apps"
	some field in ["whenDeleted", "whenScaled"]
	object.get(spec, ["persistentVolumeClaimRetentionPolicy", field], "Retain") != "Retain"
	result := {
		"msg": "its claims, and what is on them, go with it",
		"path": sprintf("spec.persistentVolumeClaimRetentionPolicy.%s", [field]),
	}
}

deny contains result if {
	kind == "StorageClass.storage.k8s.io"
	object.get(input.object, "reclaimPolicy", "Delete") != "Retain"
	result := {"msg": "its volumes are deleted with their claims; want reclaimPolicy Retain", "path": "reclaimPolicy"}
}

deny contains result if {
	kind == "PersistentVolume"
	object.get(spec, "persistentVolumeReclaimPolicy", "Retain") != "Retain"
	result := {"msg": "deleted with its claim; want Retain", "path": "spec.persistentVolumeReclaimPolicy"}
}

deny contains result if {
	kind in {"PersistentVolumeClaim", "PersistentVolume"}
	release.annotation(input.object, "chaperone.dev/prune") == "allow"
	result := {
		"msg": "is deleted when it leaves the release",
		"path": "metadata.annotations[\"chaperone.dev/prune\"]",
	}
}
