package main

deny_latest[msg] {
  image := input.spec.template.spec.containers[_].image
  endswith(image, ":latest")
  msg := sprintf("image '%v' uses the tag latest", [image])
}

deny_no_tag[msg] {
  image := input.spec.template.spec.containers[_].image
  [_, path] := split_last(image)
  not contains(path, ":")
  msg := sprintf("image '%v' has no tag", [image])
}

split_last(image) = [registry, path] {
  parts := split(image, "/")
  path := parts[count(parts) - 1]
  registry := parts[0]
}
