package sim

import (
	"strings"
	"testing"
)

const story = "# A story.\n\n"

// TestParseTellsWhatIsWrong: an error names file and line, and what would be
// right.
func TestParseTellsWhatIsWrong(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ name, text, want string }{
		{"no story", "environment staging\n", "s.txt:1: no story"},
		{"a line that nobody knows", story + "hope for the best\n", "s.txt:3: \"hope for the best\" is not understood; want a line that begins with one of: "},
		{"a verb with other words", story + "wait for staging\n", "s.txt:3: \"wait for staging\" is not understood; want one of: wait SPAN | wait until quiet"},
		{"a block without a step", story + "  base app: v1\n", "s.txt:3: indented"},
		{"a block where none belongs", story + "wait 1s\n  base app: v1\n", `s.txt:3: "wait SPAN" takes no indented lines`},
		{"no time", story + "wait 5 minutes\n", "is not understood"},
		{"a wrong time", story + "wait soon\n", `s.txt:3: "soon": want a time such as 90s`},
		{"too long a time", story + "wait 500d\n", "at most"},
		{"no person", story + "push \"a\" by dev\n  base app: v1\n", `want an e-mail address`},
		{"a quotation mark", story + "push \"a by dev@example.org\n", "a quotation mark is missing"},
		{"a phase", story + "expect staging Fine UpToDate\n", `"Fine" is no phase`},
		{"a reason", story + "expect staging Ready Fine\n", `"Fine" is no reason`},
		{"a call", story + "fail Cluster.Explode of staging\n", `"Cluster.Explode" is no call of a port`},
		{"an environment", story + "resume Staging\n", "want lower-case letters"},
		{"a mark", story + "push \"a\" by dev@example.org\n  base app: v1, explodes in staging\n", `"explodes in staging": want one of`},
		{"a mark without a place", story + "push \"a\" by dev@example.org\n  base app: v1, fails\n", `"fails": want one of`},
		{"a change", story + "push \"a\" by dev@example.org\n  base app v1\n", "want such as `base app: v2"},
		{"a kind", story + "push \"a\" by dev@example.org\n  base moon app: v1\n", `"moon" is no kind of object`},
		{"a pin", story + "push \"a\" by dev@example.org\n  staging pin: begin\n  staging pin: a b\n", "want the subject of a commit"},
		{"below a change", story + "push \"a\" by dev@example.org\n  base app: v1\n    deeper: 1\n", "nothing can stand below"},
		{"below a trailer", story + "push \"a\" by dev@example.org\n  trailer A: b\n    deeper: 1\n", "nothing can stand below"},
		{"a pile", story + "push \"a\" by dev@example.org\n  base pile stones: many\n", `"many": want a number`},
		{"an environment's file", story + "environment staging\n  promotion: [\n", "environment demo/staging: yaml"},
		{"an after without a name", story + "push \"a\" by dev@example.org\n  environment staging after\n", "want `environment <name>`"},
	} {
		_, err := Parse("s.txt", test.text)
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: error %v, want %q", test.name, err, test.want)
		}
	}
}

// TestParseTellsAll: one reading tells of every line that is wrong.
func TestParseTellsAll(t *testing.T) {
	t.Parallel()
	_, err := Parse("s.txt", story+"wait soon\nenvironment staging\nexpect staging Fine UpToDate\n")
	for _, want := range []string{"s.txt:3:", "s.txt:5:"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q in it", err, want)
		}
	}
}

// TestScenarioIsWrittenAsItIsRead is what shrinking stands on.
func TestScenarioIsWrittenAsItIsRead(t *testing.T) {
	t.Parallel()
	for seed := range uint64(50) {
		sc, err := Random(seed)
		if err != nil {
			t.Fatal(err)
		}
		again, err := Parse(sc.Name, sc.String())
		if err != nil || again.String() != sc.String() {
			t.Fatalf("seed %d: %v\n%s\nwas\n%s", seed, err, again, sc)
		}
	}
}

// TestStepsThatCannotBeDone: a scenario that asks for what is not there ends
// with an error that names the line.
func TestStepsThatCannotBeDone(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ step, want string }{
		{"revert \"nothing\" by a@example.org", "there is no commit"},
		{"merge the promotion of staging by a@example.org", "there is no branch"},
		{"pause production \"why\" by a@example.org", "has no object yet"},
		{"push \"a\" by a@example.org\n  remove base app", "base/demo/app.yaml is not there"},
		{"push \"a\" by a@example.org\n  staging pin: \"nothing\"", "there is no commit"},
		{"somebody deletes config app in staging", "is not there"},
		{"stop replica 3", "there is no replica 3"},
		{"start replica 1", "runs already"},
		{"wait until 2020-01-01T00:00:00Z", "already"},
		{"environment late", "comes too late"},
		{"clock 2026-01-01T00:00:00Z", "comes too late"},
		{"expect staging Held Paused", "staging is"},
		{"wait until staging is Paused", "does not come to Paused in 2h"},
		{"expect \"begin\" reverted once", "it was reverted 0 times"},
		{"expect staging runs nothing", "is too many"},
		{"expect 7 applies in staging", "there were 1"},
	} {
		sc, err := Parse("s.txt", story+"environment staging\nwait until quiet\n"+test.step+"\n")
		if err != nil {
			t.Fatal(err)
		}
		o := Play(t, sc, 1)
		if o.Err == nil || !strings.Contains(o.Err.Error(), test.want) || !strings.Contains(o.Err.Error(), "s.txt:5: ") {
			t.Errorf("%s: error %v, want s.txt:5 and %q", test.step, o.Err, test.want)
		}
	}
}

func FuzzParse(f *testing.F) {
	sc, err := Random(1)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(sc.String())
	f.Add(story + "environment staging after development, testing\n  promotion: {mode: pull-request}\npush \"a\" by dev@example.org\n  base app: v1, fails in a and b, is denied everywhere\n  environment x after y\n    drift: report\n  trailer A: b\n")
	f.Add(story + "fail Store.Save of staging, call 14 in life 2\ndelay Git.Push by 10m, after 2 more\nexpect the sentence of a/b to tell \"c\"\n")
	f.Fuzz(func(t *testing.T, text string) {
		sc, err := Parse("f.txt", text)
		if err != nil {
			if !strings.Contains(err.Error(), "f.txt") {
				t.Errorf("error %v does not name the file", err)
			}
			return
		}
		again, err := Parse("f.txt", sc.String())
		if err != nil || again.String() != sc.String() {
			t.Errorf("%v\n%q\nwas\n%q", err, again, sc)
		}
	})
}
