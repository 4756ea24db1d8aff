package sim

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
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
	seen := map[string]int{}
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
		if d := time.Since(start); d > 1500*time.Millisecond {
			fmt.Println("slow", seed, d, o.Calls)
		}
		for _, e := range o.trace {
			switch e.what {
			case "status":
				a, _, _ := strings.Cut(e.note, ":")
				seen[a]++
			case "decided":
				w := strings.Fields(e.note)
				seen["act "+w[0]+" "+w[len(w)-1]]++
			}
		}
		for _, m := range o.mishaps {
			seen["mishap "+string(m.kind)]++
		}
		if o.Failed() {
			k := kindOf(o)
			failures[k]++
			if failures[k] < 4 {
				fmt.Println("seed", seed, o.Why())
			}
			if failures[k] == 1 {
				small, out := Shrink(t, sc, seed)
				fmt.Println(small)
				fmt.Println(out.Why())
				fmt.Println(out.Tail(30))
			}
		}
	}
	for _, k := range slices.Sorted(maps.Keys(seen)) {
		fmt.Println("  ", k, seen[k])
	}
	fmt.Println(failures, time.Since(began)/time.Duration(count))
}
