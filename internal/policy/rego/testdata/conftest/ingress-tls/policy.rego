package main

deny_tls[{"msg": msg, "code": "ING-1"}] {
  input.kind == "Ingress"
  not input.spec.tls
  msg := sprintf("Ingress %s has no TLS", [input.metadata.name])
}
