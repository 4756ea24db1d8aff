package cluster

import (
	"context"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"chaperone.dev/chaperone/internal/manifest"
)

// unwarned spares the server what it does by default for each write: to read it
// once more, and to warn of unknown and doubled fields. Nobody would read the
// warnings. What is sent here was encoded from a map, so that nothing is in it
// twice, and a field that the schema does not have is refused by every apply.
const unwarned = metav1.FieldValidationIgnore

// send is one attempt of a server-side apply. Force settles conflicts with other
// managers in favour of Git; whose object it is the plan decides.
func (c *Cluster) send(ctx context.Context, k kind, o *manifest.Object, dryRun ...string) (*manifest.Object, error) {
	text, err := o.MarshalJSON()
	if err != nil {
		return nil, err
	}
	return c.at(k, manifest.IDOf(o)).Patch(ctx, o.GetName(), types.ApplyPatchType, text, c.applyOptions(dryRun...))
}

// sendForOutline is send where no more of the answer is asked for than whether
// there is one, and of an object in which version: that costs the server less to
// tell, and us to read.
func (c *Cluster) sendForOutline(ctx context.Context, k kind, o *manifest.Object, dryRun ...string) (*manifest.Object, error) {
	text, err := o.MarshalJSON()
	if err != nil {
		return nil, err
	}
	resource := c.metadata.Resource(k.resource)
	patch := resource.Patch
	if k.namespaced {
		patch = resource.Namespace(o.GetNamespace()).Patch
	}
	answer, err := patch(ctx, o.GetName(), types.ApplyPatchType, text, c.applyOptions(dryRun...))
	if err != nil {
		return nil, err
	}
	outline := &manifest.Object{Object: map[string]any{}}
	outline.SetUID(answer.UID)
	outline.SetResourceVersion(answer.ResourceVersion)
	return outline, nil
}

func (c *Cluster) applyOptions(dryRun ...string) metav1.PatchOptions {
	force := true
	return metav1.PatchOptions{FieldManager: c.options.FieldManager, Force: &force, DryRun: dryRun, FieldValidation: unwarned}
}

func (c *Cluster) createOptions() metav1.CreateOptions {
	return metav1.CreateOptions{FieldManager: c.options.FieldManager, FieldValidation: unwarned}
}

func (c *Cluster) updateOptions() metav1.UpdateOptions {
	return metav1.UpdateOptions{FieldManager: c.options.FieldManager, FieldValidation: unwarned}
}
