package promotion.drift_corrected_test

import data.promotion.drift_corrected

denials(drift) := found if {
	found := count(drift_corrected.deny) with input.environment.drift as drift
}

test_corrected if denials("correct") == 0

test_not_corrected if {
	denials("report") == 1
	denials("") == 1
}
