# METADATA
# title: Something watches what runs beside real patient data
# description: >-
#   A sensor on the nodes notices what no manifest tells: a shell in a pod, a file
#   that should not be read. It is among the objects, or the platform has one and
#   the environment says which.
# scope: package
# custom:
#   id: audit/runtime-sensor
#   code: AUD-005
#   severity: medium
#   data: [phi]
#   waivable: false
#   controls:
#     hipaa:
#       - cite: 164.308(a)(6)(ii)
#         why: An incident is responded to only when somebody notices it.
#   remediation: >-
#     Name the sensor of the nodes in governance.audit.runtimeSensor of the
#     environment, such as falco or tetragon.
package audit.runtime_sensor

deny contains result if {
	trim_space(input.environment.governance.audit.runtimeSensor) == ""
	not own
	result := {"msg": "no sensor watches what runs; want governance.audit.runtimeSensor to name the platform's, or one among the objects"}
}

own if {
	some image in input.images
	image.object.kind == "DaemonSet"
	regex.match(data.params.audit.sensor_images, image.name)
}
