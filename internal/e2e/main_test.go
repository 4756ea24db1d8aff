package e2e

import (
	"io"
	"os"
	"testing"

	"chaperone.dev/chaperone/internal/cli"
	"chaperone.dev/chaperone/internal/testkit/waiting"
)

// envDaemon makes the test binary the daemon, so that a test can kill it as
// only a process can be killed.
const envDaemon = "E2E_DAEMON"

func TestMain(m *testing.M) {
	if os.Getenv(envDaemon) != "" {
		os.Exit(daemonMain())
	}
	waiting.Parallel(8)
	os.Exit(m.Run())
}

// daemonMain is `chaperone run`. It ends when the test process does, however
// that ends: nobody holds the other end of standard input any more.
func daemonMain() int {
	_ = os.Unsetenv(envDaemon)
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(99)
	}()
	return cli.Main([]string{"run"}, cli.System())
}

// quick tells tests that take seconds to leave that to `make test`.
func quick(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("needs a cluster and seconds")
	}
	t.Parallel()
}
