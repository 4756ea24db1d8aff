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
#   kinds: ["*"]
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
	regex.match(pattern, without_examples(setting.value))
	result := {
		"msg": sprintf("%s has what looks like a credential in it: %s", [setting.what, credential]),
		"path": setting.path,
	}
}

without_examples(text) := regex.replace(text, `://(user|username):(password|pass)@(\w+\.)?example\.(com|org|net)`, "://example")

# Most settings of a release are no credentials: each is looked at once, and told
# apart by which rule it is only where something was found.
suspicious(name, _) if named_credential(name)

suspicious(_, value) if looks_like_one(value)

looks_like_one(value) if regex.match(any_pattern, value)

looks_like_one(value) if regex.match(line_pattern, value)

any_pattern := concat("|", [pattern | some pattern in data.params.credential_patterns])

settings contains setting if {
	some c in pods.containers
	some i, variable in c.container.env
	is_string(variable.value)
	name := object.get(variable, "name", "")
	suspicious(name, variable.value)
	setting := {
		"what": sprintf("environment variable %q of container %q", [name, c.name]),
		"name": name,
		"value": variable.value,
		"path": sprintf("%s.env[%d].value", [c.path, i]),
	}
}

# What an operator hands on to the pods that it makes.
settings contains setting if {
	custom
	walk(input.object, [at, value])
	at[count(at) - 1] in {"env", "extraEnv", "extraEnvVars"}
	is_array(value)
	path := pods.path_text(at)
	every c in pods.containers {
		path != concat(".", [c.path, "env"])
	}
	some i, variable in value
	is_string(variable.value)
	name := object.get(variable, "name", "")
	suspicious(name, variable.value)
	setting := {
		"what": sprintf("environment variable %q", [name]),
		"name": name,
		"value": variable.value,
		"path": sprintf("%s[%d].value", [path, i]),
	}
}

custom if {
	contains(objects.group_of(input.object), ".")
	key := objects.kind_key(input.object)
	not key in object.keys(data.params.pod_templates)
	podless := pods.podless
	not key in podless
}

settings contains setting if {
	some word in words
	name := argument_name(word.text)
	value := argument_value(word.text)
	suspicious(name, value)
	setting := {"what": what_of(word), "name": name, "value": value, "path": path_of(word)}
}

# --password x, in two words.
settings contains setting if {
	some word in words
	text := word.text
	not startswith(text, "-")
	regex.match(`^--?[A-Za-z][A-Za-z0-9_.-]*$`, word.before)
	name := trim_left(word.before, "-")
	suspicious(name, text)
	setting := {"what": what_of(word), "name": name, "value": text, "path": path_of(word)}
}

words := array.concat(
	[word |
		some c in pods.containers
		some field in ["command", "args"]
		list := c.container[field]
		is_array(list)
		some i, text in list
		is_string(text)
		word := {"container": c, "at": [field], "i": i, "text": text, "before": previous(list, i)}
	],
	[word |
		some c in pods.containers
		some hook in ["postStart", "preStop"]
		list := c.container.lifecycle[hook].exec.command
		is_array(list)
		some i, text in list
		is_string(text)
		word := {"container": c, "at": ["lifecycle", hook, "exec", "command"], "i": i, "text": text, "before": previous(list, i)}
	],
)

what_of(word) := sprintf("%s %d of container %q", [trim_suffix(word.at[count(word.at) - 1], "s"), word.i, word.container.name])

path_of(word) := sprintf("%s.%s[%d]", [word.container.path, concat(".", word.at), word.i])

previous(list, i) := list[i - 1] if {
	i > 0
	is_string(list[i - 1])
} else := ""

settings contains setting if {
	some c in pods.containers
	some probe in ["livenessProbe", "readinessProbe", "startupProbe"]
	some i, header in c.container[probe].httpGet.httpHeaders
	is_string(header.value)
	value := sprintf("%s: %s", [object.get(header, "name", ""), header.value])
	looks_like_one(value)
	setting := {
		"what": sprintf("header %q of the %s of container %q", [object.get(header, "name", ""), probe, c.name]),
		"name": "",
		"value": value,
		"path": sprintf("%s.%s.httpGet.httpHeaders[%d].value", [c.path, probe, i]),
	}
}

settings contains setting if {
	config_map
	some key, value in input.object.data
	is_string(value)
	suspicious(key, value)
	setting := {
		"what": sprintf("key %q", [key]),
		"name": key,
		"value": value,
		"path": sprintf("data[%q]", [key]),
	}
}

settings contains setting if {
	config_map
	some key, encoded in input.object.binaryData
	base64.is_valid(encoded)
	value := base64.decode(encoded)
	suspicious(key, value)
	setting := {
		"what": sprintf("key %q", [key]),
		"name": key,
		"value": value,
		"path": sprintf("binaryData[%q]", [key]),
	}
}

config_map if {
	input.object.kind == "ConfigMap"
	objects.kind_key(input.object) == "ConfigMap"
}

# Annotations are searched, whatever they are called.
settings contains setting if {
	some key, value in input.object.metadata.annotations
	setting := annotation(key, value, "metadata")
}

settings contains setting if {
	some pod in pods.specs
	some key, value in pods.annotations(pod)
	setting := annotation(key, value, pods.metadata_path(pod))
}

annotation(key, value, path) := {
	"what": sprintf("annotation %q", [key]),
	"name": "",
	"value": value,
	"path": sprintf("%s.annotations[%q]", [path, key]),
} if {
	is_string(value)
	looks_like_one(value)
}

# --name=value gives a name; anything else is only searched.
argument_name(argument) := parts[1] if {
	[parts] := regex.find_all_string_submatch_n(`^--?([A-Za-z0-9_.-]+)=`, argument, 1)
} else := ""

argument_value(argument) := trim_prefix(argument, parts[0]) if {
	[parts] := regex.find_all_string_submatch_n(`^--?([A-Za-z0-9_.-]+)=`, argument, 1)
} else := argument

# Texts of several settings, such as a file, a connection string, a script.
deny contains result if {
	some setting in settings
	some line in regex.find_n(line_pattern, setting.value, 200)
	[parts] := regex.find_all_string_submatch_n(line_pattern, line, 1)
	named_credential(parts[1])
	value := parts[2]
	literal(trim(value, "\"'"))
	not elsewhere(value)
	result := {
		"msg": sprintf("%s has a value for %s in it", [setting.what, parts[1]]),
		"path": setting.path,
	}
}

line_pattern := `(?im)(?:^|[\s;,{&?"'])((?:[a-z][a-z0-9_.-]*)?(?:pass|password|passwd|passphrase|pwd|client[_-]?secret|auth[_-]?token|api[_-]?key|private[_-]?key|secret[_-]?key|access[_-]?key))["']?\s{0,3}[=:]\s{0,3}("[^"\n]{4,}"|'[^'\n]{4,}'|[^\s"'$({<\[,;&|>]{4}[^\s"',;&}]*)`

# A line of a program, or of a description, takes the value from elsewhere.
elsewhere(value) if regex.match(`[(\[]|^[A-Za-z_]+(\.[A-Za-z_]+)+$|^(string|null|undefined|true|false|required)$`, value)

named_credential(name) if {
	name != ""
	plain := regex.replace(lower(name), `[_-][0-9]+$|[^a-z0-9]`, "")
	strings.any_suffix_match(plain, data.params.credential_names)
	not regex.match(`(?i)(public|host|primary|foreign|partition|sort|routing|cache|idempotency)[_.-]?key$`, name)
}

# A switch, a number, a path to a file, the name of a Secret or a reference to
# another variable is no credential.
literal(value) if {
	trim_space(value) != ""
	not lower(trim_space(value)) in {"true", "false", "yes", "no", "on", "off", "none", "null"}
	not regex.match(`^\s*(\$[({][A-Za-z0-9_.:-]+[)}]|\$[A-Za-z_][A-Za-z0-9_]*|\{\{.*\}\}|<[^<>]*>|\*+)\s*$`, value)
	not regex.match(`^\s*-?[0-9]{1,9}(\.[0-9]+)?(ms|s|m|h|d)?\s*$`, value)
	not regex.match(`^\s*(file:/)?/[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)+\s*$`, value)
	not regex.match(`^\s*[a-z0-9]([a-z0-9-]*[a-z0-9])?/[a-z]([a-z0-9.-]*[a-z0-9])?\s*$`, value)
}
