package wire

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// limited reports whether the forge asks to be left alone, and for how long.
// GitHub says so with 403 as well, GitLab and Gitea's proxies with 429 or 503.
func limited(response *http.Response, now time.Time) (time.Duration, bool) {
	switch response.StatusCode {
	case http.StatusForbidden, http.StatusTooManyRequests, http.StatusServiceUnavailable:
	default:
		return 0, false
	}
	if wait, given := after(response.Header.Get("Retry-After"), now); given {
		return wait, true
	}
	used := response.Header.Get("X-RateLimit-Remaining") == "0" || response.Header.Get("RateLimit-Remaining") == "0"
	if used && response.StatusCode != http.StatusServiceUnavailable {
		for _, name := range []string{"X-RateLimit-Reset", "RateLimit-Reset"} {
			if at, err := strconv.ParseInt(response.Header.Get(name), 10, 64); err == nil {
				return time.Unix(at, 0).Sub(now), true
			}
		}
		return time.Minute, true
	}
	return time.Minute, response.StatusCode == http.StatusTooManyRequests
}

// after reads Retry-After: seconds, or a date.
func after(text string, now time.Time) (time.Duration, bool) {
	text = strings.TrimSpace(text)
	if seconds, err := strconv.ParseInt(text, 10, 32); err == nil && seconds >= 0 {
		return time.Duration(seconds) * time.Second, true
	}
	if at, err := http.ParseTime(text); err == nil {
		return at.Sub(now), true
	}
	return 0, false
}

// said finds the words for people in a refusal. Pages of HTML hold none.
func said(body []byte) string {
	var answer struct {
		Message json.RawMessage `json:"message"`
		Error   json.RawMessage `json:"error"`
		Errors  json.RawMessage `json:"errors"`
	}
	if json.Unmarshal(body, &answer) != nil {
		return ""
	}
	var words []string
	for _, part := range []json.RawMessage{answer.Message, answer.Error, answer.Errors} {
		var text string
		switch {
		case len(part) == 0 || string(part) == "null" || string(part) == "[]":
		case json.Unmarshal(part, &text) == nil:
			words = append(words, text)
		default:
			words = append(words, string(part)) // GitLab's are lists and objects of texts
		}
	}
	return strings.Join(words, " ")
}
