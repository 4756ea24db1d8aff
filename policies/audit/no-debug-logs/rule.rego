# METADATA
# title: No debug logs where there are data of people
# description: >-
#   At debug level programs log what they work on: requests, queries, documents.
#   What is in the log is kept for years and read by people who have nothing to
#   do with the patient.
# scope: package
# custom:
#   id: audit/no-debug-logs
#   code: AUD-004
#   severity: medium
#   data: [anonymized, phi]
#   kinds: [workloads, ConfigMap]
#   waivable: false
#   controls:
#     hipaa:
#       - cite: 164.312(b)
#         why: Logs hold who used which record, and not the record.
#       - cite: 164.502(b)
#         why: What is logged is no more than is needed.
#   remediation: >-
#     Set the level to info. For the hour in which a fault is looked for, use
#     synthetic data, or an exception that ends by itself.
package audit.no_debug_logs

import data.lib.pods
import data.lib.settings

deny contains result if {
	some setting in settings.own
	level := lower(trim_space(setting.value))
	level in data.params.debug_levels
	regex.match(data.params.log_level_settings, lower(setting.name))
	result := {
		"msg": sprintf("%s is %s", [setting.name, level]),
		"path": settings.path_of(setting),
	}
}

# DEBUG=true, or DEBUG=* for everything.
deny contains result if {
	some setting in settings.own
	lower(trim_space(setting.value)) in {"true", "1", "yes", "on", "*"}
	upper(setting.name) in data.params.debug_switches
	result := {
		"msg": sprintf("%s is %s", [setting.name, trim_space(setting.value)]),
		"path": settings.path_of(setting),
	}
}

deny contains result if {
	some c in pods.containers
	some words in ["command", "args"]
	some j, argument in c.container[words]
	is_string(argument)
	regex.match(data.params.debug_arguments, argument)
	result := {
		"msg": sprintf("container %q is told %s", [c.name, argument]),
		"path": sprintf("%s.%s[%d]", [c.path, words, j]),
	}
}

# A line of a configuration file.
deny contains result if {
	input.object.kind == "ConfigMap"
	some key, text in input.object.data
	is_string(text)
	contains(text, "\n")
	[line] := regex.find_n(data.params.debug_lines, text, 1)
	result := {
		"msg": sprintf("%s says %s", [key, trim_space(line)]),
		"path": sprintf("data[%q]", [key]),
	}
}
