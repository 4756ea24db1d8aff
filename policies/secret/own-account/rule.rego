# METADATA
# title: Workloads have an account of their own, and a token only where they need one
# description: >-
#   What runs under the account "default" cannot be told apart from anything
#   else that does. A token that nobody needs is one that whoever breaks in can
#   use against the Kubernetes API.
# scope: package
# custom:
#   id: secret/own-account
#   code: SEC-004
#   severity: medium
#   data: [synthetic, anonymized, phi]
#   waivable: false
#   controls:
#     hipaa:
#       - cite: 164.312(a)(2)(i)
#         why: Each service has an identity of its own, by which its doings can be traced.
#       - cite: 164.312(d)
#         why: A token is held only by who has to prove to the cluster who they are.
#     cis_k8s: {version: "1.12", ids: ["5.1.5", "5.1.6"]}
#   remediation: >-
#     Make a ServiceAccount for the workload with automountServiceAccountToken:
#     false, and name it in serviceAccountName. What talks to the Kubernetes API
#     says why in the annotation chaperone.dev/needs-token of its pods.
package secret.own_account

import data.lib.objects
import data.lib.pods
import data.lib.release
import data.lib.workloads

deny contains result if {
	some workload in workloads.all
	account_of(workload) == "default"
	result := {
		"msg": "it runs under the account \"default\", as does everything that names none",
		"object": objects.ref(workload.object),
		"path": concat("", [workload.pod.path, ".serviceAccountName"]),
	}
}

deny contains result if {
	some workload in workloads.all
	mounted(workload)
	workloads.declared(workload, "chaperone.dev/needs-token") == ""
	result := {
		"msg": "a token for the Kubernetes API is mounted, and nothing says what for",
		"object": objects.ref(workload.object),
		"path": concat("", [workload.pod.path, ".automountServiceAccountToken"]),
	}
}

# A token that a volume brings is one as well, unless it is for somebody else.
deny contains result if {
	some workload in workloads.all
	some i, volume in workload.pod.spec.volumes
	some j, source in volume.projected.sources
	token := source.serviceAccountToken
	is_object(token)
	for_the_api(token)
	workloads.declared(workload, "chaperone.dev/needs-token") == ""
	result := {
		"msg": sprintf("volume %q has a token for the Kubernetes API, and nothing says what for", [object.get(volume, "name", "")]),
		"object": objects.ref(workload.object),
		"path": sprintf("%s.volumes[%d].projected.sources[%d].serviceAccountToken", [workload.pod.path, i, j]),
	}
}

for_the_api(token) if {
	audience := pods.text(object.get(token, "audience", ""))
	regex.match(`^$|^(https?://)?kubernetes(\.default(\.svc(\.cluster\.local)?)?)?/?$|^api$`, audience)
}

deny contains result if {
	some kind in ["RoleBinding.rbac.authorization.k8s.io", "ClusterRoleBinding.rbac.authorization.k8s.io"]
	some o in release.of_kind(kind)
	some i, subject in o.subjects
	subject.kind == "ServiceAccount"
	subject.name == "default"
	result := {
		"msg": "it gives rights to the account \"default\", and so to everything that names none",
		"object": objects.ref(o),
		"path": sprintf("subjects[%d].name", [i]),
	}
}

account_of(workload) := name if {
	some field in ["serviceAccountName", "serviceAccount"]
	name := workload.pod.spec[field]
	is_string(name)
	name != ""
} else := "default"

# The pod's own word counts, then the account's; by default there is a token.
mounted(workload) if {
	asked := object.get(workload.pod.spec, "automountServiceAccountToken", null)
	asked != null
	asked != false
}

mounted(workload) if {
	object.get(workload.pod.spec, "automountServiceAccountToken", null) == null
	key := concat("/", [workload.namespace, account_of(workload)])
	not key in without_token
}

without_token contains concat("/", [objects.namespace_of(o), o.metadata.name]) if {
	some o in release.of_kind("ServiceAccount")
	o.automountServiceAccountToken == false
}
