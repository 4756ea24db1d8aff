package backup.scheduled_test

import data.backup.scheduled

volume := {"name": "data", "object": {"name": "a"}, "path": "", "labels": {}, "namespace": "example"}

plan(kind, seconds) := {"what": "declared", "kind": kind, "seconds": seconds}

denials(plans) := found if {
	found := count(scheduled.deny) with data.lib.backups.volumes as {volume} with data.lib.backups.plans as plans
}

test_daily_and_hourly if denials({plan("full", 86400), plan("incremental", 3600)}) == 0

test_hourly_full_alone if denials({plan("full", 3600)}) == 0

test_too_seldom if {
	denials({plan("full", 86460), plan("incremental", 3600)}) == 1
	denials({plan("full", 86400), plan("incremental", 3660)}) == 1
	denials({plan("full", 86400)}) == 1
	denials({plan("incremental", 3600)}) == 1
	denials(set()) == 2
}

test_unknown_is_never if denials({plan("full", 0), plan("incremental", 0)}) == 2
