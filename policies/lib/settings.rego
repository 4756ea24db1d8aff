# METADATA
# title: Settings of a release
# description: >-
#   What ConfigMaps and environment variables say, and the hosts in it: of the
#   whole release, or of the object under test.
package lib.settings

import data.lib.objects
import data.lib.pods
import data.lib.release
import data.lib.workloads

# all are the settings with a value, each with its name and where it stands.
all := array.concat(array.concat(variables, variables_of_lone), keys)

variables := [setting |
	some workload in workloads.all
	some field in pods.lists[workload.pod.alike]
	some i, container in workload.pod.spec[field]
	some j, variable in container.env
	is_string(variable.value)
	setting := {
		"name": object.get(variable, "name", ""),
		"value": variable.value,
		"object": objects.ref(workload.object),
		"path": sprintf("%s.%s[%d].env[%d].value", [workload.pod.path, field, i, j]),
	}
]

# lone are containers that stand for themselves.
lone := [found |
	some workload in workloads.all
	workload.pod.alike
	some field in ["container", "script"]
	found := {
		"container": workload.pod.spec[field],
		"object": objects.ref(workload.object),
		"path": trim_prefix(concat(".", [workload.pod.path, field]), "."),
	}
]

variables_of_lone := [setting |
	some place in lone
	some j, variable in place.container.env
	is_string(variable.value)
	setting := {
		"name": object.get(variable, "name", ""),
		"value": variable.value,
		"object": place.object,
		"path": sprintf("%s.env[%d].value", [place.path, j]),
	}
]

keys := [setting |
	some o in release.of_kind("ConfigMap")
	some name, value in o.data
	is_string(value)
	setting := {"name": name, "value": value, "object": objects.ref(o), "path": sprintf("data[%q]", [name])}
]

# own are those of the object under test, for rules that are asked about each.
own := array.concat(
	[{"name": object.get(variable, "name", ""), "value": variable.value, "list": c.path, "key": j} |
		some c in pods.containers
		some j, variable in c.container.env
		is_string(variable.value)
	],
	[{"name": name, "value": value, "list": "", "key": name} |
		input.object.kind == "ConfigMap"
		objects.kind_key(input.object) == "ConfigMap"
		some name, value in input.object.data
		is_string(value)
	],
)

# path_of one of them.
path_of(setting) := sprintf("data[%q]", [setting.key]) if {
	setting.list == ""
} else := sprintf("%s.env[%d].value", [setting.list, setting.key])

# words of commands and arguments that may name a host.
words := array.concat(words_of_lone, [word |
	some workload in workloads.all
	some field in pods.lists[workload.pod.alike]
	some i, container in workload.pod.spec[field]
	some list in ["command", "args"]
	some j, text in container[list]
	is_string(text)
	contains(text, ".")
	word := {
		"text": text,
		"object": objects.ref(workload.object),
		"path": sprintf("%s.%s[%d].%s[%d]", [workload.pod.path, field, i, list, j]),
	}
])

words_of_lone := [word |
	some place in lone
	some list in ["command", "args"]
	some j, text in place.container[list]
	is_string(text)
	contains(text, ".")
	word := {"text": text, "object": place.object, "path": sprintf("%s.%s[%d]", [place.path, list, j])}
]

# hosts_in are those of every URL in a text, and of what is said to be a server:
# --smtp=smtp.example.net:25.
hosts_in(text) := {found |
	some url in regex.find_n(`[a-zA-Z][a-zA-Z0-9+.-]*://[^\s"'<>|;&()]+`, text, -1)
	some found in hosts(url)
} | servers("", regex.replace(text, `^-[^=\s]*=`, ""))

# servers that a setting names without a scheme: with a port, or by its name.
servers(name, value) := {{"host": host, "shown": sprintf("%q", [host])} |
	contains(value, ".")
	regex.match(`^[A-Za-z0-9.,:\s-]+$`, value)
	some address in split(value, ",")
	[parts] := regex.find_all_string_submatch_n(`^\s*((?:[a-z0-9-]+\.)+[a-z]{2,}\.?|(?:[0-9]{1,3}\.){3}[0-9]{1,3})(:[0-9]{1,5})?\s*$`, lower(address), 1)
	is_server(name, parts[2])
	host := parts[1]
	host != "0.0.0.0"
	world_wide(host)
}

is_server(_, port) if port != ""

is_server(name, "") if regex.match(`(?i)(^|[_.-])(host|hostname|server|servers|endpoint|addr|address|broker|brokers)$`, name)

# Of two steps, the last may be a namespace: collector.monitoring.
world_wide(host) if count(split(host, ".")) > 2

world_wide(host) if regex.match(`\.([a-z]{2}|com|net|org|edu|gov|info|biz|cloud|app|dev|site|online|xyz|example)\.?$`, host)

# hosts that a setting leads to: it is one address, or several with commas
# between, and not a text in which one is mentioned. A host is shown unless it
# might be a part of a password that should have been written with %.
hosts(value) := {{"host": host, "shown": shown} |
	regex.match(`^\s*[a-zA-Z][a-zA-Z0-9+.-]*://[^\s]+\s*$`, value)
	some url in split(regex.replace(trim_space(value), `,([a-zA-Z][a-zA-Z0-9+.-]*://)`, "\n$1"), "\n")
	plain := regex.replace(url, user_pattern, "$1")
	some address in split(plain, ",")
	[parts] := regex.find_all_string_submatch_n(address_pattern, address, 1)
	host := lower(parts[1])
	shown := shown_of(host, plain)
}

# Whoever wrote the URL may have put anything before the last @ that it has.
shown_of(host, url) := "a host that is not shown" if {
	steps := split(lower(url), "@")
	contains(concat("@", array.slice(steps, 0, count(steps) - 1)), host)
} else := sprintf("%q", [host])

# As servers and clients read it, the user's part goes up to the last @.
user_pattern := `^([a-zA-Z][a-zA-Z0-9+.-]*://)[^/?#\s]*@`

address_pattern := `^\s*(?:[a-zA-Z][a-zA-Z0-9+.-]*://)?(?:[^/@\s]*@)?([a-zA-Z0-9][a-zA-Z0-9.-]*|\[[0-9a-fA-F:.]+(?:%[^\]/\s]*)?\])(?::[0-9]+)?(?:[/?#].*)?$`

# plain_host is the host that a value asks over plain HTTP; undefined for none.
plain_host(value) := lower(parts[1]) if {
	is_string(value)
	[parts] := regex.find_all_string_submatch_n(`^\s*(?i:http)://(?:[^/?#\s]*@)?([a-zA-Z0-9][a-zA-Z0-9.-]*)`, value, 1)
}

# inside the cluster: a Service's name, with or without its namespace.
inside(host) if {
	not contains(host, ".")
	not startswith(host, "[")
}

# Addresses of this container, of this network, and those that nobody outside has.
inside(host) if regex.match(`^\[(::|::1|f[cd][0-9a-f]{2}:.*|fe[89ab][0-9a-f]:.*)\]$`, host)

inside("0.0.0.0")

inside(host) if regex.match(`\.(svc|cluster\.local)\.?$`, host)

# Numbers only: 10.example.net is a name.
inside(host) if regex.match(`^((10|127)\.[0-9]{1,3}|192\.168|172\.(1[6-9]|2[0-9]|3[01]))(\.[0-9]{1,3}){2}$`, host)

# service.namespace, where the release or the target says that there is such a one.
inside(host) if {
	[_, namespace] := split(host, ".")
	namespace == input.environment.target.namespace
}
