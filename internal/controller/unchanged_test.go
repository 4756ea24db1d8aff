package controller

import (
	"testing"
	"testing/fstest"
	"time"

	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/reconcile"
)

// What the policies allowed holds for another commit of the same content, and
// for nothing else: not under other policies, another file, or past its time.
func TestUnchanged(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	tests := map[string]struct {
		content string
		change  func(*evaluation)
		want    bool
	}{
		"the same content":                  {content: "d1", want: true},
		"other content":                     {content: "d2"},
		"cannot be rendered":                {content: "broken"},
		"other policies":                    {content: "d1", change: func(v *evaluation) { v.policy = "p2" }},
		"another file, or upstream moved":   {content: "d1", change: func(v *evaluation) { v.of++ }},
		"the verdict is too old":            {content: "d1", change: func(v *evaluation) { v.allowed.until = now }},
		"given by a clock that ran ahead":   {content: "d1", change: func(v *evaluation) { v.allowed.until = now.Add(verdictLasts + 1) }},
		"last good is something else":       {content: "d1", change: func(v *evaluation) { v.lastGood.Digest = "d0" }},
		"a rule looks at commits":           {content: "d1", change: func(v *evaluation) { v.allowed = allowed{} }},
		"nothing was verified yet":          {content: "", change: func(v *evaluation) { v.allowed.digest, v.lastGood.Digest = "", "" }},
		"allowed is not what was last good": {content: "d2", change: func(v *evaluation) { v.allowed.digest = "d2" }},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := New(Ports{Renderer: content{}, Policies: silent{}, Telemetry: silent{}}, Config{Now: func() time.Time { return now }})
			v := &evaluation{
				c: c, policy: "p1", lastGood: reconcile.Release{Digest: "d1"}, of: 3, file: promotion.Environment{ID: staging, Path: "overlays/x"},
				allowed: allowed{digest: "d1", policy: "p1", until: now.Add(time.Minute), of: 3},
			}
			if test.change != nil {
				test.change(v)
			}
			snapshot := tree{MapFS: fstest.MapFS{"overlays/x/content": {Data: []byte(test.content)}}}
			if got := v.unchanged(t.Context(), snapshot); got != test.want {
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}
}
