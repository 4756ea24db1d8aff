package audit.runtime_sensor_test

import data.audit.runtime_sensor

denials(sensor, images) := found if {
	found := count(runtime_sensor.deny) with input.environment.governance.audit.runtimeSensor as sensor with input.images as images
}

test_declared if denials("falco", []) == 0

test_not_declared if {
	denials("", []) == 1
	denials(" ", []) == 1
}

test_own if {
	denials("", [{"name": "falcosecurity/falco", "object": {"kind": "DaemonSet"}}]) == 0
	denials("", [{"name": "falcosecurity/falco", "object": {"kind": "Deployment"}}]) == 1
	denials("", [{"name": "shop/falcon", "object": {"kind": "DaemonSet"}}]) == 1
}
