package main

deny_owner[msg] {
  not input.metadata.labels.owner
  msg := sprintf("%s has no owner", [input.metadata.name])
}

deny_replicas[msg] {
  input.spec.replicas < 2
  msg := sprintf("%s has %d replicas", [input.metadata.name, input.spec.replicas])
}

exception[rules] {
  input.metadata.namespace == "platform"
  rules := ["owner"]
}
