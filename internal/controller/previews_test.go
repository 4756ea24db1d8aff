package controller

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"chaperone.dev/chaperone/internal/fault"
	"chaperone.dev/chaperone/internal/forge"
	"chaperone.dev/chaperone/internal/policy"
	"chaperone.dev/chaperone/internal/preview"
	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/reconcile"
	"chaperone.dev/chaperone/internal/source"
)

// board is a forge that keeps what it is told, and notes what it is asked.
type board struct {
	Forge
	open     []forge.PullRequest
	comments map[int64]string
	statuses map[source.Revision]map[string]forge.Status
	did      []string
	refuses  map[int64]error // comments
}

func (b *board) OpenPullRequests(context.Context, string) ([]forge.PullRequest, bool, error) {
	return b.open, false, nil
}

func (b *board) Statuses(_ context.Context, commit source.Revision) (all []forge.Status, err error) {
	b.did = append(b.did, "read "+string(commit))
	for _, s := range b.statuses[commit] {
		all = append(all, s)
	}
	return all, nil
}

func (b *board) SetStatus(_ context.Context, commit source.Revision, s forge.Status) error {
	b.did = append(b.did, fmt.Sprintf("set %s %s %s", commit, s.Context, s.State))
	if b.statuses[commit] == nil {
		b.statuses[commit] = map[string]forge.Status{}
	}
	b.statuses[commit][s.Context] = s
	return nil
}

func (b *board) Comment(_ context.Context, number int64, _, body string) error {
	if err := b.refuses[number]; err != nil {
		return err
	}
	if b.comments[number] != body {
		b.did = append(b.did, fmt.Sprintf("comment %d", number))
	}
	b.comments[number] = body
	return nil
}

func (b *board) Amend(ctx context.Context, number int64, marker, body string) error {
	if b.comments[number] == "" {
		return nil
	}
	return b.Comment(ctx, number, marker, body)
}

// oracle answers for heads, and knows which of them are on the branch.
type oracle struct {
	Source
	answers map[source.Revision]preview.Preview
	errs    map[source.Revision]error
	merged  map[source.Revision]bool
	away    error // of the history
	asked   []string
}

func (o *oracle) Contains(_ context.Context, r source.Revision) (bool, error) {
	return o.merged[r], o.away
}

func (o *oracle) Of(context.Context, source.Revision, source.Revision) (preview.Preview, error) {
	return preview.Preview{}, errors.New("nobody asks")
}

func (o *oracle) OfPull(_ context.Context, _ source.Revision, pr forge.PullRequest) (preview.Preview, error) {
	o.asked = append(o.asked, string(pr.Head))
	return o.answers[pr.Head], o.errs[pr.Head]
}

// desk is a worker on previews, with all that it knows.
type desk struct {
	*previews
	board  *board
	oracle *oracle
	now    time.Time
}

func newDesk(t *testing.T, of string) *desk {
	t.Helper()
	d := &desk{now: time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC),
		board:  &board{comments: map[int64]string{}, statuses: map[source.Revision]map[string]forge.Status{}, refuses: map[int64]error{}},
		oracle: &oracle{answers: map[source.Revision]preview.Preview{}, errs: map[source.Revision]error{}, merged: map[source.Revision]bool{}}}
	d.restart(of)
	return d
}

func (d *desk) restart(of string) {
	c := New(Ports{Source: d.oracle, Forge: d.board, Previews: d.oracle, Telemetry: silent{}},
		Config{Now: func() time.Time { return d.now }, Log: slog.New(slog.DiscardHandler), Previewed: of})
	d.previews = c.previews
	d.offer(View{Polled: true, Head: "main", Policy: "p1"})
	<-d.wake
}

// does is what one look comes to.
func (d *desk) does(t *testing.T, want ...string) {
	t.Helper()
	d.board.did = nil
	if err := d.round(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(d.board.did, want) {
		t.Errorf("did  %q\nwant %q", d.board.did, want)
	}
}

func changing(verdict policy.Verdict, names ...string) (p preview.Preview) {
	for _, name := range names {
		p.Environments = append(p.Environments, preview.Environment{ID: promotion.ID{Pipeline: "shop", Name: name}, Effect: preview.Changed,
			Judgement: preview.Judgement{Verdict: verdict}})
	}
	return p
}

// A head that Git does not have yet is asked for again, told of when that lasts,
// and put right when it comes. What did not change costs the list and nothing
// else, also for a daemon that begins anew.
func TestPreviewsFollowAPullRequest(t *testing.T) {
	t.Parallel()
	d := newDesk(t, PreviewsAll)
	d.board.open = []forge.PullRequest{{Number: 7, Head: "h1"}}
	d.oracle.errs["h1"] = fault.Terminal("fetch", "https://internal.example.org/secret", source.ErrUnknownRevision)
	d.does(t)
	d.does(t)
	d.now = d.now.Add(time.Minute)
	d.does(t, "read h1", "set h1 chaperone/preview error")
	if said := d.board.statuses["h1"][previewContext].Description; strings.Contains(said, "internal") || !strings.Contains(said, "SourceUnavailable") {
		t.Errorf("says %q", said)
	}
	d.oracle.errs, d.oracle.answers["h1"] = map[source.Revision]error{}, changing(policy.VerdictAllow, "dev", "prod")
	d.does(t)
	d.now = d.now.Add(time.Hour)
	d.does(t, "read h1", "set h1 chaperone/shop/dev success", "set h1 chaperone/shop/prod success", "set h1 chaperone/preview success", "comment 7")
	d.does(t)
	d.restart(PreviewsAll)
	d.does(t, "read h1")
	d.does(t)

	d.board.open[0].Head, d.oracle.answers["h2"] = "h2", changing(policy.VerdictDeny, "dev")
	d.does(t, "read h2", "set h2 chaperone/shop/dev failure", "comment 7")
	d.offer(View{Polled: true, Head: "main2", Policy: "p2"})
	<-d.wake
	d.oracle.answers["h2"] = changing(policy.VerdictAllow, "prod")
	d.does(t, "read h2", "set h2 chaperone/shop/prod success", "set h2 chaperone/shop/dev success", "comment 7")
	d.board.open[0].Head = "h3"
	d.does(t, "read h3", "comment 7")
	if said := d.board.comments[7]; !strings.Contains(said, "No environment changes") {
		t.Errorf("says %q", said)
	}
	d.board.open[0].Head, d.oracle.merged["h4"], d.oracle.answers["h4"] = "h4", true, changing(policy.VerdictAllow, "dev")
	d.does(t)
	if len(d.board.comments) != 1 {
		t.Errorf("%d comments", len(d.board.comments))
	}
}

// A promotion says in its own text what it does, and its head how it is judged.
// One that somebody else pushed to is like any other.
func TestPreviewsOfProposals(t *testing.T) {
	t.Parallel()
	d := newDesk(t, PreviewsAll)
	branch := source.PromotionBranch(staging.String())
	d.board.open = []forge.PullRequest{{Number: 1, Branch: branch, Head: "ours"}, {Number: 2, Branch: branch, Head: "theirs", FromFork: true}}
	for _, head := range []source.Revision{"ours", "theirs", "pushed"} {
		d.oracle.answers[head] = changing(policy.VerdictAllow, "dev")
	}
	known := func(head source.Revision) {
		d.offer(View{Polled: true, Head: "main", Policy: "p1", Environments: []EnvironmentView{{ID: staging,
			Journal: reconcile.Journal{Proposal: reconcile.Proposal{Revision: "r2", Commit: head}}}}})
	}
	known("before")
	d.does(t, "read theirs", "set theirs chaperone/shop/dev success", "comment 2")
	known("") // ours is on the forge, and is not written down yet
	d.now = d.now.Add(time.Minute)
	d.does(t)
	known("ours")
	d.now = d.now.Add(time.Minute)
	d.does(t, "read ours", "set ours chaperone/shop/dev success")
	d.board.open[0].Head = "pushed"
	for range maxAwaited {
		d.does(t)
		d.now = d.now.Add(time.Hour)
	}
	d.does(t, "read pushed", "set pushed chaperone/shop/dev success", "comment 1")
}

// Whatever one pull request is like, others get what is theirs: one that nobody
// may comment on, one that brings too much, one that has a thousand environments.
func TestPreviewsStandInNobodysWay(t *testing.T) {
	t.Parallel()
	d := newDesk(t, PreviewsAll)
	d.board.open = []forge.PullRequest{
		{Number: 1, Head: "fork", FromFork: true}, {Number: 2, Head: "locked"}, {Number: 3, Head: "large"}, {Number: 4, Head: "many"}, {Number: 5, Head: "docs"},
	}
	d.board.refuses[2] = forge.Fault("comment", "o/r", forge.Answered(403, "locked"))
	d.oracle.errs["large"] = fault.Terminal("fetch", "large", source.ErrTooMuch)
	d.oracle.answers["fork"], d.oracle.answers["locked"] = changing(policy.VerdictAllow, "dev"), changing(policy.VerdictAllow, "dev")
	var names []string
	for i := range 1000 {
		names = append(names, fmt.Sprintf("e%03d", i))
	}
	d.oracle.answers["many"] = changing(policy.VerdictDeny, names...)
	if err := d.round(t.Context()); err != nil {
		t.Fatal(err)
	}
	if want := []string{"locked", "large", "many", "docs", "fork"}; !slices.Equal(d.oracle.asked, want) {
		t.Errorf("asked %q, want %q", d.oracle.asked, want)
	}
	if n := len(d.board.statuses["many"]); n != maxTold+1 || d.board.statuses["many"][moreContext].State != forge.Failure {
		t.Errorf("%d statuses, %+v", n, d.board.statuses["many"][moreContext])
	}
	if s := d.board.statuses["large"][previewContext]; s.State != forge.Error {
		t.Errorf("too much: %+v", s)
	}
	if d.board.statuses["fork"]["chaperone/shop/dev"].State != forge.Success || len(d.board.comments[1]) == 0 {
		t.Errorf("the fork: %+v, %q", d.board.statuses["fork"], d.board.comments[1])
	}
	if len(d.board.statuses["docs"]) != 0 || d.board.comments[5] != "" || d.board.comments[3] != "" {
		t.Error("told what is nothing to them")
	}
	if d.does(t); len(d.board.did) != 0 {
		t.Errorf("again: %q", d.board.did)
	}
}

// What is not to be told is not even worked out.
func TestPreviewsOfTheRepositoryAlone(t *testing.T) {
	t.Parallel()
	d := newDesk(t, PreviewsOwn)
	d.board.open = []forge.PullRequest{{Number: 1, Head: "fork", FromFork: true}}
	d.does(t)
	if len(d.oracle.asked) != 0 {
		t.Errorf("asked %q", d.oracle.asked)
	}
	if c := New(Ports{Forge: d.board, Previews: d.oracle}, Config{Previewed: PreviewsNever}); c.previews != nil {
		t.Error("there is a worker for nothing")
	}
}

// Without policies nothing is allowed, and nobody is told that it is.
func TestPreviewsWithoutPolicies(t *testing.T) {
	t.Parallel()
	d := newDesk(t, PreviewsAll)
	d.board.open = []forge.PullRequest{{Number: 1, Head: "h"}}
	d.oracle.answers["h"] = changing(policy.VerdictAllow, "dev")
	d.offer(View{Polled: true, Head: "main"})
	d.does(t)
	d.now = d.now.Add(time.Minute)
	d.does(t, "read h", "set h chaperone/preview error")
	d.offer(View{Polled: true, Head: "main", Policy: "p1"})
	<-d.wake
	d.does(t, "read h", "set h chaperone/shop/dev success", "set h chaperone/preview success", "comment 1")
}

// A history that cannot be read for a moment is asked about again, though nothing
// else changes.
func TestPreviewsWaitForTheHistory(t *testing.T) {
	t.Parallel()
	d := newDesk(t, PreviewsAll)
	d.board.open = []forge.PullRequest{{Number: 1, Head: "h"}}
	d.oracle.answers["h"], d.oracle.away = changing(policy.VerdictAllow, "dev"), source.ErrUnavailable
	d.does(t)
	d.oracle.away = nil
	d.does(t)
	if rest := d.rest(); rest > time.Minute {
		t.Errorf("nothing is due for %s", rest)
	}
	d.now = d.now.Add(time.Minute)
	d.does(t, "read h", "set h chaperone/shop/dev success", "comment 1")
}

// What cannot be worked out any more is no success: a refusal stands, as a forge may
// let nobody merge because of it, and is there for whoever looks.
func TestPreviewsThatAreLostSettleNothing(t *testing.T) {
	t.Parallel()
	for name, lose := range map[string]func(d *desk){
		"no policies": func(d *desk) { d.offer(View{Polled: true, Head: "main"}) },
		"no Git": func(d *desk) {
			d.oracle.errs["h"] = source.ErrUnavailable
			d.offer(View{Polled: true, Head: "main2", Policy: "p1"})
		},
		"too much": func(d *desk) {
			d.oracle.errs["h"] = fault.Terminal("fetch", "h", source.ErrTooMuch)
			d.offer(View{Polled: true, Head: "main2", Policy: "p1"})
		},
		"the same head from a fork": func(d *desk) {
			d.board.open = append(d.board.open, forge.PullRequest{Number: 2, Head: "h", FromFork: true})
			d.oracle.errs["h"] = fault.Terminal("render", "app", errors.New("too large")) // within a fork's limits
		},
	} {
		d := newDesk(t, PreviewsAll)
		d.board.open = []forge.PullRequest{{Number: 1, Head: "h"}}
		d.oracle.answers["h"] = changing(policy.VerdictDeny, "dev")
		d.does(t, "read h", "set h chaperone/shop/dev failure", "comment 1")
		lose(d)
		for range 4 {
			if err := d.round(t.Context()); err != nil {
				t.Fatal(err)
			}
			d.now = d.now.Add(time.Hour)
		}
		if s := d.board.statuses["h"]; s["chaperone/shop/dev"].State != forge.Failure || (s[previewContext].State == "") != strings.Contains(name, "fork") {
			t.Errorf("%s: %+v", name, s)
		}
	}
}

// What strangers wrote, in errors too, cannot be more on the forge than words.
func TestUnansweredIsWords(t *testing.T) {
	t.Parallel()
	pr := forge.PullRequest{Head: "0123456789012345678901234567890123456789"}
	for _, err := range []error{
		errors.New("dial tcp 10.0.0.7:443: token canary"), source.ErrUnavailable, source.ErrTooFar, source.ErrNotAncestor,
		context.DeadlineExceeded, errNobodyJudges, source.ErrTooMuch,
	} {
		said, _ := unanswered(fmt.Errorf("10.0.0.7 canary: %w", err), pr)
		if text := fmt.Sprint(said); strings.Contains(text, "canary") || strings.Contains(text, "10.0.0.7") || said.statuses[0].State != forge.Error {
			t.Errorf("%v: %s", err, text)
		}
	}
	said, again := unanswered(fault.Terminal("load", "environments", errors.New("@everyone\n/merge "+strings.Repeat("x", 1000))), pr)
	if s := said.statuses[0]; again || s.State != forge.Failure || len([]rune(s.Description)) > forge.MaxDescription || strings.Contains(s.Description, "\n") {
		t.Errorf("%+v", said)
	}
	if strings.Contains(said.comment, "everyone") {
		t.Errorf("%q", said.comment)
	}
}
