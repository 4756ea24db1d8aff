package promotion.in_order_test

import data.promotion.in_order

other(order, class) := {"environment": "example/other", "data": class, "order": order}

denials(mode, after, others) := found if {
	found := count(in_order.deny) with input.environment as {"data": "phi", "after": after, "promotion": {"mode": mode}}
		with input.pipeline as others
}

staging := ["example/staging"]

test_in_order if denials("pull-request", staging, [other("before", "synthetic"), other("before", "anonymized")]) == 0

test_nothing_before if denials("pull-request", [], []) == 1

test_by_itself if {
	denials("automatic", staging, [other("before", "anonymized")]) == 1
	denials("schedule", staging, [other("before", "anonymized")]) == 1
}

test_skipped if {
	denials("pull-request", staging, [other("before", "synthetic"), other("beside", "anonymized")]) == 1
	denials("pull-request", staging, [other("before", "anonymized"), other("beside", "anonymized")]) == 0
	denials("pull-request", staging, [other("before", "anonymized"), other("beside", "synthetic")]) == 0
	denials("pull-request", staging, [other("before", "anonymized"), other("beside", "phi")]) == 0
}

test_from_more_protected if {
	count(in_order.deny) == 1 with input.environment as {"data": "anonymized", "after": staging, "promotion": {"mode": "pull-request"}}
		with input.pipeline as [other("before", "phi")]
}

test_unreadable_is_not_before if {
	denials("pull-request", staging, [other("before", "synthetic"), other("before", "unknown"), other("beside", "anonymized")]) == 1
}
