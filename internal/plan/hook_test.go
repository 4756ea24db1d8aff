package plan

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"chaperone.dev/chaperone/internal/manifest"
)

// A hook whose Job leaves by itself would take its failure with it
// (argo-cd#23994): the time to live is not sent, of hooks alone.
func TestPitfall26_HookIsSentWithoutATimeToLive(t *testing.T) {
	t.Parallel()
	for stage, want := range map[string]bool{"pre-deploy": false, "post-deploy": false, "": true} {
		text := job("migrate", stage)
		if stage == "" {
			text = strings.Replace(job("migrate", "pre-deploy"), manifest.AnnotationHook, "example.org/note", 1)
		}
		o := object(t, text)
		if err := unstructured.SetNestedField(o.Object, int64(5), "spec", "ttlSecondsAfterFinished"); err != nil {
			t.Fatal(err)
		}
		sent, err := Prepare(o, owner, "shop")
		if err != nil {
			t.Fatal(err)
		}
		if _, found, _ := unstructured.NestedInt64(sent.Object, "spec", "ttlSecondsAfterFinished"); found != want {
			t.Errorf("stage %q: the time to live is sent: %v, want %v", stage, found, want)
		}
	}
}
