package e2e

import (
	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/retry"

	"chaperone.dev/chaperone/internal/promotion"
)

type deploymentObject = appsv1.Deployment

// edit changes the app as somebody with kubectl would.
func (w *world) edit(id promotion.ID, change func(*deploymentObject)) {
	w.Helper()
	deployments := w.client.AppsV1().Deployments(w.namespaces[id.String()])
	err := retry.RetryOnConflict(retry.DefaultBackoff, func() error {
		d, err := deployments.Get(w.Context(), "app", metav1.GetOptions{})
		if err != nil {
			return err
		}
		change(d)
		_, err = deployments.Update(w.Context(), d, metav1.UpdateOptions{FieldManager: "kubectl-edit"})
		return err
	})
	if err != nil {
		w.Fatal(err)
	}
}

func deleteNow() metav1.DeleteOptions { return metav1.DeleteOptions{} }

func (w *world) hasService(id promotion.ID) bool {
	_, err := w.client.CoreV1().Services(w.namespaces[id.String()]).Get(w.Context(), "app", metav1.GetOptions{})
	return err == nil
}
