package sim

import (
	"fmt"
	"os"
	"testing"
)

func TestDbg(t *testing.T) {
	var sc *Scenario
	seed := number(t, "SEED", 1)
	if p := os.Getenv("SC"); p != "" {
		sc = load(t, p)
	} else if os.Getenv("SEED") != "" {
		sc, _ = Random(seed)
	} else {
		t.Skip("no scenario named")
	}
	o := Play(t, sc, seed)
	fmt.Println(sc)
	fmt.Println(o.Trace())
	fmt.Println(o.Why())
}
