package main

workload { input.kind == "Deployment" }
workload { input.kind == "StatefulSet" }

deny_plain_password[msg] {
  workload
  env := input.spec.template.spec.containers[i].env[_]
  re_match("(?i)(password|token|secret)", env.name)
  env.value
  msg := sprintf("container %d has the secret %s in clear", [i, env.name])
}
