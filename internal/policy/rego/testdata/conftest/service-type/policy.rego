package main

warn_load_balancer[msg] {
  input.kind == "Service"
  input.spec.type == "LoadBalancer"
  msg := sprintf("Found service %s of type LoadBalancer; be careful", [input.metadata.name])
}

deny_node_port[msg] {
  input.kind == "Service"
  input.spec.type == "NodePort"
  msg := sprintf("Found service %s of type NodePort", [input.metadata.name])
}
