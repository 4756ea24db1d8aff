package lib.backups_test

import data.lib.backups

volume := {"name": "data-db", "namespace": "shop", "labels": {"app": "db"}, "class": "encrypted"}

velero(template) := {"what": "velero", "namespace": "shop", "location": "", "template": template}

taken(template) if backups.covers(velero(template), volume) with input.objects as []

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

test_label_of_veleros if {
	excluded := object.union(volume, {"labels": {"velero.io/exclude-from-backup": "true"}})
	not backups.covers(velero({}), excluded) with input.objects as []
	kept := object.union(volume, {"labels": {"velero.io/exclude-from-backup": "false"}})
	backups.covers(velero({}), kept) with input.objects as []
}

test_pods_keep_theirs_out if {
	pod := {
		"apiVersion": "v1", "kind": "Pod",
		"metadata": {"name": "p", "namespace": "shop", "annotations": {"backup.velero.io/backup-volumes-excludes": "cache, files"}},
		"spec": {"containers": [], "volumes": [{"name": "files", "persistentVolumeClaim": {"claimName": "data-db"}}]},
	}
	files := {"snapshotVolumes": false, "defaultVolumesToFsBackup": true}
	not backups.covers(velero(files), volume) with input.objects as [pod]
	backups.covers(velero({"defaultVolumesToFsBackup": true}), volume) with input.objects as [pod]
	set := {
		"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "db", "namespace": "shop"},
		"spec": {
			"volumeClaimTemplates": [{"metadata": {"name": "data"}}],
			"template": {
				"metadata": {"annotations": {"backup.velero.io/backup-volumes-excludes": "data"}},
				"spec": {"containers": []},
			},
		},
	}
	not backups.covers(velero(files), volume) with input.objects as [set]
}

policed(conditions, action) if {
	rules := {"version": "v1", "volumePolicies": [{"conditions": conditions, "action": {"type": action}}]}
	backups.covers(velero({"resourcePolicy": {"kind": "configmap", "name": "some"}}), volume) with input.objects as [{
		"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "some", "namespace": "shop"},
		"data": {"policy.yaml": yaml.marshal(rules)},
	}]
}

test_resource_policies if {
	policed({"storageClass": ["encrypted"]}, "snapshot")
	policed({"storageClass": ["scratch"]}, "skip")
	policed({"volumeTypes": ["emptyDir", "configMap"]}, "skip")
	policed({"pvcLabels": {"app": "cache"}}, "skip")
	every conditions in [
		{}, {"storageClass": ["encrypted"]}, {"capacity": "0,100Gi"}, {"csi": {}},
		{"volumeTypes": ["persistentVolumeClaim", "emptyDir"]}, {"pvcLabels": {"app": "db"}},
	] {
		not policed(conditions, "skip")
	}
	not taken({"resourcePolicy": {"kind": "configmap", "name": "of-another-release"}})
	taken({"resourcePolicy": null})
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
