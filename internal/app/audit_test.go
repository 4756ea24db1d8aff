package app

import (
	"slices"
	"strconv"
	"testing"
	"time"

	"chaperone.dev/chaperone/internal/promotion"
)

func TestAuditIsDueWhenTheServerChangesOrADayIsOver(t *testing.T) {
	t.Parallel()
	c := &clusters{}
	id, now := promotion.ID{Pipeline: "shop", Name: "production"}, time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	if c.auditDue(id, "one", now) {
		t.Error("an audit is due the moment the daemon begins")
	}
	if first := c.audits[id].due.Sub(now); first < 0 || first > auditEvery {
		t.Errorf("the first is due after %v, want within a day", first)
	}
	c.audits[id] = audited{"one", now.Add(auditEvery)}
	for what, test := range map[string]struct {
		fingerprint string
		after       time.Duration
		want        bool
	}{
		"soon after":                {"one", time.Minute, false},
		"the server is another one": {"two", time.Minute, true},
		"a day later":               {"one", auditEvery + 1, true},
	} {
		if got := c.auditDue(id, test.fingerprint, now.Add(test.after)); got != test.want {
			t.Errorf("%s: due is %v", what, got)
		}
	}
}

func TestFindingsAreBounded(t *testing.T) {
	t.Parallel()
	many := texts(make([]int, 25), strconv.Itoa)
	if len(many) != auditTold+1 || many[auditTold] != "and 15 more" {
		t.Errorf("of 25 findings are told %v", many)
	}
	if few := texts([]int{1, 2}, strconv.Itoa); !slices.Equal(few, []string{"1", "2"}) {
		t.Errorf("of two are told %v", few)
	}
}
