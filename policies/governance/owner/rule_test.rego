package governance.owner_test

import data.governance.owner

denials(address) := found if {
	found := count(owner.deny) with input.environment.governance.owner as address
}

test_address if {
	denials("platform@example.org") == 0
	denials("https://oncall.example.org/platform") == 0
}

test_no_address if {
	denials("") == 1
	denials("the platform team") == 1
	denials("kim@") == 1
}
