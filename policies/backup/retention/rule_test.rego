package backup.retention_test

import data.backup.retention

plan(kind, kept) := {"kind": kind, "kept": kept, "object": null, "path": "p"}

denials(class, p) := found if {
	found := count(retention.deny) with data.lib.backups.plans as {p} with input.environment.data as class
}

test_full if {
	denials("phi", plan("full", 720)) == 0
	denials("phi", plan("full", 719)) == 1
	denials("anonymized", plan("full", 168)) == 0
	denials("anonymized", plan("full", 167)) == 1
}

test_incremental if {
	denials("phi", plan("incremental", 24)) == 0
	denials("phi", plan("incremental", 23)) == 1
}
