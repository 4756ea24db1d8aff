package state

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// PolicyMarkName is the Secret that says which policies were in force last.
// Whoever deletes it lets older ones in again.
const PolicyMarkName = "chaperone-policies-seen"

// PolicyMark is the newest policies of another repository or an archive that were
// in force: older ones are not taken again, also by a daemon that starts anew.
type PolicyMark struct{ From, Revision, Digest string }

// PolicyMark reads what was written; the zero mark is none.
func (s *Store) PolicyMark(ctx context.Context) (PolicyMark, error) {
	secret, err := s.core.CoreV1().Secrets(s.namespace).Get(ctx, PolicyMarkName, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return PolicyMark{}, nil
	}
	if err != nil {
		return PolicyMark{}, redacted("read", PolicyMarkName, err)
	}
	text := func(key string) string { return string(secret.Data[key]) }
	return PolicyMark{From: text("from"), Revision: text("revision"), Digest: text("digest")}, nil
}

// SetPolicyMark takes the place of the mark before.
func (s *Store) SetPolicyMark(ctx context.Context, mark PolicyMark) error {
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: PolicyMarkName, Namespace: s.namespace},
		StringData: map[string]string{"from": mark.From, "revision": mark.Revision, "digest": mark.Digest},
	}
	secrets := s.core.CoreV1().Secrets(s.namespace)
	_, err := secrets.Update(ctx, secret, metav1.UpdateOptions{FieldManager: fieldManager})
	if apierrors.IsNotFound(err) {
		_, err = secrets.Create(ctx, secret, metav1.CreateOptions{FieldManager: fieldManager})
	}
	return redacted("write", PolicyMarkName, err)
}
