package sim

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"chaperone.dev/chaperone/internal/testkit/racing"
)

// incident is a release that is good, and something else that fails while it is
// on its way: from some time after the push, for some time.
func incident(seed uint64, control string) string {
	random := rand.New(rand.NewPCG(seed, 31))
	check := "{name: readiness, service: api, port: 80" + control + "}"
	return fmt.Sprintf(`# Next door something fails while a good change is released. It is nobody's fault here.

environment staging
  verify: {timeout: 5m, settle: 20s, http: [%s]}
environment production after staging
  verify: {timeout: 5m, settle: 20s, http: [%s]}

wait until quiet
count from here
push "new consent form" by ann@example.org
  base form: v2
wait %dms
outage in staging
outage in production
wait %ds
outage over in staging
outage over in production
wait 15m
wait until quiet
expect no push by the daemon
expect "new consent form" not reverted
expect staging runs "new consent form"
expect production runs "new consent form"
`, check, check, random.IntN(150_000), 5+random.IntN(900))
}

// With a control, an outage next door takes back nothing, whenever it begins and
// however long it lasts (pitfall 31). Without one, last good is asked the same
// after the restore, and that an outage is over by then looks like a cure.
func TestPitfall31_OutageNextDoor(t *testing.T) {
	t.Parallel()
	incidents := uint64(1000)
	if racing.Few() { // `make test` plays all without the detector
		incidents = 100
	}
	reverted := map[string]int{}
	for name, control := range map[string]string{"with a control": ", control: {service: other, port: 80}", "without": ""} {
		for seed := range incidents {
			text := incident(seed, control)
			sc, err := Parse(fmt.Sprintf("incident %d %s", seed, name), text)
			if err != nil {
				t.Fatal(err)
			}
			o := Play(t, sc, seed)
			switch {
			case !o.Failed():
			case control != "":
				t.Fatalf("seed %d: %s", seed, o.Why())
			case strings.Contains(o.Why(), "push by the daemon"):
				reverted[name]++
			}
			if control == "" && seed == 199 {
				break // enough to see that the incidents are ones
			}
		}
	}
	t.Logf("%d incidents with a control: %d reverts; of %d without: %d", incidents, reverted["with a control"], min(incidents, 200), reverted["without"])
	if reverted["without"] == 0 {
		t.Error("no incident is one that a control is needed for")
	}
}
