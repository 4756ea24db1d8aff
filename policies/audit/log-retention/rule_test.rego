package audit.log_retention_test

import data.audit.log_retention

denials(sink, retention) := found if {
	found := count(log_retention.deny) with input.environment.governance.audit as {"sink": sink, "retention": retention}
}

test_six_years if denials("elasticsearch", "52560h0m0s") == 0

test_shorter if denials("elasticsearch", "52559h0m0s") == 1

test_no_sink if {
	denials("", "52560h0m0s") == 1
	denials(" ", "52560h0m0s") == 1
}
