# METADATA
# title: Real patient data is in production only
# description: >-
#   Real patient data is where a change arrives last. An environment before
#   that holds synthetic or anonymized data, and takes nothing of what an
#   environment with real patient data uses.
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
#     and secrets from its own stores. Where one production environment comes
#     after another, name the earlier in params.earlier_production.
package data.phi_only_in_production

import data.lib.cloud
import data.lib.external
import data.lib.objects
import data.lib.pods

deny contains result if {
	input.environment.data == "phi"
	not input.environment.id in data.params.earlier_production
	some other in input.pipeline
	other.order == "after"
	result := {"msg": sprintf("environment %s is to hold real patient data, and is not the last: %s comes after it", [
		input.environment.id,
		other.environment,
	])}
}

# Nothing needs to come after it: what is called development is not where
# patients are treated.
deny contains result if {
	input.environment.data == "phi"
	not input.environment.id in data.params.earlier_production
	not input.environment.imagined
	some name in early_names
	result := {"msg": sprintf("environment %s is to hold real patient data, and is called %s", [input.environment.id, name])}
}

# Of several names, production-test, the last tells.
early_names := {step |
	steps := regex.split(`[^a-z]+`, lower(input.environment.name))
	named := [step | some step in steps; step in all_names]
	step := named[count(named) - 1]
	not step in production_names
}

all_names contains name if {
	some names in data.params.environment_names
	some name in names
}

production_names contains name if {
	some names in data.params.environment_names
	"production" in names
	some name in names
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
	input.environment.data != "phi"
	count(protected) > 0
	some taken in external.taken
	some name in names_in(taken.key)
	result := {
		"msg": sprintf("takes %q, which is of %s, where real patient data is", [taken.key, name]),
		"object": taken.object,
		"path": taken.path,
	}
}

# A server or bucket by a name that says whose it is, whatever production's own
# objects say of it.
deny contains result if {
	input.environment.data != "phi"
	count(protected) > 0
	some own in input.references
	own.what in {"database", "bucket"}
	place := regex.replace(own.identity, `^.*: `, "")
	some name in names_in(replace(place, ".", "/"))
	result := {
		"msg": sprintf("uses %s %q, which is of %s, where real patient data is", [own.what, place, name]),
		"object": own.object,
		"path": own.path,
	}
}

deny contains result if {
	input.environment.data != "phi"
	some other in input.pipeline
	other.data == "phi"
	some theirs in other.references
	some own in index[[theirs.what, theirs.identity]]
	result := {
		"msg": sprintf("takes what %s uses, where real patient data is", [other.environment]),
		"object": own.object,
		"path": own.path,
	}
}

# Nothing is known of an environment whose file cannot be read.
deny contains result if {
	input.environment.data in {"anonymized", "phi"}
	some result in unread
}

warn contains result if {
	not input.environment.data in {"anonymized", "phi"}
	some result in unread
}

unread contains result if {
	some other in input.pipeline
	other.data == "unknown"
	result := {"msg": sprintf("the file of %s cannot be read, so nobody can tell where real patient data is", [other.environment])}
}

# It might be of production; data/nothing-shared says it of what production takes.
deny contains result if {
	input.environment.data != "phi"
	count(protected) > 0
	some own in input.references
	own.what == "unread"
	result := {
		"msg": "takes more than is read, so nobody can tell whether it is of where real patient data is",
		"object": own.object,
		"path": own.path,
	}
}

# protected are the names of environments of the pipeline that hold real
# patient data.
protected contains lower(other.name) if {
	some other in input.pipeline
	other.data == "phi"
}

index[[own.what, own.identity]] contains own if {
	some own in input.references
	key := lower(own.key)
	not key in data.params.shared_secret_keys
}

labels(o) := own | templates if {
	own := {{"value": value, "path": "metadata.labels"} |
		value := o.metadata.labels["chaperone.dev/data-class"]
	}
	templates := {{"value": value, "path": concat("", [pods.metadata_path(pod), ".labels"])} |
		some pod in pods.specs_of(o)
		value := pods.metadata_of(o, pod).labels["chaperone.dev/data-class"]
		is_string(value)
	}
}

# names_in are the protected environments that a key names: as a step, or, by
# any of their names, at a step's start or end.
names_in(key) := {lower(step) | some step in split(key, "/"); lower(step) in protected} | {name |
	some name in cloud.others(key)
	some names in data.params.environment_names
	name in names
	count(protected & {alike | some alike in names}) > 0
}
