# METADATA
# title: No secret of another environment
# description: >-
#   A secret that two environments share is as safe as the less guarded one. A
#   path that carries another environment's name is that environment's;
#   params.environment_names lists the names, and which mean the same.
# scope: package
# custom:
#   id: secret/own-paths
#   code: SEC-005
#   severity: high
#   data: [synthetic, anonymized, phi]
#   waivable: true
#   controls:
#     hipaa:
#       - cite: 164.308(a)(4)(ii)(B)
#         why: Who holds the keys of one environment was not given those of another.
#   remediation: >-
#     Put a secret of its own under this environment's path in the secret
#     manager, and change the one that was shared.
package secret.own_paths

import data.lib.cloud
import data.lib.objects
import data.lib.release

deny contains result if {
	some taken in paths
	some other in cloud.others(taken.key)
	result := {
		"msg": sprintf("%q carries %q, the name of another environment", [taken.key, other]),
		"object": taken.object,
		"path": taken.path,
	}
}

paths contains {"key": key, "object": objects.ref(o), "path": path} if {
	some o in release.of_kind("ExternalSecret.external-secrets.io")
	some i, entry in o.spec.data
	key := entry.remoteRef.key
	is_string(key)
	path := sprintf("spec.data[%d].remoteRef.key", [i])
}

paths contains {"key": key, "object": objects.ref(o), "path": path} if {
	some o in release.of_kind("ExternalSecret.external-secrets.io")
	some i, entry in o.spec.dataFrom
	some way in [["extract", "key"], ["find", "path"]]
	key := entry[way[0]][way[1]]
	is_string(key)
	path := sprintf("spec.dataFrom[%d].%s.%s", [i, way[0], way[1]])
}

paths contains {"key": key, "object": objects.ref(o), "path": path} if {
	some o in release.of_kind("ClusterExternalSecret.external-secrets.io")
	some i, entry in o.spec.externalSecretSpec.data
	key := entry.remoteRef.key
	path := sprintf("spec.externalSecretSpec.data[%d].remoteRef.key", [i])
}

paths contains {"key": key, "object": objects.ref(o), "path": path} if {
	some o in release.of_kind("ClusterExternalSecret.external-secrets.io")
	some i, entry in o.spec.externalSecretSpec.dataFrom
	some way in [["extract", "key"], ["find", "path"]]
	key := entry[way[0]][way[1]]
	path := sprintf("spec.externalSecretSpec.dataFrom[%d].%s.%s", [i, way[0], way[1]])
}

# The driver's parameters hold a list as text.
paths contains {"key": key, "object": objects.ref(o), "path": "spec.parameters.objects"} if {
	some o in release.of_kind("SecretProviderClass.secrets-store.csi.x-k8s.io")
	text := o.spec.parameters.objects
	is_string(text)
	some parts in regex.find_all_string_submatch_n(`(?m)(?:objectName|secretPath|resourceName):\s*["']?([^"'\s]+)`, text, -1)
	key := parts[1]
}
