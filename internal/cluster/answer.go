package cluster

import (
	"errors"
	"fmt"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"chaperone.dev/chaperone/internal/fault"
	"chaperone.dev/chaperone/internal/manifest"
)

// maxAnswer bounds how much of a server's message is passed on.
const maxAnswer = 1 << 10

// answer is a server's error about an object as it may be shown. Messages
// about core Secrets can quote values ("illegal base64 data", the whole patch
// in a decoding error), so that of those only code and reason are left. The
// original is not wrapped: whoever unwraps would print it.
func answer(id manifest.ID, err error) error {
	if err == nil {
		return nil
	}
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		if isSecret(id) && !passing(err) {
			return errors.New("the request could not be made (details withheld: the object is a Secret)")
		}
		return err
	}
	s := status.Status()
	clean := metav1.Status{Status: s.Status, Code: s.Code, Reason: s.Reason, Message: shorten(s.Message, maxAnswer)}
	if s.Details != nil {
		clean.Details = &metav1.StatusDetails{Kind: s.Details.Kind, Name: s.Details.Name, RetryAfterSeconds: s.Details.RetryAfterSeconds}
	}
	if isSecret(id) {
		clean.Message = strings.TrimSpace(fmt.Sprintf("code %d %s", s.Code, s.Reason)) + " (details withheld: the object is a Secret)"
	}
	return &apierrors.StatusError{ErrStatus: clean}
}

func isSecret(id manifest.ID) bool { return id.Group == "" && id.Kind == "Secret" }

func shorten(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	return strings.ToValidUTF8(text[:limit], "") + "…"
}

// failed classifies a server's error about an operation on an object.
func failed(op string, id manifest.ID, err error) error {
	if err == nil {
		return nil
	}
	shown := answer(id, err)
	if refusedForGood(err) {
		return fault.Terminal(op, id.String(), shown)
	}
	return fault.Retryable(op, id.String(), shown)
}

// refusedForGood reports whether the server understood the request and said
// no. Expired credentials are not such a no: they are reloaded.
func refusedForGood(err error) bool {
	var status apierrors.APIStatus
	if !errors.As(err, &status) || passing(err) {
		return false
	}
	switch {
	case apierrors.IsUnauthorized(err), apierrors.IsConflict(err), apierrors.IsAlreadyExists(err):
		return false
	case apierrors.HasStatusCause(err, "NamespaceTerminating"):
		return false
	}
	return status.Status().Code >= 400
}

// immutable reports whether an update was refused because of fields that
// cannot be changed in place. The API has no code for it; these are the words
// of its validation, and they decide only between two clear errors.
func immutable(err error) bool {
	if !apierrors.IsInvalid(err) {
		return false
	}
	text := err.Error()
	for _, words := range []string{"immutable", "may not change once set", "cannot change roleRef", "updates to "} {
		if strings.Contains(text, words) {
			return true
		}
	}
	return false
}

// causes are the fields that a refusal is about, as the server names them.
func causes(err error) []string {
	var status apierrors.APIStatus
	if !errors.As(err, &status) || status.Status().Details == nil {
		return nil
	}
	var fields []string
	for _, cause := range status.Status().Details.Causes {
		fields = append(fields, cause.Field)
	}
	return fields
}
