package data.deidentification_attested_test

import data.data.deidentification_attested

denials(d) := found if {
	found := count(deidentification_attested.deny) with input.environment.governance.deidentification as d with input.now as "2026-05-20T12:00:00Z"
}

test_attested if denials({"method": "safe-harbor", "by": "privacy office", "date": "2026-05-12"}) == 0

test_not_attested if denials(null) == 1

test_half_attested if {
	denials({"method": "safe-harbor", "by": " ", "date": "2026-05-12"}) == 1
	denials({"method": "safe-harbor", "by": "a", "date": ""}) == 1
	denials({"method": "hashing", "by": "a", "date": "2026-05-12"}) == 1
}

test_in_the_future if denials({"method": "safe-harbor", "by": "a", "date": "2026-06-12"}) == 1
