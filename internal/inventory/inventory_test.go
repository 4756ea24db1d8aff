package inventory

import (
	"bytes"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"pgregory.net/rapid"

	"chaperone.dev/chaperone/internal/manifest"
)

func id(kind, name string) manifest.ID {
	return manifest.ID{Kind: kind, Namespace: "shop", Name: name}
}

func anyEntry() *rapid.Generator[Entry] {
	return rapid.Custom(func(t *rapid.T) Entry {
		return Entry{
			ID: manifest.ID{
				Group:     rapid.SampledFrom([]string{"", "apps"}).Draw(t, "group"),
				Kind:      rapid.SampledFrom([]string{"ConfigMap", "Deployment"}).Draw(t, "kind"),
				Namespace: rapid.SampledFrom([]string{"", "a", "b"}).Draw(t, "namespace"),
				Name:      rapid.StringMatching(`[a-d]{1,2}`).Draw(t, "name"),
			},
			Version: rapid.SampledFrom([]string{"v1", "v2"}).Draw(t, "version"),
			UID:     rapid.SampledFrom([]string{"", "1", "2"}).Draw(t, "uid"),
			Kept:    rapid.Bool().Draw(t, "kept"),
		}
	})
}

func ids(i Inventory) map[manifest.ID]bool {
	all := map[manifest.ID]bool{}
	for _, e := range i.Entries() {
		all[e.ID] = true
	}
	return all
}

func TestMergeForgetsNothing(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		old := New(rapid.SliceOf(anyEntry()).Draw(t, "old")...)
		next := rapid.SliceOf(anyEntry()).Draw(t, "next")
		before := old.Entries()
		merged := old.Merge(next)
		for _, e := range before {
			now, found := merged.Get(e.ID)
			if !found {
				t.Fatalf("%s fell out of the inventory", e.ID)
			}
			if e.UID != "" && now.UID == "" {
				t.Fatalf("the UID of %s was forgotten", e.ID)
			}
		}
		for _, e := range next {
			if _, found := merged.Get(e.ID); !found {
				t.Fatalf("%s was not added", e.ID)
			}
		}
		if !reflect.DeepEqual(old.Entries(), before) {
			t.Fatal("Merge changed what it was called on")
		}
	})
}

func TestDropTakesTheNamedOnly(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		all := New(rapid.SliceOf(anyEntry()).Draw(t, "all")...)
		named := rapid.SliceOf(anyEntry()).Draw(t, "named")
		want := ids(all)
		var drop []manifest.ID
		for _, e := range named {
			drop = append(drop, e.ID)
			delete(want, e.ID)
		}
		if left := ids(all.Drop(drop...)); !maps.Equal(left, want) {
			t.Fatalf("left %v, want %v", left, want)
		}
		if kept := ids(all.Keep(drop...)); !maps.Equal(kept, ids(all)) {
			t.Fatalf("Keep changed the entries to %v", kept)
		}
	})
}

func TestEncodeAndDecodeAreInverse(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		all := New(rapid.SliceOf(anyEntry()).Draw(t, "all")...)
		limit := rapid.IntRange(150, 600).Draw(t, "limit")
		shards, err := all.Encode(limit)
		if err != nil {
			t.Fatal(err)
		}
		for _, shard := range shards {
			if len(shard) > limit {
				t.Fatalf("a shard of %d bytes, limit %d", len(shard), limit)
			}
		}
		read, err := Decode(shards)
		if err != nil || !read.Equal(all) {
			t.Fatalf("read %v, %v; want %v", read.Entries(), err, all.Entries())
		}
	})
}

func TestDecodeRefusesWhatIsNotWhole(t *testing.T) {
	t.Parallel()
	good := `{"kind":"ConfigMap","namespace":"shop","name":"a"}` + "\n"
	for name, test := range map[string]struct {
		shards []string
		want   string
	}{
		"cut off":        {[]string{good + `{"kind":"Config`}, "shard 0: line 2"},
		"no name":        {[]string{good, `{"kind":"ConfigMap"}`}, "shard 1: line 1: want kind and name"},
		"twice":          {[]string{good, good}, "ConfigMap/shop/a is listed twice"},
		"too many parts": {slices.Repeat([]string{""}, 65), "65 shards, want at most 64"},
	} {
		var shards [][]byte
		for _, s := range test.shards {
			shards = append(shards, []byte(s))
		}
		if _, err := Decode(shards); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", name, err, test.want)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"kind":"ConfigMap","name":"a","uid":"1"}`))
	f.Add([]byte("\n\n{}\n"))
	f.Fuzz(func(t *testing.T, shard []byte) {
		read, err := Decode([][]byte{shard})
		if err != nil {
			return
		}
		again, err := read.Encode(ShardBytes)
		if err != nil {
			return // larger than a shard
		}
		back, err := Decode(again)
		if err != nil || !back.Equal(read) {
			t.Errorf("%q does not survive: %v", bytes.Join(again, nil), err)
		}
	})
}

func TestUnwantedIsWhatIsNotRendered(t *testing.T) {
	t.Parallel()
	objects, err := manifest.Decode("x", []byte("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: shop}"))
	if err != nil {
		t.Fatal(err)
	}
	set, err := manifest.NewSet(objects)
	if err != nil {
		t.Fatal(err)
	}
	// Another group's ConfigMap of the same name is another object.
	foreign := manifest.ID{Group: "example.org", Kind: "ConfigMap", Namespace: "shop", Name: "a"}
	got := New(Entry{ID: id("ConfigMap", "a")}, Entry{ID: id("ConfigMap", "b")}, Entry{ID: foreign}).Unwanted(func(id manifest.ID) bool { _, found := set.Get(id); return found })
	if len(got) != 2 || got[0].ID != id("ConfigMap", "b") || got[1].ID != foreign {
		t.Errorf("unwanted are %v", got)
	}
}

func TestSetIDIsKubectls(t *testing.T) {
	t.Parallel()
	// base64url(sha256("chaperone-inventory-shop-testing.shop.ConfigMap.")), as KEP-3659 has it.
	want := "applyset-uwJXUdvTMI9DuWHEpajIJmsBTHh9dbOyhuoA2o4UddU-v1"
	if got := SetID("chaperone-inventory-shop-testing", "shop", schema.GroupKind{Kind: "ConfigMap"}); got != want {
		t.Errorf("SetID = %s, want %s", got, want)
	}
}

func TestParentDescribesTheSet(t *testing.T) {
	t.Parallel()
	i := New(Entry{ID: id("ConfigMap", "a")}, Entry{ID: manifest.ID{Group: "apps", Kind: "Deployment", Namespace: "other", Name: "b"}},
		Entry{ID: manifest.ID{Kind: "Namespace", Name: "other"}})
	annotations := i.ParentAnnotations("shop")
	want := map[string]string{
		AnnotationTooling:   "chaperone/v1",
		AnnotationKinds:     "ConfigMap,Deployment.apps,Namespace",
		AnnotationMoreSpace: "other",
	}
	if !maps.Equal(annotations, want) {
		t.Errorf("annotations are %v, want %v", annotations, want)
	}
	if kinds := ParseKinds(annotations[AnnotationKinds]); !slices.Equal(kinds, i.GroupKinds()) {
		t.Errorf("read back kinds %v, want %v", kinds, i.GroupKinds())
	}
	if spaces := ParseNamespaces(annotations[AnnotationMoreSpace]); !slices.Equal(spaces, []string{"other"}) {
		t.Errorf("read back namespaces %v", spaces)
	}
}

// What is taken over is added, and tells nothing new of what is known.
func TestCarry(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		own := New(rapid.SliceOf(anyEntry()).Draw(t, "own")...)
		former := New(rapid.SliceOf(anyEntry()).Draw(t, "former")...)
		before, its := own.Entries(), former.Entries()
		carried := own.Carry(former)
		for _, e := range before {
			if now, _ := carried.Get(e.ID); now != e {
				t.Fatalf("%s became %+v, was %+v", e.ID, now, e)
			}
		}
		for _, e := range its {
			now, found := carried.Get(e.ID)
			if _, known := own.Get(e.ID); !found || !known && now != e {
				t.Fatalf("%s is carried as %+v, want %+v", e.ID, now, e)
			}
		}
		if !slices.Equal(own.Entries(), before) || !slices.Equal(former.Entries(), its) {
			t.Fatal("carrying changed what was carried")
		}
		if again := carried.Carry(former); !again.Equal(carried) {
			t.Fatal("carrying twice is more than once")
		}
	})
}
