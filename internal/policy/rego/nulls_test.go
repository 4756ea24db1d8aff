package rego

import (
	"testing"

	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/testkit/racing"
)

// Kubernetes takes null for what is not set, and Helm writes it: rules judge
// such objects, and do not fail at them.
func TestPackOfNulls(t *testing.T) {
	t.Parallel()
	racing.Without(t)
	bundle := loadSample(t)
	for _, m := range []string{
		"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, labels: null, annotations: null}\ndata: null\n",
		"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {LOG_LEVEL: {a: debug}, DB_HOST: [1], a.yaml: 3, b: null, c: {d: [e]}}\nbinaryData: {f: {g: h}}\n",
		"apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\nspec: null\n",
		"apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\nspec: {template: {spec: {containers: null}}}\n",
		"apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\nspec: {replicas: null, strategy: null, selector: null, template: {metadata: null, spec: {containers: [{name: a, image: null, env: null, ports: null, resources: null, securityContext: null}], volumes: null, securityContext: null}}}\n",
		"apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {selector: null, ports: null, externalIPs: null}\n",
		"apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: a}\nspec: {tls: null, rules: null}\n",
		"apiVersion: projectcontour.io/v1\nkind: HTTPProxy\nmetadata: {name: a}\nspec: {virtualhost: {fqdn: null, tls: null}, routes: [null]}\n",
		"apiVersion: traefik.io/v1alpha1\nkind: IngressRoute\nmetadata: {name: a}\nspec: {routes: [{match: null}], tls: null}\n",
		"apiVersion: apisix.apache.org/v2\nkind: ApisixRoute\nmetadata: {name: a}\nspec: {http: [{match: {hosts: [null]}, plugins: null}]}\n",
		"apiVersion: example.com/v1\nkind: Front\nmetadata: {name: a}\nspec: {hosts: [null], routes: null, rules: [null], listeners: [null]}\n",
		"apiVersion: policy.networking.k8s.io/v1alpha1\nkind: AdminNetworkPolicy\nmetadata: {name: a}\nspec: {ingress: [null, {action: null, from: [null]}], egress: [{action: Allow, to: [{networks: [null]}]}]}\n",
		"apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {name: a}\nspec: {ingress: [null, {fromEndpoints: [null], toPorts: null}], egress: [{toFQDNs: [null, {matchPattern: null}], toCIDRSet: [null]}]}\n",
		"apiVersion: projectcalico.org/v3\nkind: NetworkPolicy\nmetadata: {name: a}\nspec: {ingress: [null, {action: Allow, source: null}], egress: [{action: Allow, destination: {nets: [null]}}]}\n",
		"apiVersion: secrets.hashicorp.com/v1beta1\nkind: VaultStaticSecret\nmetadata: {name: a}\nspec: {mount: null, path: 1}\n",
		"apiVersion: external-secrets.io/v1\nkind: ExternalSecret\nmetadata: {name: b}\nspec: {dataFrom: [null, {find: null}, {find: {path: null, name: null, tags: null}}]}\n",
		"apiVersion: v1\nkind: PersistentVolume\nmetadata: {name: a}\nspec: {csi: null, nfs: null}\n",
		"apiVersion: v1\nkind: Pod\nmetadata: {name: b}\nspec: {containers: [{name: a, image: a}], volumes: [null, {name: t, projected: {sources: [null, {serviceAccountToken: null}]}}, {name: c, csi: {driver: null}}]}\n",
		"apiVersion: v1\nkind: Namespace\nmetadata: {name: a, labels: null}\n",
		"apiVersion: velero.io/v1\nkind: Schedule\nmetadata: {name: b}\nspec: {schedule: '0 * * * *', template: {resourcePolicy: {name: null}}}\n",
		"apiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\nmetadata: {name: b}\nroleRef: {kind: Role, name: a}\nsubjects: [null, {kind: ServiceAccount, name: null, namespace: null}, {kind: User, name: null}]\n",
		"apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: a}\nspec: {tls: [{hosts: null}], rules: [{host: a.b, http: null}]}\n",
		"apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: a}\nspec: {podSelector: null, ingress: [null], egress: null}\n",
		"apiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\nmetadata: {name: a}\nroleRef: {kind: Role, name: a}\nsubjects: null\n",
		"apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {name: a}\nrules: null\n",
		"apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {name: a}\naggregationRule: {}\nrules: [{nonResourceURLs: ['/metrics'], verbs: [get]}]\n",
		"apiVersion: autoscaling/v2\nkind: HorizontalPodAutoscaler\nmetadata: {name: a}\nspec: {scaleTargetRef: {kind: Deployment, name: a}, minReplicas: null, maxReplicas: 3, metrics: null}\n",
		"apiVersion: policy/v1\nkind: PodDisruptionBudget\nmetadata: {name: a}\nspec: {selector: null, minAvailable: null}\n",
		"apiVersion: batch/v1\nkind: CronJob\nmetadata: {name: a}\nspec: {schedule: '@hourly', jobTemplate: {spec: {template: {spec: {restartPolicy: Never, containers: [{name: a, image: a}]}}}}}\n",
		"apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: a, labels: null}\nspec: null\n",
		"apiVersion: apps/v1\nkind: StatefulSet\nmetadata: {name: a}\nspec: {volumeClaimTemplates: null, template: {spec: {containers: [{name: a, image: a}]}}}\n",
		"apiVersion: velero.io/v1\nkind: Schedule\nmetadata: {name: a}\nspec: {schedule: x, template: null}\n",
		"apiVersion: velero.io/v1\nkind: Schedule\nmetadata: {name: a}\nspec: {schedule: '0 * * * *', template: {includedNamespaces: null, labelSelector: null, ttl: null}}\n",
		"apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {name: a}\nspec: {listeners: [{name: a, protocol: HTTPS, port: 1, tls: null}], infrastructure: null}\n",
		"apiVersion: cert-manager.io/v1\nkind: Certificate\nmetadata: {name: a}\nspec: {renewBefore: null, duration: null}\n",
		"apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: a}\nspec: null\n",
		"apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {name: a}\nspec: {servers: [{port: {number: 1}, hosts: null, tls: null}]}\n",
		"apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {containers: [{name: a, image: a, args: [1, null], env: [{name: A, value: null}, {name: B, value: 1}], ports: [{name: null, containerPort: 1}]}]}\n",
		"apiVersion: v1\nkind: LimitRange\nmetadata: {name: a}\nspec: {limits: [{type: Container}]}\n",
		"apiVersion: external-secrets.io/v1\nkind: ExternalSecret\nmetadata: {name: a}\nspec: {refreshInterval: null, target: null, data: null, dataFrom: null}\n",
		"apiVersion: external-secrets.io/v1\nkind: SecretStore\nmetadata: {name: a}\nspec: {provider: {aws: null}}\n",
	} {
		for _, data := range []promotion.Data{promotion.DataPHI, promotion.DataAnonymized, promotion.DataSynthetic} {
			for _, e := range evaluate(t, bundle, inputOf(t, data, m)).Errors {
				t.Errorf("%s: %s: %.160s\n%s", data, e.Rule, e.Message, m)
			}
		}
	}
}
