package manifest

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"pgregory.net/rapid"
	sigsyaml "sigs.k8s.io/yaml"
)

func object(t testing.TB, text string) *Object {
	t.Helper()
	objects, err := Decode("test.yaml", []byte(text))
	if err != nil || len(objects) != 1 {
		t.Fatalf("%d objects, %v; want one", len(objects), err)
	}
	return objects[0]
}

func named(apiVersion, kind, namespace, name string) *Object {
	o := &Object{Object: map[string]any{}}
	o.SetAPIVersion(apiVersion)
	o.SetKind(kind)
	o.SetNamespace(namespace)
	o.SetName(name)
	return o
}

func set(t testing.TB, objects ...*Object) Set {
	t.Helper()
	s, err := NewSet(objects)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func digest(t testing.TB, s Set) Digest {
	t.Helper()
	d, err := s.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestIdentity(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		object *Object
		want   string
	}{
		{named("v1", "Namespace", "", "a"), "Namespace/a"},
		{named("example.com/v1", "Namespace", "", "a"), "Namespace.example.com/a"},
		{named("apps/v1", "Deployment", "n", "api"), "Deployment.apps/n/api"},
	} {
		if got := IDOf(test.object).String(); got != test.want {
			t.Errorf("%s, want %s", got, test.want)
		}
	}
	if IDOf(named("apps/v1", "Deployment", "n", "a")) != IDOf(named("apps/v1beta1", "Deployment", "n", "a")) {
		t.Error("another version of the API is another object")
	}
	if IDOf(named("v1", "Namespace", "", "a")) == IDOf(named("example.com/v1", "Namespace", "", "a")) {
		t.Error("another group's Namespace is the core one")
	}
}

func TestCompareIsAnOrder(t *testing.T) {
	t.Parallel()
	part := rapid.SampledFrom([]string{"", "a", "ab", "b"})
	id := rapid.Custom(func(t *rapid.T) ID {
		return ID{Group: part.Draw(t, "group"), Kind: part.Draw(t, "kind"), Namespace: part.Draw(t, "namespace"), Name: part.Draw(t, "name")}
	})
	rapid.Check(t, func(t *rapid.T) {
		a, b, c := id.Draw(t, "a"), id.Draw(t, "b"), id.Draw(t, "c")
		if a.Compare(b) != -b.Compare(a) || (a.Compare(b) == 0) != (a == b) {
			t.Fatalf("%v and %v: %d, %d", a, b, a.Compare(b), b.Compare(a))
		}
		if a.Compare(b) <= 0 && b.Compare(c) <= 0 && a.Compare(c) > 0 {
			t.Fatalf("%v ≤ %v ≤ %v, but not the first and the last", a, b, c)
		}
	})
}

func TestSetRefuses(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name    string
		objects []*Object
		want    string
	}{
		{"twice", []*Object{named("v1", "Service", "n", "a"), named("v1", "Service", "n", "a")}, "Service/n/a: rendered twice"},
		{"twice in two versions", []*Object{named("apps/v1", "Deployment", "n", "a"), named("apps/v1beta1", "Deployment", "n", "a")}, "Deployment.apps/n/a: rendered twice"},
		{"twice, once in a list", []*Object{named("v1", "Service", "", "a"), object(t, "kind: List\napiVersion: v1\nitems: [{apiVersion: v1, kind: Service, metadata: {name: a}}]\n")}, "rendered twice"},
		{"no name", []*Object{named("v1", "Service", "n", "")}, "object 1 (Service/n/): want apiVersion, kind and metadata.name"},
		{"no kind", []*Object{named("v1", "", "n", "a")}, "want apiVersion, kind"},
		{"no apiVersion", []*Object{named("", "Service", "n", "a")}, "want apiVersion, kind"},
		{"list of no objects", []*Object{object(t, "kind: List\napiVersion: v1\nitems: [1]\n")}, "List: read list items"},
	} {
		if _, err := NewSet(test.objects); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", test.name, err, test.want)
		}
	}
	both := set(t, named("v1", "Namespace", "", "a"), named("example.com/v1", "Namespace", "", "a"),
		named("v1", "Service", "m", "a"), named("v1", "Service", "n", "a"))
	if both.Len() != 4 {
		t.Errorf("%d objects, want 4: group and namespace tell objects apart", both.Len())
	}
}

// What the API server takes for v1 is a group without a name to who splits it.
func TestSetRefusesTypesThatReadersTakeDifferently(t *testing.T) {
	t.Parallel()
	object := func(apiVersion, kind string) *Object {
		return &Object{Object: map[string]any{"apiVersion": apiVersion, "kind": kind, "metadata": map[string]any{"name": "a"}}}
	}
	list := &Object{Object: map[string]any{"apiVersion": "v1", "kind": "List", "items": []any{object("/v1", "Pod").Object}}}
	for _, o := range []*Object{
		object("/v1", "Pod"), object("v1/", "Pod"), object("/", "Pod"), object("apps/v1/", "Deployment"), object("a/b/c", "Pod"), object("//v1", "Pod"),
		object(" v1", "Pod"), object("v1\n", "Pod"), object("Apps/v1", "Deployment"), object(".apps/v1", "Deployment"), object("apps/", "Deployment"),
		object("v1", "Deployment.apps"), object("v1", "a/b"), object("v1", "Pod "), object(strings.Repeat("a", 400)+"/v1", "Pod"), list,
	} {
		if _, err := NewSet([]*Object{o}); err == nil || !strings.Contains(err.Error(), "; want ") {
			t.Errorf("%s %s: %v; want it refused", o.GetAPIVersion(), o.GetKind(), err)
		}
	}
	for _, o := range []*Object{object("v1", "Pod"), object("apps/v1", "Deployment"), object("snapshot.storage.k8s.io/v1beta1", "VolumeSnapshot"), object("x.example.org/v1-2", "My-Kind")} {
		if _, err := NewSet([]*Object{o}); err != nil {
			t.Error(err)
		}
	}
}

func TestListsAreTakenApart(t *testing.T) {
	t.Parallel()
	got := set(t,
		object(t, "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: Service, metadata: {name: a}}\n"+
			"- {apiVersion: v1, kind: ConfigMapList, items: [{apiVersion: v1, kind: ConfigMap, metadata: {name: b}}, {apiVersion: v1, kind: ConfigMap, metadata: {name: c}}]}\n"),
		object(t, "apiVersion: v1\nkind: SecretList\nitems: []\n"),
		object(t, "apiVersion: example.com/v1\nkind: Menu\nmetadata: {name: m}\nitems: [{dish: soup}]\n"))
	var names []string
	for _, o := range got.Objects() {
		names = append(names, IDOf(o).String())
		if found, ok := got.Get(IDOf(o)); !ok || found != o {
			t.Errorf("%s is not found by its identity", IDOf(o))
		}
	}
	if want := "ConfigMap/b ConfigMap/c Service/a Menu.example.com/m"; strings.Join(names, " ") != want {
		t.Errorf("%v, want %s", names, want)
	}
	if _, found := got.Get(ID{Kind: "Service", Name: "z"}); found {
		t.Error("what is not there was found")
	}
}

func drawObjects(t *rapid.T) []*Object {
	count := rapid.IntRange(0, 8).Draw(t, "objects")
	objects := make([]*Object, 0, count)
	value := rapid.OneOf(rapid.Just(any(nil)), rapid.Map(rapid.Bool(), toAny), rapid.Map(rapid.Int64(), toAny),
		rapid.Map(rapid.StringMatching(`[ -~éŁ日\n\t]*`), toAny), rapid.Map(rapid.Float64Range(-1e6, 1e6), positiveZero),
		rapid.Map(rapid.SampledFrom([]string{"yes", "1", "null", "0x1", "1e3", "~", " x", "a: b", "#c", "2020-01-01", "|", "x\ny\n"}), toAny))
	for i := range count {
		kind := rapid.SampledFrom([]string{"v1/ConfigMap", "v1/Namespace", "apps/v1/Deployment", "example.com/v1/Namespace"}).Draw(t, "kind")
		at := strings.LastIndex(kind, "/")
		o := named(kind[:at], kind[at+1:], "", fmt.Sprintf("o%d", i))
		o.Object["spec"] = map[string]any{
			"map":  toAnyMap(rapid.MapOf(rapid.StringMatching(`[a-zA-Z][a-z./-]{0,6}`), value).Draw(t, "map")),
			"list": append([]any{}, rapid.SliceOf(value).Draw(t, "list")...),
		}
		objects = append(objects, o)
	}
	return objects
}

// positiveZero: JSON knows -0, YAML does not.
func positiveZero(v float64) any { return v + 0 }

func toAny[T any](v T) any { return v }

func toAnyMap(m map[string]any) map[string]any { return m }

// The digest names what the objects say: neither their order, nor how they
// were written, nor being in a list matters; every value does.
func TestDigestIsOfTheContentAlone(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		objects := drawObjects(rt)
		want := digest(t, set(t, objects...))
		shuffled := append([]*Object{}, objects...)
		random := rand.New(rand.NewPCG(rapid.Uint64().Draw(rt, "seed"), 0))
		random.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
		if got := digest(t, set(t, shuffled...)); got != want {
			rt.Fatalf("the order changed the digest")
		}
		for name, text := range map[string]string{"YAML": asYAML(rt, shuffled), "JSON": asJSON(rt, shuffled), "list": asList(rt, shuffled)} {
			decoded, err := Decode("test", []byte(text))
			if err != nil {
				rt.Fatalf("%s: %v\n%s", name, err, text)
			}
			if got := digest(t, set(t, decoded...)); got != want {
				rt.Fatalf("written as %s the digest is another:\n%s", name, text)
			}
		}
		if len(objects) == 0 {
			return
		}
		changed := objects[rapid.IntRange(0, len(objects)-1).Draw(rt, "changed")].DeepCopy()
		changed.Object["spec"].(map[string]any)["new"] = true
		others := append([]*Object{changed}, without(objects, IDOf(changed))...)
		if digest(t, set(t, others...)) == want {
			rt.Fatalf("a changed field did not change the digest")
		}
		if digest(t, set(t, others[1:]...)) == want {
			rt.Fatalf("a removed object did not change the digest")
		}
	})
}

func without(objects []*Object, id ID) []*Object {
	var rest []*Object
	for _, o := range objects {
		if IDOf(o) != id {
			rest = append(rest, o)
		}
	}
	return rest
}

func asYAML(t *rapid.T, objects []*Object) string {
	var b strings.Builder
	for _, o := range objects {
		text, err := sigsyaml.Marshal(o.Object)
		if err != nil {
			t.Fatal(err)
		}
		b.WriteString("---\n# a comment\n" + string(text))
	}
	return b.String()
}

func asJSON(t *rapid.T, objects []*Object) string {
	var b strings.Builder
	for _, o := range objects {
		text, err := json.MarshalIndent(o.Object, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		b.WriteString("---\n" + string(text) + "\n")
	}
	return b.String()
}

func asList(t *rapid.T, objects []*Object) string {
	items := make([]any, 0, len(objects))
	for _, o := range objects {
		items = append(items, o.Object)
	}
	text, err := json.Marshal(map[string]any{"apiVersion": "v1", "kind": "List", "items": items})
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestDigestIsStable(t *testing.T) {
	t.Parallel()
	// A new value here gives every release of every installation a new name.
	got := digest(t, set(t, object(t, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {k: v}\n")))
	if want := Digest("sha256:0b65448d14af7818097f4b05baa697cd0487a48448df907ba2d0321d1aa2c96f"); got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if got.Short() != string(got)[7:19] || Digest("").Short() != "" || Digest("sha256:ab").Short() != "ab" {
		t.Errorf("short: %q, %q", got.Short(), Digest("").Short())
	}
	if empty := digest(t, Set{}); empty != DigestBytes(nil) {
		t.Errorf("empty set: %s", empty)
	}
}

func TestSetLeavesItsInputAlone(t *testing.T) {
	t.Parallel()
	objects := []*Object{named("v1", "Service", "", "z"), named("v1", "Namespace", "", "a")}
	got := set(t, objects...)
	if objects[0].GetName() != "z" || got.Objects()[0].GetName() != "a" {
		t.Error("the caller's slice was ordered in place, or the set was not")
	}
}
