package cluster

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"

	"chaperone.dev/chaperone/internal/fault"
	"chaperone.dev/chaperone/internal/inventory"
	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/plan"
)

// How an inventory is laid out: one parent ConfigMap, the ApplySet's, with the
// entries in it while they fit. Beyond that they are in shards named after
// their content, and the parent lists them: a new list takes effect with one
// write of the parent, so a crash leaves the old inventory or the new one.
const (
	keyEntries   = "entries"
	keyShards    = "shards"
	labelShardOf = "chaperone.dev/inventory-of"
)

var configMaps = schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}

// stored is an inventory as it was read, with what is needed to write the next.
type stored struct {
	inventory.Inventory
	parent *unstructured.Unstructured // nil: there is none yet
	// changed says that this is not what is written down: lost parts were
	// rebuilt, or a person agreed to what was.
	changed bool
}

// Inventory reads what an environment owns, what it takes over included.
func (c *Cluster) Inventory(ctx context.Context, w Owner) (inventory.Inventory, error) {
	h, err := c.loadHoldings(ctx, w)
	return h.Inventory, err
}

func (c *Cluster) loadInventory(ctx context.Context, w Owner) (stored, error) {
	if err := w.check(); err != nil {
		return stored{}, fault.Terminal("read inventory", "", err)
	}
	if known, ok := c.mirrorOf(w).stored(); ok {
		return known, nil
	}
	return c.readInventory(ctx, w)
}

// readInventory asks the server, and tells the mirror.
func (c *Cluster) readInventory(ctx context.Context, w Owner) (stored, error) {
	parent, err := c.getConfigMap(ctx, w, w.inventoryName())
	if apierrors.IsNotFound(err) {
		return c.rebuildLost(ctx, w)
	}
	c.losses.there(w.setID())
	read, err := c.decodeInventory(ctx, w, parent, err)
	if err == nil {
		c.mirrorOf(w).keepStored(read)
	}
	return read, err
}

func (c *Cluster) decodeInventory(ctx context.Context, w Owner, parent *unstructured.Unstructured, err error) (stored, error) {
	if err != nil {
		return stored{}, failed("read inventory", inventoryID(w, w.inventoryName()), err)
	}
	if err := belongsTo(parent, w); err != nil {
		return stored{}, err
	}
	shards, missing, err := c.readShards(ctx, w, parent)
	if err != nil {
		return stored{}, err
	}
	read, err := inventory.Decode(shards)
	if err != nil {
		return stored{}, fault.Terminal("", inventoryID(w, w.inventoryName()).String(), err)
	}
	read = read.Complete(parent.GetAnnotations()[inventory.AnnotationRelease])
	return c.completed(ctx, w, stored{Inventory: read, parent: parent}, missing)
}

func inventoryID(w Owner, name string) manifest.ID {
	return manifest.ID{Kind: "ConfigMap", Namespace: w.Namespace, Name: name}
}

// belongsTo refuses the inventory of another environment: a-b/c and a/b-c
// would use one name.
func belongsTo(parent *unstructured.Unstructured, w Owner) error {
	annotations := parent.GetAnnotations()
	if environment := annotations[plan.AnnotationEnvironment]; !w.wroteFor(environment) {
		return fault.Terminal("read inventory", inventoryID(w, parent.GetName()).String(),
			fmt.Errorf("it belongs to environment %q, not %q; use another namespace or name", environment, w.Environment))
	}
	if tool := annotations[inventory.AnnotationTooling]; !strings.HasPrefix(tool, "chaperone/") {
		return fault.Terminal("read inventory", inventoryID(w, parent.GetName()).String(),
			fmt.Errorf("it is managed by %q; want %q", tool, inventory.Tooling))
	}
	return nil
}

// readShards reads the entries, and names the shards that are gone: without
// them it is not a smaller inventory, but an incomplete one.
func (c *Cluster) readShards(ctx context.Context, w Owner, parent *unstructured.Unstructured) (shards [][]byte, missing []string, err error) {
	names := shardNames(parent)
	if len(names) == 0 {
		return [][]byte{[]byte(data(parent, keyEntries))}, nil, nil
	}
	for _, name := range names {
		shard, err := c.getConfigMap(ctx, w, name)
		switch {
		case apierrors.IsNotFound(err):
			missing = append(missing, name)
		case err != nil:
			return nil, nil, fault.Retryable("read inventory", inventoryID(w, name).String(), err)
		default:
			shards = append(shards, []byte(data(shard, keyEntries)))
		}
	}
	return shards, missing, nil
}

func shardNames(parent *unstructured.Unstructured) []string {
	return strings.Fields(data(parent, keyShards))
}

func data(configMap *unstructured.Unstructured, key string) string {
	text, _, err := unstructured.NestedString(configMap.Object, "data", key)
	if err != nil {
		return ""
	}
	return text
}

func (c *Cluster) getConfigMap(ctx context.Context, w Owner, name string) (found *unstructured.Unstructured, err error) {
	err = c.retry(ctx, func(ctx context.Context) error {
		found, err = c.dynamic.Resource(configMaps).Namespace(w.Namespace).Get(ctx, name, metav1.GetOptions{})
		return err
	})
	return found, err
}

// saveInventory writes the next inventory over the one that was read. Another
// writer in between is an error: two daemons must not both think that they
// know what an environment owns.
func (c *Cluster) saveInventory(ctx context.Context, w Owner, old stored, next inventory.Inventory) (stored, error) {
	if old.parent != nil && !old.changed && old.Equal(next) && old.parent.GetAnnotations()[plan.AnnotationEnvironment] == w.Environment.String() {
		return old, nil
	}
	shards, err := next.Encode(inventory.ShardBytes)
	if err != nil {
		return old, fault.Terminal("write inventory", inventoryID(w, w.inventoryName()).String(), err)
	}
	content := map[string]any{}
	if len(shards) == 1 {
		content[keyEntries] = string(shards[0])
	} else {
		names, err := c.writeShards(ctx, w, shards)
		if err != nil {
			return old, err
		}
		content[keyShards] = strings.Join(names, "\n")
	}
	c.mirrorOf(w).beginWrite()
	parent, err := c.writeParent(ctx, w, old, next, content)
	if err != nil {
		c.mirrorOf(w).forgetStored()
	}
	if old.parent != nil && apierrors.IsNotFound(err) {
		return old, meanwhile("write inventory", inventoryID(w, w.inventoryName()))
	}
	if err != nil {
		return old, failed("write inventory", inventoryID(w, w.inventoryName()), err)
	}
	if len(shardNames(parent)) > 0 || old.parent != nil && len(shardNames(old.parent)) > 0 {
		c.dropShards(ctx, w, shardNames(parent))
	}
	c.losses.written(w.setID())
	saved := stored{Inventory: next, parent: parent}
	c.keepWritten(w, saved)
	return saved, nil
}

func (c *Cluster) writeShards(ctx context.Context, w Owner, shards [][]byte) ([]string, error) {
	names := make([]string, len(shards))
	for i, shard := range shards {
		names[i] = w.inventoryName() + "-" + manifest.DigestBytes(shard).Short()
		o := c.configMap(w, names[i], map[string]any{keyEntries: string(shard)})
		o.SetLabels(map[string]string{labelShardOf: w.setID()})
		err := c.retry(ctx, func(ctx context.Context) error {
			_, err := c.configMapsIn(w).Create(ctx, o, c.createOptions())
			return err
		})
		if err != nil && !apierrors.IsAlreadyExists(err) { // the name says that the content is the same
			return nil, failed("write inventory", inventoryID(w, names[i]), err)
		}
	}
	return names, nil
}

func (c *Cluster) configMapsIn(w Owner) dynamic.ResourceInterface {
	return c.dynamic.Resource(configMaps).Namespace(w.Namespace)
}

func (c *Cluster) configMap(w Owner, name string, content map[string]any) *unstructured.Unstructured {
	o := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "ConfigMap", "data": content}}
	o.SetName(name)
	o.SetNamespace(w.Namespace)
	o.SetAnnotations(map[string]string{plan.AnnotationEnvironment: w.Environment.String()})
	return o
}

func (c *Cluster) writeParent(ctx context.Context, w Owner, old stored, next inventory.Inventory, content map[string]any) (*unstructured.Unstructured, error) {
	o := c.configMap(w, w.inventoryName(), content)
	annotations := next.ParentAnnotations(w.Namespace)
	annotations[plan.AnnotationEnvironment] = w.Environment.String()
	o.SetAnnotations(annotations)
	o.SetLabels(map[string]string{inventory.LabelSetID: w.setID()})
	write := func(ctx context.Context) (*unstructured.Unstructured, error) {
		return c.configMapsIn(w).Create(ctx, o, c.createOptions())
	}
	if old.parent != nil {
		o.SetResourceVersion(old.parent.GetResourceVersion())
		write = func(ctx context.Context) (*unstructured.Unstructured, error) {
			return c.configMapsIn(w).Update(ctx, o, c.updateOptions())
		}
	}
	written, lost, err := c.writeOnce(ctx, write)
	if err != nil && lost {
		return c.alreadyWritten(ctx, w, o, err)
	}
	return written, err
}

// writeOnce repeats a write only while the server has not seen it change
// anything. lost says that an earlier attempt may have succeeded unnoticed.
func (c *Cluster) writeOnce(ctx context.Context, write func(context.Context) (*unstructured.Unstructured, error)) (written *unstructured.Unstructured, lost bool, err error) {
	var outcome error
	attempts := 0
	err = c.retry(ctx, func(ctx context.Context) error {
		attempts++
		written, outcome = write(ctx)
		if apierrors.IsConflict(outcome) {
			return nil // not to be repeated: the resourceVersion stays what it is
		}
		return outcome
	})
	if err == nil {
		err = outcome
	}
	return written, attempts > 1 && (apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err)), err
}

func (c *Cluster) alreadyWritten(ctx context.Context, w Owner, o *unstructured.Unstructured, cause error) (*unstructured.Unstructured, error) {
	there, err := c.getConfigMap(ctx, w, o.GetName())
	if err != nil {
		return nil, err
	}
	want, _ := o.Object["data"].(map[string]any)
	have, _ := there.Object["data"].(map[string]any)
	if !maps.Equal(want, have) {
		return nil, cause
	}
	return there, nil
}

// dropShards removes those that the parent no longer lists. What it cannot
// remove does no harm, and is found again by its label the next time.
func (c *Cluster) dropShards(ctx context.Context, w Owner, listed []string) {
	ctx, cancel := context.WithTimeout(ctx, c.options.RequestTimeout)
	defer cancel()
	selector := metav1.ListOptions{LabelSelector: labelShardOf + "=" + w.setID()}
	there, err := c.configMapsIn(w).List(ctx, selector)
	if err != nil {
		c.options.Logger.Warn("list inventory shards", "environment", w.Environment.String(), "err", err)
		return
	}
	for _, shard := range there.Items {
		if slices.Contains(listed, shard.GetName()) {
			continue
		}
		if err := c.configMapsIn(w).Delete(ctx, shard.GetName(), metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
			c.options.Logger.Warn("delete inventory shard", "environment", w.Environment.String(), "shard", shard.GetName(), "err", err)
		}
	}
}
