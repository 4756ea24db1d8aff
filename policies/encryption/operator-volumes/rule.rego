# METADATA
# title: Volumes that operators make are encrypted at rest
# description: >-
#   An operator makes its claims where it runs, and no release holds them. What
#   its object says of their storage class is judged like that of a claim.
# scope: package
# custom:
#   id: encryption/operator-volumes
#   code: ENC-001
#   severity: critical
#   data: [anonymized, phi]
#   waivable: true
#   controls:
#     hipaa:
#       - cite: 164.312(a)(2)(iv)
#         why: Databases that an operator runs hold patient data like any other.
#     nist_800_53r5: [SC-28]
#   remediation: >-
#     Name a class of params.encrypted_storage_classes in the object, or have the
#     class listed there after making sure that its provisioner encrypts.
package encryption.operator_volumes

import data.lib.objects
import data.lib.pods
import data.lib.release

deny contains result if {
	some o in made_from
	walk(o.spec, [at, value])
	some claim in claims(at, value)
	class := claim.class
	not class in data.params.encrypted_storage_classes
	result := {
		"msg": sprintf("%s, which is not known to encrypt", [named(class)]),
		"object": objects.ref(o),
		"path": concat(".", array.concat(["spec"], split(pods.path_text(array.concat(at, claim.at)), "."))),
	}
}

made_from contains o if {
	some kind, _ in release.index
	objects.is_custom(kind)
	some o in release.of_kind(kind)
}

# claims by the usual names. Storage classes are written small: STANDARD_IA is one
# of an object store.
claims(at, value) := [{"class": value, "at": []}] if {
	at[count(at) - 1] in {"storageClassName", "storageClass"}
	is_string(value)
	regex.match(`[a-z]`, value)
} else := [{"class": null, "at": ["storageClassName"]}] if {
	template(at)
	is_object(value)
	spec := object.get(value, "spec", value)
	is_object(spec)
	object.get(spec, "storageClassName", null) in {null, ""}
} else := [{"class": object.get(value, "class", null), "at": ["class"]}] if {
	value.type == "persistent-claim" # Strimzi's
} else := []

template(at) if at[count(at) - 1] == "volumeClaimTemplate"

template(at) if {
	at[count(at) - 2] == "volumeClaimTemplates"
	is_number(at[count(at) - 1])
}

named(class) := sprintf("its volumes have storage class %q", [class]) if {
	is_string(class)
} else := "its volumes have no storage class"
