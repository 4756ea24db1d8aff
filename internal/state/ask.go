package state

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	authenticationv1 "k8s.io/api/authentication/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"chaperone.dev/chaperone/internal/fault"
	"chaperone.dev/chaperone/internal/promotion"
)

// SetPause asks the daemon to change nothing in an environment; nil takes the
// request back. The last writer wins.
func (s *Store) SetPause(ctx context.Context, id promotion.ID, p *Pause) error {
	if p == nil {
		return s.annotate(ctx, "resume", id, PauseAnnotation, nil)
	}
	asked := *p
	asked.At, asked.Until = p.At.UTC(), p.Until.UTC()
	err := asked.check()
	if err == nil && !asked.Until.IsZero() && !asked.Until.After(asked.At) {
		err = errors.New("until: not after the time it is asked at; want a later time, or none")
	}
	if err != nil {
		return fault.Terminal("pause", id.String(), err)
	}
	return s.request(ctx, "pause", id, PauseAnnotation, asked)
}

// SetRetry asks the daemon to try again what failed in an environment. It takes
// the place of an earlier request that the daemon may not have seen.
func (s *Store) SetRetry(ctx context.Context, id promotion.ID, r Retry) error {
	r.At = r.At.UTC()
	if err := r.check(); err != nil {
		return fault.Terminal("retry", id.String(), err)
	}
	return s.request(ctx, "retry", id, RetryAnnotation, r)
}

func (s *Store) request(ctx context.Context, op string, id promotion.ID, annotation string, request any) error {
	text, err := annotationOf(request)
	if err != nil {
		return fault.Terminal(op, id.String(), err)
	}
	return s.annotate(ctx, op, id, annotation, &text)
}

// annotate patches the one annotation and compares nothing: a person's request
// neither waits for the daemon's writes nor makes one of them be lost.
func (s *Store) annotate(ctx context.Context, op string, id promotion.ID, annotation string, value *string) error {
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"annotations": map[string]*string{annotation: value}}})
	if err != nil {
		return fault.Terminal(op, id.String(), err)
	}
	name := ObjectName(id)
	_, err = s.metadata().Patch(ctx, name, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: "chaperone-request"})
	return classify(op, "Environment/"+name, err)
}

// WhoAmI is the name under which the cluster knows who asks.
func (s *Store) WhoAmI(ctx context.Context) (string, error) {
	const op, object = "ask who this is", "SelfSubjectReview"
	review, err := s.core.AuthenticationV1().SelfSubjectReviews().Create(ctx, &authenticationv1.SelfSubjectReview{}, metav1.CreateOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return "", fault.Terminal(op, object, fmt.Errorf("%v; want Kubernetes 1.28 or newer, which serves authentication.k8s.io/v1", err))
	case apierrors.IsForbidden(err):
		return "", fault.Terminal(op, object, fmt.Errorf("%w; want the ClusterRole system:basic-user, which everybody has unless it was taken away", err))
	case err != nil:
		return "", fault.Retryable(op, object, err)
	case review.Status.UserInfo.Username == "":
		return "", fault.Terminal(op, object, errors.New("the answer names nobody; want credentials that name a user"))
	}
	return review.Status.UserInfo.Username, nil
}
