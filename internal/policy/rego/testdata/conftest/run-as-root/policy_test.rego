package main

test_deployment_without_security_context {
  deny["Containers must not run as root in Deployment sample"] with input as {"kind": "Deployment", "metadata": {"name": "sample"}}
}

test_other_kinds {
  count(deny) == 0 with input as {"kind": "Service"}
}
