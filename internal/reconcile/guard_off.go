//go:build !mutation

package reconcile

// on reports that a guard is in place. In what is shipped every one is, and the
// compiler removes the question.
func on(guard) bool { return true }
