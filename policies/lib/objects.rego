# METADATA
# title: Objects of a release
# description: Names and namespaces of objects, for rules that look at several.
package lib.objects

# kind_key is Kind.group, or Kind alone in the core group.
kind_key(o) := o.kind if {
	indexof(o.apiVersion, "/") == -1
} else := concat(".", [o.kind, group]) if {
	[group, _] := split(o.apiVersion, "/")
} else := concat(".", array.concat([o.kind], array.slice(parts, 0, count(parts) - 1))) if {
	parts := split(o.apiVersion, "/")
}

group_of(o) := group if {
	[group, _] := split(o.apiVersion, "/")
} else := ""

# namespace_of is where an object lands.
namespace_of(o) := namespace if {
	namespace := o.metadata.namespace
	is_string(namespace)
	namespace != ""
} else := input.environment.target.namespace

# ref names an object in a result.
ref(o) := {
	"apiVersion": o.apiVersion,
	"kind": o.kind,
	"namespace": object.get(o.metadata, "namespace", ""),
	"name": o.metadata.name,
}

# is_set reports whether a field is there and not null.
is_set(o, path) if object.get(o, path, null) != null

# size_of is how many entries a list or mapping has; none where it is missing,
# null, or something else.
size_of(o, path) := count(value) if {
	value := object.get(o, path, null)
	type_name(value) in {"array", "object"}
} else := 0

# is_custom reports whether a kind is neither Kubernetes' own nor of one of its
# projects.
is_custom(kind) if {
	contains(kind, ".")
	not regex.match(`^[A-Za-z]+\.(([a-z-]+\.)*k8s\.io|apps|batch|policy|autoscaling|extensions)$`, kind)
}
