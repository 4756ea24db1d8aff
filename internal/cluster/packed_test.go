package cluster

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/api/equality"
	"pgregory.net/rapid"

	"chaperone.dev/chaperone/internal/manifest"
)

// What is kept of an object is the whole object, in less room than its text.
func TestPackedIsWholeAndSmall(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		o := &manifest.Object{}
		o.Object = map[string]any{
			"apiVersion": "v1", "kind": "ConfigMap",
			"metadata": map[string]any{"name": rapid.StringMatching(`[a-z]{1,20}`).Draw(t, "name"), "generation": rapid.Int64().Draw(t, "generation")},
			"data":     map[string]any{"text": strings.Repeat(rapid.StringN(4, 40, 120).Draw(t, "text"), rapid.IntRange(8, 80).Draw(t, "times"))},
		}
		text, err := o.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		p, err := pack(o)
		if err != nil {
			t.Fatal(err)
		}
		if len(p) >= len(text) || cap(p) > len(p)+len(p)/4+64 {
			t.Fatalf("a text of %d bytes is kept in %d, of which it needs %d", len(text), cap(p), len(p))
		}
		back, err := p.object()
		if err != nil {
			t.Fatal(err)
		}
		if !equality.Semantic.DeepEqual(back.Object, o.Object) {
			t.Fatalf("packed %v, unpacked %v", o.Object, back.Object)
		}
	})
}

// What is broken is said, not taken for an object.
func TestPackedBroken(t *testing.T) {
	t.Parallel()
	for _, p := range []packed{nil, {1, 2, 3}, packed("\x02\x04{}")} {
		if o, err := p.object(); err == nil {
			t.Errorf("%v was unpacked to %v", p, o)
		}
	}
}
