package promotion.separation_of_duties_test

import data.promotion.separation_of_duties

denials(set) := found if {
	found := count(separation_of_duties.deny) with input.environment.promotion.approval.notAuthor as set
}

test_set if denials(true) == 0

test_not_set if denials(false) == 1
