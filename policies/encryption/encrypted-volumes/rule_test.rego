package encryption.encrypted_volumes_test

import data.encryption.encrypted_volumes

messages(o) := found if {
	found := {f.msg | some f in encrypted_volumes.deny} with input.object as o
		with data.params.encrypted_storage_classes as ["safe"]
}

claim(spec) := {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data"}, "spec": spec}

test_class_must_be_listed if {
	messages(claim({"storageClassName": "safe"})) == set()
	messages(claim({"storageClassName": "fast"})) == {"the claim has storage class \"fast\", which is not known to encrypt"}
}

test_no_class_is_the_clusters_default if {
	every spec in [{}, {"storageClassName": null}, {"storageClassName": ""}] {
		messages(claim(spec)) == {"the claim has no storage class, which is not known to encrypt"}
	}
}

class(provisioner, parameters) := {
	"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": "safe"},
	"provisioner": provisioner, "parameters": parameters,
}

test_listed_class_must_encrypt if {
	messages(class("ebs.csi.aws.com", {"encrypted": "true"})) == set()
	messages(class("pd.csi.storage.gke.io", {"disk-encryption-kms-key": "projects/a"})) == set()
	count(messages(class("pd.csi.storage.gke.io", {"disk-encryption-kms-key": ""}))) == 1
	count(messages(class("ebs.csi.aws.com", {"encrypted": "no"}))) == 1
	count(messages(class("ebs.csi.aws.com", null))) == 1
	count(messages(class("example.org/other", {"encrypted": "true"}))) == 1
}
