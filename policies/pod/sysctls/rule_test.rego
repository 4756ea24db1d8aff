package pod.sysctls_test

import data.pod.sysctls

deployment(spec) := {
	"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "api"},
	"spec": {"template": {"spec": spec}},
}

findings(list, version) := found if {
	found := {f.msg | some f in sysctls.deny} with input.object as deployment({"securityContext": {"sysctls": list}})
		with data.params.pod_security_version as version
}

test_what_is_safe_depends_on_the_version if {
	every name, version in {
		"net.ipv4.ip_local_reserved_ports": ["1.26", "1.27"],
		"net.ipv4.tcp_fin_timeout": ["1.28", "1.29"],
		"net.ipv4.tcp_wmem": ["1.31", "1.32"],
		"net.ipv4.tcp_notsent_lowat": ["1.36", "1.37"],
	} {
		findings([{"name": name}], version[0]) == {sprintf("sysctl %s is not safe", [name])}
		findings([{"name": name}], version[1]) == set()
	}
}

test_null_has_no_name if {
	findings([null], "latest") == {"sysctl without a name is not safe"}
	findings(null, "latest") == set()
}
