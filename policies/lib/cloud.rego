# METADATA
# title: What is outside the cluster
# description: >-
#   Roles at the cloud provider, and the names of environments in roles and
#   paths. For rules that are asked once per release.
package lib.cloud

import data.lib.objects
import data.lib.release

# accounts are the identities at the provider that this release takes on.
accounts contains account if {
	some o in release.of_kind("ServiceAccount")
	some name in data.params.cloud_role_annotations
	role := release.annotation(o, name)
	role != ""
	account := {
		"object": objects.ref(o),
		"place": concat("/", [objects.namespace_of(o), o.metadata.name]),
		"name": o.metadata.name,
		"role": role,
		"path": sprintf("metadata.annotations[%q]", [name]),
	}
}

# A store of secrets takes a role on as its account does: the same place.
accounts contains account if {
	some kind in ["SecretStore.external-secrets.io", "ClusterSecretStore.external-secrets.io"]
	some o in release.of_kind(kind)
	role := o.spec.provider.aws.role
	is_string(role)
	account := {
		"object": objects.ref(o),
		"place": concat("/", [store_namespace(o), object.get(o, ["spec", "provider", "aws", "auth", "jwt", "serviceAccountRef", "name"], "")]),
		"name": o.metadata.name,
		"role": role,
		"path": "spec.provider.aws.role",
	}
}

store_namespace(o) := namespace if {
	namespace := o.spec.provider.aws.auth.jwt.serviceAccountRef.namespace
} else := objects.namespace_of(o)

# others are the names of other environments that a path or role carries, as a
# step of its own or at a step's start or end: crohns/staging, crohns-staging.
others(text) := {name |
	plain := regex.replace(lower(text), `\b(non|pre)-(prod)`, "$1$2")
	some step in regex.split(`[/:]`, plain)
	some names in data.params.environment_names
	not own(names)
	some name in names
	carries(step, name)
}

own(names) if lower(input.environment.name) in names

carries(step, name) if step == name

carries(step, name) if endswith(step, concat("", ["-", name]))

# production-db is production's, and crohns-production-db; test-data, of short
# names, may be anybody's.
carries(step, name) if {
	some names in data.params.environment_names
	name == names[0]
	contains(concat("", ["-", step]), concat("", ["-", name, "-"]))
}
