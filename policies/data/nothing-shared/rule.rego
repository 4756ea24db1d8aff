# METADATA
# title: Environments share no secret and no store of data
# description: >-
#   What another environment of the pipeline uses is not used where data is of
#   another class: a secret that developers know opens nothing in production, and
#   no test writes to where patients' data is. Compared are values of Secrets (as
#   salted marks), entries of secret stores, databases, buckets and volumes.
# scope: package
# custom:
#   id: data/nothing-shared
#   code: SEC-005
#   severity: high
#   data: [synthetic, anonymized, phi]
#   waivable: false
#   controls:
#     hipaa:
#       - cite: 164.308(a)(4)(ii)(B)
#         why: Access that was granted to one environment opens no other.
#     nist_800_53r5: [AC-3]
#   remediation: >-
#     Give each environment secrets, databases and buckets of its own. Names of
#     keys that are no secrets are in params.shared_secret_keys.
package data.nothing_shared

# Environments with data of one class may share it, and its secrets.
rank := {"none": 0, "synthetic": 0, "anonymized": 1, "phi": 2}

deny contains result if {
	some other in input.pipeline
	rank[other.data] != rank[input.environment.data]
	some own in input.references
	some theirs in index[[own.what, own.identity]]
	theirs.environment == other.environment
	counts(own)
	result := {
		"msg": sprintf("%s is also that of %s, which holds %s data", [words[own.what], other.environment, other.data]),
		"object": own.object,
		"path": own.path,
	}
}

deny contains result if {
	some other in input.pipeline
	rank[other.data] != rank[input.environment.data]
	other.state == "unknown"
	result := {"msg": sprintf("what %s runs cannot be read, so nobody can tell what is shared with it", [other.environment])}
}

# Where its file cannot be read, not even its class is known.
deny contains result if {
	some other in input.pipeline
	other.data == "unknown"
	result := {"msg": sprintf("the file of %s cannot be read, so nobody can tell what is shared with it", [other.environment])}
}

deny contains result if {
	some own in input.references
	own.what == "unread"
	result := {"msg": "takes more than is read, so nobody can tell what is shared", "object": own.object, "path": own.path}
}

deny contains result if {
	some other in input.pipeline
	some theirs in other.references
	theirs.what == "unread"
	result := {"msg": sprintf("%s takes more than is read, so nobody can tell what is shared with it", [other.environment])}
}

index[[theirs.what, theirs.identity]] contains {"environment": other.environment} if {
	some other in input.pipeline
	some theirs in other.references
}

# A user's name is no secret.
counts(own) if {
	own.what in {"secret", "external"}
	key := lower(own.key)
	not key in data.params.shared_secret_keys
}

counts(own) if own.what in {"database", "bucket", "volume"}

words := {
	"secret": "the value",
	"external": "the entry of the secret store",
	"database": "the database server",
	"bucket": "the bucket",
	"volume": "the volume",
}
