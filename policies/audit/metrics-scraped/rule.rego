# METADATA
# title: Services are measured
# description: >-
#   A service that nobody measures fails in silence. Rates of errors, times and
#   load are what verification and alarms go by.
# scope: package
# custom:
#   id: audit/metrics-scraped
#   code: AUD-003
#   severity: low
#   data: [anonymized, phi]
#   waivable: false
#   controls:
#     hipaa:
#       - cite: 164.308(a)(1)(ii)(D)
#         why: What the systems do is looked at all the time, and not after somebody complains.
#   remediation: >-
#     Add a PodMonitor or ServiceMonitor that selects it, the annotation
#     prometheus.io/scrape, or a Service with a port called metrics. Where it is
#     measured otherwise, say how in the annotation chaperone.dev/metrics.
package audit.metrics_scraped

import data.lib.objects
import data.lib.release
import data.lib.workloads

deny contains result if {
	some workload in workloads.replicated
	workload.kind in {"Deployment.apps", "Rollout.argoproj.io"}
	count(workloads.services(workload)) > 0
	workloads.declared(workload, "chaperone.dev/metrics") == ""
	not scraped(workload)
	result := {
		"msg": "nothing scrapes its metrics",
		"object": objects.ref(workload.object),
	}
}

scraped(workload) if lower(workload.annotations["prometheus.io/scrape"]) == "true"

scraped(workload) if {
	some port in workloads.service_ports(workload)
	contains(port, "metrics")
}

scraped(workload) if {
	some o in release.of_kind("PodMonitor.monitoring.coreos.com")
	reaches(o, workload.namespace)
	workloads.selects(workloads.entries(o.spec, "selector"), workload.labels)
}

scraped(workload) if {
	some s in release.of_kind("Service")
	objects.ref(s) in workloads.services(workload)
	measured(s)
}

measured(service) if lower(release.annotation(service, "prometheus.io/scrape")) == "true"

measured(service) if {
	some o in release.of_kind("ServiceMonitor.monitoring.coreos.com")
	reaches(o, objects.namespace_of(service))
	workloads.selects(workloads.entries(o.spec, "selector"), workloads.entries(service.metadata, "labels"))
}

reaches(monitor, namespace) if {
	objects.namespace_of(monitor) == namespace
	objects.size_of(monitor, ["spec", "namespaceSelector"]) == 0
}

reaches(monitor, _) if monitor.spec.namespaceSelector.any == true

reaches(monitor, namespace) if namespace in monitor.spec.namespaceSelector.matchNames
