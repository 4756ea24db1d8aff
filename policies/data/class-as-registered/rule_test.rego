package data.class_as_registered_test

import data.data.class_as_registered

classes := {"shop/production": "phi", "shop/staging": "anonymized", "shop/*": "synthetic"}

denials(id, class, facts) := denied_by(classes, id, class, facts)

denied_by(registry, id, class, facts) := found if {
	found := count(class_as_registered.deny) with data.params.data_classes as registry with input as {
		"environment": {"id": id, "pipeline": split(id, "/")[0], "data": class, "after": object.get(facts, "after", [])},
		"pipeline": object.get(facts, "pipeline", []),
	}
}

before(id, class) := {"after": [id], "pipeline": [{"environment": id, "data": class, "order": "before"}]}

test_what_it_is_registered_for if {
	denials("shop/production", "phi", {}) == 0
	denials("shop/staging", "anonymized", {}) == 0
	denials("shop/staging", "phi", {}) == 0
	denials("clinic/production", "none", {}) == 0
}

test_less_than_that if {
	denials("shop/production", "anonymized", {}) == 1
	denials("shop/production", "none", {}) == 1
	denials("shop/staging", "synthetic", {}) == 1
}

test_another_name_is_not_the_way_out if {
	denials("shop/production-2", "none", {}) == 1
	denials("shop/production-2", "synthetic", {}) == 0
	denied_by({"*": "phi"}, "clinic/production", "none", {}) == 1
}

test_a_slip_is_not_a_pass if {
	denied_by({"shop/production": "PHI"}, "shop/production", "none", {}) == 1
	denied_by({"shop/production": ""}, "shop/production", "phi", {}) == 1
	denied_by({"shop/production": ["phi"]}, "shop/production", "none", {}) == 1
}

test_no_less_than_what_comes_before if {
	denials("clinic/live", "none", before("clinic/staging", "anonymized")) == 1
	denials("clinic/live", "synthetic", before("clinic/staging", "phi")) == 1
	denials("clinic/live", "none", before("clinic/staging", "synthetic")) == 0
	denials("clinic/live", "phi", before("clinic/staging", "anonymized")) == 0
}

test_what_is_not_known_is_not_a_pass if {
	denials("clinic/live", "none", {"after": ["clinic/staging"]}) == 1
}

test_a_file_that_cannot_be_read_is_not_a_pass if {
	denials("clinic/live", "none", object.union({"after": ["clinic/staging"]}, before("clinic/staging", "unknown"))) == 1
}
