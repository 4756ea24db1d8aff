// Package contract holds what the controller relies on in its ports, as tests
// that the fakes of the simulation and the real adapters both pass: the
// simulation proves something about the daemon only as far as its world behaves
// like the real one.
package contract

import (
	"errors"
	"testing"

	"chaperone.dev/chaperone/internal/fault"
)

// Case is one thing that a port must do.
type Case[F any] struct {
	Name string // a sentence
	Run  func(*testing.T, F)
}

// Run runs every case, each with a fixture of its own.
func Run[F any](t *testing.T, cases []Case[F], fixture func(*testing.T) F) {
	t.Helper()
	for _, c := range cases {
		t.Run(c.Name, func(t *testing.T) {
			t.Parallel()
			c.Run(t, fixture(t))
		})
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// mustBe wants an error that matches another, and that may pass or not.
func mustBe(t *testing.T, err, want error, terminal bool) {
	t.Helper()
	if !errors.Is(err, want) || fault.IsTerminal(err) != terminal {
		t.Fatalf("error %v (terminal: %v), want %q (terminal: %v)", err, fault.IsTerminal(err), want, terminal)
	}
}
