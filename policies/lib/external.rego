# METADATA
# title: Secrets from outside
# description: >-
#   What a release takes from stores of secrets, by the names that it has there.
#   For rules that are asked once per release.
package lib.external

import data.lib.objects
import data.lib.pods
import data.lib.release
import data.lib.settings
import data.lib.workloads

# taken are the entries of stores, each with the object that names it and where.
taken contains {"key": place.value, "object": objects.ref(o), "path": pods.path_text(place.at)} if {
	some kind, paths in data.params.secret_paths
	some o in release.of_kind(kind)
	some path in paths
	some place in pods.places_at(o, path)
	is_string(place.value)
}

# The driver's parameters hold a list as text.
taken contains {"key": key, "object": objects.ref(o), "path": "spec.parameters.objects"} if {
	some o in release.of_kind("SecretProviderClass.secrets-store.csi.x-k8s.io")
	text := o.spec.parameters.objects
	is_string(text)
	some parts in regex.find_all_string_submatch_n(`(?m)(?:objectName|secretPath|resourceName):\s*["']?([^"'\s]+)`, text, -1)
	key := parts[1]
}

# Vault's agent is told by annotations.
taken contains {"key": key, "object": objects.ref(workload.object), "path": sprintf("%s.annotations[%q]", [pods.metadata_path(workload.pod), name])} if {
	some workload in workloads.all
	some name, key in workload.annotations
	startswith(name, "vault.hashicorp.com/agent-inject-secret-")
}

# What fetches a secret when the program starts, or lets it do so.
taken contains {"key": setting.value, "object": setting.object, "path": setting.path} if {
	some setting in settings.all
	strings.any_prefix_match(setting.value, fetched)
}

fetched := ["vault:", "arn:aws:secretsmanager:", "arn:aws:ssm:", "gcp:secretmanager:", "sm://"]

# searches take all that is found: each with what is searched for.
searches contains {"find": place.value, "object": objects.ref(o), "path": pods.path_text(place.at)} if {
	some kind, path in data.params.secret_searches
	some o in release.of_kind(kind)
	some place in pods.places_at(o, path)
	is_object(place.value)
}
