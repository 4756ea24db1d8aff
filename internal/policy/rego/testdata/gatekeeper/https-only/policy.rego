package k8shttpsonly

violation[{"msg": msg}] {
  input.review.object.kind == "Ingress"
  re_match("^(extensions|networking.k8s.io)$", input.review.kind.group)
  ingress := input.review.object
  not https_complete(ingress)
  msg := sprintf("Ingress should be https. tls configuration is required for %v", [ingress.metadata.name])
}

https_complete(ingress) = true {
  ingress.spec["tls"]
  count(ingress.spec.tls) > 0
}
