package shapes

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"

	"chaperone.dev/chaperone/internal/forge"
)

// object is JSON as the documentation shows it.
type object = map[string]any

func answer(w http.ResponseWriter, code int, value any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(value)
}

func read(r *http.Request) (object, error) {
	body := object{}
	return body, json.NewDecoder(r.Body).Decode(&body)
}

// text is a field of a request, if it is there.
func text(body object, name string) (string, bool) {
	s, ok := body[name].(string)
	return s, ok
}

func number(r *http.Request, name string) int64 {
	n, err := strconv.ParseInt(r.PathValue(name), 10, 64)
	if err != nil {
		return -1
	}
	return n
}

// page cuts a list as the request asks, and says how many pages there are.
func page[T any](r *http.Request, list []T) (cut []T, at, last int) {
	size := mostOnPage
	if n, err := strconv.Atoi(r.URL.Query().Get("per_page")); err == nil && n > 0 {
		size = min(n, mostOnPage)
	}
	at = 1
	if n, err := strconv.Atoi(r.URL.Query().Get("page")); err == nil && n > 0 {
		at = n
	}
	last = max(1, (len(list)+size-1)/size)
	from := min((at-1)*size, len(list))
	return list[from:min(from+size, len(list))], at, last
}

// tagged answers who knows an answer already that nothing has changed, as GitHub
// does.
func tagged(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		given := httptest.NewRecorder()
		next.ServeHTTP(given, r)
		maps.Copy(w.Header(), given.Header())
		if r.Method == http.MethodGet && given.Code == http.StatusOK {
			tag := fmt.Sprintf("W/\"%x\"", sha256.Sum256(append(given.Body.Bytes(), given.Header().Get("Link")...)))
			w.Header().Set("ETag", tag)
			if r.Header.Get("If-None-Match") == tag {
				w.WriteHeader(http.StatusNotModified)
				return
			}
		}
		w.WriteHeader(given.Code)
		_, _ = w.Write(given.Body.Bytes())
	})
}

// links is the header that leads to other pages, on both forges.
func links(w http.ResponseWriter, r *http.Request, at, last int) {
	var all []string
	link := func(rel string, page int) {
		query := r.URL.Query()
		query.Set("page", strconv.Itoa(page))
		all = append(all, fmt.Sprintf(`<http://%s%s?%s>; rel=%q`, r.Host, r.URL.EscapedPath(), query.Encode(), rel))
	}
	if at > 1 {
		link("prev", at-1)
		link("first", 1)
	}
	if at < last {
		link("next", at+1)
		link("last", last)
	}
	if len(all) > 0 {
		w.Header().Set("Link", strings.Join(all, ", "))
	}
}

// change takes a title, a body and a state from a request.
func (s *Site) change(p *pull, body object, bodyName string, closes bool) {
	if title, given := text(body, "title"); given {
		p.title = title
	}
	if text, given := text(body, bodyName); given {
		p.body = text
	}
	if closes && p.state == forge.Open {
		p.state = forge.Closed
	}
	p.updated = s.tick()
}
