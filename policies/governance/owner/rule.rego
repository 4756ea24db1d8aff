# METADATA
# title: Somebody answers for the environment, and can be reached
# description: >-
#   When something is wrong with patients' data, whoever notices must know whom to
#   call: an address, not only a name.
# scope: package
# custom:
#   id: governance/owner
#   code: GOV-002
#   severity: medium
#   data: [anonymized, phi]
#   waivable: false
#   controls:
#     hipaa:
#       - cite: 164.308(a)(6)(ii)
#         why: Who responds to an incident is known before there is one.
#     nist_800_53r5: [IR-6]
#   remediation: >-
#     Set governance.owner of the environment, such as platform@example.org.
package governance.owner

deny contains result if {
	owner := input.environment.governance.owner
	not regex.match(`^([^\s@]+@[^\s@]+\.[^\s@]+|https://\S+)$`, trim_space(owner))
	result := {"msg": sprintf("governance.owner %q is no address; want an e-mail address or an https:// link", [owner])}
}
