package sim

import (
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"
)

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

func TestSimulate(t *testing.T) {
	first, count := number(t, "SEED", 1), number(t, "N", 200)
	began := time.Now()
	failures := map[string]int{}
	for seed := first; seed < first+count; seed++ {
		sc, err := Random(seed)
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		if os.Getenv("V") != "" {
			fmt.Println("seed", seed)
		}
		o := Play(t, sc, seed)
		if d := time.Since(start); d > 500*time.Millisecond {
			fmt.Println("slow", seed, d, o.Calls)
		}
		if o.Failed() {
			failures[o.Why()]++
			if len(failures) < 40 {
				fmt.Println("seed", seed, o.Why())
			}
		}
	}
	fmt.Println(len(failures), time.Since(began)/time.Duration(count))
}
