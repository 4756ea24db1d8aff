# METADATA
# title: Objects of a release, by kind
# description: >-
#   For rules that are asked once per release and look for objects of one kind:
#   the list is gone through once for all of them.
package lib.release

import data.lib.objects

# of_kind is every object of a kind, as lib.objects.kind_key writes it.
of_kind(key) := [input.objects[i] | some i in index[key]]

# Asked for one kind, places would go through all objects for that kind alone.
index := places

places[objects.kind_key(o)] contains i if some i, o in input.objects

# annotation is an annotation's text; "" where there is none, or nothing in it.
annotation(o, name) := trim_space(value) if {
	value := o.metadata.annotations[name]
	is_string(value)
} else := ""
