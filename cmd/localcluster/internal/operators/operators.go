// Package operators plays the controllers of custom resources that sample systems are written
// against: it reports on them, and does nothing else.
//
// Gateways are programmed and accept every route, stores of secrets and backups can be reached,
// schedules are enabled, certificates issued. An annotation makes one that is refused, or that
// nobody looks at.
package operators

import (
	"context"
	"fmt"
	"reflect"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/dynamic/dynamicinformer"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"
)

// Annotation on an object chooses what is reported on it: "refused", or "silent" for nothing.
const Annotation = "local.chaperone.dev/operator"

// report is the status that an object gets; well is whether all is.
type report func(o *unstructured.Unstructured, well bool) map[string]any

var reports = map[schema.GroupVersionResource]report{
	{Group: "gateway.networking.k8s.io", Version: "v1", Resource: "gatewayclasses"}: conditions("Accepted"),
	{Group: "gateway.networking.k8s.io", Version: "v1", Resource: "gateways"}:       conditions("Accepted", "Programmed"),
	{Group: "gateway.networking.k8s.io", Version: "v1", Resource: "httproutes"}:     route,
	{Group: "external-secrets.io", Version: "v1", Resource: "secretstores"}:         conditions("Ready"),
	{Group: "external-secrets.io", Version: "v1", Resource: "clustersecretstores"}:  conditions("Ready"),
	{Group: "velero.io", Version: "v1", Resource: "backupstoragelocations"}:         phase("Available", "Unavailable"),
	{Group: "velero.io", Version: "v1", Resource: "schedules"}:                      phase("Enabled", "FailedValidation"),
	{Group: "velero.io", Version: "v1", Resource: "backups"}:                        phase("Completed", "Failed"),
	{Group: "cert-manager.io", Version: "v1", Resource: "certificates"}:             conditions("Ready"),
	{Group: "cert-manager.io", Version: "v1", Resource: "issuers"}:                  conditions("Ready"),
	{Group: "cert-manager.io", Version: "v1", Resource: "clusterissuers"}:           conditions("Ready"),
}

// task is an object of a kind.
type task struct {
	kind schema.GroupVersionResource
	key  string
}

type player struct {
	dyn    dynamic.Interface
	stores map[schema.GroupVersionResource]cache.Store
	queue  workqueue.TypedRateLimitingInterface[task]
}

// Run plays until ctx ends. The definitions must be there.
func Run(ctx context.Context, dyn dynamic.Interface) error {
	factory := dynamicinformer.NewDynamicSharedInformerFactory(dyn, 0)
	p := &player{dyn: dyn, stores: map[schema.GroupVersionResource]cache.Store{}, queue: workqueue.NewTypedRateLimitingQueue(
		workqueue.NewTypedItemExponentialFailureRateLimiter[task](100*time.Millisecond, 10*time.Second))}
	for kind := range reports {
		informer := factory.ForResource(kind).Informer()
		p.stores[kind] = informer.GetStore()
		add := func(obj any) {
			if key, err := cache.MetaNamespaceKeyFunc(obj); err == nil {
				p.queue.Add(task{kind, key})
			}
		}
		_, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{AddFunc: add, UpdateFunc: func(_, obj any) { add(obj) }})
		if err != nil {
			return fmt.Errorf("watch %s: %w", kind.Resource, err)
		}
	}
	factory.Start(ctx.Done())
	context.AfterFunc(ctx, p.queue.ShutDown)
	go p.work(ctx)
	return nil
}

func (p *player) work(ctx context.Context) {
	for {
		one, quit := p.queue.Get()
		if quit {
			return
		}
		if err := p.sync(ctx, one); err != nil {
			p.queue.AddRateLimited(one)
		} else {
			p.queue.Forget(one)
		}
		p.queue.Done(one)
	}
}

func (p *player) sync(ctx context.Context, one task) error {
	obj, found, err := p.stores[one.kind].GetByKey(one.key)
	if err != nil || !found {
		return err
	}
	o := obj.(*unstructured.Unstructured).DeepCopy()
	behavior := o.GetAnnotations()[Annotation]
	if o.GetDeletionTimestamp() != nil || behavior == "silent" {
		return nil
	}
	now, _, _ := unstructured.NestedMap(o.Object, "status")
	status := reports[one.kind](o, behavior != "refused")
	if holds(now, status) {
		return nil
	}
	if now == nil {
		now = map[string]any{}
	}
	for name, value := range status {
		now[name] = value
	}
	o.Object["status"] = now
	client := p.dyn.Resource(one.kind).Namespace(o.GetNamespace())
	_, err = client.UpdateStatus(ctx, o, metav1.UpdateOptions{})
	if apierrors.IsNotFound(err) { // kinds without the subresource
		_, err = client.Update(ctx, o, metav1.UpdateOptions{})
	}
	return err
}

// holds reports whether a status says all of another, whenever it did.
func holds(now, wanted map[string]any) bool {
	for name, value := range wanted {
		if !reflect.DeepEqual(timeless(now[name]), timeless(value)) {
			return false
		}
	}
	return true
}

func timeless(value any) any {
	switch value := value.(type) {
	case map[string]any:
		rest := map[string]any{}
		for name, inner := range value {
			if name != "lastTransitionTime" {
				rest[name] = timeless(inner)
			}
		}
		return rest
	case []any:
		rest := make([]any, len(value))
		for i, inner := range value {
			rest[i] = timeless(inner)
		}
		return rest
	}
	return value
}

func conditions(types ...string) report {
	return func(o *unstructured.Unstructured, well bool) map[string]any {
		return map[string]any{"conditions": list(o, well, types...)}
	}
}

func list(o *unstructured.Unstructured, well bool, types ...string) []any {
	status, reason := "True", "Played"
	if !well {
		status, reason = "False", "Refused"
	}
	var all []any
	for _, kind := range types {
		all = append(all, map[string]any{
			"type": kind, "status": status, "reason": reason, "message": "as its annotation says",
			"observedGeneration": o.GetGeneration(), "lastTransitionTime": metav1.Now().UTC().Format(time.RFC3339),
		})
	}
	return all
}

func phase(good, bad string) report {
	return func(_ *unstructured.Unstructured, well bool) map[string]any {
		if well {
			return map[string]any{"phase": good}
		}
		return map[string]any{"phase": bad}
	}
}

func route(o *unstructured.Unstructured, well bool) map[string]any {
	parents := []any{}
	named, _, _ := unstructured.NestedSlice(o.Object, "spec", "parentRefs")
	for _, parent := range named {
		parents = append(parents, map[string]any{
			"parentRef": parent, "controllerName": "local.chaperone.dev/gateway",
			"conditions": list(o, well, "Accepted", "ResolvedRefs"),
		})
	}
	return map[string]any{"parents": parents}
}
