package backup.volumes_survive_test

import data.backup.volumes_survive

denials(object) := found if {
	found := count(volumes_survive.deny) with input.object as object
}

sts(policy) := {"apiVersion": "apps/v1", "kind": "StatefulSet", "spec": {"persistentVolumeClaimRetentionPolicy": policy}}

test_statefulset if {
	denials(sts({"whenDeleted": "Retain", "whenScaled": "Retain"})) == 0
	denials(sts({})) == 0
	denials(sts({"whenDeleted": "Delete"})) == 1
	denials(sts({"whenScaled": "Delete"})) == 1
}

test_storage_class if {
	denials({"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "reclaimPolicy": "Retain"}) == 0
	denials({"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass"}) == 1
}

test_volume if {
	denials({"apiVersion": "v1", "kind": "PersistentVolume", "spec": {"persistentVolumeReclaimPolicy": "Delete"}}) == 1
	denials({"apiVersion": "v1", "kind": "PersistentVolume", "spec": {}}) == 0
}

test_prune if {
	denials({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"annotations": {"chaperone.dev/prune": "allow"}}}) == 1
	denials({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {}}) == 0
}
