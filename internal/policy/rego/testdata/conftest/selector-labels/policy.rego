package main

name = input.metadata.name

required_deployment_selectors {
  input.spec.selector.matchLabels.app
}

deny_no_app_selector[msg] {
  input.kind == "Deployment"
  not required_deployment_selectors
  msg = sprintf("Deployment %s must provide app label for pod selectors", [name])
}
