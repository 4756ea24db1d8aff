package app

import (
	"os"
	"testing"

	"chaperone.dev/chaperone/internal/testkit/waiting"
)

func TestMain(m *testing.M) {
	waiting.Parallel(4)
	os.Exit(m.Run())
}
