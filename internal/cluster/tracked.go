package cluster

import (
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/resourceversion"

	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/plan"
)

// tracked is what a mirror keeps of an object: enough to see at once whether
// what the environment owns has changed, and the object itself, compressed.
type tracked struct {
	id           manifest.ID
	uid, version string
	owned        string // plan.OwnedDigest
	deleting     bool
	scaled       bool // an autoscaler has written to it
	content      packed
	answered     time.Time // when it was the answer to a write of ours; zero: a watch told
}

// soonListed is how long after an answer a list may still be older than it.
const soonListed = time.Minute

// outlives reports whether what is known was written after a list was made. A
// server that was set back to an earlier state has lower versions than it had:
// against a list, only what we wrote ourselves just now is believed.
func (t *tracked) outlives(list string) bool {
	return newer(t.version, list) && time.Since(t.answered) < soonListed
}

func track(id manifest.ID, o *manifest.Object, left plan.Leave, manager string) (*tracked, error) {
	content, err := pack(o)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", id, err)
	}
	return &tracked{
		id: id, uid: string(o.GetUID()), version: o.GetResourceVersion(), deleting: o.GetDeletionTimestamp() != nil,
		owned: left.OwnedDigest(o, manager), scaled: plan.Autoscaled(o), content: content,
	}, nil
}

// object is the whole object as it was seen.
func (t *tracked) object() (*manifest.Object, error) {
	o, err := t.content.object()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", t.id, err)
	}
	return o, nil
}

// GetObjectMeta tells client-go's reflector who it is.
func (t *tracked) GetObjectMeta() metav1.Object {
	return &metav1.ObjectMeta{Name: t.id.Name, Namespace: t.id.Namespace, UID: types.UID(t.uid), ResourceVersion: t.version}
}

// newer reports whether an object was written after another. Versions of one
// kind can be compared (KEP-5504); those that cannot are taken as they come.
func newer(version, than string) bool {
	order, err := resourceversion.CompareResourceVersion(version, than)
	return err != nil || order > 0
}

// differs reports whether the environment's part of an object is another.
func (t *tracked) differs(from *tracked) bool {
	return from == nil || t.uid != from.uid || t.owned != from.owned || t.deleting != from.deleting
}

// handedBack reports whether an autoscaler that is not the release's has written
// to an object: whether it is there still, no watch of ours tells.
func (t *tracked) handedBack(sent string) bool { return t.scaled && !plan.ScaledBySet(sent) }
