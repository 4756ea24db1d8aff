# METADATA
# title: No credentials in plain settings
# description: >-
#   A password in an environment variable, an argument or a ConfigMap is in Git,
#   in the pod's description and in every tool that shows either.
# scope: package
# custom:
#   id: secret/no-credential-literals
#   code: SEC-002
#   severity: critical
#   data: [synthetic, anonymized, phi]
#   kinds: [workloads, ConfigMap]
#   waivable: true
#   controls:
#     hipaa:
#       - cite: 164.308(a)(5)(ii)(D)
#         why: Passwords stay where they are managed, not in settings that many can read.
#     nist_800_53r5: [IA-5(7)]
#   remediation: >-
#     Take the value from a Secret (valueFrom.secretKeyRef, or a mounted file)
#     that an ExternalSecret fills. Then change it: it has been seen. A setting
#     that only names a Secret should say so, as in PASSWORD_FILE or SECRET_NAME.
package secret.no_credential_literals

import data.lib.objects
import data.lib.pods

# Messages name the setting and never quote its value.

deny contains result if {
	some setting in settings
	named_credential(setting.name)
	literal(setting.value)
	result := {
		"msg": sprintf("%s is named like a credential and has its value in the manifest", [setting.what]),
		"path": setting.path,
	}
}

deny contains result if {
	some setting in settings
	some credential, pattern in data.params.credential_patterns
	regex.match(pattern, setting.value)
	result := {
		"msg": sprintf("%s has what looks like a credential in it: %s", [setting.what, credential]),
		"path": setting.path,
	}
}

settings contains setting if {
	some c in pods.containers
	some i, variable in c.container.env
	is_string(variable.value)
	setting := {
		"what": sprintf("environment variable %q of container %q", [variable.name, c.name]),
		"name": variable.name,
		"value": variable.value,
		"path": sprintf("%s.env[%d].value", [c.path, i]),
	}
}

settings contains setting if {
	some c in pods.containers
	some field in ["command", "args"]
	some i, argument in c.container[field]
	is_string(argument)
	setting := {
		"what": sprintf("%s %d of container %q", [trim_suffix(field, "s"), i, c.name]),
		"name": argument_name(argument),
		"value": argument_value(argument),
		"path": sprintf("%s.%s[%d]", [c.path, field, i]),
	}
}

settings contains setting if {
	objects.kind_key(input.object) == "ConfigMap"
	some key, value in input.object.data
	is_string(value)
	setting := {
		"what": sprintf("key %q", [key]),
		"name": key,
		"value": value,
		"path": sprintf("data[%q]", [key]),
	}
}

# --name=value gives a name; anything else is only searched.
argument_name(argument) := parts[1] if {
	[parts] := regex.find_all_string_submatch_n(`^--?([A-Za-z0-9_.-]+)=`, argument, 1)
} else := ""

argument_value(argument) := trim_prefix(argument, parts[0]) if {
	[parts] := regex.find_all_string_submatch_n(`^--?([A-Za-z0-9_.-]+)=`, argument, 1)
} else := argument

named_credential(name) if {
	plain := regex.replace(lower(name), `[^a-z0-9]`, "")
	some ending in data.params.credential_names
	endswith(plain, ending)
}

# A switch, a number or a reference to another variable is no credential.
literal(value) if {
	trim_space(value) != ""
	not lower(trim_space(value)) in {"true", "false", "yes", "no", "on", "off", "none", "null"}
	not regex.match(`^\s*\$[({][A-Za-z0-9_.]+[)}]\s*$`, value)
}
