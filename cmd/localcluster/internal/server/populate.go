package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/dynamic/dynamicinformer"
	"k8s.io/client-go/informers"

	"chaperone.dev/chaperone/cmd/localcluster/internal/containerlog"
	"chaperone.dev/chaperone/cmd/localcluster/internal/controlplane"
	"chaperone.dev/chaperone/cmd/localcluster/internal/crds"
	"chaperone.dev/chaperone/cmd/localcluster/internal/externalsecrets"
	"chaperone.dev/chaperone/cmd/localcluster/internal/kubelet"
	"chaperone.dev/chaperone/cmd/localcluster/internal/network"
	"chaperone.dev/chaperone/cmd/localcluster/internal/operators"
	"chaperone.dev/chaperone/cmd/localcluster/internal/pki"
	"chaperone.dev/chaperone/cmd/localcluster/internal/usage"
	"chaperone.dev/chaperone/cmd/localcluster/internal/volumes"
)

// populate brings in everything that is not control plane. ctx is the cluster's life, starting
// the start's. The parts do not need each other, so they start side by side.
func (c *cluster) populate(ctx, starting context.Context) error {
	c.progress(fmt.Sprintf("%d nodes, storage, resource metrics, proxy, custom resource definitions", c.Nodes))
	if err := c.watches(ctx, starting); err != nil {
		return err
	}
	parts := []func() error{
		func() error { return c.nodes(ctx, starting) },
		func() error { return volumes.EnsureDefaultClass(starting, c.client) },
		func() error { return c.awaitServiceAccount(starting) },
		func() error { return c.definitions(ctx, starting) },
	}
	done := make(chan error, len(parts))
	for _, part := range parts {
		go func() { done <- part() }()
	}
	var errs []error
	for range parts {
		errs = append(errs, <-done)
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	return c.awaitDiscovery(starting)
}

// awaitDiscovery waits until the API server tells of everything it serves: it learns of added
// APIs a moment after it serves them, and a client that asks in between may not ask again.
func (c *cluster) awaitDiscovery(starting context.Context) error {
	wanted := map[string]bool{"pods.metrics.k8s.io": true}
	if c.CRDs {
		for _, d := range crds.Definitions() {
			wanted[d.Name()] = true
		}
	}
	var last error
	err := wait.PollUntilContextCancel(starting, 100*time.Millisecond, true, func(context.Context) (bool, error) {
		var lists []*metav1.APIResourceList
		if _, lists, last = c.client.Discovery().ServerGroupsAndResources(); last != nil {
			return false, nil
		}
		for _, list := range lists {
			group, _, _ := strings.Cut(list.GroupVersion, "/")
			for _, r := range list.APIResources {
				delete(wanted, r.Name+"."+group)
			}
		}
		return len(wanted) == 0, nil
	})
	if err != nil {
		return fmt.Errorf("discovery: %d kinds are not served: %w", len(wanted), errors.Join(err, last))
	}
	return nil
}

// watches starts what answers from one shared set of caches.
func (c *cluster) watches(ctx, starting context.Context) error {
	c.factory = informers.NewSharedInformerFactoryWithOptions(c.client, 0, informers.WithTransform(withoutManagedFields))
	pods, err := network.New(c.factory, time.Now)
	if err != nil {
		return err
	}
	pods.WithSecrets(func(ctx context.Context, namespace, name string) (*corev1.Secret, error) {
		return c.client.CoreV1().Secrets(namespace).Get(ctx, name, metav1.GetOptions{})
	})
	c.network = pods
	provisioner, err := volumes.New(c.factory, c.client)
	if err != nil {
		return err
	}
	metrics := usage.New(c.factory, time.Now)
	c.factory.Start(ctx.Done())
	for kind, ok := range c.factory.WaitForCacheSync(starting.Done()) {
		if !ok {
			return fmt.Errorf("watch %v: %w", kind, context.Cause(starting))
		}
	}
	pods.Serve(ctx, c.proxy)
	go provisioner.Run(ctx)
	return c.metrics(ctx, starting, metrics)
}

// withoutManagedFields halves what the caches hold.
func withoutManagedFields(obj any) (any, error) {
	if object, err := meta.Accessor(obj); err == nil {
		object.SetManagedFields(nil)
	}
	return obj, nil
}

func (c *cluster) metrics(ctx, starting context.Context, api *usage.API) error {
	listener, err := listen("")
	if err != nil {
		return fmt.Errorf("resource metrics: %w", err)
	}
	pair, err := c.plane.Serving.Issue("metrics", pki.Subject{Name: "metrics-server", Hosts: []string{usage.Host}})
	if err != nil {
		return err
	}
	if err := api.Serve(ctx, listener, pair, c.plane.FrontProxy); err != nil {
		return err
	}
	port := listener.Addr().(*net.TCPAddr).Port
	return usage.Register(starting, c.plane.Admin, int32(port), c.plane.Serving)
}

func (c *cluster) nodes(ctx, starting context.Context) error {
	port, err := c.containerLogs(ctx)
	if err != nil {
		return err
	}
	if err := kubelet.CreateNodes(starting, c.client, c.Nodes, controlplane.Version(), port); err != nil {
		return err
	}
	if err := kubelet.Start(ctx, c.plane.Admin, c.Logs); err != nil {
		return err
	}
	return kubelet.AwaitNodes(starting, c.client, c.Nodes)
}

func (c *cluster) containerLogs(ctx context.Context) (port int32, err error) {
	listener, err := listen("")
	if err != nil {
		return 0, fmt.Errorf("container logs: %w", err)
	}
	pair, err := c.plane.Serving.Issue("kubelet", pki.Subject{Name: "system:node:all", Hosts: []string{kubelet.Host}})
	if err != nil {
		return 0, err
	}
	err = containerlog.New(c.client, time.Now).Serve(ctx, listener, pair, c.plane.Serving, controlplane.KubeletCaller)
	return int32(listener.Addr().(*net.TCPAddr).Port), err
}

func (c *cluster) definitions(ctx, starting context.Context) error {
	if !c.CRDs {
		return nil
	}
	set := <-c.crds
	if len(set.Open) > 0 {
		c.progress(fmt.Sprintf("without the schemas of %d custom resource definitions: %v", len(set.Open), set.Err))
	}
	if err := set.Install(starting, c.plane.Admin); err != nil {
		return err
	}
	dyn, err := dynamic.NewForConfig(c.plane.Admin)
	if err != nil {
		return fmt.Errorf("external secrets: %w", err)
	}
	routes := dynamicinformer.NewDynamicSharedInformerFactory(dyn, 0)
	if err := c.network.WatchRoutes(routes); err != nil {
		return err
	}
	routes.Start(ctx.Done())
	if err := operators.Run(ctx, dyn); err != nil {
		return err
	}
	return externalsecrets.Run(ctx, c.client, dyn)
}

// awaitServiceAccount waits for the first work of the controllers: without the account no pod
// can be made in the default namespace.
func (c *cluster) awaitServiceAccount(starting context.Context) error {
	err := wait.PollUntilContextCancel(starting, 100*time.Millisecond, true, func(ctx context.Context) (bool, error) {
		_, err := c.client.CoreV1().ServiceAccounts(metav1.NamespaceDefault).Get(ctx, "default", metav1.GetOptions{})
		return err == nil, nil
	})
	if err != nil {
		return fmt.Errorf("kube-controller-manager: no default service account: %w", err)
	}
	return nil
}
