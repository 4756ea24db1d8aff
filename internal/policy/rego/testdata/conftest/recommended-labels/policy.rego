package main

import data.kubernetes

name = input.metadata.name

required_deployment_labels {
  input.metadata.labels["app.kubernetes.io/name"]
  input.metadata.labels["app.kubernetes.io/version"]
}

violation_labels[{"msg": msg, "details": {"missing": "labels"}}] {
  kubernetes.is_deployment
  not required_deployment_labels
  msg = sprintf("%s must include Kubernetes recommended labels", [name])
}
