package promotion.named_approval_test

import data.promotion.named_approval

approved(when) := {"state": "pinned", "by": [{"name": "Kim", "when": when}], "override": ""}

denials(asked, approval) := found if {
	found := count(named_approval.deny) with input.environment.promotion.approval as asked
		with input.approval as approval
		with input.now as "2026-05-20T12:00:00Z"
}

one := {"required": 1, "from": ["release-managers"], "notAuthor": true}

proposed := {"state": "proposed", "by": [], "override": ""}

test_asked if denials(one, proposed) == 0

test_nobody_asked if {
	denials({"required": 0, "from": ["release-managers"]}, proposed) == 1
	denials({"required": 1, "from": []}, proposed) == 1
}

test_no_fewer_than_the_bundle_says if {
	every listed, want in {"shop/live": 1, "shop/*": 1, "phi": 1, "shop/other": 0, "anonymized": 0} {
		asked_by({listed: 2}) == want
	}
	asked_by({"shop/live": 1, "shop/*": 2, "phi": 2}) == 0
	asked_by({"phi": 0}) == 0
	asked_by({"phi": "2"}) == 1
	asked_by(3) == 1
	asked_by([2]) == 1
}

asked_by(least) := found if {
	found := count(named_approval.deny) with input.environment as {
		"id": "shop/live", "pipeline": "shop", "data": "phi",
		"promotion": {"approval": one},
	}
		with input.approval as proposed
		with input.now as "2026-05-20T12:00:00Z"
		with data.params.promotion.least_approvals as least
}

test_fresh if denials(one, approved("2026-05-19T12:00:00Z")) == 0

test_old if {
	denials(one, approved("2026-03-19T12:00:00Z")) == 1
	denials(one, approved("")) == 1
}

test_of_a_day_to_come if {
	denials(one, approved("2099-03-19T12:00:00Z")) == 1
	denials(one, approved("2026-05-20T12:30:00Z")) == 0
	denials(one, object.union(approved("2099-03-19T12:00:00Z"), {"state": "verified"})) == 0
}

test_too_few if {
	denials(one, {"state": "pinned", "by": [], "override": ""}) == 1
	denials(object.union(one, {"required": 2}), approved("2026-05-19T12:00:00Z")) == 1
	denials(one, {"state": "pinned", "by": [], "override": "the site is down"}) == 0
}

test_old_one_of_what_runs if denials(one, object.union(approved("2026-03-19T12:00:00Z"), {"state": "verified"})) == 0

test_unknown if denials(one, {"state": "unknown", "by": [], "override": ""}) == 1
