package usage

import (
	"context"
	"fmt"
	"os"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	registration "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
	aggregator "k8s.io/kube-aggregator/pkg/client/clientset_generated/clientset"

	"chaperone.dev/chaperone/cmd/localcluster/internal/pki"
)

const (
	serviceName      = "metrics-server"
	serviceNamespace = metav1.NamespaceSystem
	apiServiceName   = "v1beta1.metrics.k8s.io"
)

// Host is the name that the serving certificate must carry.
const Host = serviceName + "." + serviceNamespace + ".svc"

// Register makes the API server serve the API that listens on 127.0.0.1:port, and waits until it does.
// The service in between is an external name, because an endpoint may not be a loopback address.
func Register(ctx context.Context, config *rest.Config, port int32, authority *pki.Authority) error {
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("register resource metrics: %w", err)
	}
	service := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: serviceName, Namespace: serviceNamespace},
		Spec:       corev1.ServiceSpec{Type: corev1.ServiceTypeExternalName, ExternalName: "127.0.0.1"},
	}
	_, err = client.CoreV1().Services(serviceNamespace).Create(ctx, service, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("register resource metrics: service: %w", err)
	}
	bundle, err := os.ReadFile(authority.File())
	if err != nil {
		return fmt.Errorf("register resource metrics: %w", err)
	}
	aggregation, err := aggregator.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("register resource metrics: %w", err)
	}
	if err := apply(ctx, aggregation, port, bundle); err != nil {
		return fmt.Errorf("register resource metrics: %w", err)
	}
	if err := awaitAvailable(ctx, aggregation); err != nil {
		return fmt.Errorf("resource metrics: not available: %w", err)
	}
	return nil
}

func apply(ctx context.Context, client aggregator.Interface, port int32, bundle []byte) error {
	spec := registration.APIServiceSpec{
		Service: &registration.ServiceReference{Name: serviceName, Namespace: serviceNamespace, Port: &port},
		Group:   "metrics.k8s.io", Version: "v1beta1", CABundle: bundle,
		GroupPriorityMinimum: 100, VersionPriority: 100,
	}
	services := client.ApiregistrationV1().APIServices()
	_, err := services.Create(ctx, &registration.APIService{
		ObjectMeta: metav1.ObjectMeta{Name: apiServiceName}, Spec: spec,
	}, metav1.CreateOptions{})
	if !apierrors.IsAlreadyExists(err) {
		return err
	}
	old, err := services.Get(ctx, apiServiceName, metav1.GetOptions{}) // of an earlier run, on another port
	if err != nil {
		return err
	}
	old.Spec = spec
	_, err = services.Update(ctx, old, metav1.UpdateOptions{})
	return err
}

func awaitAvailable(ctx context.Context, client aggregator.Interface) error {
	return wait.PollUntilContextCancel(ctx, 100*time.Millisecond, true, func(ctx context.Context) (bool, error) {
		service, err := client.ApiregistrationV1().APIServices().Get(ctx, apiServiceName, metav1.GetOptions{})
		if err != nil {
			return false, nil // asked again until ctx ends
		}
		for _, c := range service.Status.Conditions {
			if c.Type == registration.Available {
				return c.Status == registration.ConditionTrue, nil
			}
		}
		return false, nil
	})
}
