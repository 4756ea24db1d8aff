# METADATA
# title: Services grow with their load
# description: >-
#   A service with a fixed number of pods is slow on the day everybody needs it.
#   An autoscaler that cannot measure, or has no room, is as good as none, and
#   one that shares the number with Git fights for it.
# scope: package
# custom:
#   id: availability/autoscaling
#   code: AVL-006
#   severity: low
#   data: [phi]
#   waivable: false
#   controls:
#     hipaa:
#       - cite: 164.308(a)(7)(ii)(C)
#         why: An emergency brings load; the services that clinicians need grow with it.
#   remediation: >-
#     Add a HorizontalPodAutoscaler for the Deployment and leave replicas out,
#     or say in the annotation chaperone.dev/fixed-replicas why their number is
#     fixed. Where it scales on utilization, each container needs a request for
#     that resource.
package availability.autoscaling

import data.lib.objects
import data.lib.workloads

deny contains result if {
	some workload in workloads.replicated
	workload.kind == "Deployment.apps"
	count(workloads.services(workload)) > 0
	scale := workloads.scale(workload)
	scale.object == null
	scale.max > 0
	every annotation in ["chaperone.dev/fixed-replicas", "chaperone.dev/singleton"] {
		workloads.declared(workload, annotation) == ""
	}
	result := {
		"msg": sprintf("%v of it runs, whatever the load", [scale.max]),
		"object": objects.ref(workload.object),
		"path": "spec.replicas",
	}
}

deny contains result if {
	some workload in workloads.replicated
	scale := workloads.scale(workload)
	scale.object != null
	scale.max <= scale.min
	result := {
		"msg": sprintf("it scales from %v to %v", [scale.min, scale.max]),
		"object": objects.ref(scale.object),
		"path": "spec.maxReplicas",
	}
}

deny contains result if {
	some workload in workloads.replicated
	scale := workloads.scale(workload)
	scale.object != null
	objects.is_set(workload.object, ["spec", "replicas"])
	result := {
		"msg": "replicas are written here and set by an autoscaler, too",
		"object": objects.ref(workload.object),
		"path": "spec.replicas",
	}
}

# Utilization is a share of what is requested.
deny contains result if {
	some workload in workloads.replicated
	scale := workloads.scale(workload)
	some i, metric in scale.object.spec.metrics
	metric.resource.target.type == "Utilization"
	resource := metric.resource.name
	some container in workload.pod.spec.containers
	every place in ["requests", "limits"] {
		not objects.is_set(container, ["resources", place, resource])
	}
	result := {
		"msg": sprintf("container %q has no request of %s, so that there is nothing to measure by", [container.name, resource]),
		"object": objects.ref(scale.object),
		"path": sprintf("spec.metrics[%d]", [i]),
	}
}
