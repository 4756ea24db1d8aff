package backup.restore_tested_test

import data.backup.restore_tested

denials(backup) := found if {
	found := count(restore_tested.deny) with input.environment.governance.backup as backup with input.now as "2026-06-01T12:00:00Z"
}

test_tried if denials({"restoreTested": "2026-01-31"}) == 0

test_long_ago if denials({"restoreTested": "2025-01-31"}) == 1

test_never if {
	denials(null) == 1
	denials({"restoreTested": ""}) == 1
}
