package main

import future.keywords.in

deprecated := {
  "Deployment": {"extensions/v1beta1", "apps/v1beta1", "apps/v1beta2"},
  "Ingress": {"extensions/v1beta1", "networking.k8s.io/v1beta1"},
}

deny_deprecated[msg] {
  input.apiVersion in deprecated[input.kind]
  msg := sprintf("%s/%s: API %s is deprecated", [input.kind, input.metadata.name, input.apiVersion])
}
