# METADATA
# title: No Secret with values in Git
# description: >-
#   Whoever may read the repository, or any copy of it, has every value that was
#   ever committed. Base64 is no encryption.
# scope: package
# custom:
#   id: secret/no-clear-secret
#   code: SEC-001
#   severity: critical
#   data: [synthetic, anonymized, phi]
#   kinds: [Secret]
#   waivable: true
#   controls:
#     hipaa:
#       - cite: 164.308(a)(5)(ii)(D)
#         why: Passwords stay where they are managed, not in a history that many can read.
#       - cite: 164.312(a)(2)(iv)
#         why: Keys that lie in the clear beside what they lock make its encryption worthless.
#     nist_800_53r5: [IA-5(7)]
#   remediation: >-
#     Keep the value in a secret manager and write an ExternalSecret that names
#     it, or a SealedSecret. Then change the value: it has been seen.
package secret.no_clear_secret

deny contains result if {
	some field in ["data", "stringData"]
	some key, _ in input.object[field]
	result := {
		"msg": sprintf("key %q has its value in the manifest", [key]),
		"path": sprintf("%s[%q]", [field, key]),
	}
}

# Not the shape of a Secret: nothing is known of what it holds.
deny contains result if {
	some field in ["data", "stringData"]
	value := input.object[field]
	not is_object(value)
	value != null
	result := {
		"msg": sprintf("%s is not a mapping", [field]),
		"path": field,
	}
}
