package promotion.signed_commits_test

import data.promotion.signed_commits

findings(require, asked) := found if {
	found := signed_commits.deny with input.environment as {
		"id": "novamind/production", "pipeline": "novamind", "data": "phi", "require": require,
	}
		with data.params.promotion.require_signed as asked
}

test_nobody_asks if count(findings([], {})) == 0

test_asked if {
	every asked in [{"novamind/production": true}, {"novamind/*": true}, {"phi": true}] {
		count(findings([], asked)) == 1
		count(findings(["signed"], asked)) == 0
	}
}

test_the_nearest_counts if {
	count(findings([], {"novamind/production": false, "phi": true})) == 0
	count(findings([], {"novamind/production": true, "phi": false})) == 1
}

test_a_slip_is_no_pass if {
	every slip in ["true", 1, null] {
		count(findings(["signed"], {"phi": slip})) == 1
	}
}
