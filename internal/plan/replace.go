package plan

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"chaperone.dev/chaperone/internal/manifest"
)

// AnnotationReplace on an object allows that it is deleted and created again
// when a field changed that cannot be updated in place.
const AnnotationReplace = "chaperone.dev/replace"

// What the annotation may say.
const (
	ReplaceAllow  = "allow"
	ReplaceOrphan = "orphan" // of a StatefulSet, whose pods stay and are taken over
)

// neverReplaced takes with it what others have made.
var neverReplaced = map[schema.GroupKind]bool{{Kind: "Namespace"}: true, customResource: true}

// Replaceable reports whether an object may be deleted and created again. live
// is the one on the cluster.
func Replaceable(o, live *manifest.Object) bool { return replaceError(o, live) == "" }

// replaceError says what would have to be so for an object to be replaced, or "".
func replaceError(o, live *manifest.Object) string {
	gk, says := o.GroupVersionKind().GroupKind(), o.GetAnnotations()
	allow := AnnotationReplace + ": " + ReplaceAllow
	switch word := says[AnnotationReplace]; {
	case neverReplaced[gk]:
		return "take the change back, or give the object another name: a " + gk.Kind + " is never replaced"
	case says[manifest.AnnotationPrune] == "never":
		return "take the change back, or give the object another name: it says " + manifest.AnnotationPrune + ": never"
	case manifest.KeptUnlessAllowed(gk) && (word != ReplaceAllow || says[manifest.AnnotationPrune] != "allow"):
		return "give the object another name, or allow the replacement with both " + allow + " and " + manifest.AnnotationPrune + ": allow"
	case IsHook(o), word == ReplaceAllow:
		return ""
	case word == ReplaceOrphan && gk != statefulSet:
		return "give the object another name, or allow the replacement with " + allow + "; " + ReplaceOrphan + " is for StatefulSets"
	case word == ReplaceOrphan && !keepsPods(o, live):
		return "give the object another name, or allow the replacement with " + allow + "; " + ReplaceOrphan + " keeps the pods, and the new selector does not match them"
	case word == ReplaceOrphan:
		return ""
	case word != "":
		return fmt.Sprintf("give the object another name, or allow the replacement with %s; %.40q is not understood", allow, word)
	case gk == statefulSet:
		return "give the object another name, or allow the replacement with " + allow + ", or with " + AnnotationReplace + ": " + ReplaceOrphan + ", which keeps its pods"
	}
	return "give the object another name, or allow the replacement with " + allow
}

// Orphans reports whether what an object made stays when it is replaced.
func Orphans(o *manifest.Object) bool {
	return o.GroupVersionKind().GroupKind() == statefulSet && o.GetAnnotations()[AnnotationReplace] == ReplaceOrphan
}

// keepsPods reports whether the pods that are there belong to the new object too.
func keepsPods(o, live *manifest.Object) bool {
	if live == nil {
		return true
	}
	selector, _ := mapAt(o.Object, "spec", "selector", "matchLabels")
	pods, _ := mapAt(live.Object, "spec", "template", "metadata", "labels")
	for key, value := range selector {
		if pods[key] != value {
			return false
		}
	}
	return true
}

// StandIn is an object under another name, to be tried while its own is taken.
// The ports of nodes are taken as well.
func StandIn(o *manifest.Object) *manifest.Object {
	other := o.DeepCopy()
	other.SetName("chaperone-try-" + manifest.DigestBytes([]byte(manifest.IDOf(o).String())).Short())
	for _, port := range listAt(other.Object, "spec", "ports") {
		delete(port, "nodePort")
	}
	return other
}

// InPlaceError is that fields changed which cannot be changed in place.
type InPlaceError struct {
	Text   string // what a replacement would lose, and what would be right
	Answer error  // the server's, free of secrets
}

func (e *InPlaceError) Error() string { return e.Text }
func (e *InPlaceError) Unwrap() error { return e.Answer }

// NotInPlace is the error for an object that cannot be updated, because of
// fields as the server names them. live is nil where it is not known.
func NotInPlace(o, live *manifest.Object, fields []string, answer error) error {
	named := changedFields(o, live, fields)
	text := "a field changed that cannot be changed in place"
	if len(named) > 0 {
		text = strings.Join(named, ", ") + " cannot be changed in place"
	}
	what := live
	if what == nil {
		what = o
	}
	if neverReplaced[o.GroupVersionKind().GroupKind()] {
		text += "; " + replaceError(o, live)
	} else if wish := replaceError(o, live); wish != "" {
		text += ", and a replacement would lose " + Losses(o, what) + "; " + wish
	}
	return &InPlaceError{Text: text, Answer: answer}
}

const maxFields = 5

// changedFields are the fields that a server named, one level deeper where it
// named only what holds them.
func changedFields(o, live *manifest.Object, fields []string) []string {
	var named []string
	for _, field := range fields {
		if found := inside(o, live, field); len(found) > 0 {
			named = append(named, found...)
		} else if field != "" && field != "<nil>" {
			named = append(named, field)
		}
	}
	slices.Sort(named)
	named = slices.Compact(named)
	if more := len(named) - maxFields; more > 0 {
		named = append(named[:maxFields], fmt.Sprintf("and %d more", more))
	}
	return named
}

// inPlace can be changed of what the server refuses as a whole.
var inPlace = map[string]bool{"spec.replicas": true, "spec.template": true, "spec.updateStrategy": true, "spec.ordinals": true,
	"spec.persistentVolumeClaimRetentionPolicy": true, "spec.minReadySeconds": true, "spec.revisionHistoryLimit": true, "spec.resources": true}

func inside(o, live *manifest.Object, field string) []string {
	if live == nil || field != "spec" {
		return nil
	}
	sent, _ := mapAt(o.Object, field)
	there, _ := mapAt(live.Object, field)
	var names []string
	for key, value := range sent {
		if name := field + "." + key; !covers(there[key], value) && !inPlace[name] {
			names = append(names, name)
		}
	}
	return names
}

// covers reports whether a value on the cluster holds what was sent, defaults
// left aside.
func covers(there, sent any) bool {
	switch sent := sent.(type) {
	case map[string]any:
		m, isMap := there.(map[string]any)
		for key, value := range sent {
			if !isMap || !covers(m[key], value) {
				return false
			}
		}
		return true
	case []any:
		list, isList := there.([]any)
		if !isList || len(list) != len(sent) {
			return false
		}
		for i := range sent {
			if !covers(list[i], sent[i]) {
				return false
			}
		}
		return true
	}
	return fmt.Sprint(there) == fmt.Sprint(sent)
}

// Losses is what goes with the object on the cluster when it is replaced, to
// follow "loses".
func Losses(o, live *manifest.Object) string {
	gk := live.GroupVersionKind().GroupKind()
	switch {
	case gk.Group == "apps" && Orphans(o):
		return "nothing that runs: its pods stay, and the new one takes them over"
	case gk == statefulSet && word(live, "spec", "persistentVolumeClaimRetentionPolicy", "whenDeleted") == "Delete":
		return "all its pods at once, and their volume claims with the data"
	case gk == statefulSet:
		return "all its pods at once; its volume claims stay"
	case gk == (schema.GroupKind{Kind: "Service"}):
		return serviceLosses(o, live)
	case gk == volumeClaim:
		return "its data, unless the volume's reclaim policy keeps it"
	case gk == volume:
		return "the claim's hold on it; the data stays where its reclaim policy says so"
	case IsBinding(gk):
		return "the rights that it gives, for a moment"
	case IsJob(live):
		return "its run, with the result and the logs"
	}
	if _, makesPods := podTemplates[gk]; makesPods {
		return "all its pods at once"
	}
	if gk.Group == "" || strings.HasSuffix(gk.Group, ".k8s.io") {
		return "nothing but a moment in which it is not there"
	}
	return "its status, and what was made for it and goes with it"
}

func serviceLosses(o, live *manifest.Object) string {
	var lost []string
	if ip := textAt(live.Object, "spec", "clusterIP"); ip != "" && ip != "None" && ip != textAt(o.Object, "spec", "clusterIP") {
		lost = append(lost, "its cluster IP "+ip)
	}
	var ports []string
	for _, port := range listAt(live.Object, "spec", "ports") {
		if number, found, err := unstructured.NestedInt64(port, "nodePort"); found && err == nil && number > 0 {
			ports = append(ports, fmt.Sprint(number))
		}
	}
	if len(ports) > 0 {
		lost = append(lost, "its node ports "+strings.Join(ports, ", "))
	}
	for _, ingress := range listAt(live.Object, "status", "loadBalancer", "ingress") {
		if at := textAt(ingress, "ip") + textAt(ingress, "hostname"); at != "" {
			lost = append(lost, "its load balancer's address "+at)
		}
	}
	if len(lost) == 0 {
		return "nothing but a moment in which it is not there"
	}
	return strings.Join(lost, "; ")
}
