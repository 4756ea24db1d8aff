package cluster

import (
	"testing"

	"go.uber.org/goleak"
)

// A watch, a plan or an apply leaves no goroutine behind. What remains are the
// idle connections of the clients that the tests themselves use.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("golang.org/x/net/http2.(*ClientConn).readLoop"))
}
