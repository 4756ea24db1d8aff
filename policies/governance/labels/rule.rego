# METADATA
# title: Workloads say what they are, and whose
# description: >-
#   The labels are the inventory: what it is, in which version, in which
#   environment, who answers for it. An overlay that was copied says the wrong
#   environment.
# scope: package
# custom:
#   id: governance/labels
#   code: GOV-001
#   severity: medium
#   data: [synthetic, anonymized, phi]
#   kinds: [workloads, PersistentVolumeClaim]
#   controls:
#     hipaa:
#       - cite: 164.308(a)(7)(ii)(E)
#         why: What is critical, and to whom, is known from the inventory.
#     nist_800_53r5: [CM-8]
#   remediation: >-
#     Add the labels in the kustomization of the overlay or the base (labels, with
#     includeTemplates).
package governance.labels

labels := object.get(input.object, ["metadata", "labels"], {})

value(name) := text if {
	text := labels[name]
	is_string(text)
} else := ""

said := {name | some name, text in labels; is_string(text); text != ""}

deny contains result if {
	missing := [name | some name in data.params.required_labels; not said[name]]
	count(missing) > 0
	result := {"msg": sprintf("without the labels %s", [concat(", ", missing)]), "path": "metadata.labels"}
}

deny contains result if {
	found := value("environment")
	found != ""
	found != input.environment.name
	result := {
		"msg": sprintf("is labelled as in %s, and is in %s", [found, input.environment.name]),
		"path": "metadata.labels.environment",
	}
}

warn contains result if {
	version := value("app.kubernetes.io/version")
	version != ""
	not semver.is_valid(trim_prefix(version, "v"))
	result := {
		"msg": sprintf("version %q is not semantic (1.4.2)", [version]),
		"path": "metadata.labels[\"app.kubernetes.io/version\"]",
	}
}
