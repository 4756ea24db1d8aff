package manifest

import (
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

type runtimeObject = runtime.Object

// Stage is when an object's turn comes inside a release (design.md §6).
type Stage int

// Stages in apply order.
const (
	StageFoundation Stage = iota // CRDs and Namespaces: what other objects live in
	StageConfiguration
	StagePreDeploy
	StageWorkload
	StageWebhook // admission and API services: they must not judge what serves them
	StagePostDeploy
	StageRollback // applied only while restoring
)

func (s Stage) String() string {
	return [...]string{"foundation", "configuration", "pre-deploy", "workload", "webhook", "post-deploy", "rollback"}[s]
}

// Annotations that objects carry for the daemon.
const (
	AnnotationHook  = "chaperone.dev/hook"  // pre-deploy | post-deploy | rollback
	AnnotationPrune = "chaperone.dev/prune" // allow | never
	// AnnotationUndoes names, on a rollback hook, the pre-deploy hooks of its release
	// that it undoes, with commas between; without it, it undoes all of them.
	AnnotationUndoes = "chaperone.dev/undoes"
	// AnnotationHookOrder is a whole number: hooks of a stage run lowest first, and
	// those of the same number at the same time. Without it, 0.
	AnnotationHookOrder = "chaperone.dev/hook-order"
	// AnnotationDependsOn names objects of the same release that are applied and
	// ready first: group/Kind/namespace/name, with commas between them.
	AnnotationDependsOn = "chaperone.dev/depends-on"
)

// StageOf is decided by the hook annotation, then by group and kind together:
// ordering by kind alone takes another group's Namespace for the core one.
func StageOf(o *Object) Stage {
	switch o.GetAnnotations()[AnnotationHook] {
	case "pre-deploy":
		return StagePreDeploy
	case "post-deploy":
		return StagePostDeploy
	case "rollback":
		return StageRollback
	}
	gk := o.GroupVersionKind().GroupKind()
	if stage, known := stages[gk]; known {
		return stage
	}
	return StageConfiguration
}

var stages = map[schema.GroupKind]Stage{
	{Group: "apiextensions.k8s.io", Kind: "CustomResourceDefinition"}:               StageFoundation,
	{Group: "", Kind: "Namespace"}:                                                  StageFoundation,
	{Group: "", Kind: "Pod"}:                                                        StageWorkload,
	{Group: "", Kind: "ReplicationController"}:                                      StageWorkload,
	{Group: "apps", Kind: "Deployment"}:                                             StageWorkload,
	{Group: "apps", Kind: "StatefulSet"}:                                            StageWorkload,
	{Group: "apps", Kind: "DaemonSet"}:                                              StageWorkload,
	{Group: "apps", Kind: "ReplicaSet"}:                                             StageWorkload,
	{Group: "batch", Kind: "Job"}:                                                   StageWorkload,
	{Group: "batch", Kind: "CronJob"}:                                               StageWorkload,
	{Group: "argoproj.io", Kind: "Rollout"}:                                         StageWorkload,
	{Group: "autoscaling", Kind: "HorizontalPodAutoscaler"}:                         StageWorkload,
	{Group: "admissionregistration.k8s.io", Kind: "ValidatingWebhookConfiguration"}: StageWebhook,
	{Group: "admissionregistration.k8s.io", Kind: "MutatingWebhookConfiguration"}:   StageWebhook,
	{Group: "apiregistration.k8s.io", Kind: "APIService"}:                           StageWebhook,
}

// rank orders inside a stage what a reader, or a quick cluster, likes to see first.
func rank(o *Object) int {
	gk := o.GroupVersionKind().GroupKind()
	for i, first := range ranks {
		if first == gk {
			return i
		}
	}
	return len(ranks)
}

var ranks = []schema.GroupKind{
	{Group: "", Kind: "Namespace"},
	{Group: "apiextensions.k8s.io", Kind: "CustomResourceDefinition"},
	{Group: "", Kind: "ResourceQuota"},
	{Group: "", Kind: "LimitRange"},
	{Group: "", Kind: "ServiceAccount"},
	{Group: "rbac.authorization.k8s.io", Kind: "ClusterRole"},
	{Group: "rbac.authorization.k8s.io", Kind: "Role"},
	{Group: "rbac.authorization.k8s.io", Kind: "ClusterRoleBinding"},
	{Group: "rbac.authorization.k8s.io", Kind: "RoleBinding"},
	{Group: "networking.k8s.io", Kind: "NetworkPolicy"},
	{Group: "", Kind: "ConfigMap"},
	{Group: "", Kind: "Secret"},
	{Group: "", Kind: "PersistentVolumeClaim"},
	{Group: "", Kind: "Service"},
	{Group: "apps", Kind: "StatefulSet"},
	{Group: "apps", Kind: "Deployment"},
}

// keptKinds hold data or contain other objects; deleting one destroys what no
// render can bring back.
var keptKinds = map[schema.GroupKind]bool{
	{Group: "", Kind: "Namespace"}:                                    true,
	{Group: "", Kind: "PersistentVolume"}:                             true,
	{Group: "", Kind: "PersistentVolumeClaim"}:                        true,
	{Group: "apiextensions.k8s.io", Kind: "CustomResourceDefinition"}: true,
}

// KeptUnlessAllowed reports whether objects of this kind are never pruned
// unless the object itself says `chaperone.dev/prune: allow`.
func KeptUnlessAllowed(gk schema.GroupKind) bool { return keptKinds[gk] }
