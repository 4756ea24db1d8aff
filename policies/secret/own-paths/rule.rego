# METADATA
# title: No secret of another environment
# description: >-
#   A secret that two environments share is as safe as the less guarded one. A
#   path that carries another environment's name is that environment's;
#   params.environment_names lists the names, and which mean the same.
# scope: package
# custom:
#   id: secret/own-paths
#   code: SEC-005
#   severity: high
#   data: [synthetic, anonymized, phi]
#   waivable: true
#   controls:
#     hipaa:
#       - cite: 164.308(a)(4)(ii)(B)
#         why: Who holds the keys of one environment was not given those of another.
#   remediation: >-
#     Put a secret of its own under this environment's path in the secret
#     manager, and change the one that was shared.
package secret.own_paths

import data.lib.cloud
import data.lib.external
import data.lib.objects

deny contains result if {
	some taken in external.taken
	some other in cloud.others(taken.key)
	result := {
		"msg": sprintf("%q carries %q, the name of another environment", [taken.key, other]),
		"object": taken.object,
		"path": taken.path,
	}
}

# Who searches the whole store takes what others have there, too.
deny contains result if {
	some search in external.searches
	find := search.find
	not narrow(find)
	result := {
		"msg": "it takes whatever is found in the whole store; want a path, a tag, or names that begin alike",
		"object": search.object,
		"path": search.path,
	}
}

narrow(find) if regex.match(`[A-Za-z0-9]`, text(find, ["path"]))

# Of several ways each would have to begin alike: ^a|.* is everything.
narrow(find) if {
	expression := text(find, ["name", "regexp"])
	regex.match(`^\^/?[A-Za-z0-9]`, expression)
	inner := regex.replace(expression, `\\.|\[[^\]]*\]|\([^()]*\)`, "")
	plain := regex.replace(inner, `\([^()]*\)`, "")
	not contains(plain, "|")
}

narrow(find) if objects.size_of(find, ["tags"]) > 0

text(find, path) := value if {
	value := object.get(find, path, "")
	is_string(value)
} else := ""
