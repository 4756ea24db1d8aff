package promotion.verification_evidence_test

import data.promotion.verification_evidence

denials(soak, checks) := found if {
	found := count(verification_evidence.deny) with input.environment as {"after": ["example/staging"], "promotion": {"soak": soak}}
		with input.pipeline as [{"environment": "example/staging", "checks": checks}]
}

test_evidence if denials("3s", 1) == 0

test_no_checks if denials("3s", 0) == 1

test_no_soak if denials("0s", 1) == 1

test_unknown if {
	count(verification_evidence.deny) == 1 with input.environment as {"after": ["example/staging"], "promotion": {"soak": "1h"}}
		with input.pipeline as []
}

test_unreadable if {
	{f.msg | some f in verification_evidence.deny} == {"nothing is known of example/staging, which comes before"}
		with input.environment as {"after": ["example/staging"], "promotion": {"soak": "1h"}}
		with input.pipeline as [{"environment": "example/staging", "checks": 0, "data": "unknown"}]
}
