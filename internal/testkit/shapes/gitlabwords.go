package shapes

import (
	"net/http"
	"slices"
	"time"

	"chaperone.dev/chaperone/internal/forge"
)

// last are the newest words of each who reviewed, the first of them first.
// Comments are no reviews of GitLab's.
func (p *pull) last() []*review {
	var list []*review
	seen := map[string]bool{}
	for _, r := range slices.Backward(p.reviews) {
		if r.verdict != forge.Commented && !seen[r.by] {
			list, seen[r.by] = append(list, r), true
		}
	}
	slices.Reverse(list)
	return list
}

func (s *Site) labApprovals(w http.ResponseWriter, r *http.Request, _ string) {
	p := s.pull(number(r, "iid"))
	if p == nil {
		answer(w, 404, object{"message": "404 Not found"})
		return
	}
	by := []object{}
	for _, each := range p.last() {
		if each.verdict == forge.Approved {
			by = append(by, object{"user": labUser(each.by), "approved_at": each.when.Format(time.RFC3339Nano)})
		}
	}
	answer(w, 200, object{"id": p.number + 1000, "iid": p.number, "project_id": homeID, "title": p.title, "approved": len(by) > 0, "approvals_required": 0,
		"approvals_left": 0, "approved_by": by})
}

func (s *Site) labReviewers(w http.ResponseWriter, r *http.Request, _ string) {
	p := s.pull(number(r, "iid"))
	if p == nil {
		answer(w, 404, object{"message": "404 Not found"})
		return
	}
	list := []object{}
	for _, each := range p.last() {
		state := map[forge.Verdict]string{forge.Approved: "approved", forge.ChangesRequested: "requested_changes", forge.Dismissed: "unapproved"}[each.verdict]
		list = append(list, object{"user": labUser(each.by), "state": state, "created_at": each.when.Format(time.RFC3339Nano)})
	}
	answer(w, 200, list)
}

func (s *Site) labVersions(w http.ResponseWriter, r *http.Request, _ string) {
	p := s.pull(number(r, "iid"))
	if p == nil {
		answer(w, 404, object{"message": "404 Not found"})
		return
	}
	var list []object
	for i, h := range slices.Backward(p.heads) {
		list = append(list, object{"id": i + 1, "head_commit_sha": h.sha, "created_at": h.at.Format(time.RFC3339Nano), "merge_request_id": p.number + 1000,
			"state": "collected", "real_size": "1"})
	}
	labPage(w, r, list)
}

func labNoteObject(c *comment) object {
	return object{"id": c.id, "type": nil, "body": c.text, "author": labUser(c.by), "system": false, "noteable_type": "MergeRequest", "internal": false}
}

func (s *Site) labNotes(w http.ResponseWriter, r *http.Request, _ string) {
	p := s.pull(number(r, "iid"))
	if p == nil {
		answer(w, 404, object{"message": "404 Not found"})
		return
	}
	var list []object
	for _, c := range p.comments {
		list = append(list, labNoteObject(c))
	}
	if r.URL.Query().Get("sort") != "asc" {
		slices.Reverse(list)
	}
	labPage(w, r, list)
}

func (s *Site) labNote(w http.ResponseWriter, r *http.Request, who string) {
	p := s.pull(number(r, "iid"))
	body, err := read(r)
	said, given := text(body, "body")
	if p == nil || err != nil || !given {
		answer(w, 404, object{"message": "404 Not found"})
		return
	}
	answer(w, 201, labNoteObject(s.say(p, who, said)))
}

func (s *Site) labEditNote(w http.ResponseWriter, r *http.Request, who string) {
	p := s.pull(number(r, "iid"))
	body, err := read(r)
	said, given := text(body, "body")
	if p != nil && err == nil && given {
		for _, c := range p.comments {
			if c.id == number(r, "id") && c.by == who {
				c.text = said
				answer(w, 200, labNoteObject(c))
				return
			}
		}
	}
	answer(w, 404, object{"message": "404 Not found"})
}

func labStatusObject(each status) object {
	return object{"id": each.id, "sha": each.of, "ref": "main", "status": each.raw, "name": each.Context, "description": each.Description,
		"target_url": each.URL, "author": labUser(each.by), "allow_failure": false}
}

func (s *Site) labStatuses(w http.ResponseWriter, r *http.Request, _ string) {
	sha, name := r.PathValue("sha"), r.URL.Query().Get("name")
	if !s.commits[sha] {
		answer(w, 404, object{"message": "404 Commit Not Found"})
		return
	}
	seen := map[string]bool{}
	var list []object
	for _, each := range slices.Backward(s.statuses) {
		if each.of == sha && !seen[each.Context] && (name == "" || name == each.Context) {
			list, seen[each.Context] = append(list, labStatusObject(each)), true
		}
	}
	labPage(w, r, list)
}

// labSetStatus refuses what its state machine does not have: one that is pending
// cannot become pending.
func (s *Site) labSetStatus(w http.ResponseWriter, r *http.Request, who string) {
	sha := r.PathValue("sha")
	body, err := read(r)
	state, _ := text(body, "state")
	name, _ := text(body, "name")
	description, _ := text(body, "description")
	target, _ := text(body, "target_url")
	words := map[string]forge.StatusState{"pending": forge.Pending, "success": forge.Success, "failed": forge.Failure, "canceled": forge.Error}
	before := ""
	for _, each := range s.statuses {
		if each.of == sha && each.Context == name {
			before = each.raw
		}
	}
	switch {
	case !s.commits[sha]:
		answer(w, 404, object{"message": "404 Commit Not Found"})
	case err != nil || words[state] == "":
		answer(w, 400, object{"error": "state does not have a valid value"})
	case len(description) > 1024 || len(target) > 255:
		answer(w, 400, object{"message": object{"target_url": []string{"is too long (maximum is 255 characters)"}}})
	case before == "pending" && state == "pending":
		answer(w, 400, object{"message": "Cannot transition status via :enqueue from :pending (Reason(s): Status cannot transition via \"enqueue\")"})
	default:
		set := status{id: s.next(), of: sha, by: who, raw: state, Status: forge.Status{Context: name, State: words[state], Description: description, URL: target}}
		s.statuses = append(s.statuses, set)
		answer(w, 201, labStatusObject(set))
	}
}
