package network.guarded_entry_test

import data.network.guarded_entry

findings(o) := found if {
	found := {f.msg | some f in guarded_entry.deny} with input.objects as [o]
}

ingress(annotations) := {
	"apiVersion": "networking.k8s.io/v1", "kind": "Ingress",
	"metadata": {"name": "public", "namespace": "a", "annotations": annotations}, "spec": {},
}

test_each_is_missed if {
	findings(ingress({})) == {"nothing limits requests", "nothing asks who sends them"}
	findings(ingress({"nginx.ingress.kubernetes.io/limit-rps": "5"})) == {"nothing asks who sends them"}
	findings(ingress({"alb.ingress.kubernetes.io/auth-type": "oidc"})) == {"nothing limits requests"}
}

test_switched_off_is_none if {
	findings(ingress({
		"nginx.ingress.kubernetes.io/limit-rps": "0",
		"alb.ingress.kubernetes.io/auth-type": "none",
	})) == {"nothing limits requests", "nothing asks who sends them"}
}
