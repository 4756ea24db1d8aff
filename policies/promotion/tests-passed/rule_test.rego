package promotion.tests_passed_test

import data.promotion.tests_passed

image := {"image": "r.example.org/a:1@sha256:1", "digest": "sha256:1", "object": {}, "path": "p"}

run(result, failed) := {"key": "ci", "file": "f", "result": result, "url": "", "failed": failed}

answers(entry, override, may, tests) := found if {
	found := {f.msg | some f in tests_passed[entry]} with input.images as [image]
		with input.evidence.images as [{"digest": "sha256:1", "tests": tests}]
		with input.approval.override as override
		with data.params.evidence.keys as {"ci": {"may": may}}
}

denials(tests) := {trim_prefix(message, "r.example.org/a:1@sha256:1… ") | some message in answers("deny", "", ["test"], tests)}

test_passed if {
	denials([run("PASSED", [])]) == set()
	denials([run("WARNED", [])]) == set()
}

test_missing if denials([]) == {"has no test result by a key that counts; want one in the evidence"}

test_failed if {
	denials([run("FAILED", []), run("PASSED", [])]) == {"failed its tests (f)"}
	denials([run("FAILED", ["login", "export"])]) == {"failed its tests: login, export (f)"}
}

test_an_override_lets_it_in_and_is_told if {
	answers("deny", "the site is down", ["test"], []) == set()
	count(answers("warn", "the site is down", ["test"], [])) == 1
}

test_not_judged if {
	answers("deny", "", ["scan"], []) == set()
	count(answers("audit", "", ["scan"], [])) == 1
}
