package backup.second_region_test

import data.backup.second_region

volume := {"name": "data", "object": {"name": "a"}, "path": "", "labels": {}, "namespace": "example"}

location(name, region) := {"apiVersion": "velero.io/v1", "kind": "BackupStorageLocation", "metadata": {"name": name, "namespace": "example"}, "spec": {"config": {"region": region}}}

plan(name) := {"what": "velero", "namespace": "example", "location": name, "template": {}}

denials(plans, locations) := found if {
	found := count(second_region.deny) with data.lib.backups.volumes as {volume}
		with data.lib.backups.plans as plans
		with input.objects as locations
		with input.environment.governance.backup as null
}

test_two_regions if denials({plan("a"), plan("b")}, [location("a", "west"), location("b", "east")]) == 0

test_one_region if {
	denials({plan("a"), plan("b")}, [location("a", "west"), location("b", "west")]) == 1
	denials({plan("a")}, [location("a", "west"), location("b", "east")]) == 1
	denials({plan("a"), plan("b")}, [location("a", "west"), location("b", "")]) == 1
}
