// Package crds installs the custom resource definitions that sample systems are written against.
//
// The definitions carry the real group, versions, kind and scope, but an open schema: fields are
// kept as they are, neither checked nor defaulted.
package crds

import (
	"context"
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
}

// Name is the name of the CustomResourceDefinition.
func (d Definition) Name() string { return d.Plural + "." + d.Group }

// Definitions are all that Install brings.
func Definitions() []Definition {
	gateway := func(kind, plural string, cluster bool, versions ...string) Definition {
		return Definition{Group: "gateway.networking.k8s.io", Versions: versions, Kind: kind, Plural: plural, Cluster: cluster}
	}
	secrets := func(kind, plural string, cluster bool, short ...string) Definition {
		return Definition{Group: "external-secrets.io", Versions: []string{"v1", "v1beta1"}, Kind: kind, Plural: plural, Cluster: cluster, Short: short}
	}
	velero := func(kind, plural string, short ...string) Definition {
		return Definition{Group: "velero.io", Versions: []string{"v1"}, Kind: kind, Plural: plural, Short: short}
	}
	monitoring := func(kind, plural, short string) Definition {
		return Definition{Group: "monitoring.coreos.com", Versions: []string{"v1"}, Kind: kind, Plural: plural, Short: []string{short}}
	}
	issuing := func(kind, plural string, cluster bool, short ...string) Definition {
		return Definition{Group: "cert-manager.io", Versions: []string{"v1"}, Kind: kind, Plural: plural, Cluster: cluster, Short: short}
	}
	return []Definition{
		gateway("GatewayClass", "gatewayclasses", true, "v1", "v1beta1"),
		gateway("Gateway", "gateways", false, "v1", "v1beta1"),
		gateway("HTTPRoute", "httproutes", false, "v1", "v1beta1"),
		gateway("GRPCRoute", "grpcroutes", false, "v1"),
		gateway("ReferenceGrant", "referencegrants", false, "v1beta1"),
		gateway("BackendTLSPolicy", "backendtlspolicies", false, "v1"),
		secrets("ExternalSecret", "externalsecrets", false, "es"),
		secrets("SecretStore", "secretstores", false, "ss"),
		secrets("ClusterSecretStore", "clustersecretstores", true, "css"),
		secrets("ClusterExternalSecret", "clusterexternalsecrets", true, "ces"),
		velero("Schedule", "schedules"),
		velero("Backup", "backups"),
		velero("Restore", "restores"),
		velero("BackupStorageLocation", "backupstoragelocations", "bsl"),
		velero("VolumeSnapshotLocation", "volumesnapshotlocations", "vsl"),
		monitoring("PodMonitor", "podmonitors", "pmon"),
		monitoring("ServiceMonitor", "servicemonitors", "smon"),
		monitoring("PrometheusRule", "prometheusrules", "promrule"),
		monitoring("Probe", "probes", "prb"),
		issuing("Certificate", "certificates", false, "cert", "certs"),
		issuing("Issuer", "issuers", false),
		issuing("ClusterIssuer", "clusterissuers", true),
	}
}

// Install creates all definitions and returns when the API server serves them.
func Install(ctx context.Context, config *rest.Config) error {
	client, err := clientset.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("install custom resource definitions: %w", err)
	}
	for _, d := range Definitions() {
		_, err := client.ApiextensionsV1().CustomResourceDefinitions().Create(ctx, d.object(), metav1.CreateOptions{})
		if err != nil && !apierrors.IsAlreadyExists(err) {
			return fmt.Errorf("install CustomResourceDefinition %s: %w", d.Name(), err)
		}
	}
	missing := Definitions()
	err = wait.PollUntilContextCancel(ctx, 100*time.Millisecond, true, func(ctx context.Context) (bool, error) {
		list, err := client.ApiextensionsV1().CustomResourceDefinitions().List(ctx, metav1.ListOptions{})
		if err != nil {
			return false, nil // asked again until ctx ends
		}
		missing = without(missing, list.Items)
		return len(missing) == 0, nil
	})
	if err != nil {
		return fmt.Errorf("install custom resource definitions: %d not established: %w", len(missing), err)
	}
	return nil
}

func without(wanted []Definition, there []apiextensions.CustomResourceDefinition) []Definition {
	established := map[string]bool{}
	for _, crd := range there {
		for _, c := range crd.Status.Conditions {
			if c.Type == apiextensions.Established && c.Status == apiextensions.ConditionTrue {
				established[crd.Name] = true
			}
		}
	}
	var missing []Definition
	for _, d := range wanted {
		if !established[d.Name()] {
			missing = append(missing, d)
		}
	}
	return missing
}

func (d Definition) object() *apiextensions.CustomResourceDefinition {
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
