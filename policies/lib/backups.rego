# METADATA
# title: Backups of a release
# description: >-
#   What is backed up, how often, and for how long it is kept: by Velero's
#   Schedules, by schedules of snapshots, by CronJobs that say so with the
#   annotation chaperone.dev/backup, and by what governance.backup of the
#   environment's file declares.
package lib.backups

import data.lib.objects
import data.lib.release
import data.lib.workloads

# plans are what runs again and again. A full one takes everything, an
# incremental one what has changed. kept is in hours, seconds the longest time
# between two; 0 is unknown.
plans := (velero | snapshots) | (jobs | declared)

velero := {plan |
	some o in release.of_kind("Schedule.velero.io")
	object.get(o, ["spec", "paused"], false) != true
	template := mapping(object.get(o, ["spec", "template"], {}))
	plan := {
		"what": "velero",
		"object": objects.ref(o),
		"path": "spec.template.ttl",
		"namespace": objects.namespace_of(o),
		"kind": kind_of(o),
		"seconds": seconds_of(o),
		"kept": hours(object.get(template, "ttl", "720h")),
		"location": object.get(template, "storageLocation", ""),
		"template": template,
	}
}

snapshots := {plan |
	some o in release.of_kind("SnapshotSchedule.snapscheduler.backube")
	object.get(o, ["spec", "disabled"], false) != true
	plan := {
		"what": "snapshots",
		"object": objects.ref(o),
		"path": "spec.retention.expires",
		"namespace": objects.namespace_of(o),
		"kind": kind_of(o),
		"seconds": seconds_of(o),
		"kept": hours(object.get(o, ["spec", "retention", "expires"], "")),
		"location": "",
		"template": object.get(o, ["spec", "claimSelector"], {}),
	}
}

jobs := {plan |
	some o in release.of_kind("CronJob.batch")
	release.annotation(o, "chaperone.dev/backup") != ""
	object.get(o, ["spec", "suspend"], false) != true
	plan := {
		"what": "job",
		"object": objects.ref(o),
		"path": "metadata.annotations[\"chaperone.dev/backup-retention\"]",
		"namespace": objects.namespace_of(o),
		"kind": kind_of(o),
		"seconds": seconds_of(o),
		"kept": hours(release.annotation(o, "chaperone.dev/backup-retention")),
		"location": "",
		"template": {name | some part in split(release.annotation(o, "chaperone.dev/backup-claims"), ","); name := trim_space(part)},
	}
}

declared := {plan |
	backup := input.environment.governance.backup
	some kind in ["full", "incremental"]
	backup[kind] != ""
	plan := {
		"what": "declared",
		"object": null,
		"path": "governance.backup.retention",
		"namespace": "",
		"kind": kind,
		"seconds": backup[concat("", [kind, "Seconds"])],
		"kept": hours(backup.retention),
		"location": "",
		"template": {},
	}
}

mapping(value) := value if {
	is_object(value)
} else := {}

kind_of(o) := "incremental" if {
	release.annotation(o, "chaperone.dev/backup") == "incremental"
} else := "full"

seconds_of(o) := s.seconds if {
	some s in input.schedules
	s.object == objects.ref(o)
	s.path == "spec.schedule"
} else := 0

# hours of a duration as Go and Velero write it; 0 for anything else.
hours(text) := time.parse_duration_ns(text) / 3600000000000 if {
	is_string(text)
	regex.match(`^([0-9]{1,7}(\.[0-9]{1,9})?(ms|s|m|h))+$`, text)
} else := 0

# volumes that real patient data may be on: all claims but those that say they
# hold something else.
volumes := claims | templates

claims := {volume |
	some o in release.of_kind("PersistentVolumeClaim")
	labels := labels_of(o)
	sensitive(labels)
	volume := {
		"object": objects.ref(o),
		"path": "",
		"name": o.metadata.name,
		"namespace": objects.namespace_of(o),
		"labels": labels,
		"class": class_of(o),
	}
}

templates := {volume |
	some o in release.of_kind("StatefulSet.apps")
	some i, template in object.get(o, ["spec", "volumeClaimTemplates"], [])

	# The claims have the labels that the StatefulSet selects by, too.
	labels := object.union(labels_of(template), object.get(o, ["spec", "selector", "matchLabels"], {}))
	sensitive(labels)
	volume := {
		"object": objects.ref(o),
		"path": sprintf("spec.volumeClaimTemplates[%d]", [i]),
		"name": sprintf("%s-%s", [object.get(template, ["metadata", "name"], ""), o.metadata.name]),
		"namespace": objects.namespace_of(o),
		"labels": labels,
		"class": class_of(template),
	}
}

class_of(claim) := class if {
	class := object.get(claim, ["spec", "storageClassName"], "")
	is_string(class)
} else := ""

labels_of(o) := labels if {
	labels := object.get(o, ["metadata", "labels"], {})
	is_object(labels)
} else := {}

sensitive(labels) if {
	class := object.get(labels, "chaperone.dev/data-class", "phi")
	not class in {"none", "synthetic", "anonymized"}
}

# covering are the plans that take a volume.
covering(volume) := {plan |
	some plan in plans
	covers(plan, volume)
}

covers(plan, _) if plan.what == "declared"

covers(plan, volume) if {
	plan.what == "job"
	plan.namespace == volume.namespace
	some name in {"*", volume.name}
	name in plan.template
}

covers(plan, volume) if {
	plan.what == "snapshots"
	plan.namespace == volume.namespace
	selects(plan.template, volume.labels)
}

covers(plan, volume) if {
	plan.what == "velero"
	t := plan.template
	namespace := volume.namespace
	named(list(t, "includedNamespaces"), {"*", namespace})
	count(list(t, "excludedNamespaces") & {"*", namespace}) == 0
	kinds := {"*", "persistentvolumeclaims", "persistentvolumeclaim", "pvc"}
	named(list(t, "includedResources"), kinds)
	named(list(t, "includedNamespaceScopedResources"), kinds)
	left := list(t, "excludedResources") | list(t, "excludedNamespaceScopedResources")
	count(left & kinds) == 0
	takes_content(t, volume)
	object.get(volume.labels, "velero.io/exclude-from-backup", "") != "true"
	not left_by_policy(plan, volume)
	selects(object.get(t, "labelSelector", {}), volume.labels)
	any_selects(object.get(t, "orLabelSelectors", []), volume.labels)
}

# named: a list that is empty names everything.
named(names, _) if count(names) == 0

named(names, any) if count(names & any) > 0

list(t, field) := {lower(name) | some name in t[field]; is_string(name)}

takes_content(t, _) if object.get(t, "snapshotVolumes", true) != false

takes_content(t, volume) if {
	object.get(t, "defaultVolumesToFsBackup", false) == true
	claim := concat("/", [volume.namespace, volume.name])
	not claim in opted_out
}

# opted_out are the claims whose pods keep them from being copied file by file.
opted_out contains concat("/", [workload.namespace, claim]) if {
	some workload in workloads.all
	some name in split(object.get(workload.annotations, "backup.velero.io/backup-volumes-excludes", ""), ",")
	claim := claim_of(workload, trim_space(name))
}

claim_of(workload, name) := claim if {
	some volume in workload.pod.spec.volumes
	volume.name == name
	claim := volume.persistentVolumeClaim.claimName
} else := sprintf("%s-%s", [name, workload.object.metadata.name]) if {
	some template in workload.object.spec.volumeClaimTemplates
	template.metadata.name == name
}

# left_by_policy: the first policy for volumes whose conditions hold says what is
# done. One that is not in the release may say anything.
left_by_policy(plan, _) if {
	policy := plan.template.resourcePolicy
	policy != null
	key := concat("/", [plan.namespace, object.get(policy, "name", "")])
	not resource_policies[key]
}

left_by_policy(plan, volume) if {
	key := concat("/", [plan.namespace, plan.template.resourcePolicy.name])
	some rules in resource_policies[key]
	some rule in rules
	lower(rule.action.type) == "skip"
	may_concern(mapping(object.get(rule, "conditions", {})), volume)
}

# Velero takes the one key of the ConfigMap, whatever its name.
resource_policies[key] contains rules if {
	some o in release.of_kind("ConfigMap")
	some text in o.data
	is_string(text)
	contains(text, "volumePolicies")
	yaml.is_valid(text)
	rules := yaml.unmarshal(text).volumePolicies
	key := concat("/", [objects.namespace_of(o), o.metadata.name])
}

# may_concern is so unless one of the conditions cannot hold for the volume: all
# of them have to.
may_concern(conditions, volume) if {
	not other_class(conditions, volume)
	not other_kind(conditions)
	not other_labels(conditions, volume)
}

other_class(conditions, volume) if {
	classes := conditions.storageClass
	objects.size_of(conditions, ["storageClass"]) > 0
	class := volume.class
	class != ""
	not class in classes
}

# Volumes with a claim are neither of these.
other_kind(conditions) if {
	types := {type | some type in conditions.volumeTypes}
	count(types) > 0
	count(types - {"emptyDir", "configMap", "secret", "projected", "downwardAPI", "hostPath"}) == 0
}

other_labels(conditions, volume) if {
	some name, value in conditions.pvcLabels
	object.get(volume.labels, name, null) != value
}

any_selects(selectors, _) if selectors in {null, []}

any_selects(selectors, labels) if {
	some selector in selectors
	selects(selector, labels)
}

selects(null, _)

selects(selector, labels) if {
	is_object(selector)
	wanted := object.get(selector, "matchLabels", {})
	every key, value in wanted {
		object.get(labels, key, null) == value
	}
	every expression in object.get(selector, "matchExpressions", []) {
		holds(expression, labels)
	}
}

holds(e, labels) if {
	e.operator == "In"
	object.get(labels, e.key, null) in e.values
}

holds(e, labels) if {
	e.operator == "NotIn"
	value := object.get(labels, e.key, null)
	not value in object.get(e, "values", [])
}

holds(e, labels) if {
	e.operator == "Exists"
	object.get(labels, e.key, null) != null
}

holds(e, labels) if {
	e.operator == "DoesNotExist"
	object.get(labels, e.key, null) == null
}

# location is the BackupStorageLocation of a plan of Velero's, if it is among
# the objects.
location(plan) := o if {
	plan.what == "velero"
	some o in release.of_kind("BackupStorageLocation.velero.io")
	objects.namespace_of(o) == plan.namespace
	is_location(o, plan.location)
}

is_location(o, name) if {
	name != ""
	o.metadata.name == name
}

is_location(o, "") if object.get(o, ["spec", "default"], false) == true
