package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"pgregory.net/rapid"
)

func TestFoldKeepsWordsAndWidth(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringMatching(`([a-zäöß…]{1,30}[ \n]{1,3}){0,20}`).Draw(t, "text")
		limit := rapid.IntRange(1, 40).Draw(t, "width")
		lines := fold(text, limit)
		for _, line := range lines {
			if utf8.RuneCountInString(line) > limit {
				t.Fatalf("%q is longer than %d", line, limit)
			}
		}
		if got, want := strings.Join(lines, ""), strings.Join(strings.Fields(text), ""); strings.ReplaceAll(got, " ", "") != want {
			t.Fatalf("got %q, want %q", got, want)
		}
	})
}

// played runs scenes without anything that they could be played on.
func played(t *testing.T, scenes []scene) (Result, string, string) {
	t.Helper()
	var told, said bytes.Buffer
	d := &demo{Options: Options{Tour: &told, Progress: &said}, began: time.Now()}
	d.fillIn()
	return d.play(t.Context(), scenes), told.String(), said.String()
}

func comesOut(detail string) func(*demo, context.Context) (string, error) {
	return func(*demo, context.Context) (string, error) { return detail, nil }
}

func TestStepsAfterAFailedOneAreNotPlayed(t *testing.T) {
	t.Parallel()
	scenes := []scene{
		{name: "first", title: "The first", story: "It works.", play: comesOut("seen")},
		{name: "second", play: func(*demo, context.Context) (string, error) { return "half", errors.New("it broke\nhere") }},
		{name: "third", play: func(*demo, context.Context) (string, error) { panic("played") }},
	}
	result, told, said := played(t, scenes)
	want := []Step{
		{Name: "first", OK: true, Detail: "seen"},
		{Name: "second", Detail: "it broke\nhere"},
		{Name: "third", Detail: `not run: "second" did not come out`},
	}
	if len(result.Steps) != len(want) || result.OK() {
		t.Fatalf("got %+v", result)
	}
	for i, step := range result.Steps {
		step.Took = 0
		if step != want[i] {
			t.Errorf("step %d: got %+v, want %+v", i, step, want[i])
		}
	}
	for _, part := range []string{"1/3  The first", "It works.", "as told, after", "  seen", "not as told, after", "  it broke\n  here"} {
		if !strings.Contains(told, part) {
			t.Errorf("the tour has no %q:\n%s", part, told)
		}
	}
	if !strings.Contains(said, "step 2 of 3: not as told after") || strings.Contains(said, "step 3 of 3") {
		t.Errorf("progress:\n%s", said)
	}
}

func TestResultAsJSON(t *testing.T) {
	t.Parallel()
	result, _, _ := played(t, []scene{{name: "only", play: comesOut("seen")}})
	if !result.OK() || (Result{}).OK() {
		t.Errorf("OK of %+v is %t, of nothing %t", result, result.OK(), Result{}.OK())
	}
	text, err := json.Marshal(result)
	if want := `{"steps":[{"name":"only","ok":true,"detail":"seen"}]}`; err != nil || string(text) != want {
		t.Errorf("got %s, %v; want %s", text, err, want)
	}
}

func TestScriptIsTold(t *testing.T) {
	t.Parallel()
	scenes := script()
	if len(scenes) != 8 {
		t.Errorf("%d steps; want the eight of the tour", len(scenes))
	}
	names := map[string]bool{}
	for _, s := range scenes {
		if s.name == "" || s.title == "" || s.story == "" || s.play == nil || names[s.name] {
			t.Errorf("%q: want a name of its own, a title, a story and something to do", s.name)
		}
		names[s.name] = true
	}
}

func TestTourFitsItsWidth(t *testing.T) {
	t.Parallel()
	var told bytes.Buffer
	d := &demo{Options: Options{Tour: &told, Executable: "/usr/local/bin/chaperone"}, place: layout{"/tmp/chaperone-demo-123456789"}}
	d.fillIn()
	d.cluster, d.daemon = &controlPlane{Version: "v1.36.3"}, &daemon{address: "127.0.0.1:40000"}
	d.welcome()
	for i, s := range script() {
		d.tour.heading(i+1, 7, s.title, s.story)
		d.tour.outcome(Step{Detail: strings.Repeat("word ", 80) + strings.Repeat("x", 300)})
		d.tour.command("something", strings.Repeat("x", 300)+"\nshort\n")
	}
	d.farewell(Result{})
	for line := range strings.Lines(told.String()) {
		if n := utf8.RuneCountInString(strings.TrimRight(line, "\n")); n > width {
			t.Errorf("%d columns: %s", n, line)
		}
	}
	if strings.Contains(told.String(), "\x1b") {
		t.Error("colour that nobody asked for")
	}
}

func TestProgressSaysChangesOnly(t *testing.T) {
	t.Parallel()
	var said bytes.Buffer
	p := &progress{w: &said, began: time.Now(), phases: map[string]string{}}
	p.phase("a/b", "Waiting")
	p.phase("a/b", "Waiting")
	p.phase("a/b", "Ready")
	if _, err := p.lines("> ").Write([]byte("one\ntw")); err != nil {
		t.Fatal(err)
	}
	if got := strings.Count(said.String(), "\n"); got != 3 || strings.Contains(said.String(), "tw") {
		t.Errorf("got %d lines:\n%s", got, said.String())
	}
}

func TestCommandsCanBeTypedIntoAShell(t *testing.T) {
	t.Parallel()
	d := &demo{place: layout{"/tmp/demo"}}
	if got, want := d.typed(git("log", "--format=%h %an", "-5")), "git -C /tmp/demo/deployments.git log '--format=%h %an' -5"; got != want {
		t.Errorf("got %s; want %s", got, want)
	}
}
