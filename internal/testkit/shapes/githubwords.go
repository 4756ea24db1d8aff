package shapes

import (
	"net/http"
	"slices"

	"chaperone.dev/chaperone/internal/forge"
	"chaperone.dev/chaperone/internal/forge/contract"
)

func (s *Site) hubPermission(w http.ResponseWriter, r *http.Request, _ string) {
	level := map[string]string{string(contract.Daemon): "write", string(contract.Writer): "write", string(contract.Stranger): "read"}[r.PathValue("login")]
	if level == "" {
		hubRefuse(w, 404, r.PathValue("login")+" is not a user")
		return
	}
	answer(w, 200, object{"permission": level, "role_name": level, "user": hubUser(r.PathValue("login"))})
}

// hubPullsOf are those that a commit came by: merged ones for commits of the
// base, open ones for others.
func (s *Site) hubPullsOf(w http.ResponseWriter, r *http.Request, _ string) {
	sha := r.PathValue("sha")
	if !s.commits[sha] {
		hubRefuse(w, 422, "No commit found for SHA: "+sha)
		return
	}
	var list []*pull
	for _, p := range s.pulls {
		if p.merge == sha || p.state != forge.Merged && p.head() == sha {
			list = append(list, p)
		}
	}
	s.hubList(w, r, list)
}

func hubStatusObject(each status) object {
	o := object{"id": each.id, "state": each.State, "context": each.Context, "description": each.Description, "target_url": each.URL,
		"creator": hubUser(each.by)}
	if each.URL == "" {
		o["target_url"] = nil
	}
	return o
}

// hubStatus is the combined status: the newest of each context.
func (s *Site) hubStatus(w http.ResponseWriter, r *http.Request, _ string) {
	sha := r.PathValue("sha")
	if !s.commits[sha] {
		hubRefuse(w, 404, "Not Found")
		return
	}
	seen := map[string]bool{}
	newest := []object{}
	for _, each := range slices.Backward(s.statuses) {
		if each.of == sha && !seen[each.Context] {
			newest, seen[each.Context] = append(newest, hubStatusObject(each)), true
		}
	}
	cut, at, last := page(r, newest)
	links(w, r, at, last)
	answer(w, 200, object{"state": "pending", "statuses": cut, "sha": sha, "total_count": len(newest), "repository": s.hubRepository(false)})
}

func (s *Site) hubSetStatus(w http.ResponseWriter, r *http.Request, who string) {
	sha := r.PathValue("sha")
	body, err := read(r)
	state, _ := text(body, "state")
	description, _ := text(body, "description")
	context, _ := text(body, "context")
	target, _ := text(body, "target_url")
	switch {
	case !s.commits[sha]:
		hubRefuse(w, 422, "No commit found for SHA: "+sha)
	case err != nil || !slices.Contains([]string{"error", "failure", "pending", "success"}, state):
		hubRefuse(w, 422, "Validation Failed", object{"resource": "Status", "code": "custom", "field": "state", "message": "state is not included in the list"})
	case len([]rune(description)) > 140:
		hubRefuse(w, 422, "Validation Failed", object{"resource": "Status", "code": "custom", "field": "description", "message": "description is too long (maximum is 140 characters)"})
	default:
		set := status{id: s.next(), of: sha, by: who, Status: forge.Status{Context: context, State: forge.StatusState(state), Description: description, URL: target}}
		s.statuses = append(s.statuses, set)
		answer(w, 201, hubStatusObject(set))
	}
}

func hubCommentObject(c *comment) object {
	return object{"id": c.id, "body": c.text, "user": hubUser(c.by), "author_association": "COLLABORATOR"}
}

func (s *Site) hubComments(w http.ResponseWriter, r *http.Request, _ string) {
	p := s.pull(number(r, "number"))
	if p == nil {
		hubRefuse(w, 404, "Not Found")
		return
	}
	cut, at, last := page(r, p.comments)
	links(w, r, at, last)
	list := []object{}
	for _, c := range cut {
		list = append(list, hubCommentObject(c))
	}
	answer(w, 200, list)
}

func (s *Site) hubComment(w http.ResponseWriter, r *http.Request, who string) {
	p := s.pull(number(r, "number"))
	body, err := read(r)
	said, given := text(body, "body")
	if p == nil || err != nil || !given {
		hubRefuse(w, 404, "Not Found")
		return
	}
	answer(w, 201, hubCommentObject(s.say(p, who, said)))
}

func (s *Site) hubEditComment(w http.ResponseWriter, r *http.Request, who string) {
	body, err := read(r)
	said, given := text(body, "body")
	for _, p := range s.pulls {
		for _, c := range p.comments {
			if c.id == number(r, "id") && c.by == who && err == nil && given {
				c.text = said
				answer(w, 200, hubCommentObject(c))
				return
			}
		}
	}
	hubRefuse(w, 404, "Not Found")
}
