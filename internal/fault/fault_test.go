package fault

import (
	"errors"
	"fmt"
	"testing"
)

func TestIsTerminal(t *testing.T) {
	t.Parallel()
	base := errors.New("denied")
	for _, test := range []struct {
		name string
		err  error
		want bool
	}{
		{"nil", nil, false},
		{"unclassified", base, false},
		{"terminal", Terminal("apply", "Pod/a/b", base), true},
		{"retryable", Retryable("apply", "Pod/a/b", base), false},
		{"wrapped", fmt.Errorf("release: %w", Terminal("apply", "", base)), true},
		{"outermost wins", Retryable("fetch", "", Terminal("parse", "", base)), false},
		{"one of several", errors.Join(base, Terminal("apply", "", base)), true},
		{"none of several", errors.Join(base, Retryable("apply", "", base)), false},
	} {
		if got := IsTerminal(test.err); got != test.want {
			t.Errorf("%s: IsTerminal = %v, want %v", test.name, got, test.want)
		}
	}
}

func TestErrorNamesObjectFirst(t *testing.T) {
	t.Parallel()
	err := Terminal("apply", "Deployment/novamind/api", errors.New("field is immutable"))
	if got, want := err.Error(), "Deployment/novamind/api: apply: field is immutable"; got != want {
		t.Errorf("Error() = %q, want %q", got, want)
	}
	if Terminal("apply", "", nil) != nil || Retryable("apply", "", nil) != nil {
		t.Error("a nil error must stay nil")
	}
}
