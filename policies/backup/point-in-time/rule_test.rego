package backup.point_in_time_test

import data.backup.point_in_time

object(annotations) := {"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "a", "annotations": annotations}}

denials(annotations, image) := found if {
	found := count(point_in_time.deny) with input.objects as [object(annotations)]
		with input.images as [{"name": image, "object": {"apiVersion": "apps/v1", "kind": "StatefulSet", "namespace": "", "name": "a"}}]
		with data.lib.backups.volumes as {{"name": "data", "path": "", "object": {"apiVersion": "apps/v1", "kind": "StatefulSet", "namespace": "", "name": "a"}}}
		with input.environment.governance.backup as null
}

test_database if {
	denials({}, "platform/postgresql") == 1
	denials({"chaperone.dev/point-in-time-recovery": "wal-g"}, "platform/postgresql") == 0
	denials({"chaperone.dev/point-in-time-recovery": " "}, "platform/postgresql") == 1
}

test_no_database if denials({}, "platform/redis-exporter") == 0
