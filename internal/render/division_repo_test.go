package render

import (
	"fmt"
	"regexp"
	"strings"

	"pgregory.net/rapid"
)

// drawReferring draws a repository whose objects refer to each other, under
// names of which there are few, in nested overlays that rename them, with what
// can be built in batches and, in some, what cannot.
func drawReferring(t *rapid.T) files {
	d := referringRepo{drawnRepo{t: t, files: files{}}, map[string]bool{}}
	bases := rapid.IntRange(1, 3).Draw(t, "bases")
	for i := range bases {
		d.directory(fmt.Sprintf("b%d", i), nil, false)
	}
	d.component()
	middles := rapid.IntRange(0, 2).Draw(t, "middles")
	var below []string
	for i := range bases {
		below = append(below, fmt.Sprintf("../b%d", i))
	}
	for i := range middles {
		name := fmt.Sprintf("m%d", i)
		used := []string{below[i%len(below)]}
		if d.flip("second base") {
			used = append(used, below[(i+1)%len(below)])
		}
		d.directory(name, used, i == 0 && d.flip("component"))
		if i > 0 || d.flip("renamed") { // or its objects will not get on with those of the base
			kustomization := d.files[name+"/kustomization.yaml"]
			if !strings.Contains(kustomization, "namePrefix") {
				d.files[name+"/kustomization.yaml"] = kustomization + "namePrefix: " + name + "-\n"
			}
		}
		below = append(below, "../"+name)
	}
	top := below[bases-1:]
	if d.flip("all below") {
		top = below
	}
	d.directory("o", top, middles == 0 && d.flip("component"))
	return d.files
}

// referringRepo remembers the kinds and names that it has used.
type referringRepo struct {
	drawnRepo
	used map[string]bool
}

var (
	objectNames  = []string{"web", "db", "mail", "log", "web-s", "p-web", "alpha", "core", "queue", "cache", "jobs", "auth", "chat", "api", "blob", "edge"}
	namespaceFew = []string{"", "", "", "alpha", "beta", "default"}
)

func (d referringRepo) ref() string { return d.pick("ref", objectNames...) }

// object is a document of some kind. Its name, and those that it refers to,
// come from the same few.
func (d referringRepo) object() string {
	kind := d.pick("kind", sortedKeys(referring)...)
	text := referring[kind]
	for strings.Contains(text, "REF") {
		text = strings.Replace(text, "REF", d.ref(), 1)
	}
	name, namespace := d.fresh(kind), ""
	if ns := d.pick("namespace", namespaceFew...); ns != "" && !strings.Contains(text, "CLUSTER") {
		namespace = ", namespace: " + ns
	}
	return strings.NewReplacer("NAME", name+namespace, "CLUSTER", "").Replace(text)
}

// fresh is a name that no object of the kind has yet, but for a few.
func (d referringRepo) fresh(kind string) string {
	if kind == "config2" || kind == "list" {
		kind = "config"
	}
	name := d.ref()
	for d.used[kind+" "+name] && rapid.IntRange(0, 60).Draw(d.t, "twice") < 60 {
		name += d.pick("more", "-1", "-2", "-s")
	}
	d.used[kind+" "+name] = true
	return name
}

// asked is what must be in a directory for an option to have a chance.
var asked = map[string]string{"replicas": "kind: Deployment\n", "strategic": "kind: Service\n"}

// objects are all texts of a directory.
func (d referringRepo) objects(dir string) string {
	var all strings.Builder
	for _, file := range d.files.names() {
		if strings.HasPrefix(file, dir+"/f") {
			all.WriteString(d.files[file])
		}
	}
	return all.String()
}

// known is the name of an object of the kind in a directory.
func (d referringRepo) known(dir, kind string) string {
	var names []string
	for _, found := range regexp.MustCompile("kind: "+kind+`\nmetadata: {name: ([a-z0-9-]+)`).FindAllStringSubmatch(d.objects(dir), -1) {
		names = append(names, found[1])
	}
	if len(names) == 0 || rapid.IntRange(0, 30).Draw(d.t, "unknown") == 0 {
		return d.ref()
	}
	return d.pick("known", names...)
}

var referring = map[string]string{
	"config":    "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: NAME}\ndata: {v: REF, w: 'b: REF'}\n",
	"config2":   "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: NAME}\ndata:\n  text: |\n    one\n    two\n",
	"secret":    "apiVersion: v1\nkind: Secret\nmetadata: {name: NAME}\nstringData: {v: REF}\n",
	"account":   "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: NAME}\nimagePullSecrets: [{name: REF}]\n",
	"service":   "apiVersion: v1\nkind: Service\nmetadata: {name: NAME}\nspec: {selector: {app: REF}}\n",
	"claim":     "apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: NAME}\nspec: {storageClassName: REF, volumeName: REF}\n",
	"volume":    "apiVersion: v1\nkind: PersistentVolume\nmetadata: {name: NAME}\nspec: {storageClassName: REF}\n#CLUSTER\n",
	"class":     "apiVersion: storage.k8s.io/v1\nkind: StorageClass\nmetadata: {name: NAME}\nparameters: {secretName: REF}\n#CLUSTER\n",
	"namespace": "apiVersion: v1\nkind: Namespace\nmetadata: {name: NAME}\n#CLUSTER\n",
	"crd":       "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: NAME}\nspec: {group: REF}\n#CLUSTER\n",
	"custom":    "apiVersion: example.com/v1\nkind: Menu\nmetadata: {name: NAME}\nspec: {dish: REF, n: 1e3, none: null}\n",
	"role":      "apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {name: NAME}\nrules: [{resources: [secrets], resourceNames: [REF, REF]}]\n",
	"bigrole":   "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {name: NAME}\nrules: [{resourceNames: [REF]}]\n#CLUSTER\n",
	"binding":   "apiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\nmetadata: {name: NAME}\nroleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: REF}\nsubjects: [{kind: ServiceAccount, name: REF, namespace: alpha}]\n",
	"binding2":  "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRoleBinding\nmetadata: {name: NAME}\nroleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: REF}\nsubjects: [{kind: ServiceAccount, name: REF}, {kind: ServiceAccount, name: default}]\n#CLUSTER\n",
	"hpa":       "apiVersion: autoscaling/v2\nkind: HorizontalPodAutoscaler\nmetadata: {name: NAME}\nspec: {scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: REF}}\n",
	"ingress":   "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: NAME, annotations: {nginx.ingress.kubernetes.io/auth-secret: REF}}\nspec: {tls: [{secretName: REF}], rules: [{http: {paths: [{backend: {service: {name: REF}}}]}}]}\n",
	"webhook":   "apiVersion: admissionregistration.k8s.io/v1\nkind: ValidatingWebhookConfiguration\nmetadata: {name: NAME}\nwebhooks: [{name: a.b.c, clientConfig: {service: {name: REF, namespace: beta}}}]\n#CLUSTER\n",
	"deployment": "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: NAME, labels: &l {app: REF}}\nspec:\n  template:\n    metadata: {labels: *l}\n    spec:\n      serviceAccountName: REF\n" +
		"      imagePullSecrets: [{name: REF}]\n      volumes: [{configMap: {name: REF}}, {persistentVolumeClaim: {claimName: REF}}, {secret: {secretName: REF}}]\n" +
		"      containers: [{name: c, image: 'registry.example/api:1', envFrom: [{configMapRef: {name: REF}}]}]\n",
	"stateful": "apiVersion: apps/v1\nkind: StatefulSet\nmetadata: {name: NAME}\nspec: {serviceName: REF, template: {spec: {containers: [{name: c, image: REF}]}}}\n",
	"list":     "apiVersion: v1\nkind: ConfigMapList\nitems:\n- {apiVersion: v1, kind: ConfigMap, metadata: {name: l-NAME}}\n- {apiVersion: v1, kind: ConfigMap, metadata: {name: NAME}, data: {v: REF}}\n",
}

// directory writes a kustomization over others.
func (d referringRepo) directory(dir string, below []string, component bool) {
	resources := below
	for i := range rapid.IntRange(1, 5).Draw(d.t, "files") {
		var docs []string
		for range rapid.IntRange(1, 3).Draw(d.t, "documents") {
			docs = append(docs, d.object())
		}
		name := fmt.Sprintf("f%d.yaml", i)
		d.files[dir+"/"+name] = d.pick("start", "", "# a comment\n", "---\n") +
			strings.Join(docs, d.pick("separator", "---\n", "--- # next\n", "---\n# nothing\n---\n"))
		resources = append(resources, name)
	}
	var k strings.Builder
	fmt.Fprintf(&k, "resources: [%s]\n", strings.Join(resources, ", "))
	if component {
		k.WriteString("components: [../c]\n")
	}
	options := d.options(dir)
	for _, name := range sortedKeys(options) {
		if needs := asked[name]; rapid.IntRange(0, 4).Draw(d.t, name) == 0 && (needs == "" || strings.Contains(d.objects(dir), needs)) {
			k.WriteString(options[name])
		}
	}
	d.files[dir+"/kustomization.yaml"] = k.String()
	for name, content := range sideFiles {
		d.files[dir+"/"+name] = content
	}
	d.files[dir+"/strategic.yaml"] = "apiVersion: v1\nkind: Service\nmetadata: {name: " + d.known(dir, "Service") + "}\nspec: {externalName: " + d.ref() + "}\n"
}

func (d referringRepo) options(dir string) map[string]string {
	target := d.pick("target", "kind: ConfigMap", "kind: Service, name: web", "name: db", "name: 'we.*'", "labelSelector: app=web", "namespace: alpha")
	behavior, merged := "create", d.fresh("config")
	if rapid.IntRange(0, 5).Draw(d.t, "merge") == 0 {
		behavior, merged = d.pick("behavior", "merge", "replace"), d.known(dir, "ConfigMap")
	}
	return map[string]string{
		"namespace":    "namespace: " + d.pick("ns", "alpha", "beta") + "\n",
		"prefix":       "namePrefix: " + d.pick("prefix", "p-", "q-") + "\n",
		"suffix":       "nameSuffix: " + d.pick("suffix", "-s", "-t") + "\n",
		"commonLabels": "commonLabels: {team: " + d.ref() + "}\n",
		"annotations":  "commonAnnotations: {note: " + d.ref() + "}\n",
		"labels":       "labels:\n- pairs: {tier: " + d.ref() + "}\n  includeSelectors: " + d.pick("sel", "true", "false") + "\n",
		"images":       "images:\n- name: registry.example/api\n  newName: " + d.ref() + "\n",
		"replicas":     "replicas: [{name: " + d.known(dir, "Deployment") + ", count: 7}]\n",
		"configMap": "configMapGenerator:\n- name: " + merged + "\n  behavior: " + behavior + "\n  literals: [k=" + d.ref() +
			"]\n- name: " + d.fresh("config") + "\n  envs: [settings.env]\n  files: [page.html]\n  options: {disableNameSuffixHash: " + d.pick("hash", "true", "false") + "}\n",
		"secret": "secretGenerator:\n- name: " + d.fresh("secret") + "\n  literals: [k=" + d.ref() + "]\n",
		"patches": "patches:\n- target: {" + target + "}\n  patch: |-\n    - {op: add, path: " +
			d.pick("path", "/data", "/metadata/labels", "/metadata/labels", "/metadata/labels", "/data", "/data", "/metadata/annotations", "/spec") + ", value: " + d.pick("value", "{x: "+d.ref()+"}", d.ref()) + "}\n" +
			"- target: {" + target + "}\n  patch: '{apiVersion: v1, kind: Any, metadata: {name: any, labels: {patched: " + d.ref() + "}}}'\n",
		"strategic": "patchesStrategicMerge:\n- " + d.pick("legacy", "strategic.yaml", "'{apiVersion: v1, kind: Service, metadata: {name: "+d.known(dir, "Service")+"}, $patch: delete}'") + "\n",
		"json": "patchesJson6902:\n- target: {version: v1, kind: Service, name: " + d.ref() + "}\n  " +
			d.pick("json", "path: patch.json", "patch: '[{\"op\": \"add\", \"path\": \"/spec/type\", \"value\": \""+d.ref()+"\"}]'", "patch: '{op: remove, path: /spec}'", "patch: '- {op: remove, path: /spec}'") + "\n",
		"named": "generatorOptions: {labels: {g: " + d.ref() + "}, annotations: {i: j}}\n",
		"order": "sortOptions: {order: legacy" + d.pick("legacy order", "", ", legacySortOptions: {orderFirst: [Service, Namespace], orderLast: [ConfigMap]}") + "}\n",
		"rare":  d.pick("rare option", "", "", "", "", "replacements: [{path: repl.yaml}]\n", "configurations: [config2.yaml]\n", "sortOptions: {order: fifo}\n"),
	}
}

func (d referringRepo) component() {
	d.files["c/kustomization.yaml"] = "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\nresources: [extra.yaml]\n" +
		d.pick("component option", "", "namePrefix: c-\n", "namespace: beta\n", "labels: [{pairs: {from: web}}]\n")
	d.files["c/extra.yaml"] = d.object() + "---\n" + d.object()
}
