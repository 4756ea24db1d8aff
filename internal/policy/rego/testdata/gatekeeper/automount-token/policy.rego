package k8spspautomountserviceaccounttokenpod

import rego.v1

violation contains {"msg": msg, "details": {}} if {
	obj := input.review.object
	mount_service_account_token(obj.spec)
	msg := sprintf("Automounting service account token is disallowed, pod: %v", [obj.metadata.name])
}

mount_service_account_token(spec) if spec.automountServiceAccountToken == true

mount_service_account_token(spec) if not has_key(spec, "automountServiceAccountToken")

has_key(x, k) if _ = x[k]
