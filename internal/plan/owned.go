package plan

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"hash"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	"chaperone.dev/chaperone/internal/manifest"
)

// digestBytes of a sha256 are kept: as many as make a collision hopeless also
// for somebody who writes the objects.
const digestBytes = 16

// SentDigest names an object as it is rendered for its owner: prepared, and
// before anything is left to others, and tells whether an autoscaler of the
// release scales it. "" is one that cannot be encoded.
func SentDigest(prepared *manifest.Object, scaled bool) string {
	text, err := json.Marshal(prepared.Object)
	if err != nil {
		return ""
	}
	sum := sha256.Sum256(text)
	digest := base64.RawURLEncoding.EncodeToString(sum[:digestBytes])
	if scaled {
		digest += scaledMark
	}
	return digest
}

// scaledMark ends the SentDigest of what an autoscaler of the release scales.
const scaledMark = "~scaled"

// ScaledBySet reports whether a SentDigest is of such an object.
func ScaledBySet(sent string) bool { return strings.HasSuffix(sent, scaledMark) }

// OwnedDigest names what a manager owns of an object: which fields, with which
// values. It is "" where the manager applied none. Whatever others do to their
// own fields, and to the status, leaves it as it is.
//
// What is left to others is part of it by who has written it: what one of them
// may, another may not.
func (all Leave) OwnedDigest(live *manifest.Object, manager string) string {
	set := managed(live, manager)
	if set == nil {
		return ""
	}
	h := sha256.New()
	h.Write([]byte(all.Witness(live, manager)))
	h.Write(recorded(live, manager))
	digestFields(h, set, live.Object)
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil)[:digestBytes])
}

// recorded is the text of what a manager applied.
func recorded(o *manifest.Object, manager string) []byte {
	for _, entry := range o.GetManagedFields() {
		if entry.Manager == manager && entry.Operation == metav1.ManagedFieldsOperationApply && entry.Subresource == "" && entry.FieldsV1 != nil {
			return entry.FieldsV1.GetRawBytes()
		}
	}
	return nil
}

func digestFields(h hash.Hash, set *fieldpath.Set, node any) {
	for _, element := range members(set) {
		if set.WithPrefix(element).Empty() {
			digestValue(h, descend(node, element))
		}
	}
	for _, element := range children(set) {
		digestFields(h, set.WithPrefix(element), descend(node, element))
	}
	digestValue(h, toAny(order(set, node)))
}

func digestValue(h hash.Hash, v any) {
	text, err := json.Marshal(v)
	if err != nil {
		text = nil // of what JSON was decoded to, there is none
	}
	h.Write(append(text, 0))
}
