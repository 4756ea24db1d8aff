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

import data.lib.objects
import data.lib.release
import data.lib.settings
import data.lib.workloads

deny contains result if {
	some setting in settings.all
	about_level(setting.name)
	lower(trim_space(setting.value)) in data.params.debug_levels
	result := {
		"msg": sprintf("%s is %s", [setting.name, lower(trim_space(setting.value))]),
		"object": setting.object,
		"path": setting.path,
	}
}

# DEBUG=true, or DEBUG=* for everything.
deny contains result if {
	some setting in settings.all
	upper(setting.name) in data.params.debug_switches
	lower(trim_space(setting.value)) in {"true", "1", "yes", "on", "*"}
	result := {
		"msg": sprintf("%s is %s", [setting.name, trim_space(setting.value)]),
		"object": setting.object,
		"path": setting.path,
	}
}

deny contains result if {
	some workload in workloads.all
	some field in ["initContainers", "containers"]
	some i, container in workload.pod.spec[field]
	some words in ["command", "args"]
	some j, argument in container[words]
	is_string(argument)
	regex.match(data.params.debug_arguments, argument)
	result := {
		"msg": sprintf("container %q is told %s", [object.get(container, "name", ""), argument]),
		"object": objects.ref(workload.object),
		"path": sprintf("%s.%s[%d].%s[%d]", [workload.pod.path, field, i, words, j]),
	}
}

# A line of a configuration file.
deny contains result if {
	some o in release.of_kind("ConfigMap")
	some key, text in o.data
	is_string(text)
	contains(text, "\n")
	[line] := regex.find_n(data.params.debug_lines, text, 1)
	result := {
		"msg": sprintf("%s says %s", [key, trim_space(line)]),
		"object": objects.ref(o),
		"path": sprintf("data[%q]", [key]),
	}
}

about_level(name) if regex.match(data.params.log_level_settings, lower(name))
