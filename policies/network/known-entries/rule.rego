# METADATA
# title: What lets requests in is of a kind that rules know
# description: >-
#   An object that names a host and where to send its requests looks like an
#   entry. Of a kind that is not listed nobody can tell whether it asks for TLS,
#   limits requests, or lets everybody in.
# scope: package
# custom:
#   id: network/known-entries
#   code: NET-009
#   severity: high
#   data: [phi]
#   waivable: true
#   controls:
#     hipaa:
#       - cite: 164.312(e)(1)
#         why: Patient data comes in only by ways whose encryption has been looked at.
#     nist_800_53r5: [SC-7]
#   remediation: >-
#     Have the kind listed in params.entry_kinds with where its hosts and its TLS
#     stand, or in params.inner_kinds if it lets nobody in from outside.
package network.known_entries

import data.lib.entries
import data.lib.objects

deny contains result if {
	some entry in entries.unknown
	result := {
		"msg": sprintf("it looks like an entry, and kind %s is not listed in params.entry_kinds", [objects.kind_key(entry.object)]),
		"object": objects.ref(entry.object),
		"path": entry.path,
	}
}
