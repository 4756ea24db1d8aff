package controller

import (
	"maps"
	"slices"
	"testing"
	"time"

	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/reconcile"
	"chaperone.dev/chaperone/internal/source"
)

func fileOf(namespace string) string {
	return "apiVersion: chaperone.dev/v1alpha1\nkind: Environment\nmetadata: {name: staging}\nspec: {data: none, target: {namespace: " + namespace + "}}\n"
}

// A commit that adds evidence, changes it or takes it away has the releases of
// its own pipeline judged anew, and no others.
func TestEvidenceHasItsPipelineJudgedAnew(t *testing.T) {
	t.Parallel()
	history := branch{
		{"environments/a/staging.yaml": fileOf("a"), "environments/b/staging.yaml": fileOf("b")},
		{"README": "1"},
		{"environments/a/evidence/x.json": "1"},
		{"README": "2"},
		{"environments/a/evidence/x.json": "2"},
		{"environments/b/evidence/README": "is no evidence"},
	}
	anew := [][]string{{"a", "b"}, nil, {"a"}, nil, {"a"}, nil}
	c := New(Ports{Policies: silent{}, Telemetry: silent{}}, Config{})
	var last look
	for i := range history {
		c.Source = &actor{branch: history[:i+1]}
		go func() { (<-c.events)() }() // which asks what is deployed
		seen := c.lookAt(t.Context(), last)
		if seen.fault != "" || len(seen.set.Faults) > 0 {
			t.Fatal(seen.fault, seen.detail, seen.set.Faults)
		}
		c.sourceSeen(seen)
		last = seen
		var got []string
		for n := range c.world.Environments {
			e := &c.world.Environments[n]
			if e.Candidates == nil {
				got = append(got, e.ID.Pipeline)
			}
			e.Candidates = []reconcile.Candidate{{Release: reconcile.Release{Revision: seen.head}}}
		}
		if !slices.Equal(got, anew[i]) {
			t.Errorf("commit %d has %v judged anew; want %v", i, got, anew[i])
		}
	}
	if got := otherEvidence(map[string]string{"a": "1", "b": "1"}, map[string]string{"b": "1"}); !maps.Equal(got, map[string]bool{"a": true}) {
		t.Errorf("%v; want what is gone to count", got)
	}
}

// What is judged is what stands at head, whatever the release's own commit has.
func TestEvidenceIsThatOfHead(t *testing.T) {
	t.Parallel()
	history := branch{{"environments/demo/evidence/x.json": "1"}, {"environments/demo/evidence/x.json": "2"}}
	policies := &answering{}
	c := New(Ports{Policies: policies, Telemetry: silent{}, Source: &actor{branch: history}}, Config{Now: func() time.Time { return time.Unix(0, 0) }})
	v := &evaluation{c: c, file: promotion.Environment{ID: staging}, head: revision(1), recorded: true}
	v.action.Release.Revision = revision(0)
	for _, recorded := range []bool{true, false} {
		v.recorded = recorded
		if _, err := v.judge(t.Context(), manifest.Set{}, &reconcile.Candidate{}, source.Commit{Revision: revision(0)}, surroundings{}); err == nil {
			t.Fatal("no error; want one, as there is no verdict")
		}
	}
	folder := policies.asked[0].Recorded
	content, err := folder.Read(folder.Files[0])
	if err != nil || string(content) != "2" {
		t.Errorf("%q, %v; want what stands at head", content, err)
	}
	if none := policies.asked[1].Recorded; none.Sum != "" {
		t.Errorf("%+v; want nothing read where there is nothing", none)
	}
}
