// Package externalsecrets plays the External Secrets operator: every ExternalSecret gets its Secret.
//
// The values are random and made once; they come from no store. The Secret is owned by the
// ExternalSecret, which is reported as synced.
package externalsecrets

import (
	"context"
	"crypto/rand"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/dynamic/dynamicinformer"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"
)

var resource = schema.GroupVersionResource{Group: "external-secrets.io", Version: "v1", Resource: "externalsecrets"}

type player struct {
	client kubernetes.Interface
	dyn    dynamic.Interface
	store  cache.Store
	queue  workqueue.TypedRateLimitingInterface[string]
}

// Run plays until ctx ends. The definition of ExternalSecret must be there.
func Run(ctx context.Context, client kubernetes.Interface, dyn dynamic.Interface) error {
	factory := dynamicinformer.NewDynamicSharedInformerFactory(dyn, 0)
	informer := factory.ForResource(resource).Informer()
	p := &player{client: client, dyn: dyn, store: informer.GetStore(), queue: workqueue.NewTypedRateLimitingQueue(
		workqueue.NewTypedItemExponentialFailureRateLimiter[string](100*time.Millisecond, 10*time.Second))}
	add := func(obj any) {
		if key, err := cache.MetaNamespaceKeyFunc(obj); err == nil {
			p.queue.Add(key)
		}
	}
	_, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: add, UpdateFunc: func(_, obj any) { add(obj) },
	})
	if err != nil {
		return fmt.Errorf("watch external secrets: %w", err)
	}
	factory.Start(ctx.Done())
	context.AfterFunc(ctx, p.queue.ShutDown)
	go p.work(ctx)
	return nil
}

func (p *player) work(ctx context.Context) {
	for {
		key, quit := p.queue.Get()
		if quit {
			return
		}
		if err := p.sync(ctx, key); err != nil {
			p.queue.AddRateLimited(key)
		} else {
			p.queue.Forget(key)
		}
		p.queue.Done(key)
	}
}

func (p *player) sync(ctx context.Context, key string) error {
	obj, ok, err := p.store.GetByKey(key)
	if err != nil || !ok {
		return err
	}
	es := obj.(*unstructured.Unstructured).DeepCopy()
	if es.GetDeletionTimestamp() != nil || isSynced(es) {
		return nil
	}
	secret, err := secretFor(es)
	if err != nil {
		return err
	}
	secrets := p.client.CoreV1().Secrets(es.GetNamespace())
	_, err = secrets.Create(ctx, secret, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		err = p.complete(ctx, secret)
	}
	if err != nil {
		return fmt.Errorf("ExternalSecret/%s: %w", key, err)
	}
	return p.report(ctx, es, secret.Name)
}

// complete adds the keys that an older Secret lacks and keeps the values that are there.
func (p *player) complete(ctx context.Context, wanted *corev1.Secret) error {
	secrets := p.client.CoreV1().Secrets(wanted.Namespace)
	old, err := secrets.Get(ctx, wanted.Name, metav1.GetOptions{})
	if err != nil {
		return err
	}
	changed := false
	for name, value := range wanted.Data {
		if _, ok := old.Data[name]; ok {
			continue
		}
		if old.Data == nil {
			old.Data = map[string][]byte{}
		}
		old.Data[name], changed = value, true
	}
	if !changed {
		return nil
	}
	_, err = secrets.Update(ctx, old, metav1.UpdateOptions{})
	return err
}

func secretFor(es *unstructured.Unstructured) (*corev1.Secret, error) {
	name, _, err := unstructured.NestedString(es.Object, "spec", "target", "name")
	if err != nil {
		return nil, err
	}
	if name == "" {
		name = es.GetName()
	}
	kind, _, err := unstructured.NestedString(es.Object, "spec", "target", "template", "type")
	if err != nil {
		return nil, err
	}
	keys, err := keysOf(es)
	if err != nil {
		return nil, err
	}
	yes := true
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Name: name, Namespace: es.GetNamespace(),
			OwnerReferences: []metav1.OwnerReference{{
				APIVersion: es.GetAPIVersion(), Kind: es.GetKind(), Name: es.GetName(), UID: es.GetUID(),
				Controller: &yes, BlockOwnerDeletion: &yes,
			}},
		},
		Type: corev1.SecretType(kind),
		Data: map[string][]byte{},
	}
	for _, key := range keys {
		secret.Data[key] = []byte(rand.Text())
	}
	return secret, nil
}

// keysOf are the keys of spec.data and of the template, or one where everything of a remote
// secret is asked for: what that would hold is not known here.
func keysOf(es *unstructured.Unstructured) ([]string, error) {
	var keys []string
	data, _, err := unstructured.NestedSlice(es.Object, "spec", "data")
	if err != nil {
		return nil, err
	}
	for _, entry := range data {
		fields, ok := entry.(map[string]any)
		if !ok {
			continue
		}
		if key, ok := fields["secretKey"].(string); ok {
			keys = append(keys, key)
		}
	}
	template, _, err := unstructured.NestedMap(es.Object, "spec", "target", "template", "data")
	if err != nil {
		return nil, err
	}
	for key := range template {
		keys = append(keys, key)
	}
	if from, _, _ := unstructured.NestedSlice(es.Object, "spec", "dataFrom"); len(from) > 0 {
		keys = append(keys, "value")
	}
	return keys, nil
}

func isSynced(es *unstructured.Unstructured) bool {
	version, _, _ := unstructured.NestedString(es.Object, "status", "syncedResourceVersion")
	return version == syncedVersion(es)
}

func syncedVersion(es *unstructured.Unstructured) string {
	return fmt.Sprintf("%d-%s", es.GetGeneration(), es.GetUID())
}

func (p *player) report(ctx context.Context, es *unstructured.Unstructured, secret string) error {
	now := metav1.Now().UTC().Format(time.RFC3339)
	status := map[string]any{
		"refreshTime":           now,
		"syncedResourceVersion": syncedVersion(es),
		"binding":               map[string]any{"name": secret},
		"conditions": []any{map[string]any{
			"type": "Ready", "status": "True", "reason": "SecretSynced",
			"message": "secret synced", "lastTransitionTime": now,
		}},
	}
	if err := unstructured.SetNestedMap(es.Object, status, "status"); err != nil {
		return err
	}
	_, err := p.dyn.Resource(resource).Namespace(es.GetNamespace()).UpdateStatus(ctx, es, metav1.UpdateOptions{})
	return err
}
