package backup.encrypted_location_test

import data.backup.encrypted_location

location(config) := {"apiVersion": "velero.io/v1", "kind": "BackupStorageLocation", "metadata": {"name": "primary"}, "spec": {"provider": "aws", "config": config}}

denials(config) := found if {
	found := count(encrypted_location.deny) with input.objects as [location(config)]
}

test_key if denials({"kmsKeyId": "alias/a"}) == 0

test_no_key if {
	denials({}) == 1
	denials({"kmsKeyId": ""}) == 1
}

test_open if {
	denials({"kmsKeyId": "a", "s3Url": "http://store.example.org"}) == 1
	denials({"kmsKeyId": "a", "s3Url": "https://store.example.org"}) == 0
	denials({"kmsKeyId": "a", "insecureSkipTLSVerify": "true"}) == 1
	denials({"kmsKeyId": "a", "publicUrl": "https://store.example.org"}) == 1
}
