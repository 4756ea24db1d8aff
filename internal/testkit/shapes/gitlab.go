package shapes

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"testing"
	"time"

	"chaperone.dev/chaperone/internal/forge"
	"chaperone.dev/chaperone/internal/forge/contract"
)

// NewGitLab is a GitLab that one runs oneself, with a project in a subgroup.
func NewGitLab(t testing.TB) *Site {
	t.Helper()
	return newSite(t, "clinic/platform/deployments",
		dialect{paths: [3]string{"/merge_requests", "/notes", "/statuses/"}, memberOnlyApprovals: true}, (*Site).gitlab)
}

func (s *Site) gitlab() http.Handler {
	mux := http.NewServeMux()
	const project = "/api/v4/projects/{project}"
	for pattern, handle := range map[string]func(http.ResponseWriter, *http.Request, string){
		"GET /api/v4/user": func(w http.ResponseWriter, _ *http.Request, who string) { answer(w, 200, labUser(who)) },
		"GET " + project: func(w http.ResponseWriter, _ *http.Request, _ string) {
			answer(w, 200, object{"id": homeID, "path_with_namespace": s.Repository, "default_branch": contract.Base})
		},
		"GET " + project + "/merge_requests":                          s.labMerges,
		"POST " + project + "/merge_requests":                         s.labOpen,
		"PUT " + project + "/merge_requests/{iid}":                    s.labEdit,
		"GET " + project + "/merge_requests/{iid}/approvals":          s.labApprovals,
		"GET " + project + "/merge_requests/{iid}/reviewers":          s.labReviewers,
		"GET " + project + "/merge_requests/{iid}/versions":           s.labVersions,
		"GET " + project + "/merge_requests/{iid}/notes":              s.labNotes,
		"POST " + project + "/merge_requests/{iid}/notes":             s.labNote,
		"PUT " + project + "/merge_requests/{iid}/notes/{id}":         s.labEditNote,
		"GET " + project + "/repository/commits/{sha}/merge_requests": s.labMergesOf,
		"GET " + project + "/repository/commits/{sha}/statuses":       s.labStatuses,
		"POST " + project + "/statuses/{sha}":                         s.labSetStatus,
	} {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			s.mu.Lock()
			defer s.mu.Unlock()
			w.Header().Set("RateLimit-Limit", "60")
			w.Header().Set("RateLimit-Remaining", "59")
			who := s.who(r)
			switch in := r.PathValue("project"); {
			case who == "":
				answer(w, 401, object{"message": "401 Unauthorized"})
			case in != "" && in != s.Repository && in != strconv.Itoa(homeID):
				answer(w, 404, object{"message": "404 Project Not Found"})
			default:
				handle(w, r, who)
			}
		})
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { answer(w, 404, object{"error": "404 Not Found"}) })
	return mux
}

func labUser(login string) any {
	if login == "" {
		return nil
	}
	return object{"id": len(login), "username": login, "name": "The " + login, "state": "active", "web_url": "https://gitlab.example.org/" + login}
}

var labStates = map[forge.PullRequestState]string{forge.Open: "opened", forge.Closed: "closed", forge.Merged: "merged"}

func (s *Site) labMerge(r *http.Request, p *pull) object {
	from := homeID
	if p.fork {
		from = forkID
	}
	o := object{
		"id": p.number + 1000, "iid": p.number, "project_id": homeID, "title": p.title, "description": p.body, "state": labStates[p.state],
		"created_at": p.created.Format(time.RFC3339Nano), "updated_at": p.updated.Format(time.RFC3339Nano), "target_branch": p.base,
		"source_branch": p.branch, "source_project_id": from, "target_project_id": homeID, "author": labUser(p.author), "draft": false,
		"web_url": fmt.Sprintf("http://%s/%s/-/merge_requests/%d", r.Host, s.Repository, p.number), "sha": p.head(), "merge_commit_sha": nil,
		"squash_commit_sha": nil, "merge_user": labUser(p.mergedBy), "merged_by": labUser(p.mergedBy), "detailed_merge_status": "mergeable", "merged_at": nil,
	}
	if p.state != forge.Merged {
		return o
	}
	o["merged_at"] = p.updated.Format(time.RFC3339Nano)
	switch p.style {
	case contract.MergeCommit:
		o["merge_commit_sha"] = p.merge
	case contract.Squash: // as where projects fast-forward
		o["squash_commit_sha"] = p.merge
	}
	return o
}

// labPage answers with one page, as GitLab says which.
func labPage(w http.ResponseWriter, r *http.Request, list []object) {
	cut, at, last := page(r, list)
	links(w, r, at, last)
	header := w.Header()
	header.Set("X-Page", strconv.Itoa(at))
	header.Set("X-Total", strconv.Itoa(len(list)))
	header.Set("X-Total-Pages", strconv.Itoa(last))
	header.Set("X-Next-Page", "")
	if at < last {
		header.Set("X-Next-Page", strconv.Itoa(at+1))
	}
	if cut == nil {
		cut = []object{}
	}
	answer(w, 200, cut)
}

func (s *Site) labMerges(w http.ResponseWriter, r *http.Request, _ string) {
	query := r.URL.Query()
	var list []*pull
	for _, p := range s.pulls {
		state := cmp.Or(query.Get("state"), "all")
		switch {
		case state != "all" && state != labStates[p.state]:
		case query.Get("source_branch") != "" && query.Get("source_branch") != p.branch:
		case query.Get("target_branch") != "" && query.Get("target_branch") != p.base:
		default:
			list = append(list, p)
		}
	}
	slices.Reverse(list) // by creation, the newest first, if nothing is asked
	if query.Get("order_by") == "updated_at" {
		slices.SortStableFunc(list, func(a, b *pull) int { return b.updated.Compare(a.updated) })
	}
	var objects []object
	for _, p := range list {
		objects = append(objects, s.labMerge(r, p))
	}
	labPage(w, r, objects)
}

func (s *Site) labOpen(w http.ResponseWriter, r *http.Request, who string) {
	body, err := read(r)
	title, _ := text(body, "title")
	from, _ := text(body, "source_branch")
	base, _ := text(body, "target_branch")
	said, _ := text(body, "description")
	if err != nil || title == "" {
		answer(w, 400, object{"error": "title is missing"})
		return
	}
	p, why := s.open(who, from, base, title, said, false)
	switch why {
	case "exists":
		answer(w, 409, object{"message": []string{fmt.Sprintf("Another open merge request already exists for this source branch: !%d", p.number)}})
	case "branch":
		answer(w, 400, object{"message": object{"source_branch": []string{"does not exist"}}})
	default: // that nothing differs is no reason to refuse it here
		if p == nil {
			answer(w, 422, object{"message": []string{"no commits"}})
			return
		}
		answer(w, 201, s.labMerge(r, p))
	}
}

func (s *Site) labEdit(w http.ResponseWriter, r *http.Request, _ string) {
	body, err := read(r)
	p := s.pull(number(r, "iid"))
	if err != nil || p == nil {
		answer(w, 404, object{"message": "404 Not found"})
		return
	}
	event, _ := text(body, "state_event")
	s.change(p, body, "description", event == "close")
	answer(w, 200, s.labMerge(r, p))
}

func (s *Site) labMergesOf(w http.ResponseWriter, r *http.Request, _ string) {
	sha := r.PathValue("sha")
	if !s.commits[sha] {
		answer(w, 404, object{"message": "404 Commit Not Found"})
		return
	}
	var list []object
	for _, p := range s.pulls {
		if p.merge == sha || p.head() == sha {
			list = append(list, s.labMerge(r, p))
		}
	}
	labPage(w, r, list)
}
