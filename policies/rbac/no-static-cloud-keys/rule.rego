# METADATA
# title: Pods reach the cloud by their identity, not by keys
# description: >-
#   A key in a Secret works from anywhere, for anyone, until somebody changes
#   it. A pod's own identity is good for minutes, and for that pod.
#   params.cloud_key_settings lists how such keys are handed over.
# scope: package
# custom:
#   id: rbac/no-static-cloud-keys
#   code: RBAC-006
#   severity: medium
#   data: [anonymized, phi]
#   kinds: [workloads]
#   waivable: false
#   controls:
#     hipaa:
#       - cite: 164.312(d)
#         why: The provider knows which service asks, because nothing else can have its token.
#       - cite: 164.308(a)(4)(ii)(B)
#         why: Rights at the provider belong to one account of the cluster.
#   remediation: >-
#     Annotate the pod's ServiceAccount with a role (eks.amazonaws.com/role-arn,
#     iam.gke.io/gcp-service-account, azure.workload.identity/client-id), remove
#     the setting, and revoke the key.
package rbac.no_static_cloud_keys

import data.lib.pods

deny contains result if {
	some c in pods.containers
	some i, variable in c.container.env
	variable.name in data.params.cloud_key_settings
	result := {
		"msg": sprintf("container %q gets %s, a key that works from anywhere", [c.name, variable.name]),
		"path": sprintf("%s.env[%d]", [c.path, i]),
	}
}

# The file may hold a key, or only say how the pod's own token is exchanged. What
# is mounted from a Secret is a key.
deny contains result if {
	some c in pods.containers
	some i, variable in c.container.env
	variable.name == "GOOGLE_APPLICATION_CREDENTIALS"
	is_string(variable.value)
	some mount in c.container.volumeMounts
	startswith(variable.value, concat("", [trim_suffix(mount.mountPath, "/"), "/"]))
	some volume in c.pod.spec.volumes
	volume.name == mount.name
	is_object(volume.secret)
	result := {
		"msg": sprintf("container %q reads a key that works from anywhere from a Secret", [c.name]),
		"path": sprintf("%s.env[%d]", [c.path, i]),
	}
}
