# METADATA
# title: Services log in JSON
# description: >-
#   Who did what to which record is found in minutes when each line has fields,
#   and guessed at when it is prose.
# scope: package
# custom:
#   id: audit/json-logs
#   code: AUD-002
#   severity: low
#   data: [anonymized, phi]
#   waivable: false
#   controls:
#     hipaa:
#       - cite: 164.312(b)
#         why: What is recorded about the use of patient data can be examined.
#   remediation: >-
#     Set the log format (params.log_format_settings lists how) to json. Where a
#     file says it, or the program cannot, say so in the annotation
#     chaperone.dev/log-format.
package audit.json_logs

import data.lib.objects
import data.lib.workloads

deny contains result if {
	some workload in workloads.running
	some i, container in workload.pod.spec.containers
	some format in formats(container)
	value := format.value
	not json_format(value)
	result := {
		"msg": sprintf("container %q logs as %q", [object.get(container, "name", ""), value]),
		"object": objects.ref(workload.object),
		"path": sprintf("%s.containers[%d].%s", [workload.pod.path, i, format.path]),
	}
}

# Only of services: what others have made logs as it does.
deny contains result if {
	some workload in workloads.replicated
	workload.kind in {"Deployment.apps", "Rollout.argoproj.io"}
	count(workloads.services(workload)) > 0
	workloads.declared(workload, "chaperone.dev/log-format") == ""
	said := {format | some container in workload.pod.spec.containers; some format in formats(container)}
	count(said) == 0
	result := {
		"msg": "nothing says that it logs in JSON",
		"object": objects.ref(workload.object),
		"path": concat("", [workload.pod.path, ".containers"]),
	}
}

formats(container) := variables | arguments if {
	variables := {{"value": variable.value, "path": sprintf("env[%d].value", [i])} |
		some i, variable in container.env
		upper(variable.name) in data.params.log_format_settings.variables
		is_string(variable.value)
	}
	arguments := {{"value": substring(argument, count(name) + 1, -1), "path": sprintf("%s[%d]", [field, i])} |
		some field in ["command", "args"]
		some i, argument in container[field]
		some name in data.params.log_format_settings.arguments
		is_string(argument)
		startswith(argument, concat("", [name, "="]))
	}
}

json_format(value) if contains(lower(value), "json")

json_format(value) if lower(value) in data.params.log_format_settings.as_good
