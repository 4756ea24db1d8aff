// Package fault tells errors that may pass by themselves from those that will
// not. The place that knows the cause classifies it, once; everything above
// only asks. An error that nobody classified is retryable: trying again is
// bounded everywhere, giving up on a passing fault is not recoverable.
package fault

import (
	"errors"
	"fmt"
)

// Error is an error with the operation that met it and the object it is about.
type Error struct {
	Op       string // what was being done, such as "apply" or "fetch"
	Object   string // what it was done to, such as "Deployment/novamind/api"; may be empty
	Err      error
	terminal bool
}

// Error puts the object first, as a person scanning a list looks for it.
func (e *Error) Error() string {
	switch {
	case e.Object == "" && e.Op == "":
		return e.Err.Error()
	case e.Object == "":
		return fmt.Sprintf("%s: %v", e.Op, e.Err)
	case e.Op == "":
		return fmt.Sprintf("%s: %v", e.Object, e.Err)
	}
	return fmt.Sprintf("%s: %s: %v", e.Object, e.Op, e.Err)
}

func (e *Error) Unwrap() error { return e.Err }

// Terminal says that trying again cannot help until something else changes.
// It returns nil for a nil err.
func Terminal(op, object string, err error) error {
	if err == nil {
		return nil
	}
	return &Error{Op: op, Object: object, Err: err, terminal: true}
}

// Retryable says that the same attempt may succeed later. It returns nil for
// a nil err.
func Retryable(op, object string, err error) error {
	if err == nil {
		return nil
	}
	return &Error{Op: op, Object: object, Err: err}
}

// IsTerminal reports whether the outermost classification in err's tree says
// that trying again cannot help. Joined errors are terminal when any part is.
func IsTerminal(err error) bool {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, part := range joined.Unwrap() {
			if IsTerminal(part) {
				return true
			}
		}
		return false
	}
	if classified, ok := err.(*Error); ok {
		return classified.terminal
	}
	if inner := errors.Unwrap(err); inner != nil {
		return IsTerminal(inner)
	}
	return false
}
