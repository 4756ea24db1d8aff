package lib.backups_test

import data.lib.backups

volume := {"name": "data-db", "namespace": "shop", "labels": {"app": "db"}}

velero(template) := {"what": "velero", "namespace": "shop", "location": "", "template": template}

taken(template) if backups.covers(velero(template), volume)

test_everything_is_taken if {
	taken({})
	taken({"includedNamespaces": ["*"]})
	taken({"includedNamespaces": ["other", "shop"]})
	taken({"includedNamespaces": null, "includedResources": null, "labelSelector": null, "orLabelSelectors": null})
	taken({"includedResources": ["PersistentVolumeClaims", "pods"]})
	taken({"snapshotVolumes": false, "defaultVolumesToFsBackup": true})
	taken({"labelSelector": {"matchLabels": {"app": "db"}}})
	taken({"orLabelSelectors": [{"matchLabels": {"app": "x"}}, {"matchLabels": {"app": "db"}}]})
}

test_something_is_left_out if {
	every template in [
		{"includedNamespaces": ["other"]},
		{"excludedNamespaces": ["shop"]},
		{"excludedNamespaces": ["*"]},
		{"includedResources": ["pods"]},
		{"includedNamespaceScopedResources": ["pods"]},
		{"excludedResources": ["pvc"]},
		{"excludedNamespaceScopedResources": ["persistentvolumeclaims"]},
		{"snapshotVolumes": false},
		{"labelSelector": {"matchLabels": {"app": "x"}}},
		{"labelSelector": {"matchExpressions": [{"key": "app", "operator": "In", "values": ["x"]}]}},
		{"labelSelector": {"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["db"]}]}},
		{"labelSelector": {"matchExpressions": [{"key": "tier", "operator": "Exists"}]}},
		{"labelSelector": {"matchExpressions": [{"key": "app", "operator": "DoesNotExist"}]}},
		{"labelSelector": {"matchExpressions": [{"key": "app", "operator": "Unheard"}]}},
		{"orLabelSelectors": [{"matchLabels": {"app": "x"}}]},
	] {
		not taken(template)
	}
}

test_hours if {
	backups.hours("720h0m0s") == 720
	backups.hours("90m") == 1.5
	backups.hours("30d") == 0
	backups.hours("") == 0
	backups.hours(null) == 0
	backups.hours("-5h") == 0
}

statefulset(labels) := {
	"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "db", "namespace": "shop"},
	"spec": {"selector": {"matchLabels": {"app": "db"}}, "volumeClaimTemplates": [{"metadata": {"name": "data", "labels": labels}}]},
}

names(o) := found if {
	found := {v.name | some v in backups.volumes} with input.objects as [o]
}

test_volumes if {
	names(statefulset({})) == {"data-db"}
	names(statefulset({"chaperone.dev/data-class": "phi"})) == {"data-db"}
	names(statefulset({"chaperone.dev/data-class": "PHI"})) == {"data-db"}
	names(statefulset({"chaperone.dev/data-class": "synthetic"})) == set()
	names({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "p", "namespace": "shop", "labels": null}}) == {"p"}
}
