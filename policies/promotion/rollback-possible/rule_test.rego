package promotion.rollback_possible_test

import data.promotion.rollback_possible

denials(spec) := found if {
	found := count(rollback_possible.deny) with input.object as {"spec": spec}
}

test_kept if {
	denials({}) == 0
	denials({"revisionHistoryLimit": 1}) == 0
	denials({"revisionHistoryLimit": null}) == 0
}

test_not_kept if denials({"revisionHistoryLimit": 0}) == 1
