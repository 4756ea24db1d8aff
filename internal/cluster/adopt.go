package cluster

import (
	"context"
	"encoding/json"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"chaperone.dev/chaperone/internal/fault"
	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/plan"
)

// operation is one line of a JSON patch.
type operation struct {
	Op    string `json:"op"`
	Path  string `json:"path"`
	Value any    `json:"value,omitempty"`
}

// takeOver makes the owner's what adopted tools have of an object that was
// read. changed says that it is not the object that was read any more, because
// of this or of somebody else. Nothing but managed fields is written, so a crash
// before the apply loses nothing: the next plan sees an object without an owner
// whose fields are the daemon's.
func (c *Cluster) takeOver(ctx context.Context, w plan.Owner, k kind, live *manifest.Object) (changed bool, err error) {
	id := manifest.IDOf(live)
	inherited, heir, err := w.Inherit(live)
	if err != nil {
		return false, fault.Terminal("adopt", "", err)
	}
	if !heir {
		return false, nil
	}
	// A replace, as the server answers a test of the version that fails with
	// an invalid request, and not with a conflict.
	patch, err := json.Marshal([]operation{
		{Op: "add", Path: "/metadata/managedFields", Value: inherited.GetManagedFields()},
		{Op: "replace", Path: "/metadata/resourceVersion", Value: live.GetResourceVersion()},
	})
	if err != nil {
		return false, fault.Terminal("adopt", id.String(), err)
	}
	err = c.retry(ctx, func(ctx context.Context) error {
		_, err := c.at(k, id).Patch(ctx, id.Name, types.JSONPatchType, patch, metav1.PatchOptions{FieldManager: c.options.FieldManager})
		if apierrors.IsConflict(err) || apierrors.IsNotFound(err) {
			return nil
		}
		return err
	})
	return true, failed("adopt", id, err)
}
