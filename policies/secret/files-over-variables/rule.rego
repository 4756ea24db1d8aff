# METADATA
# title: Secrets are files rather than variables
# description: >-
#   A variable is in every dump, crash report and child process; a file is read
#   by whom it is for, and changes without a restart. By reference both are
#   sound, and so this is only said.
# scope: package
# custom:
#   id: secret/files-over-variables
#   code: SEC-003
#   severity: info
#   data: [phi]
#   waivable: true
#   controls:
#     hipaa:
#       - cite: 164.308(a)(5)(ii)(D)
#         why: A password is in fewer places where it can be seen.
#     cis_k8s: {version: "1.12", ids: ["5.4.1"]}
#   remediation: >-
#     Mount the Secret as a volume and have the program read it from there, as
#     with PASSWORD_FILE.
package secret.files_over_variables

import data.lib.objects
import data.lib.workloads

# One finding for the whole release: it is a direction, not a list of faults.
deny contains result if {
	count(taking) > 0
	shown := array.slice(sort(taking), 0, 5)
	result := sprintf("%d of %d workloads have secrets in variables: %s%s", [
		count(taking), count(workloads.all), concat(", ", shown), {true: ", …", false: ""}[count(taking) > 5],
	])
}

taking contains sprintf("%s/%s", [workload.object.kind, workload.object.metadata.name]) if {
	some workload in workloads.all
	takes(workload.pod.spec)
}

takes(spec) if {
	some container in containers(spec)
	some variable in container.env
	objects.is_set(variable, ["valueFrom", "secretKeyRef"])
}

takes(spec) if {
	some container in containers(spec)
	some source in container.envFrom
	objects.is_set(source, ["secretRef"])
}

containers(spec) := [container |
	some field in ["initContainers", "containers"]
	some container in spec[field]
]
