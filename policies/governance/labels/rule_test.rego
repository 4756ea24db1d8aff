package governance.labels_test

import data.governance.labels

complete(version, environment) := {
	"app.kubernetes.io/name": "api", "app.kubernetes.io/version": version, "app.kubernetes.io/managed-by": "chaperone",
	"environment": environment, "project": "shop", "owner": "team",
}

found(names) := set if {
	set := labels.deny with input.object as {"metadata": {"labels": names}} with input.environment.name as "production"
}

test_all if count(found(complete("1.4.2", "production"))) == 0

test_missing if {
	count(found(object.remove(complete("1.4.2", "production"), ["owner"]))) == 1
	count(found(object.union(complete("1.4.2", "production"), {"owner": ""}))) == 1
	{f.msg | some f in found(object.remove(complete("1.4.2", "production"), ["owner", "project"]))} == {"without the labels project, owner"}
	count(found({})) == 1
	count(found(null)) == 1
}

test_another_environment if count(found(complete("1.4.2", "staging"))) == 1

warned(version) := n if {
	n := count(labels.warn) with input.object as {"metadata": {"labels": complete(version, "production")}} with input.environment.name as "production"
}

test_versions if {
	warned("1.4.2") == 0
	warned("v1.4.2-rc.1") == 0
	warned("latest") == 1
}
