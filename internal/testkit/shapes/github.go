package shapes

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"chaperone.dev/chaperone/internal/forge"
	"chaperone.dev/chaperone/internal/forge/contract"
)

// NewGitHub is a GitHub Enterprise Server, whose API is below /api/v3.
func NewGitHub(t testing.TB) *Site {
	t.Helper()
	return newSite(t, "clinic/deployments", dialect{paths: [3]string{"/pulls", "/comments", "/statuses/"}}, (*Site).github)
}

func (s *Site) github() http.Handler {
	mux := http.NewServeMux()
	const repo = "/api/v3/repos/clinic/deployments"
	for pattern, handle := range map[string]func(http.ResponseWriter, *http.Request, string){
		"GET /api/v3/user": func(w http.ResponseWriter, _ *http.Request, who string) { answer(w, 200, hubUser(who)) },
		"GET " + repo:      func(w http.ResponseWriter, _ *http.Request, _ string) { answer(w, 200, s.hubRepository(false)) },
		"GET " + repo + "/collaborators/{login}/permission": s.hubPermission,
		"GET " + repo + "/pulls":                            s.hubPulls,
		"POST " + repo + "/pulls":                           s.hubOpen,
		"GET " + repo + "/pulls/{number}":                   s.hubPull,
		"PATCH " + repo + "/pulls/{number}":                 s.hubEdit,
		"GET " + repo + "/pulls/{number}/reviews":           s.hubReviews,
		"GET " + repo + "/commits/{sha}/pulls":              s.hubPullsOf,
		"GET " + repo + "/commits/{sha}/status":             s.hubStatus,
		"POST " + repo + "/statuses/{sha}":                  s.hubSetStatus,
		"GET " + repo + "/issues/{number}/comments":         s.hubComments,
		"POST " + repo + "/issues/{number}/comments":        s.hubComment,
		"PATCH " + repo + "/issues/comments/{id}":           s.hubEditComment,
	} {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			s.mu.Lock()
			defer s.mu.Unlock()
			who := s.who(r)
			if who == "" {
				hubRefuse(w, 401, "Bad credentials")
				return
			}
			handle(w, r, who)
		})
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { hubRefuse(w, 404, "Not Found") })
	return tagged(mux)
}

func hubRefuse(w http.ResponseWriter, code int, message string, errors ...object) {
	body := object{"message": message, "documentation_url": "https://docs.github.com/rest", "status": fmt.Sprint(code)}
	if len(errors) > 0 {
		body["errors"] = errors
	}
	answer(w, code, body)
}

func hubUser(login string) any {
	if login == "" {
		return nil
	}
	return object{"login": login, "id": len(login), "node_id": "MDQ6VXNlcjE=", "type": "User", "site_admin": false}
}

func (s *Site) hubRepository(fork bool) object {
	owner, id := "clinic", homeID
	if fork {
		owner, id = string(contract.Stranger), forkID
	}
	return object{"id": id, "name": "deployments", "full_name": owner + "/deployments", "owner": hubUser(owner), "private": false, "fork": fork}
}

// hubPullObject is a pull request; lists do not have all of it.
func (s *Site) hubPullObject(r *http.Request, p *pull, whole bool) object {
	owner := "clinic"
	if p.fork {
		owner = string(contract.Stranger)
	}
	state, mergedAt, merge := "open", any(nil), any(p.merge)
	if p.state != forge.Open {
		state = "closed"
	}
	if p.state == forge.Merged {
		mergedAt = p.updated.Format(time.RFC3339)
	} else if p.state == forge.Open {
		merge = strings.Repeat("e5", 20) // of a merge that GitHub tries
	} else {
		merge = nil
	}
	o := object{
		"id": p.number + 1000, "node_id": "MDExOlB1bGxSZXF1ZXN0MQ==", "number": p.number, "state": state, "locked": false, "title": p.title,
		"body": p.body, "user": hubUser(p.author), "draft": false, "html_url": fmt.Sprintf("http://%s/clinic/deployments/pull/%d", r.Host, p.number),
		"created_at": p.created.Format(time.RFC3339), "updated_at": p.updated.Format(time.RFC3339), "merged_at": mergedAt, "merge_commit_sha": merge,
		"head":               object{"label": owner + ":" + p.branch, "ref": p.branch, "sha": p.head(), "user": hubUser(owner), "repo": s.hubRepository(p.fork)},
		"base":               object{"label": "clinic:" + p.base, "ref": p.base, "sha": s.branches[key(false, p.base)], "user": hubUser("clinic"), "repo": s.hubRepository(false)},
		"author_association": "CONTRIBUTOR", "auto_merge": nil,
	}
	if p.body == "" {
		o["body"] = nil
	}
	if whole {
		o["merged"], o["merged_by"], o["mergeable"], o["comments"] = p.state == forge.Merged, hubUser(p.mergedBy), nil, len(p.comments)
	}
	return o
}

func (s *Site) hubPulls(w http.ResponseWriter, r *http.Request, _ string) {
	query := r.URL.Query()
	var list []*pull
	for _, p := range s.pulls {
		label := "clinic:" + p.branch
		if p.fork {
			label = string(contract.Stranger) + ":" + p.branch
		}
		state := cmp.Or(query.Get("state"), "open")
		switch {
		case state == "open" && p.state != forge.Open, state == "closed" && p.state == forge.Open:
		case query.Get("head") != "" && query.Get("head") != label, query.Get("base") != "" && query.Get("base") != p.base:
		default:
			list = append(list, p)
		}
	}
	slices.Reverse(list) // by creation, the newest first, if nothing is asked
	if query.Get("sort") == "updated" {
		slices.SortStableFunc(list, func(a, b *pull) int { return b.updated.Compare(a.updated) })
	}
	cut, at, last := page(r, list)
	links(w, r, at, last)
	s.hubList(w, r, cut)
}

func (s *Site) hubList(w http.ResponseWriter, r *http.Request, list []*pull) {
	objects := []object{}
	for _, p := range list {
		objects = append(objects, s.hubPullObject(r, p, false))
	}
	answer(w, 200, objects)
}

func (s *Site) hubOpen(w http.ResponseWriter, r *http.Request, who string) {
	body, err := read(r)
	title, _ := text(body, "title")
	from, _ := text(body, "head")
	base, _ := text(body, "base")
	said, _ := text(body, "body")
	if err != nil || title == "" {
		hubRefuse(w, 422, "Invalid request.\n\n\"title\" wasn't supplied.")
		return
	}
	p, why := s.open(who, strings.TrimPrefix(from, "clinic:"), base, title, said, false)
	switch why {
	case "exists":
		hubRefuse(w, 422, "Validation Failed", object{"resource": "PullRequest", "code": "custom", "message": "A pull request already exists for clinic:" + from + "."})
	case "branch":
		hubRefuse(w, 422, "Validation Failed", object{"resource": "PullRequest", "field": "head", "code": "invalid"})
	case "same":
		hubRefuse(w, 422, "Validation Failed", object{"resource": "PullRequest", "code": "custom", "message": "No commits between " + base + " and " + from})
	default:
		answer(w, 201, s.hubPullObject(r, p, true))
	}
}

func (s *Site) hubPull(w http.ResponseWriter, r *http.Request, _ string) {
	p := s.pull(number(r, "number"))
	if p == nil {
		hubRefuse(w, 404, "Not Found")
		return
	}
	answer(w, 200, s.hubPullObject(r, p, true))
}

func (s *Site) hubEdit(w http.ResponseWriter, r *http.Request, _ string) {
	body, err := read(r)
	p := s.pull(number(r, "number"))
	if err != nil || p == nil {
		hubRefuse(w, 404, "Not Found")
		return
	}
	state, _ := text(body, "state")
	s.change(p, body, "body", state == "closed")
	answer(w, 200, s.hubPullObject(r, p, true))
}

func (s *Site) hubReviews(w http.ResponseWriter, r *http.Request, _ string) {
	p := s.pull(number(r, "number"))
	if p == nil {
		hubRefuse(w, 404, "Not Found")
		return
	}
	cut, at, last := page(r, p.reviews)
	links(w, r, at, last)
	list := []object{}
	for _, each := range cut {
		state := map[forge.Verdict]string{
			forge.Approved: "APPROVED", forge.ChangesRequested: "CHANGES_REQUESTED", forge.Commented: "COMMENTED", forge.Dismissed: "DISMISSED",
		}[each.verdict]
		list = append(list, object{"id": each.id, "user": hubUser(each.by), "body": "as I see it", "state": state, "commit_id": each.at,
			"submitted_at": each.when.Format(time.RFC3339), "author_association": "MEMBER"})
	}
	answer(w, 200, list)
}
