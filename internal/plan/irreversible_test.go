package plan

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"chaperone.dev/chaperone/internal/manifest"
)

func rendered(t testing.TB, text string) manifest.Set {
	t.Helper()
	objects, err := manifest.Decode("test.yaml", []byte(text))
	if err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return renderedSet(t, objects...)
}

func hook(when, image string) string {
	return fmt.Sprintf(`apiVersion: batch/v1
kind: Job
metadata: {name: %s, namespace: shop, annotations: {chaperone.dev/hook: %s}}
spec: {template: {spec: {containers: [{name: m, image: %q}]}}}`, when, when, image)
}

func claim(size string) string {
	return "apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: data, namespace: shop}\nspec: {resources: {requests: {storage: " + size + "}}}"
}

func crd(versions string) string {
	return "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: widgets.example.org}\nspec: {versions: [" + versions + "]}"
}

func stateful(spec string) string {
	return "apiVersion: apps/v1\nkind: StatefulSet\nmetadata: {name: db, namespace: shop}\nspec: {" + spec + "}"
}

func template(name, size string) string {
	return "volumeClaimTemplates: [{metadata: {name: " + name + "}, spec: {resources: {requests: {storage: " + size + "}}}}]"
}

func reclaiming(policy string) string {
	return "apiVersion: v1\nkind: PersistentVolume\nmetadata: {name: disk}\nspec: {capacity: {storage: 1Gi}" + policy + "}"
}

const rest = "apiVersion: v1\nkind: Service\nmetadata: {name: rest, namespace: shop}"

//lint:long because it is one table
func TestIrreversible(t *testing.T) {
	t.Parallel()
	const (
		runs  = "Job.batch/shop/pre-deploy: runs before the release, and the release has no hook chaperone.dev/hook: rollback that undoes it"
		allow = "chaperone.dev/prune: allow"
	)
	deleted := func(kind string) string { return kind + "/shop/x: will be deleted, with all that it holds" }
	retention := "persistentVolumeClaimRetentionPolicy: {whenDeleted: Delete, whenScaled: Delete}"
	for name, c := range map[string]struct {
		from, to string
		want     []string
	}{
		"a first release":           {"", hook("pre-deploy", "a"), nil},
		"nothing changes":           {hook("pre-deploy", "a") + "\n---\n" + claim("1Gi"), hook("pre-deploy", "a") + "\n---\n" + claim("1Gi"), nil},
		"a new hook":                {rest, hook("pre-deploy", "a"), []string{runs}},
		"a changed hook":            {hook("pre-deploy", "a"), hook("pre-deploy", "b"), []string{runs}},
		"a hook that can be undone": {hook("pre-deploy", "a"), hook("pre-deploy", "b") + "\n---\n" + hook("rollback", "b"), nil},
		"undone in the first only":  {hook("rollback", "a"), hook("pre-deploy", "b"), []string{runs}},
		"a hook is dropped":         {hook("pre-deploy", "a"), rest, nil},
		"a hook after the release":  {rest, hook("post-deploy", "a"), nil},
		"a version is dropped":      {crd("{name: v1, served: true}, {name: v2, storage: true}"), crd("{name: v2, storage: true}"), []string{"CustomResourceDefinition.apiextensions.k8s.io/widgets.example.org: version v1 is dropped"}},
		"a version comes":           {crd("{name: v1, served: true}"), crd("{name: v1, served: true}, {name: v2, served: true}"), nil},
		"a version is served no more": {crd("{name: v1, served: true, storage: true}"), crd("{name: v1, served: false, storage: true}"),
			[]string{"CustomResourceDefinition.apiextensions.k8s.io/widgets.example.org: version v1 is no longer served"}},
		"a version is stored no more": {crd("{name: v1, served: true, storage: true}"), crd("{name: v1, served: true}, {name: v2, storage: true, served: true}"),
			[]string{"CustomResourceDefinition.apiextensions.k8s.io/widgets.example.org: version v1 is no longer the stored one"}},
		"another group's definition":   {strings.ReplaceAll(crd("{name: v1}"), "apiextensions.k8s.io", "example.org"), strings.ReplaceAll(crd(""), "apiextensions.k8s.io", "example.org"), nil},
		"a claim shrinks":              {claim("10Gi"), claim("5120Mi"), []string{"PersistentVolumeClaim/shop/data: its requested storage shrinks from 10Gi to 5Gi"}},
		"a claim grows":                {claim("900Mi"), claim("1Gi"), nil},
		"a claim is written otherwise": {claim("1Gi"), claim("1024Mi"), nil},
		"a claim in bytes shrinks":     {claim("1Gi"), claim("1000000000"), []string{"PersistentVolumeClaim/shop/data: its requested storage shrinks from 1Gi to 1G"}},
		"a size that is none":          {claim("1Gi"), claim("small"), nil},
		"a size beyond reason":         {claim("1e999999999"), claim("1Gi"), nil},
		"a size that is a list":        {claim("[1]"), claim("{a: b}"), nil},
		"a template is removed":        {stateful(template("data", "1Gi")), stateful(""), []string{"StatefulSet.apps/shop/db: volume claim template data is removed"}},
		"a template shrinks":           {stateful(template("data", "2Gi")), stateful(template("data", "1Gi")), []string{"StatefulSet.apps/shop/db: volume claim template data's requested storage shrinks from 2Gi to 1Gi"}},
		"a template grows":             {stateful(template("data", "1Gi")), stateful(template("data", "2Gi")), nil},
		"a set goes, its claims stay":  {stateful(template("data", "1Gi")), rest, nil},
		"a set goes with its claims":   {stateful(retention), rest, []string{"StatefulSet.apps/shop/db: will be deleted, and its volume claims with it"}},
		"a set loses replicas":         {stateful("replicas: 3"), stateful("replicas: 1"), nil},
		"a set loses replicas and their claims": {stateful("replicas: 3"), stateful("replicas: 1, " + retention),
			[]string{"StatefulSet.apps/shop/db: goes from 3 to 1 replicas, and deletes the volume claims of the others"}},
		"a volume is deleted with its claim from now on": {reclaiming(""), reclaiming(", persistentVolumeReclaimPolicy: Delete"),
			[]string{"PersistentVolume/disk: its reclaim policy becomes Delete: what it holds goes with its claim"}},
		"a volume is retained from now on": {reclaiming(", persistentVolumeReclaimPolicy: Delete"), reclaiming(", persistentVolumeReclaimPolicy: Retain"), nil},
		"a new volume":                     {rest, reclaiming(", persistentVolumeReclaimPolicy: Delete"), nil},

		"a claim that may go":      {named("PersistentVolumeClaim", "x", allow), rest, []string{deleted("PersistentVolumeClaim")}},
		"a namespace that may go":  {named("Namespace", "x", allow), rest, []string{deleted("Namespace")}},
		"a volume that may go":     {named("PersistentVolume", "x", allow), rest, []string{deleted("PersistentVolume")}},
		"a claim that is kept":     {named("PersistentVolumeClaim", "x", ""), rest, nil},
		"a claim kept expressly":   {named("PersistentVolumeClaim", "x", "chaperone.dev/prune: never"), rest, nil},
		"a system namespace":       {strings.Replace(named("Namespace", "kube-system", allow), "namespace: shop, ", "", 1), rest, nil},
		"a definition that may go": {strings.Replace(crd(""), "{name: widgets.example.org}", "{name: widgets.example.org, annotations: {"+allow+"}}", 1), rest, []string{"CustomResourceDefinition.apiextensions.k8s.io/widgets.example.org: will be deleted, with all that it holds"}},
		"a settings map that goes": {named("ConfigMap", "x", allow), rest, nil},
	} {
		from, to := rendered(t, c.from), rendered(t, c.to)
		if got := Irreversible(from, to); !slices.Equal(got, c.want) {
			t.Errorf("%s:\n%s\nwant\n%s", name, strings.Join(got, "\n"), strings.Join(c.want, "\n"))
		}
	}
}

func TestIrreversibleIsBounded(t *testing.T) {
	t.Parallel()
	var from []string
	for i := range 30 {
		from = append(from, named("PersistentVolumeClaim", fmt.Sprintf("x-%02d", i), "chaperone.dev/prune: allow"))
	}
	from = append(from, named("PersistentVolumeClaim", strings.Repeat("z", 5000), "chaperone.dev/prune: allow"))
	got := Irreversible(rendered(t, strings.Join(from, "\n---\n")), rendered(t, rest))
	if len(got) != 21 || got[20] != "and 11 more" || !slices.IsSorted(got[:20]) {
		t.Errorf("%d sentences, the last is %q", len(got), got[len(got)-1])
	}
	got = Irreversible(rendered(t, from[30]), rendered(t, rest))
	if len(got) != 1 || len([]rune(got[0])) > maxSentence+1 {
		t.Errorf("%d sentences, the first of %d bytes", len(got), len(got[0]))
	}
}

// held draws objects of the kinds that may hold something, few enough to meet
// again in another draw.
func held() *rapid.Generator[[]*manifest.Object] {
	text := rapid.Custom(func(t *rapid.T) string {
		size := rapid.SampledFrom([]string{"1Gi", "2Gi", "3G", "x"})
		return rapid.SampledFrom([]string{
			hook("pre-deploy", size.Draw(t, "image")), hook("rollback", "a"), rest, claim(size.Draw(t, "claim")),
			crd("{name: v1, served: " + rapid.SampledFrom([]string{"true", "false", "1"}).Draw(t, "served") + "}"), crd(""),
			stateful(template("a", size.Draw(t, "template"))), stateful("replicas: 2, persistentVolumeClaimRetentionPolicy: {whenScaled: Delete}"),
			reclaiming(""), reclaiming(", persistentVolumeReclaimPolicy: Delete"), named("Namespace", "x", "chaperone.dev/prune: allow"),
		}).Draw(t, "object")
	})
	return rapid.Custom(func(t *rapid.T) []*manifest.Object {
		byID := map[manifest.ID]*manifest.Object{}
		var objects []*manifest.Object
		for _, one := range rapid.SliceOfN(text, 0, 8).Draw(t, "objects") {
			decoded, err := manifest.Decode("drawn.yaml", []byte(one))
			if err != nil {
				t.Fatal(err)
			}
			if id := manifest.IDOf(decoded[0]); byID[id] == nil {
				byID[id] = decoded[0]
				objects = append(objects, decoded[0])
			}
		}
		return objects
	})
}

func TestIrreversibleProperties(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		from, to := held().Draw(t, "from"), held().Draw(t, "to")
		set := func(objects []*manifest.Object) manifest.Set {
			s, err := manifest.NewSet(objects)
			if err != nil {
				t.Fatal(err)
			}
			return s
		}
		if got := Irreversible(set(from), set(from)); len(got) > 0 {
			t.Fatalf("staying where one is cannot be taken back: %q", got)
		}
		got := Irreversible(set(from), set(to))
		again := Irreversible(set(rapid.Permutation(from).Draw(t, "from anew")), set(rapid.Permutation(to).Draw(t, "to anew")))
		if !slices.Equal(got, again) {
			t.Fatalf("in another order:\n%q\nwant\n%q", again, got)
		}
		if !slices.IsSorted(got) {
			t.Fatalf("not sorted: %q", got)
		}
		if got := Irreversible(manifest.Set{}, set(to)); len(got) > 0 {
			t.Fatalf("a first release loses something: %q", got)
		}
	})
}

func FuzzIrreversible(f *testing.F) {
	for _, text := range []string{
		hook("pre-deploy", "a"), claim("1Gi"), claim("[1]"), claim("1e99"), crd("{name: v1}, 3, null, {name: {}}, {served: 1}"), crd("[]"),
		stateful(template("a", "1Gi")), stateful("volumeClaimTemplates: {a: b}"), stateful("replicas: many, persistentVolumeClaimRetentionPolicy: []"),
		reclaiming(", persistentVolumeReclaimPolicy: [Delete]"), "apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: a, annotations: 3}\nspec: 7",
		"apiVersion: v1\nkind: Namespace\nmetadata: {name: a, ownerReferences: [1], labels: [x]}",
	} {
		f.Add([]byte(text), []byte(claim("1Mi")))
	}
	f.Fuzz(func(t *testing.T, a, b []byte) {
		sets := [2]manifest.Set{}
		for i, text := range [][]byte{a, b} {
			objects, err := manifest.Decode("fuzz.yaml", text)
			if err != nil {
				return
			}
			if sets[i], err = manifest.NewSet(objects); err != nil {
				return
			}
		}
		for _, s := range Irreversible(sets[0], sets[1]) {
			if s == "" || len([]rune(s)) > maxSentence+1 {
				t.Errorf("%d bytes: %q", len(s), s)
			}
		}
		if got := Irreversible(sets[1], sets[1]); len(got) > 0 {
			t.Errorf("staying where one is cannot be taken back: %q", got)
		}
	})
}

// A field that cannot be changed in place takes the data with it, where the
// object says that it may be replaced (argo-cd#13503).
func TestPitfall18_ReplacementThatLosesDataIsIrreversible(t *testing.T) {
	t.Parallel()
	const allow, both = "chaperone.dev/replace: allow", "chaperone.dev/replace: allow, chaperone.dev/prune: allow"
	says := func(text, annotations string) string {
		return strings.Replace(text, "metadata: {name", "metadata: {annotations: {"+annotations+"}, name", 1)
	}
	storage := func(class, annotations string) string {
		return says(strings.Replace(claim("1Gi"), "spec: {", "spec: {"+class, 1), annotations)
	}
	const deletes = ", persistentVolumeClaimRetentionPolicy: {whenDeleted: Delete}"
	const lost = "PersistentVolumeClaim/shop/data: would be replaced for a change of spec.storageClassName, and loses its data, unless the volume's reclaim policy keeps it"
	for name, c := range map[string]struct {
		from, to string
		want     []string
	}{
		"a claim's class":             {storage("storageClassName: a, ", both), storage("storageClassName: b, ", both), []string{lost}},
		"a claim's class is taken":    {storage("storageClassName: a, ", ""), storage("", both), []string{lost}},
		"a claim that is not allowed": {storage("storageClassName: a, ", both), storage("storageClassName: b, ", allow), nil},
		"a claim that grows":          {says(claim("1Gi"), both), says(claim("2Gi"), both), nil},
		"a set's service": {says(stateful("serviceName: a"+deletes), allow), says(stateful("serviceName: b"+deletes), allow),
			[]string{"StatefulSet.apps/shop/db: would be replaced for a change of spec.serviceName, and loses all its pods at once, and their volume claims with the data"}},
		"a set that keeps its pods":   {says(stateful("serviceName: a"+deletes), ""), says(stateful("serviceName: b"+deletes), "chaperone.dev/replace: orphan"), nil},
		"a set that keeps its claims": {says(stateful("serviceName: a"), allow), says(stateful("serviceName: b"+deletes), allow), nil},
		"a set's template of pods":    {says(stateful("template: {spec: {a: b}}"+deletes), allow), says(stateful("template: {spec: {a: c}}"+deletes), allow), nil},
		"a volume's place": {says(reclaiming(", hostPath: {path: /a}"), both), says(reclaiming(", hostPath: {path: /b}"), both),
			[]string{"PersistentVolume/disk: would be replaced for a change of spec.hostPath, and loses the claim's hold on it; the data stays where its reclaim policy says so"}},
	} {
		if got := Irreversible(rendered(t, c.from), rendered(t, c.to)); !slices.Equal(got, c.want) {
			t.Errorf("%s:\n%s\nwant\n%s", name, strings.Join(got, "\n"), strings.Join(c.want, "\n"))
		}
	}
}
