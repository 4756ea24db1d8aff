package render

import (
	"fmt"
	"strings"

	"pgregory.net/rapid"
)

// drawnRepo draws a repository of a few bases, components and overlays that
// refer to each other, with most of what kustomize can do, and a fault in some.
type drawnRepo struct {
	t     *rapid.T
	files files
}

func drawRepo(t *rapid.T) files {
	d := drawnRepo{t: t, files: files{"README.md": "unrelated\n"}}
	bases := rapid.IntRange(1, 3).Draw(t, "bases")
	for i := range bases {
		d.directory(fmt.Sprintf("b%d", i), i, 0)
	}
	d.component()
	d.directory("o", bases, bases)
	if rapid.IntRange(0, 3).Draw(t, "fault") == 0 {
		d.spoil()
	}
	return d.files
}

func (d drawnRepo) flip(name string) bool {
	return rapid.IntRange(0, 2).Draw(d.t, name) == 0
}

func (d drawnRepo) pick(name string, of ...string) string {
	return rapid.SampledFrom(of).Draw(d.t, name)
}

// directory writes one kustomization; known are the bases that it may refer
// to, and must is how many of them it does.
func (d drawnRepo) directory(dir string, known, must int) {
	var k strings.Builder
	resources := d.resources(dir)
	for i := range known {
		if i < must || d.flip("base") {
			resources = append(resources, fmt.Sprintf("../b%d", i))
		}
	}
	fmt.Fprintf(&k, "resources: [%s]\n", strings.Join(resources, ", "))
	options := d.options(dir)
	for _, name := range sortedKeys(options) {
		needs, found := needed[name]
		if d.flip(name) && (!found || strings.Contains(d.files[dir+"/"+needs], "name: api\n")) {
			k.WriteString(options[name])
		}
	}
	if dir == "o" && d.flip("component") {
		k.WriteString("components: [../c]\n")
	}
	d.files[dir+"/"+d.pick("file", "kustomization.yaml", "kustomization.yaml", "kustomization.yml", "Kustomization")] = k.String()
	for name, content := range sideFiles {
		d.files[dir+"/"+name] = content
	}
}

func sortedKeys(m map[string]string) []string { return files(m).names() }

var kinds = map[string]string{
	"deployment.yaml": deployment,
	"service.yaml":    service,
	"config.yaml":     "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\ndata: {a: '1', url: 'http://x.example/a?b=c', yes: 'on', big: '12345678901234567890'}\n",
	"secret.yaml":     "# a comment\napiVersion: v1\nkind: Secret\nmetadata: {name: token, labels: &l {app: api}, annotations: *l}\nstringData:\n  t: |\n    one\n     two\n\n",
	"menu.yaml":       "apiVersion: example.com/v1\nkind: Menu\nmetadata: {name: m}\nspec: {n: 1, f: 1.5, e: 1e3, b: true, z: null, l: [1, two, {three: 3}], empty: {}, none: []}\n",
	"role.yaml": "apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {name: r}\nrules: [{apiGroups: [''], resources: [pods], verbs: [get]}]\n---\n" +
		"apiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\nmetadata: {name: rb}\nroleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: r}\nsubjects: [{kind: ServiceAccount, name: sa}]\n---\n" +
		"apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: sa}\n",
	"list.yaml": "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: Namespace, metadata: {name: ns}}\n- {apiVersion: v1, kind: ConfigMap, metadata: {name: listed, annotations: {config.kubernetes.io/local-config: 'false'}}}\n",
	"job.yaml":  "apiVersion: batch/v1\nkind: CronJob\nmetadata: {name: j}\nspec: {schedule: '* * * * *', jobTemplate: {spec: {template: {spec: {restartPolicy: Never, containers: [{name: j, image: 'registry.example/api'}]}}}}}\n",
}

// resources draws objects. Two directories may have the same ones, which
// kustomize refuses unless a prefix tells them apart.
func (d drawnRepo) resources(dir string) []string {
	var names []string
	for _, name := range sortedKeys(kinds) {
		if dir != "o" && rapid.IntRange(0, 3).Draw(d.t, dir+"/"+name) > 0 || dir == "o" && rapid.IntRange(0, 9).Draw(d.t, dir+"/"+name) == 0 {
			content := kinds[name]
			if dir != "b0" && !d.flip("same name") {
				content = strings.NewReplacer("name: api", "name: api-"+dir, "name: m}", "name: m-"+dir+"}", "name: sett", "name: "+dir+"-sett",
					"name: tok", "name: "+dir+"-tok", "name: j}", "name: j-"+dir+"}", "name: r", "name: "+dir+"r", "name: sa", "name: "+dir+"sa",
					"name: ns", "name: "+dir+"ns", "name: listed", "name: "+dir+"listed").Replace(content)
			}
			d.files[dir+"/"+name] = content
			names = append(names, name)
		}
	}
	return names
}

var sideFiles = map[string]string{
	"schema.json":  customSchema,
	"patch.yaml":   "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: api}\nspec: {template: {spec: {containers: [{name: api, resources: {limits: {cpu: 1}}}, {name: side, image: s}]}}}\n",
	"patch.json":   "[\n\t{\"op\": \"add\", \"path\": \"/metadata/annotations\", \"value\": {\"p\": \"1\"}}\n]\n",
	"settings.env": "# comment\nLEVEL=debug\nEMPTY=\nURL=http://x.example/?a=b\n",
	"page.html":    "<html>&amp; *not* yaml: [\n",
	"labels.yaml":  "apiVersion: builtin\nkind: LabelTransformer\nmetadata: {name: l}\nlabels: {from: file}\nfieldSpecs: [{path: metadata/labels, create: true}]\n",
	"config2.yaml": "namePrefix:\n- {path: metadata/name}\nnameReference:\n- {kind: Menu, fieldSpecs: [{path: spec/menu, kind: Deployment}]}\n",
	"repl.yaml":    "source: {kind: Service, fieldPath: metadata.name}\ntargets:\n- select: {kind: Deployment}\n  fieldPaths: [metadata.annotations.service]\n  options: {create: true}\n",
}

// needed is what must be beside an option for it to have a chance.
var needed = map[string]string{
	"replicas": "deployment.yaml", "patchFile": "deployment.yaml", "strategic": "deployment.yaml", "json": "service.yaml",
	"replacements": "service.yaml", "vars": "service.yaml",
}

// options are fields of a kustomization, each drawn or not.
func (d drawnRepo) options(dir string) map[string]string {
	return map[string]string{
		"namespace":       "namespace: " + d.pick("ns", "alpha", "beta") + "\n",
		"namePrefix":      "namePrefix: " + d.pick("prefix", "p-", "q-") + "\n",
		"nameSuffix":      "nameSuffix: -s\n",
		"commonLabels":    "commonLabels: {team: core}\n",
		"annotations":     "commonAnnotations: {note: 'it''s: \"quoted\"', number: '7'}\n",
		"labels":          "labels:\n- pairs: {tier: back}\n  includeSelectors: " + d.pick("sel", "true", "false") + "\n  includeTemplates: true\n",
		"images":          "images:\n- name: registry.example/api\n  " + d.pick("image", "newTag: '2.0'", "digest: sha256:00", "newName: other") + "\n",
		"replicas":        "replicas: [{name: api, count: 7}]\n",
		"sortOptions":     "sortOptions: {order: " + d.pick("order", "legacy", "fifo") + "}\n",
		"buildMetadata":   "buildMetadata: [" + d.pick("meta", "originAnnotations", "transformerAnnotations, originAnnotations", "managedByLabel") + "]\n",
		"configurations":  "configurations: [config2.yaml]\n",
		"replacements":    "replacements: [{path: repl.yaml}]\n",
		"transformers":    "transformers:\n- " + d.pick("transformer", "labels.yaml", "../t", "|-\n  apiVersion: builtin\n  kind: PrefixTransformer\n  metadata: {name: x}\n  prefix: z-\n  fieldSpecs: [{path: metadata/name}]") + "\n",
		"generators":      "generators:\n- |-\n  apiVersion: builtin\n  kind: ConfigMapGenerator\n  metadata: {name: plugged}\n  name: plugged-" + dir + "\n  files: [page.html, k=settings.env]\n",
		"validators":      "validators:\n- |-\n  apiVersion: builtin\n  kind: AnnotationsTransformer\n  metadata: {name: v}\n  annotations: {}\n",
		"vars":            "vars:\n- name: HOST\n  objref: {apiVersion: v1, kind: Service, name: api}\n",
		"patchFile":       "patches:\n- path: " + d.pick("patch", "patch.yaml", "patch.json\n  target: {kind: Service}", "patch.yaml\n  target: {kind: Deployment}") + "\n",
		"strategic":       "patchesStrategicMerge:\n- " + d.pick("legacy", "patch.yaml", "'{apiVersion: v1, kind: Service, metadata: {name: api}, spec: {type: NodePort}}'") + "\n",
		"json":            "patchesJson6902:\n- target: {version: v1, kind: Service, name: api}\n  path: patch.json\n",
		"configGenerator": "configMapGenerator:\n- name: " + d.pick("behavior", "settings\n  behavior: merge", "settings\n  behavior: replace", "gen-"+dir, "gen2-"+dir) + "\n  envs: [settings.env]\n  files: [page.html]\n  literals: [x=y, 'q=\"z\"']\n",
		"secretGenerator": "secretGenerator:\n- name: made-" + dir + "\n  type: Opaque\n  literals: [k=v]\n  options: {disableNameSuffixHash: " + d.pick("hash", "true", "false") + "}\n",
		"generatorOption": "generatorOptions: {labels: {g: h}, annotations: {i: j}, immutable: true}\n",
		"openapi":         d.pick("schema", "", "", "", "", "openapi: {path: schema.json}\n"),
	}
}

func (d drawnRepo) component() {
	d.files["c/kustomization.yaml"] = "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\nresources: [extra.yaml]\npatches:\n- target: {kind: Deployment}\n" +
		"  patch: |-\n    - {op: replace, path: /spec/replicas, value: 9}\n"
	d.files["c/extra.yaml"] = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: extra}\n"
	d.files["t/kustomization.yaml"] = "resources: [t.yaml]\n"
	d.files["t/t.yaml"] = "apiVersion: builtin\nkind: PatchTransformer\nmetadata: {name: t}\ntarget: {kind: Service}\npath: patch.json\n"
}

// spoil makes one of the files wrong in some way.
func (d drawnRepo) spoil() {
	name := d.pick("spoiled", d.files.names()...)
	switch content := d.files[name]; d.pick("how", "gone", "empty", "cut", "tab", "junk", "link", "linked") {
	case "gone":
		delete(d.files, name)
	case "empty":
		d.files[name] = ""
	case "cut":
		d.files[name] = content[:len(content)/2]
	case "tab":
		d.files[name] = strings.Replace(content, "\n", "\n\t", 1)
	case "junk":
		d.files[name] = content + "\n]\n"
	case "link": // elsewhere in the tree
		d.files[name] = "link:../README.md"
	case "linked": // to where the content is now
		slash := strings.LastIndex(name, "/") + 1
		d.files[name[:slash]+"moved"] = content
		d.files[name] = "link:moved"
	}
}
