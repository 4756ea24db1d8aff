package data.data_class_declared_test

import data.data.data_class_declared

messages(labels, class) := found if {
	found := {f.msg | some f in data_class_declared.deny} with input.object as {"metadata": {"labels": labels}}
		with input.environment.data as class
}

test_same_or_less_is_fine if {
	messages({"chaperone.dev/data-class": "phi"}, "phi") == set()
	messages({"chaperone.dev/data-class": "none"}, "synthetic") == set()
}

test_more_is_not if {
	messages({"chaperone.dev/data-class": "anonymized"}, "synthetic") == {"declares anonymized data in an environment for synthetic data"}
}

test_missing_or_unknown_is_not if {
	every labels in [{}, null, {"other": "phi"}, {"chaperone.dev/data-class": "PHI"}, {"chaperone.dev/data-class": ""}] {
		count(messages(labels, "phi")) == 1
	}
}
