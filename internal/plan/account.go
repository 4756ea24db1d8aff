package plan

import (
	"encoding/json"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"chaperone.dev/chaperone/internal/manifest"
)

// A pod spec names its service account twice: serviceAccount is the old name of
// serviceAccountName. The server writes the alias beside the name, for no
// manager, and where an apply drops the name it reads it back from the alias
// (kubernetes#72519): what was set once could not be taken back.
const (
	accountField = "serviceAccountName"
	accountAlias = "serviceAccount"
)

// podSpecs are where the kinds that hold a pod spec have it.
var podSpecs = map[schema.GroupKind][]string{
	{Kind: "Pod"}:                        {"spec"},
	{Kind: "PodTemplate"}:                {"template", "spec"},
	{Kind: "ReplicationController"}:      {"spec", "template", "spec"},
	{Group: "apps", Kind: "Deployment"}:  {"spec", "template", "spec"},
	{Group: "apps", Kind: "StatefulSet"}: {"spec", "template", "spec"},
	{Group: "apps", Kind: "DaemonSet"}:   {"spec", "template", "spec"},
	{Group: "apps", Kind: "ReplicaSet"}:  {"spec", "template", "spec"},
	{Group: "batch", Kind: "Job"}:        {"spec", "template", "spec"},
	{Group: "batch", Kind: "CronJob"}:    {"spec", "jobTemplate", "spec", "template", "spec"},
}

// podSpec is the pod spec that an object holds, not copied; nil where it has
// none.
func podSpec(o *manifest.Object) (spec map[string]any, path []string) {
	path, known := podSpecs[o.GroupVersionKind().GroupKind()]
	if !known {
		return nil, nil
	}
	found, _, _ := unstructured.NestedFieldNoCopy(o.Object, path...)
	spec, _ = found.(map[string]any)
	return spec, path
}

// nameAccount writes the name beside an alias that stands alone: against a name
// that is on the cluster the alias would not count. An empty text says nothing,
// and the server does not keep it.
func nameAccount(sent *manifest.Object) {
	spec, _ := podSpec(sent)
	for _, field := range []string{accountField, accountAlias} {
		if spec[field] == "" {
			delete(spec, field)
		}
	}
	if _, named := spec[accountField]; !named && spec[accountAlias] != nil {
		spec[accountField] = spec[accountAlias]
	}
}

// DropAccount returns what to send for an object whose pods ran as a service
// account that it does not name any more: both fields, empty. That is done only
// for an account that this manager gave them. One that the server or a webhook
// chose is theirs, and "default" is what none comes to.
func DropAccount(sent, live *manifest.Object, manager string) *manifest.Object {
	want, path := podSpec(sent)
	have, _ := podSpec(live)
	account, _ := have[accountField].(string)
	if want == nil || want[accountField] != nil || account == "" || account == "default" {
		return sent
	}
	byName, othersByName := managersOf(live, manager, append(path[:len(path):len(path)], accountField)...)
	byAlias, othersByAlias := managersOf(live, manager, append(path[:len(path):len(path)], accountAlias)...)
	if !byName && !byAlias || othersByName || othersByAlias && !byName {
		return sent
	}
	dropped := sent.DeepCopy()
	spec, _ := podSpec(dropped)
	spec[accountField], spec[accountAlias] = "", ""
	return dropped
}

// managersOf tells whether the manager applied a field, and whether any other
// wrote it.
func managersOf(live *manifest.Object, manager string, path ...string) (ours, others bool) {
	keys := make([]string, len(path))
	for i, field := range path {
		keys[i] = "f:" + field
	}
	for _, entry := range live.GetManagedFields() {
		var fields map[string]any
		if entry.FieldsV1 == nil || json.Unmarshal(entry.FieldsV1.GetRawBytes(), &fields) != nil {
			continue
		}
		if _, owns, err := unstructured.NestedFieldNoCopy(fields, keys...); !owns || err != nil {
			continue
		}
		if entry.Manager == manager && entry.Operation == metav1.ManagedFieldsOperationApply {
			ours = true
		} else {
			others = true
		}
	}
	return ours, others
}
