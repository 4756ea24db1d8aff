package plan

import (
	"encoding/json"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"chaperone.dev/chaperone/internal/manifest"
)

const (
	// maxIrreversible bounds how many sentences are returned.
	maxIrreversible = 20
	// maxSentence bounds one of them: names in a render can be of any length.
	maxSentence = 400
)

// Irreversible says what of going from one release to the next cannot be taken
// back by going to the first again: one sentence each, naming the object,
// sorted. Where there are very many, a last one says how many are left out.
//
// A first release, from the empty set, has nothing to lose. Whether the
// environment prunes at all is not asked: it may by the time that matters.
func Irreversible(from, to manifest.Set) []string {
	if from.Len() == 0 {
		return nil
	}
	sentences := migrations(from, to)
	for _, old := range from.Objects() {
		now, found := to.Get(manifest.IDOf(old))
		if !found {
			sentences = append(sentences, lost(old)...)
			continue
		}
		sentences = append(sentences, narrowed(old, now)...)
	}
	slices.Sort(sentences)
	if more := len(sentences) - maxIrreversible; more > 0 {
		sentences = append(sentences[:maxIrreversible], fmt.Sprintf("and %d more", more))
	}
	return sentences
}

func sentence(o *manifest.Object, format string, values ...any) string {
	text := manifest.IDOf(o).String() + ": " + fmt.Sprintf(format, values...)
	if runes := []rune(text); len(runes) > maxSentence {
		return string(runes[:maxSentence]) + "…"
	}
	return text
}

// migrations are the hooks that run before the new release and have nothing
// that undoes them. Hooks of a rollback come from the release that is taken
// back, so that is where one is looked for. An unchanged hook ran before.
func migrations(from, to manifest.Set) []string {
	var hooks []*manifest.Object
	undo := rollbacks(to)
	for _, o := range to.Objects() {
		if manifest.StageOf(o) != manifest.StagePreDeploy || slices.ContainsFunc(undo, func(r *manifest.Object) bool { return Undoes(r, o) }) {
			continue
		}
		if old, found := from.Get(manifest.IDOf(o)); !found || !sameContent(old, o) {
			hooks = append(hooks, o)
		}
	}
	sentences := make([]string, len(hooks))
	for i, o := range hooks {
		sentences[i] = sentence(o, "runs before the release, and the release has no hook %s: rollback that undoes it", manifest.AnnotationHook)
	}
	return sentences
}

func sameContent(a, b *manifest.Object) bool {
	x, errX := json.Marshal(a.Object)
	y, errY := json.Marshal(b.Object)
	return errX == nil && errY == nil && string(x) == string(y)
}

// lost is what goes with an object that the new release does not have, if a
// prune deletes it and does not keep it.
func lost(old *manifest.Object) []string {
	if protected(Guards{Prune: true}, old) != "" {
		return nil
	}
	gk := old.GroupVersionKind().GroupKind()
	switch {
	case manifest.KeptUnlessAllowed(gk):
		return []string{sentence(old, "will be deleted, with all that it holds")}
	case gk == statefulSet && word(old, "spec", "persistentVolumeClaimRetentionPolicy", "whenDeleted") == "Delete":
		return []string{sentence(old, "will be deleted, and its volume claims with it")}
	}
	return nil
}

var (
	customResource = schema.GroupKind{Group: "apiextensions.k8s.io", Kind: "CustomResourceDefinition"}
	statefulSet    = schema.GroupKind{Group: "apps", Kind: "StatefulSet"}
	volume         = schema.GroupKind{Kind: "PersistentVolume"}
	volumeClaim    = schema.GroupKind{Kind: "PersistentVolumeClaim"}
)

// narrowed is what an object that both releases have can no longer hold.
func narrowed(old, now *manifest.Object) []string {
	switch old.GroupVersionKind().GroupKind() {
	case customResource:
		return versionsLost(old, now)
	case volumeClaim:
		return append(shrunk(now, "its", old.Object, now.Object), replaced(old, now)...)
	case volume:
		return append(reclaimed(old, now), replaced(old, now)...)
	case statefulSet:
		return slices.Concat(templatesLost(old, now), scaledIn(old, now), replaced(old, now))
	}
	return nil
}

// inPlaceOf is what can be changed of the spec of a kind that holds data, without
// a replacement.
var inPlaceOf = map[schema.GroupKind][]string{
	volumeClaim: {"resources", "volumeAttributesClassName"},
	volume: {"accessModes", "capacity", "claimRef", "mountOptions", "persistentVolumeReclaimPolicy", "storageClassName",
		"volumeAttributesClassName"},
	statefulSet: {"minReadySeconds", "ordinals", "persistentVolumeClaimRetentionPolicy", "replicas", "revisionHistoryLimit",
		"template", "updateStrategy"},
}

// replaced tells of data that goes because the object is deleted and made anew.
// Only the server knows for certain that a change asks for that; a default that
// is spelled out from now on is taken for a change, too.
func replaced(old, now *manifest.Object) []string {
	gk := old.GroupVersionKind().GroupKind()
	holds := gk != statefulSet || word(old, "spec", "persistentVolumeClaimRetentionPolicy", "whenDeleted") == "Delete"
	if !holds || Orphans(now) || !Replaceable(now, old) {
		return nil
	}
	was, _ := mapAt(old.Object, "spec")
	will, _ := mapAt(now.Object, "spec")
	var fields []string
	for _, spec := range []map[string]any{was, will} {
		for key := range spec {
			if !slices.Contains(inPlaceOf[gk], key) && !reflect.DeepEqual(was[key], will[key]) {
				fields = append(fields, "spec."+key)
			}
		}
	}
	slices.Sort(fields)
	if fields = slices.Compact(fields); len(fields) == 0 {
		return nil
	}
	if more := len(fields) - maxFields; more > 0 {
		fields = append(fields[:maxFields], fmt.Sprintf("%d more", more))
	}
	return []string{sentence(now, "would be replaced for a change of %s, and loses %s", strings.Join(fields, ", "), Losses(now, old))}
}

// versionsLost tells of API versions. What was written in a version that is
// stored no more is rewritten in another, which the first release may not know.
func versionsLost(old, now *manifest.Object) []string {
	left := byName(now.Object, "spec", "versions")
	var sentences []string
	for name, version := range byName(old.Object, "spec", "versions") {
		kept, found := left[name]
		switch {
		case !found:
			sentences = append(sentences, sentence(now, "version %s is dropped", name))
			continue
		case version["served"] == true && kept["served"] != true:
			sentences = append(sentences, sentence(now, "version %s is no longer served", name))
		}
		if version["storage"] == true && kept["storage"] != true {
			sentences = append(sentences, sentence(now, "version %s is no longer the stored one", name))
		}
	}
	return sentences
}

func templatesLost(old, now *manifest.Object) []string {
	left := byName(now.Object, "spec", "volumeClaimTemplates")
	var sentences []string
	for name, template := range byName(old.Object, "spec", "volumeClaimTemplates") {
		kept, found := left[name]
		if !found {
			sentences = append(sentences, sentence(now, "volume claim template %s is removed", name))
			continue
		}
		sentences = append(sentences, shrunk(now, "volume claim template "+name+"'s", template, kept)...)
	}
	return sentences
}

// scaledIn tells of a StatefulSet that deletes the claims of the replicas that
// it loses.
func scaledIn(old, now *manifest.Object) []string {
	was, will := replicas(old), replicas(now)
	if word(now, "spec", "persistentVolumeClaimRetentionPolicy", "whenScaled") != "Delete" || will >= was {
		return nil
	}
	return []string{sentence(now, "goes from %d to %d replicas, and deletes the volume claims of the others", was, will)}
}

func replicas(o *manifest.Object) int64 {
	n, found, err := unstructured.NestedInt64(o.Object, "spec", "replicas")
	if !found || err != nil {
		return 1
	}
	return n
}

// reclaimed counts a volume that is deleted from now on when its claim goes. The
// policy itself can be set back; a volume that was released meanwhile cannot,
// and no restore is quick enough to be sure of that.
func reclaimed(old, now *manifest.Object) []string {
	was, will := word(old, "spec", reclaimPolicy), word(now, "spec", reclaimPolicy)
	if !retains(was) || retains(will) {
		return nil
	}
	return []string{sentence(now, "its reclaim policy becomes %s: what it holds goes with its claim", will)}
}

const reclaimPolicy = "persistentVolumeReclaimPolicy"

func retains(policy string) bool { return policy == "" || policy == "Retain" }

func shrunk(o *manifest.Object, whose string, old, now map[string]any) []string {
	was, wasKnown := requested(old)
	will, willKnown := requested(now)
	if !wasKnown || !willKnown || will.Cmp(was) >= 0 {
		return nil
	}
	return []string{sentence(o, "%s requested storage shrinks from %s to %s", whose, was.String(), will.String())}
}

// amount is what a quantity may look like. A large exponent would keep the
// parser of quantities busy for hours.
var amount = regexp.MustCompile(`^[+-]?[0-9.]{1,30}([A-Za-z]{0,2}|[eE][+-]?[0-9]{1,2})$`)

// requested is the storage that a claim asks for. One that cannot be read is
// the API server's to refuse, when it is tried.
func requested(claim map[string]any) (resource.Quantity, bool) {
	storage, _, err := unstructured.NestedFieldNoCopy(claim, "spec", "resources", "requests", "storage")
	if err != nil {
		return resource.Quantity{}, false
	}
	text, isText := storage.(string)
	if number, isNumber := storage.(int64); isNumber {
		text, isText = strconv.FormatInt(number, 10), true
	}
	if !isText || !amount.MatchString(text) {
		return resource.Quantity{}, false
	}
	size, err := resource.ParseQuantity(text)
	return size, err == nil
}

// byName are the items of a list that have a name, of their own or in their
// metadata.
func byName(object map[string]any, path ...string) map[string]map[string]any {
	field, _, err := unstructured.NestedFieldNoCopy(object, path...)
	items, isList := field.([]any)
	if err != nil || !isList {
		return nil
	}
	named := make(map[string]map[string]any, len(items))
	for _, item := range items {
		entry, _ := item.(map[string]any)
		name, _ := entry["name"].(string)
		if metadata, inside := entry["metadata"].(map[string]any); inside {
			name, _ = metadata["name"].(string)
		}
		if name != "" {
			named[name] = entry
		}
	}
	return named
}

// word is a field that holds text, or "".
func word(o *manifest.Object, path ...string) string {
	text, _, err := unstructured.NestedString(o.Object, path...)
	if err != nil {
		return ""
	}
	return text
}
