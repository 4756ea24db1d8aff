# METADATA
# title: Pods mount only volumes that the cluster manages
# description: >-
#   Volumes that name a server, a disk or a driver in the pod itself go around
#   storage classes, claims and their encryption, and many send data in the
#   clear.
# scope: package
# custom:
#   id: pod/volume-types
#   code: POD-014
#   severity: medium
#   data: [anonymized, phi]
#   kinds: [workloads]
#   waivable: true
#   controls:
#     hipaa:
#       - cite: 164.312(a)(1)
#         why: Patient data is stored where somebody decided that it may be, by claims and storage classes.
#     pss: [restricted]
#     cis_k8s: {version: "1.12", ids: ["5.7.3"]}
#     nist_800_53r5: [AC-6]
#   remediation: >-
#     Use a persistentVolumeClaim, or a configMap, downwardAPI, emptyDir,
#     projected, secret, csi, ephemeral or image volume.
package pod.volume_types

import data.lib.pods

allowed := {
	"configMap",
	"csi",
	"downwardAPI",
	"emptyDir",
	"ephemeral",
	"image",
	"persistentVolumeClaim",
	"projected",
	"secret",
}

# One without a source is an emptyDir: the API server makes it so.
deny contains result if {
	some v in pods.volumes
	sources := {field | some field, value in v.volume; field != "name"; value != null}
	count(sources) > 0
	count(sources & allowed) == 0
	result := {
		"msg": sprintf("volume %q is of type %s; want a claim or another type that the cluster manages", [v.name, concat(", ", sources)]),
		"path": concat(".", [v.path, min(sources)]),
	}
}
