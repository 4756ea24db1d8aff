package controlplane

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/spf13/pflag"
	utilerrors "k8s.io/apimachinery/pkg/util/errors"
	cliflag "k8s.io/component-base/cli/flag"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	apiserveroptions "k8s.io/kubernetes/cmd/kube-apiserver/app/options"
	controllermanager "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	controlleroptions "k8s.io/kubernetes/cmd/kube-controller-manager/app/options"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
	scheduleroptions "k8s.io/kubernetes/cmd/kube-scheduler/app/options"
)

// parse sets a component's options the way its command line would, so that what is written
// here reads like the manifest of the real thing.
func parse(sets cliflag.NamedFlagSets, args []string) error {
	all := pflag.NewFlagSet("component", pflag.ContinueOnError)
	for _, set := range sets.FlagSets {
		all.AddFlagSet(set)
	}
	return all.Parse(args)
}

func runAPIServer(ctx context.Context, cfg Config, c *certificates) error {
	options := apiserveroptions.NewServerRunOptions()
	if err := parse(options.Flags(), []string{
		"--etcd-servers=" + etcdClientURL,
		"--bind-address=127.0.0.1",
		"--advertise-address=127.0.0.1",
		"--endpoint-reconciler-type=none", // endpoints may not be loopback addresses
		"--service-cluster-ip-range=" + serviceRange,
		"--authorization-mode=Node,RBAC",
		"--allow-privileged=true",
		"--client-ca-file=" + c.cluster.File(),
		"--tls-cert-file=" + c.serving.Cert,
		"--tls-private-key-file=" + c.serving.Key,
		"--service-account-issuer=https://kubernetes.default.svc.cluster.local",
		"--service-account-key-file=" + c.serviceAccountKey,
		"--service-account-signing-key-file=" + c.serviceAccountKey,
		"--requestheader-client-ca-file=" + c.frontProxy.File(),
		"--requestheader-allowed-names=front-proxy-client",
		"--requestheader-username-headers=X-Remote-User",
		"--requestheader-group-headers=X-Remote-Group",
		"--requestheader-extra-headers-prefix=X-Remote-Extra-",
		"--proxy-client-cert-file=" + c.aggregator.Cert,
		"--proxy-client-key-file=" + c.aggregator.Key,
		// Nodes are asked for logs at a name of their own for this process: their addresses lead nowhere.
		"--kubelet-preferred-address-types=InternalDNS",
		"--kubelet-certificate-authority=" + c.cluster.File(),
		"--kubelet-client-certificate=" + c.kubelet.Cert,
		"--kubelet-client-key=" + c.kubelet.Key,
		"--event-ttl=1h",
	}); err != nil {
		return err
	}
	options.SecureServing.Listener = cfg.Listener
	if err := options.GenericServerRunOptions.ComponentGlobalsRegistry.Set(); err != nil {
		return err
	}
	completed, err := options.Complete(ctx)
	if err != nil {
		return err
	}
	if errs := completed.Validate(); len(errs) != 0 {
		return utilerrors.NewAggregate(errs)
	}
	return apiserver.Run(ctx, completed)
}

func runControllerManager(ctx context.Context, dir string, c *certificates) error {
	options, err := controlleroptions.NewKubeControllerManagerOptions()
	if err != nil {
		return err
	}
	known, disabled, aliases := controllermanager.KnownControllers(), controllermanager.ControllersDisabledByDefault(), controllermanager.ControllerAliases()
	if err := parse(options.Flags(known, disabled, aliases), []string{
		"--kubeconfig=" + filepath.Join(dir, "controller-manager.kubeconfig"),
		"--secure-port=0",
		"--leader-elect=false",
		"--controllers=*,-node-route-controller,-service-lb-controller,-cloud-node-lifecycle-controller",
		"--kube-api-qps=500",
		"--kube-api-burst=1000",
		"--allocate-node-cidrs=false",
		"--service-account-private-key-file=" + c.serviceAccountKey,
		"--root-ca-file=" + c.cluster.File(),
		"--cluster-signing-cert-file=" + c.cluster.File(),
		"--cluster-signing-key-file=" + filepath.Join(c.dir, "ca.key"),
		"--horizontal-pod-autoscaler-sync-period=2s",
		"--horizontal-pod-autoscaler-downscale-stabilization=10s",
		"--horizontal-pod-autoscaler-cpu-initialization-period=1s",
		"--horizontal-pod-autoscaler-initial-readiness-delay=1s",
		"--pvclaimbinder-sync-period=2s",
		"--resource-quota-sync-period=10s",
		"--namespace-sync-period=10s",
		"--attach-detach-reconcile-sync-period=1m",
	}); err != nil {
		return err
	}
	config, err := options.Config(ctx, known, disabled, aliases)
	if err != nil {
		return err
	}
	return controllermanager.Run(ctx, config.Complete())
}

func runScheduler(ctx context.Context, dir string) error {
	options := scheduleroptions.NewOptions()
	kubeconfig := filepath.Join(dir, "scheduler.kubeconfig")
	if err := parse(*options.Flags, []string{
		"--kubeconfig=" + kubeconfig,
		"--authentication-kubeconfig=" + kubeconfig,
		"--authorization-kubeconfig=" + kubeconfig,
		"--secure-port=0",
		"--leader-elect=false",
		"--kube-api-qps=500",
		"--kube-api-burst=1000",
	}); err != nil {
		return err
	}
	completed, sched, err := scheduler.Setup(ctx, options)
	if err != nil {
		return fmt.Errorf("set up: %w", err)
	}
	return scheduler.Run(ctx, completed, sched)
}
