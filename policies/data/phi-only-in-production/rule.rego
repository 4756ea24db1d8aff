# METADATA
# title: Real patient data is in production only
# description: >-
#   An environment before production holds synthetic or anonymized data, and
#   takes nothing from where production keeps its secrets.
# scope: package
# custom:
#   id: data/phi-only-in-production
#   code: DAT-001
#   severity: critical
#   data: [synthetic, anonymized, phi]
#   waivable: false
#   controls:
#     hipaa:
#       - cite: 164.308(a)(4)(i)
#         why: Who develops or tests has not been granted access to patients' data.
#       - cite: 164.502(b)
#         why: Development and tests need no real data, so they get none.
#   remediation: >-
#     Set spec.data of the environment to synthetic or anonymized, and take data
#     and secrets from its own stores. Names of production environments are in
#     params.production_environments.
package data.phi_only_in_production

import data.lib.objects
import data.lib.pods

deny contains result if {
	input.environment.data == "phi"
	not production
	result := {"msg": sprintf("environment %s is to hold real patient data and is no production environment", [input.environment.id])}
}

deny contains result if {
	input.environment.data != "phi"
	some o in input.objects
	some found in labels(o)
	lower(found.value) == "phi"
	result := {
		"msg": sprintf("labelled as holding real patient data in environment %s, which holds %s data", [
			input.environment.id,
			input.environment.data,
		]),
		"object": objects.ref(o),
		"path": found.path,
	}
}

deny contains result if {
	not production
	some o in input.objects
	objects.kind_key(o) == "ExternalSecret.external-secrets.io"
	some key in remote_keys(o)
	some step in split(key, "/")
	lower(step) in data.params.production_environments
	result := {
		"msg": sprintf("takes %q, which is production's", [key]),
		"object": objects.ref(o),
		"path": "spec",
	}
}

production if input.environment.name in data.params.production_environments

labels(o) := own | templates if {
	own := {{"value": value, "path": "metadata.labels"} |
		value := o.metadata.labels["chaperone.dev/data-class"]
	}
	templates := {{"value": value, "path": concat("", [trim_suffix(pod.path, "spec"), "metadata.labels"])} |
		some pod in pods.specs_of(o)
		path := array.concat(split(trim_suffix(pod.path, ".spec"), "."), ["metadata", "labels", "chaperone.dev/data-class"])
		value := object.get(o, path, null)
		is_string(value)
	}
}

remote_keys(o) := direct | extracted if {
	direct := {entry.remoteRef.key | some entry in o.spec.data}
	extracted := {entry.extract.key | some entry in o.spec.dataFrom}
}
