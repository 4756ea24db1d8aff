# METADATA
# title: Workloads and namespaces declare what they hold
# description: >-
#   The label chaperone.dev/data-class is the inventory of where patient data is.
#   It is on every workload, claim and namespace, and never says more than the
#   environment may hold.
# scope: package
# custom:
#   id: data/data-class-declared
#   code: DAT-003
#   severity: high
#   data: [synthetic, anonymized, phi]
#   kinds: [workloads, Namespace, PersistentVolumeClaim]
#   waivable: true
#   controls:
#     hipaa:
#       - cite: 164.308(a)(7)(ii)(E)
#         why: What must be brought back first is known only where it is known what holds patient data.
#     nist_800_53r5: [RA-2]
#   remediation: >-
#     Set the label chaperone.dev/data-class to none, synthetic, anonymized or phi,
#     for example with the labels field of the overlay's kustomization.
package data.data_class_declared

rank := {"none": 0, "synthetic": 1, "anonymized": 2, "phi": 3}

label := object.get(input.object, ["metadata", "labels", "chaperone.dev/data-class"], null)

path := "metadata.labels[\"chaperone.dev/data-class\"]"

deny contains result if {
	label == null
	result := {"msg": "no label chaperone.dev/data-class says what data it holds", "path": path}
}

deny contains result if {
	class := label
	class != null
	not rank[class]
	result := {"msg": sprintf("%v is no data class; want none, synthetic, anonymized or phi", [class]), "path": path}
}

deny contains result if {
	rank[label] > rank[input.environment.data]
	result := {
		"msg": sprintf("declares %s data in an environment for %s data", [label, input.environment.data]),
		"path": path,
	}
}
