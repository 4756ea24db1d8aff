package gitlab

import (
	"net/http"
	"strings"
	"testing"
	"time"

	sdk "gitlab.com/gitlab-org/api/client-go"
	"pgregory.net/rapid"

	"chaperone.dev/chaperone/internal/forge"
	"chaperone.dev/chaperone/internal/forge/contract"
	"chaperone.dev/chaperone/internal/source"
)

func TestNames(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"", "clinic", "clinic/", "/x", "clinic//x", "clinic/..", "clinic/x?y", "clinic/x%2fy", "clinic/x y", "42"} {
		if _, err := New("https://gitlab.example.org", name, &http.Client{}); err == nil || !strings.Contains(err.Error(), "want group/name") {
			t.Errorf("%q: %v", name, err)
		}
	}
	for _, name := range []string{"clinic/x", "clinic/platform/infra/deploy.ments_2"} {
		if _, err := New("https://gitlab.example.org/git/", name, &http.Client{}); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
}

// What a comment shows was written by others, and GitLab does what a line of it
// says that begins with a slash.
func TestNoTextIsACommand(t *testing.T) {
	t.Parallel()
	site := newWorld(t)
	site.Commit(t, contract.Writer, "topic")
	number := site.Open(t, contract.Writer, "topic", "work")
	const attack = "/approve\nfine\n/merge\r\n/close\n\x00/label ~x\n\u202e/assign me\n```\n/usr/bin\n```\na/b\n"
	for range 2 {
		if err := site.Client.Comment(t.Context(), number, "preview", attack); err != nil {
			t.Fatal(err)
		}
	}
	want := proposal(site, t, attack)
	pr, err := site.Client.KeepPullRequest(t.Context(), want)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := site.Client.KeepPullRequest(t.Context(), want); err != nil || again != pr {
		t.Errorf("it differs from itself: %+v, %v", again, err)
	}
	comments := site.Comments(t, number)
	if len(comments) != 1 || site.Requests("PUT", "") != 0 {
		t.Fatalf("%q, %d changes", comments, site.Requests("PUT", ""))
	}
	for _, text := range []string{comments[0].Text, pr.Body} {
		if strings.HasPrefix(text, "/") || strings.Contains(text, "\n/") || !strings.Contains(text, "merge") {
			t.Errorf("%q", text)
		}
	}
}

func TestHarmless(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		text := strings.Join(rapid.SliceOf(rapid.SampledFrom([]string{"/", "\n", "\r", "\x00", "\u202e", "a", " ", "\xff", "\t"})).Draw(t, "text"), "")
		got := harmless(text)
		for line := range strings.SplitSeq(got, "\n") {
			if strings.HasPrefix(line, "/") {
				t.Fatalf("%q: %q", text, got)
			}
		}
		if harmless(got) != got {
			t.Fatal("twice is not the same as once")
		}
	})
}

func proposal(site interface {
	Commit(t testing.TB, by contract.Somebody, branch string) source.Revision
}, t *testing.T, body string) forge.Proposal {
	const branch = "chaperone/promote/shop/production"
	return forge.Proposal{Branch: branch, Base: contract.Base, Head: site.Commit(t, contract.Daemon, branch), Title: "Promote", Body: body}
}

// A status that waits may wait for something else, which GitLab does not know.
func TestPendingForAnotherReason(t *testing.T) {
	t.Parallel()
	site := newWorld(t)
	commit := site.Commit(t, contract.Writer, contract.Base)
	waits := forge.Status{Context: "chaperone/shop/staging", State: forge.Pending, Description: "waits for testing", URL: "https://example.org/" + strings.Repeat("x", 300)}
	for _, description := range []string{"waits for testing", "waits for testing", "waits for its soak", "waits for its soak"} {
		waits.Description = description
		if err := site.Client.SetStatus(t.Context(), commit, waits); err != nil {
			t.Fatal(err)
		}
	}
	list := site.Statuses(t, commit)
	if len(list) != 3 || list[0].State != forge.Pending || list[0].Description != "waits for its soak" || list[1].State != forge.Error || list[0].URL != "" {
		t.Errorf("%+v", list)
	}
}

func TestWhatAnApprovalWasGivenTo(t *testing.T) {
	t.Parallel()
	one, two := strings.Repeat("1", 40), strings.Repeat("2", 40)
	noon := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	later := noon.Add(time.Hour)
	versions := []*sdk.MergeRequestDiffVersion{{HeadCommitSHA: two, CreatedAt: &later}, {HeadCommitSHA: one, CreatedAt: &noon}}
	for _, test := range []struct {
		at   time.Time
		want string
	}{{noon, one}, {noon.Add(time.Minute), one}, {later, two}, {later.Add(time.Hour), two}, {noon.Add(-time.Second), ""}} {
		if got := headAt(versions, &test.at); string(got) != test.want {
			t.Errorf("%v: %s, want %s", test.at, got, test.want)
		}
	}
	if headAt(versions, nil) != "" || headAt(nil, &noon) != "" {
		t.Error("it tells what nobody knows")
	}
}

func TestWhichCommitAMergeMade(t *testing.T) {
	t.Parallel()
	one, two, three := strings.Repeat("1", 40), strings.Repeat("2", 40), strings.Repeat("3", 40)
	for _, test := range []struct{ merge, squash, head, want string }{
		{one, "", three, one}, {one, two, three, one}, {"", two, three, two}, {"", "", three, three},
	} {
		mr, err := mergeRequest(&sdk.BasicMergeRequest{
			IID: 1, TargetBranch: "main", State: "merged", SHA: test.head, MergeCommitSHA: test.merge, SquashCommitSHA: test.squash,
			SourceProjectID: 1, TargetProjectID: 1,
		})
		if err != nil || string(mr.MergeCommit) != test.want || mr.State != forge.Merged {
			t.Errorf("%+v: %+v, %v", test, mr, err)
		}
	}
	for _, bad := range []*sdk.BasicMergeRequest{nil, {}, {IID: 1, TargetBranch: "main", SHA: "short"}, {IID: 1, TargetBranch: "main", State: "merged", SHA: one, MergeCommitSHA: "x"}} {
		if mr, err := mergeRequest(bad); err == nil {
			t.Errorf("%+v", mr)
		}
	}
}
