package data.nothing_shared_test

import data.data.nothing_shared

own(what, key) := {"what": what, "identity": "i", "key": key, "object": {"name": "a"}, "path": "p"}

other(class, what, identity) := {
	"environment": "example/other", "data": class, "state": "verified",
	"references": [{"what": what, "identity": identity}],
}

denials(mine, them) := found if {
	found := count(nothing_shared.deny) with input.references as [mine] with input.pipeline as [them] with input.environment.data as "phi"
}

test_secret if {
	denials(own("secret", "password"), other("synthetic", "secret", "i")) == 1
	denials(own("secret", "password"), other("phi", "secret", "i")) == 0
	denials(own("secret", "password"), other("synthetic", "secret", "j")) == 0
	denials(own("secret", "username"), other("synthetic", "secret", "i")) == 0
	denials(own("external", ""), other("synthetic", "external", "i")) == 1
}

test_data if {
	denials(own("database", "uri"), other("synthetic", "database", "i")) == 1
	denials(own("database", "uri"), other("phi", "database", "i")) == 0
	denials(own("bucket", ""), other("anonymized", "bucket", "i")) == 1
	denials(own("bucket", ""), other("anonymized", "database", "i")) == 0
}

test_unknown_is_no_pass if denials(own("bucket", ""), object.union(other("synthetic", "bucket", "j"), {"state": "unknown"})) == 1

test_more_than_is_read_is_no_pass if {
	denials(own("unread", ""), other("synthetic", "bucket", "j")) == 1
	denials(own("bucket", ""), other("synthetic", "unread", "")) == 1
}

test_a_file_that_cannot_be_read_is_no_pass if {
	denials(own("bucket", ""), {"environment": "example/other", "data": "unknown", "state": "unknown", "references": []}) == 1
}
