# METADATA
# title: Volumes are encrypted at rest
# description: >-
#   Every volume claim names a storage class that encrypts. The cluster's default
#   class is whatever somebody made it, so a claim without a class does not count;
#   nor does the class of a volume that stands on something else.
# scope: package
# custom:
#   id: encryption/encrypted-volumes
#   code: ENC-001
#   severity: critical
#   data: [anonymized, phi]
#   kinds: [workloads, StatefulSet.apps, PersistentVolumeClaim, PersistentVolume, StorageClass.storage.k8s.io]
#   waivable: true
#   controls:
#     hipaa:
#       - cite: 164.312(a)(2)(iv)
#         why: Patient data on a disk that is lost, returned or copied cannot be read without the key.
#     nist_800_53r5: [SC-28]
#   remediation: >-
#     Set storageClassName to one of params.encrypted_storage_classes, or add the
#     class there after making sure that its provisioner encrypts.
package encryption.encrypted_volumes

import data.lib.objects
import data.lib.pods

deny contains result if {
	some claim in claims
	class := object.get(claim.spec, "storageClassName", null)
	not class in data.params.encrypted_storage_classes
	result := {
		"msg": sprintf("%s has %s, which is not known to encrypt", [claim.what, class_name(class)]),
		"path": concat("", [claim.path, ".storageClassName"]),
	}
}

# A class of this release that is called encrypted must be so.
deny contains result if {
	o := input.object
	objects.kind_key(o) == "StorageClass.storage.k8s.io"
	o.metadata.name in data.params.encrypted_storage_classes
	not encrypts(o)
	result := {
		"msg": sprintf("storage class %q is listed as encrypted, but no parameter of provisioner %q says so", [
			o.metadata.name,
			object.get(o, "provisioner", ""),
		]),
		"path": "parameters",
	}
}

# A volume that was there before: its class is a name, and what it stands on is
# what counts.
deny contains result if {
	o := input.object
	objects.kind_key(o) == "PersistentVolume"
	driver := object.get(o, ["spec", "csi", "driver"], "")
	not data.params.encrypting_parameters[driver]
	result := {
		"msg": sprintf("the volume stands on %s, which is not known to encrypt", [stands_on(o, driver)]),
		"path": "spec",
	}
}

# What a driver makes for one pod has no class.
deny contains result if {
	some pod in pods.specs
	some i, volume in pod.spec.volumes
	driver := volume.csi.driver
	not driver in data.params.memory_drivers
	result := {
		"msg": sprintf("volume %q is of driver %s, without a storage class that is known to encrypt", [object.get(volume, "name", ""), driver]),
		"path": sprintf("%s.volumes[%d].csi", [pod.path, i]),
	}
}

stands_on(volume, driver) := sprintf("driver %s", [driver]) if {
	driver != ""
} else := sources[0] if {
	sources := [name | some name in ["nfs", "hostPath", "local", "iscsi", "fc", "cephfs", "rbd", "glusterfs", "azureFile"]; objects.is_set(volume, ["spec", name])]
	count(sources) > 0
} else := "nothing that is named"

claims contains {"spec": mapping(object.get(o, "spec", {})), "path": "spec", "what": "the claim"} if {
	o := input.object
	objects.kind_key(o) == "PersistentVolumeClaim"
}

claims contains {"spec": mapping(object.get(template, "spec", {})), "path": path, "what": what} if {
	o := input.object
	objects.kind_key(o) == "StatefulSet.apps"
	some i, template in o.spec.volumeClaimTemplates
	path := sprintf("spec.volumeClaimTemplates[%d].spec", [i])
	what := sprintf("claim template %q", [object.get(template, ["metadata", "name"], "")])
}

claims contains {"spec": mapping(object.get(template, "spec", {})), "path": path, "what": what} if {
	some pod in pods.specs
	some i, volume in pod.spec.volumes
	template := volume.ephemeral.volumeClaimTemplate
	path := sprintf("%s.volumes[%d].ephemeral.volumeClaimTemplate.spec", [pod.path, i])
	what := sprintf("ephemeral volume %q", [object.get(volume, "name", "")])
}

mapping(value) := value if {
	is_object(value)
} else := {}

class_name(class) := sprintf("storage class %q", [class]) if {
	is_string(class)
	class != ""
} else := "no storage class"

encrypts(class) if {
	parameters := data.params.encrypting_parameters[class.provisioner]
	some name, values in parameters
	value := class.parameters[name]
	value != ""
	accepted(value, values)
}

accepted(_, []) := true

accepted(value, values) if value in values
