package e2e

import (
	"context"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"

	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/reconcile"
	"chaperone.dev/chaperone/internal/state"
	"chaperone.dev/chaperone/internal/state/v1alpha1"
)

// pause asks as `chaperone pause` does.
func (w *world) pause(id promotion.ID, reason string, until ...time.Time) {
	w.Helper()
	p := &state.Pause{Reason: reason, By: "rita", At: time.Now()}
	for _, u := range until {
		p.Until = u
	}
	if err := w.store.SetPause(w.Context(), id, p); err != nil {
		w.Fatal(err)
	}
}

func (w *world) resume(id promotion.ID) {
	w.Helper()
	if err := w.store.SetPause(w.Context(), id, nil); err != nil {
		w.Fatal(err)
	}
}

// annotate writes annotations as somebody with kubectl would.
func (w *world) annotate(id promotion.ID, annotations string) {
	w.Helper()
	objects, err := dynamic.NewForConfig(w.cluster.Config())
	if err != nil {
		w.Fatal(err)
	}
	patch := []byte(`{"metadata":{"annotations":` + annotations + `}}`)
	_, err = objects.Resource(v1alpha1.GroupVersion.WithResource("environments")).Namespace(w.namespace).
		Patch(w.Context(), state.ObjectName(id), types.MergePatchType, patch, metav1.PatchOptions{FieldManager: "kubectl-annotate"})
	if err != nil {
		w.Fatal(err)
	}
}

// retry asks as `chaperone retry` does, and returns the name of the request.
func (w *world) retry(id promotion.ID, digest reconcile.Digest) string {
	w.Helper()
	request := fmt.Sprintf("retry-%d", time.Now().UnixNano())
	err := w.store.SetRetry(w.Context(), id, state.Retry{ID: request, Digest: digest, By: "rita", At: time.Now()})
	if err != nil {
		w.Fatal(err)
	}
	return request
}

// job is the UID of a Job.
func (w *world) job(id promotion.ID, name string) string {
	j, err := w.client.BatchV1().Jobs(w.namespaces[id.String()]).Get(context.Background(), name, metav1.GetOptions{})
	if err != nil {
		return err.Error()
	}
	return string(j.UID)
}
