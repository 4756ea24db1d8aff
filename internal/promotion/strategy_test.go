package promotion

import (
	"reflect"
	"testing"
	"time"

	"chaperone.dev/chaperone/internal/strictyaml"
)

func TestStrategiesSayWhatIsWritten(t *testing.T) {
	t.Parallel()
	const text = `
strategies:
  - workload: Deployment/api
    blueGreen: {service: api}
  - workload: Deployment.apps/twin.v2
    blueGreen: {service: twin, preview: 2m, keep: 0s, checks: [readiness]}
  - workload: Deployment/web
    canary:
      service: web
      route: HTTPRoute/front.door
      checks: [readiness, public]
      steps: [{weight: 1}, {weight: 50, for: 24h}, {weight: 99, for: 0s}]
`
	document := strictyaml.Parse("f.yaml", []byte(text))
	got := decodeStrategies(document.Root(), []string{"readiness", "public"})
	if err := document.Err(); err != nil {
		t.Fatal(err)
	}
	want := []Strategy{
		{Deployment: "api", Service: "api", BlueGreen: &BlueGreen{Keep: DefaultKeep}},
		{Deployment: "twin.v2", Service: "twin", BlueGreen: &BlueGreen{Preview: 2 * time.Minute, Checks: []string{"readiness"}}},
		{Deployment: "web", Service: "web", Canary: &Canary{Route: "front.door", Checks: []string{"readiness", "public"},
			Steps: []CanaryStep{{1, DefaultStepFor}, {50, 24 * time.Hour}, {99, 0}}}},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestNoStrategyIsNone(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"a: 1\n", "strategies:\n", "strategies: []\n"} {
		document := strictyaml.Parse("f.yaml", []byte(text))
		if got := decodeStrategies(document.Root(), nil); got != nil {
			t.Errorf("%q: %+v", text, got)
		}
	}
}
