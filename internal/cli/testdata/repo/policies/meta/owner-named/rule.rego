# METADATA
# title: Deployments name their owner
# description: Somebody has to be asked.
# scope: package
# custom:
#   id: meta/owner-named
#   code: MET-900
#   severity: high
#   data: [synthetic, anonymized, phi]
#   kinds: [Deployment.apps]
#   controls:
#     hipaa:
#       - cite: 164.308(a)(2)
#         why: Responsibility is assigned.
#   remediation: Set the label owner.
package meta.owner_named

deny contains result if {
	input.object.kind == "Deployment"
	not input.object.metadata.labels.owner
	result := {"msg": "no label owner", "path": "metadata.labels.owner"}
}
