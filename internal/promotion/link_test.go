package promotion

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// pipelineOf makes files of lines such as "staging: testing, integration".
func pipelineOf(pipeline, lines string) map[string]string {
	files := map[string]string{}
	for line := range strings.SplitSeq(lines, "; ") {
		name, after, _ := strings.Cut(line, ":")
		content := strings.Replace(valid, "NAME", name, 1) + "  after: [" + strings.TrimSpace(after) + "]\n"
		if after == " !" {
			content = "not an environment"
		}
		files[pipeline+"/"+name+".yaml"] = content
	}
	return files
}

func TestLinkStopsOnlyItsPipeline(t *testing.T) {
	t.Parallel()
	const file = "environments/novamind/"
	for _, test := range []struct {
		name, lines string
		reason      Reason
		want        string
	}{
		{"itself", "a: a", DependencyCycle, "environments come after themselves: a → a; remove one of these\n" +
			file + "a.yaml:8:11: spec.after[0]: a comes after a"},
		{"two, and one that follows them", "a: ; b: a, c; c: b; d: c", DependencyCycle,
			"environments come after themselves: b → c → b; remove one of these\n" +
				file + "b.yaml:8:14: spec.after[1]: b comes after c\n" + file + "c.yaml:8:11: spec.after[0]: c comes after b"},
		{"unknown, near", "staging: ; production: stagging", UnknownEnvironment,
			file + `production.yaml:8:11: spec.after[0]: novamind has no environment "stagging"; did you mean "staging"?`},
		{"unknown, far", "staging: ; production: qa", UnknownEnvironment,
			file + `production.yaml:8:11: spec.after[0]: novamind has no environment "qa"; want staging`},
		{"two unknown", "a: x; b: y", UnknownEnvironment,
			file + `a.yaml:8:11: spec.after[0]: novamind has no environment "x"; did you mean "b"?` + "\n" +
				file + `b.yaml:8:11: spec.after[0]: novamind has no environment "y"; did you mean "a"?`},
	} {
		files := pipelineOf("novamind", test.lines)
		maps.Copy(files, pipelineOf("crohns", "development: ; production: development"))
		set, err := Load(tree(files))
		if err != nil {
			t.Fatal(err)
		}
		if got := set.Order("crohns"); fmt.Sprint(got) != "[crohns/development crohns/production]" {
			t.Errorf("%s: the other pipeline has %v", test.name, got)
		}
		if got := set.Pipelines(); !slices.Equal(got, []string{"crohns", "novamind"}) || len(set.Order("novamind")) != 0 {
			t.Errorf("%s: got pipelines %v, %v in order", test.name, got, set.Order("novamind"))
		}
		for _, id := range set.IDs() {
			if f, faulty := set.Faults[id]; id.Pipeline == "novamind" && (!faulty || f.Reason != test.reason || f.Err.Error() != test.want) {
				t.Errorf("%s: %s has %s:\n%v\nwant %s:\n%s", test.name, id, f.Reason, f.Err, test.reason, test.want)
			}
		}
	}
}

func TestInvalidUpstreamLeavesDownstreamValid(t *testing.T) {
	t.Parallel()
	set, err := Load(tree(pipelineOf("novamind", "development: ; staging: !; production: staging, development")))
	if err != nil {
		t.Fatal(err)
	}
	staging, production := ID{"novamind", "staging"}, ID{"novamind", "production"}
	if f := set.Faults[staging]; f.Reason != InvalidEnvironment || len(set.Faults) != 1 {
		t.Errorf("got faults %v", set.Faults)
	}
	if got := set.Environments[production].After; !slices.Contains(got, staging) {
		t.Errorf("production comes after %v: the closed gate is lost", got)
	}
	if got := fmt.Sprint(set.Order("novamind")); got != "[novamind/development novamind/production]" {
		t.Errorf("got order %s", got)
	}
}

// The faults of a file stay its own when its pipeline stops too.
func TestInvalidStaysInvalidInAStoppedPipeline(t *testing.T) {
	t.Parallel()
	set, err := Load(tree(pipelineOf("novamind", "a: b; b: a; c: !")))
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]Reason{"a": DependencyCycle, "b": DependencyCycle, "c": InvalidEnvironment} {
		if got := set.Faults[ID{"novamind", name}].Reason; got != want {
			t.Errorf("%s: got %s, want %s", name, got, want)
		}
	}
}

// In any graph either a cycle is found, or everything stands after its edges.
func TestOrderOrCycle(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		count := rapid.IntRange(1, 12).Draw(t, "count")
		ids, edges := make([]ID, count), map[ID][]ID{}
		for i := range ids {
			ids[i] = ID{"p", fmt.Sprintf("e%02d", i)}
		}
		for range rapid.IntRange(0, 2*count).Draw(t, "edges") {
			from, to := rapid.SampledFrom(ids).Draw(t, "from"), rapid.SampledFrom(ids).Draw(t, "to")
			edges[from] = append(edges[from], to)
		}
		of := func(id ID) []ID { return edges[id] }
		ordered, circle := topological(ids, of), cycle(ids, of)
		for i, id := range ordered {
			for _, up := range edges[id] {
				if at := slices.Index(ordered, up); at < 0 || at >= i {
					t.Fatalf("%v stands before its upstream %v: %v", id, up, ordered)
				}
			}
		}
		if (circle == nil) != (len(ordered) == len(ids)) {
			t.Fatalf("circle %v, and %d of %d in order", circle, len(ordered), len(ids))
		}
		for i := range max(0, len(circle)-1) {
			if !slices.Contains(edges[circle[i]], circle[i+1]) {
				t.Fatalf("%v: no edge from %v", circle, circle[i])
			}
		}
		if circle != nil && circle[0] != circle[len(circle)-1] {
			t.Fatalf("%v does not end where it began", circle)
		}
	})
}
