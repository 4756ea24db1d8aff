package backup.recovery_objectives_test

import data.backup.recovery_objectives

volume := {"name": "data", "object": {"name": "a"}, "path": "", "labels": {}, "namespace": "example"}

denials(rto, rpo, seconds) := found if {
	found := count(recovery_objectives.deny) with data.lib.backups.volumes as {volume}
		with data.lib.backups.plans as {{"what": "declared", "seconds": s} | some s in seconds}
		with input.environment.governance.recovery as {"rto": rto, "rpo": rpo}
}

test_consistent if denials("4h0m0s", "1h0m0s", [86400, 3600]) == 0

test_not_declared if {
	denials("0s", "1h", [3600]) == 1
	denials("4h", "0s", [3600]) == 1
	denials("soon", "1h", [3600]) == 1
}

test_too_long if {
	denials("5h", "1h", [3600]) == 1
	denials("4h", "2h", [3600]) == 1
}

test_promised_more_than_is_done if {
	denials("4h", "30m", [3600]) == 1
	denials("4h", "1h", [86400]) == 1
	denials("4h", "1h", []) == 1
	denials("4h", "1h", [0]) == 1
}
