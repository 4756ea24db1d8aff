package promotion.ran_before_test

import data.promotion.ran_before

api := {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "api"}, "spec": {"template": {"spec": {"containers": []}}}}

denials(upstreams, digest, override) := found if {
	found := count(ran_before.deny) with input.objects as [api]
		with input.upstream as upstreams
		with input.lastGood.digest as "sha256:1"
		with input.release.digest as digest
		with input.approval.override as override
		with input.environment.after as ["example/staging"]
}

upstream(state) := {"environment": "example/staging", "state": state, "workloads": ["Deployment.apps/api"]}

test_ran if {
	denials([upstream("verified")], "sha256:2", "") == 0
	denials([upstream("rendered")], "sha256:2", "") == 0
}

test_did_not if {
	denials([upstream("none")], "sha256:2", "") == 1
	denials([upstream("unknown")], "sha256:2", "") == 1
	denials([], "sha256:2", "") == 1
	denials([{"environment": "example/staging", "state": "verified", "workloads": ["Deployment.apps/other"]}], "sha256:2", "") == 1
}

test_runs_here_already if denials([], "sha256:1", "") == 0

test_override if denials([], "sha256:2", "the database is on fire") == 0
