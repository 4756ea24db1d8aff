package promotion.migration_rollback_test

import data.promotion.migration_rollback

hook(kind, more) := {
	"apiVersion": "batch/v1", "kind": "Job",
	"metadata": {"name": kind, "annotations": object.union({"chaperone.dev/hook": kind}, more)},
}

denials(list) := found if {
	found := count(migration_rollback.deny) with input.objects as list
}

test_both if denials([hook("pre-deploy", {}), hook("rollback", {})]) == 0

test_no_way_back if {
	denials([hook("pre-deploy", {})]) == 1
	denials([hook("pre-deploy", {}), hook("post-deploy", {})]) == 1
}

test_changes_no_data if denials([hook("pre-deploy", {"chaperone.dev/changes-data": "no"})]) == 0
