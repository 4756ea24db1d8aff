package demo

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/restmapper"
	"k8s.io/client-go/tools/clientcmd"

	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/state"
)

const installWait = time.Minute

var (
	deployments     = schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}
	cronJobs        = schema.GroupVersionResource{Group: "batch", Version: "v1", Resource: "cronjobs"}
	networkPolicies = schema.GroupVersionResource{Group: "networking.k8s.io", Version: "v1", Resource: "networkpolicies"}
	namespaces      = schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}
)

// kube is the cluster as its administrator sees it, beside the daemon.
type kube struct {
	objects dynamic.Interface
	kinds   *restmapper.DeferredDiscoveryRESTMapper
	store   *state.Store // only read
}

// installChaperone does what base/chaperone does for a daemon in a cluster, as
// far as one beside it needs it.
func (d *demo) installChaperone(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, installWait)
	defer cancel()
	config, err := clientcmd.BuildConfigFromFlags("", d.cluster.Kubeconfig)
	if err != nil {
		return fmt.Errorf("read %s: %w", d.cluster.Kubeconfig, err)
	}
	config.QPS = -1
	k := &kube{}
	if k.objects, err = dynamic.NewForConfig(config); err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	about, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	k.kinds = restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(about))
	if k.store, err = state.New(config, namespace, time.Now); err != nil {
		return err
	}
	d.kube = k
	d.report.say("installing the daemon's custom resources")
	if err := state.InstallCRDs(ctx, config); err != nil {
		return err
	}
	home := &unstructured.Unstructured{}
	home.SetAPIVersion("v1")
	home.SetKind("Namespace")
	home.SetName(namespace)
	_, err = k.objects.Resource(namespaces).Create(ctx, home, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("Namespace/%s: create: %w", namespace, err)
	}
	return nil
}

// exists asks for one object.
func (k *kube) exists(ctx context.Context, kind schema.GroupVersionResource, in, name string) (bool, error) {
	_, err := k.objects.Resource(kind).Namespace(in).Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	return err == nil, err
}

// image is what a Deployment's container "app" runs.
func (k *kube) image(ctx context.Context, in, name string) (string, error) {
	o, err := k.objects.Resource(deployments).Namespace(in).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return "", err
	}
	containers, _, err := unstructured.NestedSlice(o.Object, "spec", "template", "spec", "containers")
	if err != nil {
		return "", err
	}
	for _, c := range containers {
		container, _ := c.(map[string]any)
		if image, _ := container["image"].(string); container["name"] == "app" {
			return image, nil
		}
	}
	return "", fmt.Errorf("Deployment/%s/%s: want a container app", in, name)
}

// setImage is `kubectl set image`, past Git and everybody.
func (k *kube) setImage(ctx context.Context, in, name, image string) error {
	patch, err := json.Marshal(map[string]any{"spec": map[string]any{"template": map[string]any{"spec": map[string]any{
		"containers": []any{map[string]any{"name": "app", "image": image}}}}}})
	if err != nil {
		return err
	}
	_, err = k.objects.Resource(deployments).Namespace(in).Patch(ctx, name, types.StrategicMergePatchType, patch,
		metav1.PatchOptions{FieldManager: "kubectl-set"})
	if err != nil {
		return fmt.Errorf("Deployment/%s/%s: set image: %w", in, name, err)
	}
	return nil
}

// labelled counts the objects of a release that carry a label on the cluster,
// and all of them. Hooks are left out: they run once, and are not changed after.
func (k *kube) labelled(ctx context.Context, set manifest.Set, key, value string) (n, of int, err error) {
	for _, want := range set.Objects() {
		if want.GetAnnotations()[manifest.AnnotationHook] != "" {
			continue
		}
		of++
		o, err := k.live(ctx, want)
		if apierrors.IsNotFound(err) {
			continue
		}
		if err != nil {
			return n, of, fmt.Errorf("%s: read: %w", manifest.IDOf(want), err)
		}
		if o.GetLabels()[key] == value {
			n++
		}
	}
	return n, of, nil
}

// live is an object of a release as it is on the cluster.
func (k *kube) live(ctx context.Context, want *manifest.Object) (*manifest.Object, error) {
	kind := want.GroupVersionKind()
	mapping, err := k.kinds.RESTMapping(kind.GroupKind(), kind.Version)
	if err != nil {
		return nil, err
	}
	all := k.objects.Resource(mapping.Resource)
	if want.GetNamespace() == "" {
		return all.Get(ctx, want.GetName(), metav1.GetOptions{})
	}
	return all.Namespace(want.GetNamespace()).Get(ctx, want.GetName(), metav1.GetOptions{})
}

// firstLabelled returns once the first network policy carries a label: a
// release that gives it to all its objects is being applied.
func (k *kube) firstLabelled(ctx context.Context, in, key, value string) error {
	selector := metav1.ListOptions{LabelSelector: key + "=" + value}
	for {
		watch, err := k.objects.Resource(networkPolicies).Namespace(in).Watch(ctx, selector)
		if err != nil {
			return fmt.Errorf("watch network policies in %s: %w", in, err)
		}
		for range watch.ResultChan() {
			watch.Stop()
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
}
