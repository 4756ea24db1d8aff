package main

import rego.v1

deny contains msg if {
	total := sum([count(value) | some value in input.data])
	total > 64
	msg := sprintf("ConfigMap %s holds %d characters, which is more than 64", [input.metadata.name, total])
}

warn contains msg if {
	count(input.data) > 10
	msg := "many keys"
}
