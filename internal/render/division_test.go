package render

import (
	"maps"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// inBatchesOf is a renderer that divides even the smallest repository.
func inBatchesOf(objects int) *Renderer {
	r := New(patient)
	r.work = piecework{from: 2, batch: objects}
	return r
}

// inOnePiece is one that never does.
func inOnePiece() *Renderer {
	r := New(patient)
	r.work = piecework{from: 1 << 30, batch: 1}
	return r
}

// Whatever is built in batches is what kustomize builds in one piece; what is
// wrong is said in the same words, and the closure is the same.
func TestBatchesAreKustomizesOwnBuild(t *testing.T) {
	t.Parallel()
	built, pieces, refused, begin := 0, 0, 0, time.Now()
	rapid.Check(t, func(rt *rapid.T) {
		if time.Since(begin) > enough {
			return
		}
		repo := drawReferring(rt)
		if rapid.IntRange(0, 5).Draw(rt, "usual") == 0 {
			repo = drawRepo(rt)
		}
		size := rapid.IntRange(1, 6).Draw(rt, "batch")
		want, wantErr := inOnePiece().Render(t.Context(), repo.snapshot(), "o")
		got, err := inBatchesOf(size).Render(t.Context(), repo.snapshot(), "o")
		if (err == nil) != (wantErr == nil) {
			rt.Fatalf("in batches: %v\nin one piece: %v\n%s", err, wantErr, repo.show())
		}
		if err != nil {
			refused++
			return
		}
		built++
		if got.pieces {
			pieces++
		}
		if printed(t, got) != printed(t, want) {
			rt.Fatalf("in batches:\n%s\nin one piece:\n%s\n%s", printed(t, got), printed(t, want), repo.show())
		}
		if got.Digest != want.Digest || !maps.Equal(got.Closure, want.Closure) {
			rt.Fatalf("digest %s, closure %v\nwant %s, %v\n%s", got.Digest, got.Closure, want.Digest, want.Closure, repo.show())
		}
	})
	t.Logf("%d built, %d of them in batches, %d refused", built, pieces, refused)
	if built+refused == 0 || pieces*20 < built+refused {
		t.Errorf("%d of %d repositories in batches: too few to show much", pieces, built+refused)
	}
}

const (
	aConfig  = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: NAME\n"
	aSecret  = "apiVersion: v1\nkind: Secret\nmetadata:\n  name: NAME\n"
	aPod     = "apiVersion: v1\nkind: Pod\nmetadata: {name: NAME}\nspec: {containers: [{name: c, image: i, envFrom: [{configMapRef: {name: REF}}]}]}\n"
	aRole    = "apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {name: NAME}\nrules: [{resourceNames: [REF]}]\n"
	aBinding = "apiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\nmetadata: {name: NAME}\nsubjects: [{kind: ServiceAccount, name: REF, namespace: alpha}]\n"
	anOwner  = "apiVersion: v1\nkind: ServiceAccount\nmetadata:\n  name: NAME\n"
)

func named(template, name, ref string) string {
	return strings.NewReplacer("NAME", name, "REF", ref).Replace(template)
}

// looksAt are repositories in which kustomize looks beyond the object at hand.
var looksAt = map[string]files{
	"a reference into another base": {
		"o/kustomization.yaml": "resources: [../b, pod.yaml]\nnamePrefix: p-\n", "o/pod.yaml": named(aPod, "pod", "settings"),
		"b/kustomization.yaml": "resources: [c.yaml]\nnameSuffix: -s\n", "b/c.yaml": named(aConfig, "settings", ""),
	},
	"a reference to what it is called on the way": {
		"o/kustomization.yaml": "resources: [../b, pod.yaml]\nnamePrefix: p-\n", "o/pod.yaml": named(aPod, "pod", "settings-s"),
		"b/kustomization.yaml": "resources: [c.yaml]\nnameSuffix: -s\n", "b/c.yaml": named(aConfig, "settings", ""),
	},
	"a reference to what is generated": {
		"o/kustomization.yaml": "resources: [pod.yaml]\nconfigMapGenerator: [{name: made, literals: [a=b]}]\nsecretGenerator: [{name: other, literals: [a=b]}]\n",
		"o/pod.yaml":           named(aPod, "pod", "made"),
	},
	"names that end as if in a hash": {
		"o/kustomization.yaml": "resources: [c.yaml]\nconfigMapGenerator: [{name: made, literals: [a=b]}]\n",
		"o/c.yaml":             named(aConfig, "api", "") + "---\n" + named(aConfig, "api-production", "") + "---\n" + named(aConfig, "api-bcdfghkmt2", ""),
	},
	"one piece: what is generated may have that name": {
		"o/kustomization.yaml": "resources: [c.yaml]\nconfigMapGenerator: [{name: made, literals: [a=b]}]\n",
		"o/c.yaml":             named(aConfig, "api", "") + "---\n" + named(aConfig, "made-bcdfghkmt2", ""),
	},
	"a reference that a patch makes": {
		"o/kustomization.yaml": "resources: [pod.yaml, c.yaml]\nnamePrefix: p-\npatches:\n- target: {kind: Pod}\n  patch: |-\n" +
			"    - {op: replace, path: /spec/containers/0/envFrom/0/configMapRef/name, value: settings}\n",
		"o/pod.yaml": named(aPod, "pod", "none"), "o/c.yaml": named(aConfig, "settings", ""),
	},
	"a reference through two kinds": {
		"o/kustomization.yaml": "resources: [r.yaml, c.yaml]\nnamePrefix: p-\n",
		"o/r.yaml":             named(aRole, "role", "a"),
		"o/c.yaml":             named(aConfig, "a", "") + "---\n" + named(aSecret, "p-a", "") + "---\n" + named(aConfig, "b", ""),
	},
	"a namespace that nothing was in at first": {
		"o/kustomization.yaml": "resources: [../b, r.yaml]\nnamePrefix: p-\n", "o/r.yaml": named(aBinding, "binding", "mail"),
		"b/kustomization.yaml": "resources: [a.yaml]\nnamespace: alpha\n", "b/a.yaml": named(anOwner, "mail", ""),
	},
	"a namespace that something else was in at first": {
		"o/kustomization.yaml": "resources: [../b, r.yaml, a.yaml]\nnamePrefix: p-\n", "o/r.yaml": named(aBinding, "binding", "mail"),
		"b/kustomization.yaml": "resources: [a.yaml]\nnamespace: alpha\n", "b/a.yaml": named(anOwner, "mail", ""),
		"o/a.yaml": named(anOwner, "web\n  namespace: alpha", ""),
	},
	"one piece: a namespace that something forgot it was not in at first": {
		"o/kustomization.yaml": "resources: [../b, r.yaml]\nnamePrefix: p-\npatches:\n- target: {kind: ConfigMap}\n  patch: |-\n" +
			"    - {op: add, path: /metadata/annotations, value: {a: b}}\n",
		"o/r.yaml":             named(aBinding, "binding", "mail"),
		"b/kustomization.yaml": "resources: [a.yaml]\nnamespace: alpha\n", "b/a.yaml": named(anOwner, "mail", "") + "---\n" + named(aConfig, "c", ""),
	},
	"one piece: a patch of the name": {
		"o/kustomization.yaml": "resources: [c.yaml]\npatches: [{target: {name: a}, path: p.yaml}]\nnamePrefix: p-\n",
		"o/c.yaml":             named(aConfig, "a", "") + "---\n" + named(aConfig, "b", ""),
		"o/p.yaml":             "- {op: replace, path: /metadata/name, value: c}\n",
	},
	"one piece: a kustomization that is a setting, too": {
		"o/kustomization.yaml": "resources: [c.yaml]\nconfigMapGenerator: [{name: made, files: [kustomization.yaml]}]\n",
		"o/c.yaml":             named(aConfig, "a", "") + "---\n" + named(aConfig, "b", ""),
	},
	"an object that is renamed by its namespace": {
		"o/kustomization.yaml": "resources: [n.yaml, c.yaml]\nnamespace: beta\n",
		"o/n.yaml":             "apiVersion: v1\nkind: Namespace\nmetadata: {name: alpha}\n", "o/c.yaml": named(aConfig, "beta", "") + "---\n" + named(aConfig, "c", ""),
	},
	"a generator that merges into a base": {
		"o/kustomization.yaml": "resources: [../b, pod.yaml]\nconfigMapGenerator: [{name: p-settings, behavior: merge, literals: [a=b]}]\n",
		"o/pod.yaml":           named(aPod, "pod", "p-settings"),
		"b/kustomization.yaml": "configMapGenerator: [{name: settings, literals: [c=d]}]\nnamePrefix: p-\n",
	},
	"a patch and a number of replicas by name": {
		"o/kustomization.yaml": "resources: [d.yaml, s.yaml]\nreplicas: [{name: api, count: 9}]\npatches: [{path: p.yaml}]\n",
		"o/d.yaml":             deployment, "o/s.yaml": named(aSecret, "other", ""),
		"o/p.yaml": "apiVersion: v1\nkind: Secret\nmetadata: {name: other, labels: {a: b}}\n",
	},
	"a component that is nothing but its objects": {
		"o/kustomization.yaml": "resources: [c.yaml]\ncomponents: [../b]\nnamePrefix: p-\n", "o/c.yaml": named(aConfig, "one", ""),
		"b/kustomization.yaml": "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\nresources: [c.yaml]\n", "b/c.yaml": named(aConfig, "two", ""),
	},
	"a component that works on the objects of others": {
		"o/kustomization.yaml": "resources: [c.yaml]\ncomponents: [../b]\n", "o/c.yaml": named(aConfig, "one", "") + "---\n" + named(aConfig, "two", ""),
		"b/kustomization.yaml": "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\nnamePrefix: p-\nresources: [c.yaml]\n", "b/c.yaml": named(aConfig, "three", ""),
	},
	"labels of the older kind": {
		"o/kustomization.yaml": "resources: [d.yaml, s.yaml]\ncommonLabels: {a: b}\nlabels: [{pairs: {a: c, d: e}, includeTemplates: true}]\n",
		"o/d.yaml":             deployment, "o/s.yaml": named(aPod, "pod", "none"),
	},
	"an order of one's own": {
		"o/kustomization.yaml": "resources: [d.yaml, s.yaml]\nsortOptions: {order: legacy, legacySortOptions: {orderFirst: [Secret], orderLast: [ConfigMap]}}\n",
		"o/d.yaml":             named(aConfig, "c", "") + "---\n" + deployment, "o/s.yaml": named(aSecret, "s", ""),
	},
	"texts that end where their document does": {
		"o/kustomization.yaml": "resources: [c.yaml]\n",
		"o/c.yaml": "---\n" + named(aConfig, "a", "") + "data:\n  k: |+\n    x\n\n\n--- # b\n" + named(aConfig, "b", "") + "data:\n  k: |\n    y\n---\n# none\n---\n" +
			named(aConfig, "c", "") + "data:\n  k: |\n    z",
	},
}

// What kustomize looks at beyond the object at hand, one by one: built in
// batches, and yet as in one piece.
func TestBatchesHoldWhatKustomizeLooksAt(t *testing.T) {
	t.Parallel()
	for name, repo := range looksAt {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			want := mustRender(t, inOnePiece(), repo, "o")
			got := mustRender(t, inBatchesOf(1), repo, "o")
			if got.pieces == strings.HasPrefix(name, "one piece: ") || want.pieces {
				t.Errorf("in batches: %v, in one piece: %v", got.pieces, !want.pieces)
			}
			if printed(t, got) != printed(t, want) || !maps.Equal(got.Closure, want.Closure) {
				t.Errorf("in batches:\n%s\nin one piece:\n%s", printed(t, got), printed(t, want))
			}
		})
	}
}
