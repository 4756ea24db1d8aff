package state

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// A daemon that starts anew knows which policies were in force, until somebody
// takes the mark away.
func TestPolicyMark(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	if mark, err := f.store.PolicyMark(t.Context()); err != nil || mark != (PolicyMark{}) {
		t.Errorf("%+v, %v; want none", mark, err)
	}
	for _, want := range []PolicyMark{{"here", "3", "sha256:a"}, {"here", "4", ""}, {"there", "4f2c", ""}} {
		if err := f.store.SetPolicyMark(t.Context(), want); err != nil {
			t.Fatal(err)
		}
		if got, err := f.another().PolicyMark(t.Context()); err != nil || got != want {
			t.Errorf("%+v, %v; want %+v", got, err, want)
		}
	}
	if err := f.store.core.CoreV1().Secrets(f.namespace).Delete(t.Context(), PolicyMarkName, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if mark, err := f.store.PolicyMark(t.Context()); err != nil || mark != (PolicyMark{}) {
		t.Errorf("%+v, %v; want none again", mark, err)
	}
}
