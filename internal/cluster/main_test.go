package cluster

import (
	"testing"

	"go.uber.org/goleak"

	"chaperone.dev/chaperone/internal/testkit/waiting"
)

// A watch, a plan or an apply leaves no goroutine behind. What remains are the
// idle connections of the clients that the tests themselves use.
func TestMain(m *testing.M) {
	waiting.Parallel(4)
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("golang.org/x/net/http2.(*ClientConn).readLoop"))
}
