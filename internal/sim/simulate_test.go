package sim

import (
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"chaperone.dev/chaperone/internal/testkit/racing"
)

// number reads an environment variable, with which make passes its arguments.
func number(t testing.TB, name string, otherwise uint64) uint64 {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("%s=%s: want a number", name, text)
	}
	return n
}

// Bounds of what plain `go test` plays; `make sim SEED= N=` plays all that it
// is asked for.
const (
	plainSeeds = 400
	plainTime  = 20 * time.Second
	racingTime = 5 * time.Second
	shrunken   = 3 // failures that are made smaller
)

// TestSimulate plays worlds by chance, one for each seed. A seed that fails is
// printed and made smaller.
func TestSimulate(t *testing.T) {
	t.Parallel()
	first, count := number(t, "SEED", 1), number(t, "N", plainSeeds)
	long := plainTime
	if racing.Few() {
		long = racingTime
	}
	if os.Getenv("N") != "" {
		long = 24 * time.Hour
	}
	var next, failed atomic.Uint64
	began := time.Now()
	t.Run("seeds", func(t *testing.T) {
		for worker := range runtime.GOMAXPROCS(0) {
			t.Run(strconv.Itoa(worker), func(t *testing.T) {
				t.Parallel()
				until := time.Now().Add(long) // its turn may come late
				for played := 0; played == 0 || time.Now().Before(until); played++ {
					seed := first + next.Add(1) - 1
					if seed >= first+count {
						return
					}
					simulate(t, seed, &failed)
				}
			})
		}
	})
	played := min(next.Load(), count)
	t.Logf("%d seeds from %d, %d failed, %.0f a minute", played, first, failed.Load(), float64(played)/time.Since(began).Minutes())
	if played == 0 {
		t.Error("no seed was played")
	}
}

func simulate(t *testing.T, seed uint64, failed *atomic.Uint64) {
	t.Helper()
	sc, err := Random(seed)
	if err != nil {
		t.Fatalf("seed %d: %v", seed, err)
	}
	o := Play(t, sc, seed)
	if !o.Failed() {
		return
	}
	if failed.Add(1) > shrunken {
		t.Errorf("seed %d: %s", seed, o.Why())
		return
	}
	small, last := Shrink(t, sc, seed)
	path := filepath.Join(os.TempDir(), "chaperone-sim-seed-"+strconv.FormatUint(seed, 10)+".txt")
	if err := os.WriteFile(path, []byte(small.String()), 0o600); err != nil {
		path = err.Error()
	}
	t.Errorf("seed %d: %s\nthe end of what happened:\n%s\nas small as it still fails (%s), in %s:\n\n%s",
		seed, o.Why(), last.Tail(40), last.Why(), path, small)
}

// TestTrace prints all that happens in one scenario: SC is its file, or SEED the
// one by chance.
func TestTrace(t *testing.T) {
	path, seed := os.Getenv("SC"), number(t, "SEED", 0)
	var sc *Scenario
	var err error
	switch {
	case path != "":
		sc = load(t, path)
	case seed != 0:
		if sc, err = Random(seed); err != nil {
			t.Fatal(err)
		}
	default:
		t.Skip("no scenario is named: set SC to a file or SEED to a number")
	}
	o := Play(t, sc, max(seed, 1))
	t.Logf("%s\n%s\n%s", sc, o.Trace(), o.Why())
	if o.Failed() {
		t.Fail()
	}
}
