//go:build mutation

package reconcile

// off is the guard that is taken away, in tests of tests only.
var off guard

func on(g guard) bool { return g != off }

// TakeAway takes one guard away, by its name, for tests of other packages; ""
// puts it back.
func TakeAway(name string) { off = guard(name) }
