package main

import rego.v1

containers contains container if some container in input.spec.template.spec.containers

deny_probes contains msg if {
	some container in containers
	some probe in ["livenessProbe", "readinessProbe"]
	not container[probe]
	msg := sprintf("container '%s' has no %s", [container.name, probe])
}
