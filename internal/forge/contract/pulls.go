package contract

import (
	"errors"
	"strings"
	"testing"

	"chaperone.dev/chaperone/internal/forge"
	"chaperone.dev/chaperone/internal/source"
)

// onePullRequest: it is opened once, kept up to date, and nothing is written
// where nothing differs.
func onePullRequest(t *testing.T, w World) {
	want := proposal(w, t)
	first := keep(t, w, want)
	if first.State != forge.Open || first.Branch != want.Branch || first.Base != Base || first.Head != want.Head || first.FromFork ||
		first.Author.Login != w.Login(Daemon) || first.Number == 0 || first.URL == "" || want.Differs(first) {
		t.Errorf("opened: %+v", first)
	}
	before := w.Faults().Requests("GET", "")
	again := keep(t, w, want)
	if again != first {
		t.Errorf("again: %+v, want %+v", again, first)
	}
	if reads := w.Faults().Requests("GET", "") - before; reads != 1 {
		t.Errorf("it takes %d requests to see that nothing differs, want 1", reads)
	}
	want.Head = w.Commit(t, Daemon, want.Branch)
	want.Title, want.Body = "Promote shop/production again", "What changes:\n\n- *everything*: é, 漢字 & <b>\n"
	changed := keep(t, w, want)
	if changed.Number != first.Number || want.Differs(changed) {
		t.Errorf("changed: %+v", changed)
	}
	if read := keep(t, w, want); read.Head != want.Head || want.Differs(read) {
		t.Errorf("read back: %+v", read)
	}
	pulls, _, _ := w.Faults().Paths()
	writes := w.Faults().Requests("POST", pulls) + w.Faults().Requests("PATCH", pulls) + w.Faults().Requests("PUT", pulls)
	if writes != 2 || w.PullRequests(t) != 1 {
		t.Errorf("%d writes and %d pull requests, want 2 and 1", writes, w.PullRequests(t))
	}
}

// lostAnswers: what was done is found again, whatever was heard of it.
func lostAnswers(t *testing.T, w World) {
	want := proposal(w, t)
	pulls, said, set := w.Faults().Paths()
	w.Faults().Lose("POST", pulls)
	if _, err := w.Forge().KeepPullRequest(t.Context(), want); err == nil {
		t.Fatal("the answer was lost, and nobody noticed")
	}
	pr := keep(t, w, want)
	if n := w.PullRequests(t); n != 1 || want.Differs(pr) {
		t.Errorf("%d pull requests, of which one is %+v", n, pr)
	}
	for range 2 { // the second time nothing is lost
		w.Faults().Lose("POST", said)
		_ = w.Forge().Comment(t.Context(), pr.Number, "preview", "what would change")
	}
	if list := w.Comments(t, pr.Number); len(list) != 1 {
		t.Errorf("comments: %q", list)
	}
	w.Faults().Lose("POST", "nothing")
	status := forge.Status{Context: "chaperone/shop/production", State: forge.Pending, Description: "waits"}
	w.Faults().Lose("POST", set)
	for range 2 {
		_ = w.Forge().SetStatus(t.Context(), want.Head, status)
	}
	if list := w.Statuses(t, want.Head); len(list) != 1 || list[0] != status {
		t.Errorf("statuses: %+v", list)
	}
}

// onlyOurs: a fork may name its branch as ours is named.
func onlyOurs(t *testing.T, w World) {
	want := proposal(w, t)
	w.Commit(t, Stranger, want.Branch)
	theirs := w.Open(t, Stranger, want.Branch, "Promote shop/production")
	ours := keep(t, w, want)
	if ours.Number == theirs || ours.FromFork || ours.Head != want.Head {
		t.Errorf("took the stranger's: %+v", ours)
	}
	if err := w.Forge().ClosePullRequest(t.Context(), want.Branch, Base, "obsolete"); err != nil {
		t.Fatal(err)
	}
	open, more, err := w.Forge().OpenPullRequests(t.Context(), Base)
	if err != nil || more || len(open) != 1 || open[0].Number != theirs || !open[0].FromFork || open[0].Author.Login != w.Login(Stranger) {
		t.Errorf("left open: %+v, %v, %v", open, more, err)
	}
	if list := w.Comments(t, theirs); len(list) != 0 {
		t.Errorf("comments on the stranger's: %q", list)
	}
}

// declined: a person closed it, which holds for as long as the same is proposed.
func declined(t *testing.T, w World) {
	want := proposal(w, t)
	first := keep(t, w, want)
	w.Close(t, first.Number, Writer)
	for range 2 {
		if pr := keep(t, w, want); pr.State != forge.Closed || pr.Number != first.Number {
			t.Errorf("declined: %+v", pr)
		}
	}
	if n := w.PullRequests(t); n != 1 {
		t.Errorf("%d pull requests, want 1", n)
	}
	want.Head = w.Commit(t, Daemon, want.Branch)
	if pr := keep(t, w, want); pr.State != forge.Open || pr.Number == first.Number {
		t.Errorf("something new: %+v", pr)
	}
}

// notTwice: it is merged, which Git need not have told yet; nothing is opened for it.
func notTwice(t *testing.T, w World) {
	want := proposal(w, t)
	first := keep(t, w, want)
	w.Merge(t, first.Number, Writer, Squash)
	for range 2 {
		if pr := keep(t, w, want); pr.State != forge.Merged || pr.Number != first.Number {
			t.Errorf("merged: %+v", pr)
		}
	}
	if n := w.PullRequests(t); n != 1 {
		t.Errorf("%d pull requests, want 1", n)
	}
}

func closes(t *testing.T, w World) {
	want := proposal(w, t)
	if err := w.Forge().ClosePullRequest(t.Context(), want.Branch, Base, "nothing to close"); err != nil {
		t.Errorf("none is open: %v", err)
	}
	pr := keep(t, w, want)
	for range 2 {
		if err := w.Forge().ClosePullRequest(t.Context(), want.Branch, Base, "a newer revision is verified"); err != nil {
			t.Fatal(err)
		}
	}
	list := w.Comments(t, pr.Number)
	if len(list) != 1 || !strings.Contains(list[0].Text, "a newer revision is verified") || list[0].By != w.Login(Daemon) {
		t.Errorf("comments: %q", list)
	}
	if open, _, err := w.Forge().OpenPullRequests(t.Context(), Base); err != nil || len(open) != 0 {
		t.Errorf("left open: %+v, %v", open, err)
	}
}

// obsolete: the branch is gone, and there again; the forge may have closed the
// pull request by itself.
func obsolete(t *testing.T, w World) {
	want := proposal(w, t)
	keep(t, w, want)
	w.DeleteBranch(t, want.Branch)
	err := w.Forge().ClosePullRequest(t.Context(), want.Branch, Base, "withdrawn")
	for tries := 0; errors.Is(err, forge.ErrUnavailable) && tries < 10; tries++ { // Gitea may be closing it just now, and stumble
		err = w.Forge().ClosePullRequest(t.Context(), want.Branch, Base, "withdrawn")
	}
	if err != nil {
		t.Errorf("without its branch: %v", err)
	}
	if pr, err := w.Forge().KeepPullRequest(t.Context(), want); err == nil && pr.State == forge.Open {
		t.Errorf("a pull request from no branch: %+v", pr)
	}
	w.Commit(t, Writer, Base) // or else the commit may be the same one as before
	want.Head = w.Commit(t, Daemon, want.Branch)
	if pr := keep(t, w, want); pr.State != forge.Open || pr.Head != want.Head {
		t.Errorf("proposed again: %+v", pr)
	}
}

func merged(t *testing.T, w World) {
	for _, style := range []Style{MergeCommit, Squash, Rebase} {
		want := proposal(w, t)
		want.Branch += "-" + string(style)
		want.Head = w.Commit(t, Daemon, want.Branch)
		pr := keep(t, w, want)
		commit := w.Merge(t, pr.Number, Writer, style)
		merge, found, err := w.Forge().MergedBy(t.Context(), Base, commit)
		if err != nil || !found {
			t.Fatalf("%s: found %v, %v", style, found, err)
		}
		got := merge.PullRequest
		if got.Number != pr.Number || got.State != forge.Merged || got.MergedBy.Login != w.Login(Writer) || got.MergeCommit != commit ||
			got.Author.Login != w.Login(Daemon) || got.Head != want.Head || len(merge.Reviews) != 0 {
			t.Errorf("%s: %+v", style, merge)
		}
		if _, found, err := w.Forge().MergedBy(t.Context(), "another", commit); err != nil || found {
			t.Errorf("%s: merged to another branch: %v, %v", style, found, err)
		}
		w.DeleteBranch(t, want.Branch)
		if err := w.Forge().ClosePullRequest(t.Context(), want.Branch, Base, "merged already"); err != nil {
			t.Errorf("%s: %v", style, err)
		}
		if list := w.Comments(t, pr.Number); len(list) != 0 {
			t.Errorf("%s: comments on a merged one: %q", style, list)
		}
	}
}

// approvals: who approved which revision, who took it back, and who does not count.
func approvals(t *testing.T, w World) {
	want := proposal(w, t)
	want.Branch += "-reviewed"
	first := w.Commit(t, Writer, want.Branch)
	number := w.Open(t, Writer, want.Branch, "work")
	w.Review(t, number, Daemon, forge.ChangesRequested)
	w.Review(t, number, Daemon, forge.Approved)
	w.Review(t, number, Stranger, forge.Approved)
	w.Review(t, number, Daemon, forge.Commented)
	second := w.Commit(t, Writer, want.Branch)
	commit := w.Merge(t, number, Writer, MergeCommit)
	merge, found, err := w.Forge().MergedBy(t.Context(), Base, commit)
	if err != nil || !found || merge.PullRequest.Head != second || merge.PullRequest.Author.Login != w.Login(Writer) {
		t.Fatalf("%+v, %v, %v", merge, found, err)
	}
	standing := merge.Approvals()
	if len(standing) != 1 || standing[0].By.Login != w.Login(Daemon) || standing[0].At != first {
		t.Errorf("approvals: %+v of %+v; want one, of %s", standing, merge.Reviews, first)
	}
	for _, review := range merge.Reviews {
		if review.By.Login == w.Login(Stranger) && review.Official {
			t.Errorf("a stranger's word counts: %+v", review)
		}
	}

	branch := want.Branch + "-dismissed"
	w.Commit(t, Writer, branch)
	number = w.Open(t, Writer, branch, "more work")
	w.Review(t, number, Daemon, forge.Approved)
	w.Dismiss(t, number, Daemon)
	commit = w.Merge(t, number, Writer, MergeCommit)
	if merge, found, err = w.Forge().MergedBy(t.Context(), Base, commit); err != nil || !found || len(merge.Approvals()) != 0 {
		t.Errorf("dismissed: %+v, %v, %v", merge.Reviews, found, err)
	}
}

// nobodyMerged: a push, and a commit that is not there.
func nobodyMerged(t *testing.T, w World) {
	pushed := w.Commit(t, Writer, Base)
	for _, commit := range []source.Revision{pushed, source.Revision(strings.Repeat("ab", 20))} {
		if merge, found, err := w.Forge().MergedBy(t.Context(), Base, commit); err != nil || found {
			t.Errorf("%s: %+v, %v, %v", commit, merge, found, err)
		}
	}
	want := proposal(w, t)
	keep(t, w, want)
	if merge, found, err := w.Forge().MergedBy(t.Context(), Base, want.Head); err != nil || found {
		t.Errorf("of an open one: %+v, %v, %v", merge, found, err)
	}
}

// longTexts are cut, and then they are the same each time.
func longTexts(t *testing.T, w World) {
	want := proposal(w, t)
	want.Title = strings.Repeat("é ", 1000)
	want.Body = strings.Repeat("a line of it: ü \U0001F600 & <details>\r\n", 10_000)
	first := keep(t, w, want)
	if again := keep(t, w, want); again != first {
		t.Error("a long text differs from itself")
	}
	pulls, _, _ := w.Faults().Paths()
	if n := w.Faults().Requests("PATCH", pulls) + w.Faults().Requests("PUT", pulls); n != 0 {
		t.Errorf("%d changes, want none", n)
	}
}
