package gitea

import (
	"encoding/base64"
	"fmt"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	sdk "code.gitea.io/sdk/gitea"
)

// Main is the branch that new repositories have.
const Main = "main"

// Person is somebody with an account and a token for everything.
type Person struct {
	Login, Email, Password, Token string

	server *Server
	api    *sdk.Client
	tokens int
}

// Person makes an account; its login begins with the name.
func (s *Server) Person(t testing.TB, name string) *Person {
	t.Helper()
	p := &Person{Login: fmt.Sprintf("%s%d", name, s.count.Add(1)), Password: password, server: s}
	p.Email = p.Login + "@example.org"
	keep, public := false, sdk.VisibleTypePublic
	_, _, err := s.admin.AdminCreateUser(sdk.CreateUserOption{
		Username: p.Login, Email: p.Email, FullName: strings.ToUpper(name[:1]) + name[1:], Password: p.Password, MustChangePassword: &keep, Visibility: &public,
	})
	must(t, "create "+p.Login, err)
	p.Token = p.NewToken(t, sdk.AccessTokenScopeAll)
	p.api, err = s.client(p.Token)
	must(t, "sign in", err)
	return p
}

// NewToken makes one more token, with these scopes.
func (p *Person) NewToken(t testing.TB, scopes ...sdk.AccessTokenScope) string {
	t.Helper()
	basic, err := sdk.NewClient("http://gitea", sdk.SetHTTPClient(p.server.http), sdk.SetBasicAuth(p.Login, p.Password), sdk.SetGiteaVersion(""))
	must(t, "sign in", err)
	p.tokens++
	token, _, err := basic.CreateAccessToken(sdk.CreateAccessTokenOption{Name: fmt.Sprintf("token-%d", p.tokens), Scopes: scopes})
	must(t, "create token", err)
	return token.Token
}

// Revoke takes back every token of the person's.
func (p *Person) Revoke(t testing.TB) {
	t.Helper()
	basic, err := sdk.NewClient("http://gitea", sdk.SetHTTPClient(p.server.http), sdk.SetBasicAuth(p.Login, p.Password), sdk.SetGiteaVersion(""))
	must(t, "sign in", err)
	tokens, _, err := basic.ListAccessTokens(sdk.ListAccessTokensOptions{})
	must(t, "list tokens", err)
	for _, token := range tokens {
		_, err := basic.DeleteAccessToken(token.ID)
		must(t, "revoke token", err)
	}
}

// Repository is one on the server, with a first commit on Main.
type Repository struct {
	Owner      *Person
	Name       string // owner/name
	owner, own string
	server     *Server
}

// Repository makes a public repository of the person's.
func (p *Person) Repository(t testing.TB) *Repository {
	t.Helper()
	r := &Repository{Owner: p, owner: p.Login, own: fmt.Sprintf("repo%d", p.server.count.Add(1)), server: p.server}
	r.Name = r.owner + "/" + r.own
	_, _, err := p.api.CreateRepo(sdk.CreateRepoOption{Name: r.own, AutoInit: true, DefaultBranch: Main})
	must(t, "create repository", err)
	return r
}

// Fork makes the person's own copy.
func (r *Repository) Fork(t testing.TB, by *Person) *Repository {
	t.Helper()
	_, _, err := by.api.CreateFork(r.owner, r.own, sdk.CreateForkOption{})
	must(t, "fork", err)
	return &Repository{Owner: by, Name: by.Login + "/" + r.own, owner: by.Login, own: r.own, server: r.server}
}

// Address is what Git clones from, by a front.
func (r *Repository) Address(f *Front) string { return f.URL + "/" + r.Name + ".git" }

// Let lets somebody do as much as write or read.
func (r *Repository) Let(t testing.TB, who *Person, access sdk.AccessMode) {
	t.Helper()
	_, err := r.Owner.api.AddCollaborator(r.owner, r.own, who.Login, sdk.AddCollaboratorOption{Permission: &access})
	must(t, "add collaborator", err)
}

// Commit puts a file on a branch, in a commit of its own by somebody, and makes
// the branch out of another one first if that is named.
func (r *Repository) Commit(t testing.TB, by *Person, branch, from, path, content string) string {
	t.Helper()
	options := sdk.FileOptions{BranchName: branch, Message: "Change " + path}
	if from != "" {
		options.BranchName, options.NewBranchName = from, branch
	}
	encoded := base64.StdEncoding.EncodeToString([]byte(content))
	there, _, err := by.api.GetContents(r.owner, r.own, options.BranchName, path)
	var done *sdk.FileResponse
	if err == nil {
		done, _, err = by.api.UpdateFile(r.owner, r.own, path, sdk.UpdateFileOptions{FileOptions: options, SHA: there.SHA, Content: encoded})
	} else {
		done, _, err = by.api.CreateFile(r.owner, r.own, path, sdk.CreateFileOptions{FileOptions: options, Content: encoded})
	}
	must(t, "commit "+path, err)
	return done.Commit.SHA
}

// Head is the commit of a branch.
func (r *Repository) Head(t testing.TB, branch string) string {
	t.Helper()
	b, _, err := r.Owner.api.GetRepoBranch(r.owner, r.own, branch)
	must(t, "read branch "+branch, err)
	return b.Commit.ID
}

// Has reports whether there is such a branch.
func (r *Repository) Has(t testing.TB, branch string) bool {
	t.Helper()
	_, response, err := r.Owner.api.GetRepoBranch(r.owner, r.own, branch)
	if err != nil && (response == nil || response.StatusCode != 404) {
		t.Fatalf("gitea: read branch %s: %v", branch, err)
	}
	return err == nil
}

// DeleteBranch removes a branch.
func (r *Repository) DeleteBranch(t testing.TB, branch string) {
	t.Helper()
	_, _, err := r.Owner.api.DeleteRepoBranch(r.owner, r.own, branch)
	must(t, "delete branch "+branch, err)
}

// Protect refuses every push to the branch: it changes by merges alone.
func (r *Repository) Protect(t testing.TB, branch string) {
	t.Helper()
	_, _, err := r.Owner.api.CreateBranchProtection(r.owner, r.own, sdk.CreateBranchProtectionOption{RuleName: branch, BranchName: branch})
	must(t, "protect "+branch, err)
}

// Hook lets Gitea tell an address of each push, signed with a secret.
func (r *Repository) Hook(t testing.TB, address, secret string) {
	t.Helper()
	_, _, err := r.Owner.api.CreateRepoHook(r.owner, r.own, sdk.CreateHookOption{
		Type: sdk.HookTypeGitea, Active: true, Events: []string{"push"},
		Config: map[string]string{"url": address, "content_type": "json", "secret": secret},
	})
	must(t, "create webhook", err)
}

// Propose opens a pull request in somebody's name, from a branch or owner:branch.
func (r *Repository) Propose(t testing.TB, by *Person, branch, base, title string) int64 {
	t.Helper()
	pr, _, err := by.api.CreatePullRequest(r.owner, r.own, sdk.CreatePullRequestOption{Head: branch, Base: base, Title: title})
	must(t, "open pull request", err)
	return pr.Index
}

// PullRequests are all that there are, or ever were.
func (r *Repository) PullRequests(t testing.TB) []*sdk.PullRequest {
	t.Helper()
	list, _, err := r.Owner.api.ListRepoPullRequests(r.owner, r.own, sdk.ListPullRequestsOptions{
		State: sdk.StateAll, ListOptions: sdk.ListOptions{PageSize: 50},
	})
	must(t, "list pull requests", err)
	return list
}

// Merge merges a pull request in somebody's name, in one of Gitea's styles, and
// returns the new head of its base. Gitea says for a moment that it is not ready.
func (r *Repository) Merge(t testing.TB, number int64, by *Person, style sdk.MergeStyle) string {
	t.Helper()
	pr, _, err := by.api.GetPullRequest(r.owner, r.own, number)
	must(t, "read pull request", err)
	merged := false
	eventually(t, "merge pull request", func() bool {
		merged, _, err = by.api.MergePullRequest(r.owner, r.own, number, sdk.MergePullRequestOption{Style: style})
		return merged && err == nil
	})
	return r.Head(t, pr.Base.Name)
}

// Close closes a pull request, or opens it again.
func (r *Repository) Close(t testing.TB, number int64, by *Person, state sdk.StateType) {
	t.Helper()
	_, _, err := by.api.EditPullRequest(r.owner, r.own, number, sdk.EditPullRequestOption{State: &state})
	must(t, "close pull request", err)
}

// Review says something about a pull request as it is now.
func (r *Repository) Review(t testing.TB, number int64, by *Person, says sdk.ReviewStateType) {
	t.Helper()
	_, _, err := by.api.CreatePullReview(r.owner, r.own, number, sdk.CreatePullReviewOptions{State: says, Body: "as I see it"})
	must(t, "review", err)
}

// Dismiss takes the last review of somebody back.
func (r *Repository) Dismiss(t testing.TB, number int64, of *Person) {
	t.Helper()
	list, _, err := r.Owner.api.ListPullReviews(r.owner, r.own, number, sdk.ListPullReviewsOptions{})
	must(t, "list reviews", err)
	for _, review := range slices.Backward(list) {
		if review.Reviewer.UserName == of.Login {
			_, err := r.Owner.api.DismissPullReview(r.owner, r.own, number, review.ID, sdk.DismissPullReviewOptions{Message: "outdated"})
			must(t, "dismiss review", err)
			return
		}
	}
	t.Fatalf("%s has not reviewed %d", of.Login, number)
}

// Say comments in somebody's name.
func (r *Repository) Say(t testing.TB, number int64, by *Person, text string) {
	t.Helper()
	_, _, err := by.api.CreateIssueComment(r.owner, r.own, number, sdk.CreateIssueCommentOption{Body: text})
	must(t, "comment", err)
}

// Comments are those on a pull request, the first one first.
func (r *Repository) Comments(t testing.TB, number int64) []*sdk.Comment {
	t.Helper()
	list, _, err := r.Owner.api.ListIssueComments(r.owner, r.own, number, sdk.ListIssueCommentOptions{})
	must(t, "list comments", err)
	return list
}

// Statuses are all that were set on a commit, the newest first.
func (r *Repository) Statuses(t testing.TB, commit string) []*sdk.Status {
	t.Helper()
	list, _, err := r.Owner.api.ListStatuses(r.owner, r.own, commit, sdk.ListStatusesOption{ListOptions: sdk.ListOptions{PageSize: 50}})
	must(t, "list statuses", err)
	slices.SortFunc(list, func(a, b *sdk.Status) int { return int(b.ID - a.ID) })
	return list
}

// WithToken is the address with credentials in it, for git on the command line.
func (r *Repository) WithToken(t testing.TB, f *Front, who *Person) string {
	t.Helper()
	u, err := url.Parse(r.Address(f))
	must(t, filepath.Base(r.Name), err)
	u.User = url.UserPassword(who.Login, who.Token)
	return u.String()
}
