package contract

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"chaperone.dev/chaperone/internal/forge"
	"chaperone.dev/chaperone/internal/source"
)

// statuses are written where the newest one says something else, in each context
// by itself.
func statuses(t *testing.T, w World) {
	commit := w.Commit(t, Writer, Base)
	staging := forge.Status{Context: "chaperone/shop/staging", State: forge.Pending, Description: "waits for testing", URL: "https://example.org/shop"}
	production := forge.Status{Context: "chaperone/shop/production", State: forge.Failure, Description: "reverted: é"}
	set := func(s forge.Status) {
		t.Helper()
		if err := w.Forge().SetStatus(t.Context(), commit, s); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		set(staging)
		set(production)
	}
	for _, state := range []forge.StatusState{forge.Success, forge.Error, forge.Success, forge.Success} {
		staging.State = state
		set(staging)
	}
	production.Description = strings.Repeat("why it was reverted ", 100)
	set(production)
	set(production)
	list := w.Statuses(t, commit)
	want := []forge.StatusState{forge.Failure, forge.Success, forge.Error, forge.Success, forge.Failure, forge.Pending}
	if len(list) != len(want) {
		t.Fatalf("%d statuses: %+v", len(list), list)
	}
	for i, status := range list {
		if status.State != want[i] {
			t.Errorf("status %d: %+v, want %s", i, status, want[i])
		}
	}
	if list[0] != production.Bounded() || list[1] != staging {
		t.Errorf("%+v and %+v", list[0], list[1])
	}
	newest, err := w.Forge().Statuses(t.Context(), commit)
	slices.SortFunc(newest, func(a, b forge.Status) int { return strings.Compare(a.Context, b.Context) })
	if want := []forge.Status{production.Bounded(), staging}; err != nil || !slices.Equal(newest, want) {
		t.Errorf("the newest: %+v, %v; want %+v", newest, err, want)
	}
	nothing := source.Revision(strings.Repeat("ab", 20))
	if err := w.Forge().SetStatus(t.Context(), nothing, staging); err == nil {
		t.Error("a status of no commit")
	}
}

// comments: one of ours by marker, changed in place, and nobody else's.
func comments(t *testing.T, w World) {
	w.Commit(t, Writer, "topic")
	number := w.Open(t, Writer, "topic", "work")
	copied := forge.Marked("preview", "I copied the daemon's comment")
	w.Say(t, number, Writer, copied)
	w.Say(t, number, Stranger, "nice")
	say := func(marker, body string) {
		t.Helper()
		if err := w.Forge().Comment(t.Context(), number, marker, body); err != nil {
			t.Fatal(err)
		}
	}
	_, path, _ := w.Faults().Paths()
	say("preview", "first")
	say("other", "another matter")
	say("preview", "second\n\nwith `code` & <details>")
	before := w.Faults().Requests("PATCH", path) + w.Faults().Requests("PUT", path)
	say("preview", "second\r\n\r\nwith `code` & <details>\n")
	if after := w.Faults().Requests("PATCH", path) + w.Faults().Requests("PUT", path); before != 1 || after != 1 {
		t.Errorf("%d and %d changes, want 1", before, after)
	}
	list := w.Comments(t, number)
	want := []Comment{
		{w.Login(Writer), copied}, {w.Login(Stranger), "nice"},
		{w.Login(Daemon), forge.Marked("preview", "second\n\nwith `code` & <details>")}, {w.Login(Daemon), forge.Marked("other", "another matter")},
	}
	if len(list) != len(want) {
		t.Fatalf("comments: %q", list)
	}
	for i := range want {
		if list[i].By != want[i].By || !forge.SameText(list[i].Text, want[i].Text) {
			t.Errorf("comment %d: %q, want %q", i, list[i], want[i])
		}
	}
	if err := w.Forge().Comment(t.Context(), 999_999, "preview", "to nobody"); err == nil {
		t.Error("a comment on no pull request")
	}
	for _, marker := range []string{"preview", "never written"} {
		if err := w.Forge().Amend(t.Context(), number, marker, "third"); err != nil {
			t.Fatal(err)
		}
	}
	want[2].Text = forge.Marked("preview", "third")
	list = w.Comments(t, number)
	if len(list) != len(want) || !forge.SameText(list[2].Text, want[2].Text) {
		t.Errorf("amended: %q", list)
	}
}

// openOnes are those to the base, however many pages they fill.
func openOnes(t *testing.T, w World) {
	want := map[int64]string{}
	for i := range 4 {
		branch := fmt.Sprintf("topic-%d", i)
		w.Commit(t, Writer, branch)
		want[w.Open(t, Writer, branch, branch)] = branch
	}
	var closed int64
	for number := range want {
		closed = number
	}
	w.Close(t, closed, Writer)
	delete(want, closed)
	open, more, err := w.Forge().OpenPullRequests(t.Context(), Base)
	if err != nil || more || len(open) != len(want) {
		t.Fatalf("%+v, %v, %v", open, more, err)
	}
	for _, pr := range open {
		if !strings.HasSuffix(pr.Ref, fmt.Sprintf("/%d/head", pr.Number)) || want[pr.Number] != pr.Branch || pr.Head == "" || pr.State != forge.Open || pr.FromFork || pr.Base != Base {
			t.Errorf("%+v, want the branch %q", pr, want[pr.Number])
		}
	}
	if open, _, err := w.Forge().OpenPullRequests(t.Context(), "topic-0"); err != nil || len(open) != 0 {
		t.Errorf("to another base: %+v, %v", open, err)
	}
}
