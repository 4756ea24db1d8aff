// Package waiting is for tests that mostly wait for servers: more of them run at
// once than there are processors.
package waiting

import (
	"flag"
	"strconv"
)

// Parallel lets n tests of a package run at once, unless -parallel says how
// many. It is for TestMain, before the tests run.
func Parallel(n int) {
	flag.Parse()
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "test.parallel" })
	if !given {
		_ = flag.Set("test.parallel", strconv.Itoa(n)) // it is there in every test binary
	}
}
