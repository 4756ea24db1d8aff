// Package crds installs the custom resource definitions that sample systems are written against.
//
// They are the projects' own, read out of the projects' Go modules in the module cache. Where a
// module cannot be had (no go command, no network on the first run of a machine), and for kinds
// that are open by choice, an open definition takes its place: the same group, version, kind and
// scope, but its fields are kept as they are, neither checked nor defaulted.
package crds

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	apiextensions "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apiextensions-apiserver/pkg/client/clientset/clientset"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/rest"
)

// Definition is one kind. The first version is the one that is stored.
type Definition struct {
	Group    string
	Versions []string
	Kind     string
	Plural   string
	Cluster  bool
	Short    []string
	// Open kinds have an open schema by choice: theirs cost more to serve than all others together.
	Open bool
}

// Name is the name of the CustomResourceDefinition.
func (d Definition) Name() string { return d.Plural + "." + d.Group }

// Definitions are all that Install brings.
func Definitions() []Definition {
	const cluster, open = 1, 2
	var all []Definition
	group := func(name, version string) func(kind, plural string, is int, short ...string) {
		return func(kind, plural string, is int, short ...string) {
			all = append(all, Definition{
				Group: name, Versions: []string{version}, Kind: kind, Plural: plural, Short: short,
				Cluster: is&cluster != 0, Open: is&open != 0,
			})
		}
	}
	gateway := group("gateway.networking.k8s.io", "v1")
	gateway("GatewayClass", "gatewayclasses", cluster, "gc")
	gateway("Gateway", "gateways", 0, "gtw")
	gateway("HTTPRoute", "httproutes", 0)
	gateway("GRPCRoute", "grpcroutes", open)
	gateway("ReferenceGrant", "referencegrants", 0, "refgrant")
	gateway("BackendTLSPolicy", "backendtlspolicies", open, "btlspolicy")
	secrets := group("external-secrets.io", "v1")
	secrets("ExternalSecret", "externalsecrets", 0, "es")
	secrets("ClusterExternalSecret", "clusterexternalsecrets", cluster|open, "ces")
	secrets("SecretStore", "secretstores", open, "ss")
	secrets("ClusterSecretStore", "clustersecretstores", cluster|open, "css")
	velero := group("velero.io", "v1")
	velero("Schedule", "schedules", 0)
	velero("Backup", "backups", 0)
	velero("Restore", "restores", 0)
	velero("BackupStorageLocation", "backupstoragelocations", 0, "bsl")
	velero("VolumeSnapshotLocation", "volumesnapshotlocations", 0, "vsl")
	monitoring := group("monitoring.coreos.com", "v1")
	monitoring("PodMonitor", "podmonitors", 0, "pmon")
	monitoring("ServiceMonitor", "servicemonitors", 0, "smon")
	monitoring("PrometheusRule", "prometheusrules", 0, "promrule")
	monitoring("Probe", "probes", open, "prb")
	issuing := group("cert-manager.io", "v1")
	issuing("Certificate", "certificates", 0, "cert", "certs")
	issuing("Issuer", "issuers", open)
	issuing("ClusterIssuer", "clusterissuers", cluster|open)
	return all
}

// Set is what is to be installed.
type Set struct {
	objects []*apiextensions.CustomResourceDefinition
	Open    []string // names of those that are open
	Err     error    // why
}

// Load reads the definitions; it takes a while on the first run of a machine.
func Load(ctx context.Context) Set {
	var set Set
	dirs, err := fetch(ctx)
	errs := []error{err}
	for _, d := range Definitions() {
		crd, err := d.read(dirs)
		if err != nil {
			crd = d.open()
			set.Open = append(set.Open, d.Name())
			errs = append(errs, err)
		}
		set.objects = append(set.objects, crd)
	}
	set.Err = errors.Join(errs...)
	return set
}

// Install creates all definitions and returns when the API server serves them.
func (s Set) Install(ctx context.Context, config *rest.Config) error {
	client, err := clientset.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("install custom resource definitions: %w", err)
	}
	wanted := map[string]bool{}
	for _, crd := range s.objects {
		_, err := client.ApiextensionsV1().CustomResourceDefinitions().Create(ctx, crd, metav1.CreateOptions{})
		if err != nil && !apierrors.IsAlreadyExists(err) {
			return fmt.Errorf("install CustomResourceDefinition %s: %w", crd.Name, err)
		}
		wanted[crd.Name] = true
	}
	err = wait.PollUntilContextCancel(ctx, 100*time.Millisecond, true, func(ctx context.Context) (bool, error) {
		list, err := client.ApiextensionsV1().CustomResourceDefinitions().List(ctx, metav1.ListOptions{})
		if err != nil {
			return false, nil // asked again until ctx ends
		}
		for _, crd := range list.Items {
			if isEstablished(crd) {
				delete(wanted, crd.Name)
			}
		}
		return len(wanted) == 0, nil
	})
	if err != nil {
		return fmt.Errorf("install custom resource definitions: %d not established: %w", len(wanted), err)
	}
	return nil
}

func isEstablished(crd apiextensions.CustomResourceDefinition) bool {
	for _, c := range crd.Status.Conditions {
		if c.Type == apiextensions.Established {
			return c.Status == apiextensions.ConditionTrue
		}
	}
	return false
}

func (d Definition) open() *apiextensions.CustomResourceDefinition {
	scope := apiextensions.NamespaceScoped
	if d.Cluster {
		scope = apiextensions.ClusterScoped
	}
	crd := &apiextensions.CustomResourceDefinition{
		ObjectMeta: metav1.ObjectMeta{Name: d.Name()},
		Spec: apiextensions.CustomResourceDefinitionSpec{
			Group: d.Group, Scope: scope,
			Names: apiextensions.CustomResourceDefinitionNames{
				Kind: d.Kind, ListKind: d.Kind + "List", Plural: d.Plural,
				Singular: strings.ToLower(d.Kind), ShortNames: d.Short,
			},
		},
	}
	if strings.HasSuffix(d.Group, ".k8s.io") { // the group is protected: it wants a reference to its review
		crd.Annotations = map[string]string{"api-approved.kubernetes.io": "https://github.com/kubernetes-sigs/gateway-api/pull/4021"}
	}
	for i, version := range d.Versions {
		crd.Spec.Versions = append(crd.Spec.Versions, openVersion(version, i == 0))
	}
	return crd
}

func openVersion(name string, stored bool) apiextensions.CustomResourceDefinitionVersion {
	keep := true
	open := apiextensions.JSONSchemaProps{Type: "object", XPreserveUnknownFields: &keep}
	return apiextensions.CustomResourceDefinitionVersion{
		Name: name, Served: true, Storage: stored,
		Schema: &apiextensions.CustomResourceValidation{OpenAPIV3Schema: &apiextensions.JSONSchemaProps{
			Type:                   "object",
			XPreserveUnknownFields: &keep, // some kinds keep fields beside spec and status
			Properties:             map[string]apiextensions.JSONSchemaProps{"spec": open, "status": open},
		}},
		Subresources: &apiextensions.CustomResourceSubresources{Status: &apiextensions.CustomResourceSubresourceStatus{}},
	}
}
