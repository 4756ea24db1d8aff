package k8spsphostfilesystem

violation[{"msg": msg, "details": {}}] {
  volume := input_hostpath_volumes[_]
  allowed_paths := get_allowed_paths(input)
  input_hostpath_violation(allowed_paths, volume)
  msg := sprintf("HostPath volume %v is not allowed, pod: %v. Allowed path: %v", [volume, input.review.object.metadata.name, allowed_paths])
}

input_hostpath_violation(allowed_paths, volume) {
  not input_hostpath_allowed(allowed_paths, volume)
}

get_allowed_paths(arg) = out {
  not arg.parameters
  out = []
}

get_allowed_paths(arg) = out {
  out = arg.parameters.allowedHostPaths
}

input_hostpath_allowed(allowed_paths, volume) {
  allowedHostPath := allowed_paths[_]
  path_matches(allowedHostPath.pathPrefix, volume.hostPath.path)
  not allowedHostPath.readOnly == true
}

input_hostpath_allowed(allowed_paths, volume) {
  allowedHostPath := allowed_paths[_]
  path_matches(allowedHostPath.pathPrefix, volume.hostPath.path)
  allowedHostPath.readOnly
  not writeable_input_volume_mounts(volume.name)
}

writeable_input_volume_mounts(volume_name) {
  container := input.review.object.spec.containers[_]
  mount := container.volumeMounts[_]
  mount.name == volume_name
  not mount.readOnly
}

path_matches(prefix, path) {
  a := split(trim(prefix, "/"), "/")
  b := split(trim(path, "/"), "/")
  prefix_matches(a, b)
}

prefix_matches(a, b) {
  count(a) <= count(b)
  not any_not_equal_upto(a, b, count(a))
}

any_not_equal_upto(a, b, n) {
  a[i] != b[i]
  i < n
}

input_hostpath_volumes[v] {
  v := input.review.object.spec.volumes[_]
  v.hostPath
}
