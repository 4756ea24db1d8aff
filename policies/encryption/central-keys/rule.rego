# METADATA
# title: Keys and secrets come from one place that manages them
# description: >-
#   A key that the organization holds can be changed, taken away and accounted
#   for. The provider's default key cannot, and a secret that is made up in the
#   cluster is known to nobody who could change it.
# scope: package
# custom:
#   id: encryption/central-keys
#   code: ENC-005
#   severity: medium
#   data: [synthetic, anonymized, phi]
#   waivable: true
#   controls:
#     hipaa:
#       - cite: 164.312(a)(2)(iv)
#         why: Who holds the key decides who reads the disk, and can decide otherwise.
#   remediation: >-
#     Name a key of your own in the storage class (params.key_parameters), and a
#     secret manager in the SecretStore (params.secret_managers).
package encryption.central_keys

import data.lib.objects
import data.lib.release

deny contains result if {
	some o in release.of_kind("StorageClass.storage.k8s.io")
	o.metadata.name in data.params.encrypted_storage_classes
	parameter := data.params.key_parameters[o.provisioner]
	object.get(o, ["parameters", parameter], null) in {null, ""}
	result := {
		"msg": sprintf("parameter %s names no key, so the provider's default encrypts", [parameter]),
		"object": objects.ref(o),
		"path": "parameters",
	}
}

deny contains result if {
	input.environment.data in {"anonymized", "phi"}
	some kind in ["SecretStore.external-secrets.io", "ClusterSecretStore.external-secrets.io"]
	some o in release.of_kind(kind)
	some provider, _ in o.spec.provider
	not provider in data.params.secret_managers
	result := {
		"msg": sprintf("provider %q manages no secrets", [provider]),
		"object": objects.ref(o),
		"path": concat(".", ["spec.provider", provider]),
	}
}
