package cluster

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"chaperone.dev/chaperone/internal/fault"
	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/plan"
)

// escaped are keys as a JSON pointer has them.
var escaped = strings.NewReplacer("~", "~0", "/", "~1")

// operation is one line of a JSON patch.
type operation struct {
	Op    string `json:"op"`
	Path  string `json:"path"`
	Value any    `json:"value,omitempty"`
}

// tryTakeOver is what an object will be once the fields that adopted tools left
// on it are taken over and an apply has dropped those that are not sent. tried
// is the answer to a dry run of the apply alone. The server is asked again, for
// its defaults in their place, and for a field that must not be dropped.
func (c *Cluster) tryTakeOver(ctx context.Context, w plan.Owner, k kind, live, tried *manifest.Object) (*manifest.Object, error) {
	inherited, heir, err := w.Inherit(live)
	if err != nil || !heir {
		return tried, nil // an error of it is met when it is done
	}
	id := manifest.IDOf(live)
	patch, err := json.Marshal(rewrite(live, plan.Stripped(inherited, tried)))
	if err != nil {
		return nil, err
	}
	options := metav1.PatchOptions{FieldManager: c.options.FieldManager, DryRun: []string{metav1.DryRunAll}}
	var left *manifest.Object
	err = c.retry(ctx, func(ctx context.Context) (err error) {
		left, err = c.at(k, id).Patch(ctx, id.Name, types.JSONPatchType, patch, options)
		return err
	})
	if err != nil {
		return nil, err
	}
	left.SetManagedFields(tried.GetManagedFields())
	return left, nil
}

// rewrite is the patch that makes one object of another, as far as people write
// it.
func rewrite(from, to *manifest.Object) []operation {
	var patch []operation
	in := func(path string, from, to map[string]any, key string) {
		if v, found := to[key]; found {
			patch = append(patch, operation{Op: "add", Path: path + escaped.Replace(key), Value: v})
		} else if _, found := from[key]; found {
			patch = append(patch, operation{Op: "remove", Path: path + escaped.Replace(key)})
		}
	}
	keys := maps.Clone(from.Object)
	maps.Copy(keys, to.Object)
	for key := range keys {
		if !slices.Contains([]string{"apiVersion", "kind", "metadata", "status"}, key) {
			in("/", from.Object, to.Object, key)
		}
	}
	before, _ := from.Object["metadata"].(map[string]any)
	after, _ := to.Object["metadata"].(map[string]any)
	for _, key := range []string{"labels", "annotations", "finalizers"} {
		in("/metadata/", before, after, key)
	}
	return patch
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
