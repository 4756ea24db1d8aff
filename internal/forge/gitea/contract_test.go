package gitea

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	sdk "code.gitea.io/sdk/gitea"

	"chaperone.dev/chaperone/internal/controller"
	"chaperone.dev/chaperone/internal/forge"
	"chaperone.dev/chaperone/internal/forge/client"
	"chaperone.dev/chaperone/internal/forge/contract"
	"chaperone.dev/chaperone/internal/forge/wire"
	"chaperone.dev/chaperone/internal/source"
	testgitea "chaperone.dev/chaperone/internal/testkit/gitea"
)

func TestContract(t *testing.T) {
	t.Parallel()
	contract.Run(t, func(t *testing.T) contract.World { return newWorld(t) })
}

var scopes = []sdk.AccessTokenScope{"write:repository", "write:issue", "read:user"}

// world is a repository on a real Gitea.
type world struct {
	*testgitea.Front
	*testgitea.Repository
	people  map[contract.Somebody]*testgitea.Person
	fork    *testgitea.Repository
	client  *client.Client
	token   string
	file    string
	commits int
}

func newWorld(t *testing.T) *world {
	t.Helper()
	server := testgitea.Start(t)
	owner := server.Person(t, "owner")
	w := &world{Front: server.Front(t), Repository: owner.Repository(t), file: filepath.Join(t.TempDir(), "token")}
	w.people = map[contract.Somebody]*testgitea.Person{
		contract.Daemon: server.Person(t, "daemon"), contract.Writer: server.Person(t, "writer"), contract.Stranger: server.Person(t, "stranger"),
	}
	w.Let(t, w.people[contract.Daemon], sdk.AccessModeWrite)
	w.Let(t, w.people[contract.Writer], sdk.AccessModeWrite)
	w.Rotate(t)
	http, err := wire.Client(wire.Config{URL: w.URL, Token: wire.TokenFile(w.file)})
	if err != nil {
		t.Fatal(err)
	}
	api, err := New(w.URL, w.Name, http)
	if err != nil {
		t.Fatal(err)
	}
	w.client = client.New(api)
	return w
}

func (w *world) Forge() controller.Forge            { return w.client }
func (w *world) Login(who contract.Somebody) string { return w.people[who].Login }
func (w *world) Faults() contract.Faults            { return w }
func (w *world) Token() string                      { return w.token }
func (w *world) Paths() (string, string, string)    { return "/pulls", "/comments", "/statuses/" }
func (w *world) Revoke(t testing.TB)                { w.people[contract.Daemon].Revoke(t) }

func (w *world) Rotate(t testing.TB) {
	t.Helper()
	w.token = w.people[contract.Daemon].NewToken(t, scopes...)
	if err := os.WriteFile(w.file, []byte(w.token+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
}

func (w *world) Commit(t testing.TB, by contract.Somebody, branch string) source.Revision {
	t.Helper()
	repository, from := w.Repository, ""
	if by == contract.Stranger {
		w.fork = w.Fork(t, w.people[by])
		repository = w.fork
	}
	if !repository.Has(t, branch) {
		from = contract.Base
	}
	w.commits++
	name := "file-" + strconv.Itoa(w.commits)
	return source.Revision(repository.Commit(t, w.people[by], branch, from, name, name))
}

func (w *world) Open(t testing.TB, by contract.Somebody, branch, title string) int64 {
	t.Helper()
	if by == contract.Stranger {
		branch = w.Login(by) + ":" + branch
	}
	return w.Propose(t, w.people[by], branch, contract.Base, title)
}

func (w *world) Merge(t testing.TB, number int64, by contract.Somebody, style contract.Style) source.Revision {
	t.Helper()
	return source.Revision(w.Repository.Merge(t, number, w.people[by], sdk.MergeStyle(style)))
}

func (w *world) Close(t testing.TB, number int64, by contract.Somebody) {
	t.Helper()
	w.Repository.Close(t, number, w.people[by], sdk.StateClosed)
}

func (w *world) Review(t testing.TB, number int64, by contract.Somebody, verdict forge.Verdict) {
	t.Helper()
	w.Repository.Review(t, number, w.people[by], map[forge.Verdict]sdk.ReviewStateType{
		forge.Approved: sdk.ReviewStateApproved, forge.ChangesRequested: sdk.ReviewStateRequestChanges, forge.Commented: sdk.ReviewStateComment,
	}[verdict])
}

func (w *world) Dismiss(t testing.TB, number int64, review contract.Somebody) {
	t.Helper()
	w.Repository.Dismiss(t, number, w.people[review])
}

func (w *world) Say(t testing.TB, number int64, by contract.Somebody, text string) {
	t.Helper()
	w.Repository.Say(t, number, w.people[by], text)
}

func (w *world) Comments(t testing.TB, number int64) []contract.Comment {
	t.Helper()
	var list []contract.Comment
	for _, c := range w.Repository.Comments(t, number) {
		list = append(list, contract.Comment{By: c.Poster.UserName, Text: c.Body})
	}
	return list
}

func (w *world) PullRequests(t testing.TB) int {
	t.Helper()
	return len(w.Repository.PullRequests(t))
}

func (w *world) Statuses(t testing.TB, of source.Revision) []forge.Status {
	t.Helper()
	var list []forge.Status
	for _, s := range w.Repository.Statuses(t, string(of)) {
		list = append(list, forge.Status{Context: s.Context, State: forge.StatusState(s.State), Description: s.Description, URL: s.TargetURL})
	}
	return slices.Clip(list)
}
