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

// A former name is taken over by one environment, and only once its file is gone.
func TestFormerNamesAreTakenOverOnce(t *testing.T) {
	t.Parallel()
	formerly := func(name, list string) string {
		return strings.Replace(valid, "NAME", name, 1) + "  formerly: [" + list + "]\n"
	}
	const novamind = "environments/novamind/"
	for _, test := range []struct {
		name  string
		files map[string]string
		want  map[string]string
	}{
		{"a rename", map[string]string{"novamind/live.yaml": formerly("live", "novamind/production, nova/production")}, nil},
		{"a chain", map[string]string{"novamind/live.yaml": formerly("live", "novamind/a"), "novamind/next.yaml": formerly("next", "novamind/b")}, nil},
		{"still there", map[string]string{"novamind/live.yaml": formerly("live", "crohns/production"), "crohns/production.yaml": ""},
			map[string]string{"novamind/live": novamind + "live.yaml:8:14: spec.formerly[0]: crohns/production still has a file; " +
				"remove environments/crohns/production.yaml, or this entry"}},
		{"still there, though invalid", map[string]string{"novamind/live.yaml": formerly("live", "novamind/old"), "novamind/old.yaml": "no"},
			map[string]string{"novamind/live": novamind + "live.yaml:8:14: spec.formerly[0]: novamind/old still has a file; " +
				"remove environments/novamind/old.yaml, or this entry", "novamind/old": novamind + "old.yaml"}},
		{"two claims", map[string]string{"novamind/a.yaml": formerly("a", "novamind/old"), "crohns/b.yaml": formerly("b", "crohns/x, novamind/old")},
			map[string]string{"novamind/a": novamind + "a.yaml:8:14: spec.formerly[0]: crohns/b takes over novamind/old as well; remove one",
				"crohns/b": "environments/crohns/b.yaml:8:24: spec.formerly[1]: novamind/a takes over novamind/old as well; remove one"}},
		{"each other's", map[string]string{"novamind/a.yaml": formerly("a", "novamind/b"), "novamind/b.yaml": formerly("b", "novamind/a")},
			map[string]string{"novamind/a": novamind + "a.yaml:8:14: spec.formerly[0]: novamind/b still has a file",
				"novamind/b": novamind + "b.yaml:8:14: spec.formerly[0]: novamind/a still has a file"}},
	} {
		test.files["novamind/other.yaml"] = strings.Replace(valid, "NAME", "other", 1)
		set, err := Load(tree(test.files))
		if err != nil || len(set.Faults) != len(test.want) || len(set.Environments) != len(test.files)-len(test.want) {
			t.Errorf("%s: got %v, %v", test.name, set, err)
		}
		for text, want := range test.want {
			id, _ := ParseID(text)
			if f := set.Faults[id]; f.Reason != InvalidEnvironment || !strings.HasPrefix(fmt.Sprint(f.Err), want) {
				t.Errorf("%s: %s has %s: %v, want %s", test.name, id, f.Reason, f.Err, want)
			}
		}
	}
}

// Who comes after an environment that is stopped so waits, as for any other.
func TestDisputedUpstreamLeavesDownstreamValid(t *testing.T) {
	t.Parallel()
	files := pipelineOf("novamind", "old: ; production: live")
	files["novamind/live.yaml"] = strings.Replace(valid, "NAME", "live", 1) + "  formerly: [novamind/old]\n"
	set, err := Load(tree(files))
	if err != nil || len(set.Faults) != 1 || fmt.Sprint(set.Order("novamind")) != "[novamind/old novamind/production]" {
		t.Errorf("got %v, %v", set, err)
	}
}
