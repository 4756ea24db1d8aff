package k8sdisallowanonymous

import future.keywords.if
import future.keywords.in
import future.keywords.contains

violation contains {"msg": msg} if {
  not is_allowed(input.review.object.roleRef, object.get(input, ["parameters", "allowedRoles"], []))
  some subject in input.review.object.subjects
  subject.name in {"system:unauthenticated", "system:anonymous"}
  msg := sprintf("%v is not allowed as a subject name in %v %v", [subject.name, input.review.object.kind, input.review.object.metadata.name])
}

is_allowed(role, allowedRoles) if role.name in allowedRoles
