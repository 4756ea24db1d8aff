package cluster

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"chaperone.dev/chaperone/internal/fault"
	"chaperone.dev/chaperone/internal/manifest"
)

// Endpoint is one ready pod behind a Service, and where it is reached.
type Endpoint struct {
	Pod     string
	Address string // and port
}

var (
	services       = schema.GroupVersionResource{Version: "v1", Resource: "services"}
	endpointSlices = schema.GroupVersionResource{Group: "discovery.k8s.io", Version: "v1", Resource: "endpointslices"}
)

// maxSlices bounds what is read of one Service: 100 endpoints are in each.
const maxSlices = 100

// Endpoints are the ready endpoints of a Service at one of its ports, by name,
// each once.
func (c *Cluster) Endpoints(ctx context.Context, namespace, service string, port int) ([]Endpoint, error) {
	id := manifest.ID{Kind: "Service", Namespace: namespace, Name: service}
	var name string
	err := c.retry(ctx, func(ctx context.Context) error {
		o, err := c.dynamic.Resource(services).Namespace(namespace).Get(ctx, service, metav1.GetOptions{})
		if err == nil {
			name, err = portName(o, port)
		}
		return err
	})
	if err != nil {
		if apierrors.IsNotFound(err) {
			return nil, fault.Terminal("read", id.String(), fmt.Errorf("there is no such service"))
		}
		return nil, failed("read", id, err)
	}
	var slices []unstructured.Unstructured
	err = c.retry(ctx, func(ctx context.Context) error {
		list, err := c.dynamic.Resource(endpointSlices).Namespace(namespace).List(ctx,
			metav1.ListOptions{LabelSelector: "kubernetes.io/service-name=" + service, Limit: maxSlices})
		if err == nil {
			slices = list.Items
		}
		return err
	})
	if err != nil {
		return nil, failed("list", manifest.ID{Group: endpointSlices.Group, Kind: "EndpointSlice", Namespace: namespace}, err)
	}
	return readyEndpoints(slices, name), nil
}

// portName is by which name a Service's endpoints know one of its ports.
func portName(service *unstructured.Unstructured, port int) (string, error) {
	var known []string
	for _, one := range mappings(service.Object, "spec", "ports") {
		number, _ := one["port"].(int64)
		if int(number) == port {
			name, _ := one["name"].(string)
			return name, nil
		}
		known = append(known, strconv.FormatInt(number, 10))
	}
	return "", fault.Terminal("read", manifest.IDOf(service).String(),
		fmt.Errorf("it has no port %d; want one of %s", port, strings.Join(known, ", ")))
}

func readyEndpoints(lists []unstructured.Unstructured, name string) []Endpoint {
	found := map[string]Endpoint{}
	for i := range lists {
		number, served := slicePort(lists[i].Object, name)
		if !served {
			continue
		}
		for _, one := range mappings(lists[i].Object, "endpoints") {
			addresses, _, _ := unstructured.NestedStringSlice(one, "addresses")
			if len(addresses) == 0 || !takesRequests(one) {
				continue
			}
			pod, _, _ := unstructured.NestedString(one, "targetRef", "name")
			address := net.JoinHostPort(addresses[0], strconv.FormatInt(number, 10))
			if pod == "" {
				pod = addresses[0]
			}
			found[address] = Endpoint{pod, address}
		}
	}
	var all []Endpoint
	for _, one := range found {
		all = append(all, one)
	}
	slices.SortFunc(all, func(a, b Endpoint) int {
		return strings.Compare(a.Pod+" "+a.Address, b.Pod+" "+b.Address)
	})
	return all
}

func slicePort(slice map[string]any, name string) (int64, bool) {
	for _, one := range mappings(slice, "ports") {
		number, isNumber := one["port"].(int64)
		if own, _ := one["name"].(string); own == name && isNumber {
			return number, true
		}
	}
	return 0, false
}

// takesRequests: what is not said is so, by the API. One that ends takes none, be
// it ready as long as it does.
func takesRequests(endpoint map[string]any) bool {
	ready, said, _ := unstructured.NestedBool(endpoint, "conditions", "ready")
	ending, _, _ := unstructured.NestedBool(endpoint, "conditions", "terminating")
	return (ready || !said) && !ending
}

func mappings(object map[string]any, path ...string) []map[string]any {
	value, _, _ := unstructured.NestedFieldNoCopy(object, path...)
	items, _ := value.([]any)
	var all []map[string]any
	for _, item := range items {
		if entry, isMap := item.(map[string]any); isMap {
			all = append(all, entry)
		}
	}
	return all
}
