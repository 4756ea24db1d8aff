package verify

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"chaperone.dev/chaperone/internal/health"
	"chaperone.dev/chaperone/internal/promotion"
)

// answer is what became of one request.
type answer struct {
	outcome outcome
	text    string // what was wrong with it, or why there is none
	took    time.Duration
}

type outcome int

const (
	right outcome = iota
	wrong
	none
)

func silent(why string) answer { return answer{outcome: none, text: why} }

func judge(response *http.Response, check promotion.HTTPCheck, proxied bool, now time.Time) answer {
	if why, own := proxysOwn(response, proxied); own {
		return silent(why)
	}
	if !slices.Contains(check.Status, response.StatusCode) {
		return answer{outcome: wrong, text: strconv.Itoa(response.StatusCode)}
	}
	if why, good := certified(response, check, now); !good {
		return answer{outcome: wrong, text: why}
	}
	return content(response, check)
}

// proxysOwn tells a proxy's answer about the endpoint from the endpoint's own.
// Proxy-Status (RFC 9209) says it outright. Without it, the statuses by which
// proxies say that they could not get through, or would not, are not held
// against the release, since the endpoint may have said them too and nobody
// can tell.
func proxysOwn(response *http.Response, proxied bool) (string, bool) {
	const why = "a proxy on the way answered "
	note := strings.Join(response.Header.Values("Proxy-Status"), ",")
	switch {
	case hasParameter(note, "error"):
		return why + strconv.Itoa(response.StatusCode), true
	case hasParameter(note, "received-status"):
		return "", false
	case !proxied:
		return "", false
	}
	switch response.StatusCode {
	case http.StatusProxyAuthRequired, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return why + strconv.Itoa(response.StatusCode), true
	}
	return "", false
}

// hasParameter goes by names only; values may be quoted and hold anything.
func hasParameter(structured, name string) bool {
	for part := range strings.FieldsFuncSeq(structured, func(r rune) bool { return r == ';' || r == ',' }) {
		key, _, found := strings.Cut(strings.TrimSpace(part), "=")
		if found && strings.TrimSpace(key) == name {
			return true
		}
	}
	return false
}

// silence says why there was no answer, without addresses and ports that
// differ each time, and without the url, whose query may be a secret.
func silence(err error, timeout time.Duration) string {
	var (
		dns      *net.DNSError
		inURL    *url.Error
		number   syscall.Errno
		deadline net.Error
	)
	switch {
	case errors.Is(err, promotion.ErrForbiddenAddress):
		return promotion.ErrForbiddenAddress.Error()
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &deadline) && deadline.Timeout():
		return "nothing within " + health.Span(timeout)
	case errors.As(err, &dns) && dns.IsNotFound:
		return "no such host " + dns.Name
	case errors.As(err, &number):
		return number.Error()
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "the connection was closed"
	case errors.As(err, &inURL):
		return brief(inURL.Err)
	}
	return brief(err)
}

// login is who logs in to an address, and by what.
var login = regexp.MustCompile(`//\S*@`)

// brief keeps foreign text to one bounded line, without anybody's password.
func brief(err error) string {
	s := login.ReplaceAllString(strings.Join(strings.Fields(err.Error()), " "), "//")
	if runes := []rune(s); len(runes) > 200 {
		return string(runes[:199]) + "…"
	}
	return s
}

// tally counts the answers of one check.
type tally struct {
	count, allowed       int
	limit                float64
	right, wrong, silent int
	wrongs, silences     []kind
	pace                 pace
}

// kind is one way to be wrong, or silent, and how often it was met.
type kind struct {
	text string
	n    int
}

// maxKinds bounds what an endpoint that never answers the same way leaves behind.
const maxKinds = 20

func (t *tally) add(a answer) {
	t.pace.add(a)
	switch a.outcome {
	case right:
		t.right++
	case wrong:
		t.wrong++
		t.wrongs = tallied(t.wrongs, a.text)
	default:
		t.silent++
		t.silences = tallied(t.silences, a.text)
	}
}

func tallied(kinds []kind, text string) []kind {
	at := slices.IndexFunc(kinds, func(k kind) bool { return k.text == text })
	if at < 0 {
		if len(kinds) == maxKinds {
			return kinds
		}
		kinds, at = append(kinds, kind{text: text}), len(kinds)
	}
	kinds[at].n++
	return kinds
}

// plan is how many requests there will be, and how many of these may be wrong, or
// slow.
func (t *tally) plan(check promotion.HTTPCheck, count int) {
	check.Count = count
	t.count, t.allowed = count, allowed(check)
	t.pace.plan(count)
}

func (t *tally) sent() int { return t.right + t.wrong + t.silent }

// over once all were sent, or no further answer could save the check.
func (t *tally) over() bool { return t.sent() >= t.count || t.wrong > t.allowed || t.pace.broken() }

// mayPass: not so many are wrong or silent yet that the rest could not matter.
func (t *tally) mayPass() bool { return t.wrong+t.silent <= t.allowed && !t.pace.unsure(t.silent) }

func (t *tally) verdict() Verdict {
	switch {
	case t.wrong > t.allowed, t.pace.broken():
		return Fail
	case t.right+t.wrong == 0, !t.mayPass():
		return Error
	}
	return Pass
}

// evidence is one sentence with the measurement.
func (t *tally) evidence(over time.Duration) string {
	requests := fmt.Sprintf("%d requests over %s", t.sent(), health.Span(over))
	limit := "limit " + percent(t.limit)
	if t.sent() < t.count {
		limit += fmt.Sprintf(" of %d", t.count)
	}
	switch t.verdict() {
	case Fail:
		if t.wrong <= t.allowed {
			return fmt.Sprintf("answered too slowly in %d of %s (%s%s)", t.pace.slow, requests, t.pace.limit(), t.silenceNote())
		}
		return fmt.Sprintf("answered %s of %s (%s%s)", list(t.wrongs, t.wrong), requests, limit, t.silenceNote())
	case Pass:
		return fmt.Sprintf("answered as expected in %d of %s (%s%s%s)", t.right, requests, limit, t.pace.note(), t.silenceNote())
	}
	if t.wrong+t.silent <= t.allowed && t.right+t.wrong > 0 {
		return fmt.Sprintf("cannot be judged: %d of %s were too slow and %d got no answer (%s)", t.pace.slow, requests, t.silent, t.pace.limit())
	}
	if t.right+t.wrong == 0 {
		return fmt.Sprintf("got no answer to any of %s: %s", requests, common(t.silences))
	}
	return fmt.Sprintf("cannot be judged: %d of %s got no answer (%s) and %d a wrong one (%s)",
		t.silent, requests, common(t.silences), t.wrong, limit)
}

func (t *tally) silenceNote() string {
	if t.silent == 0 {
		return ""
	}
	return fmt.Sprintf("; %d got no answer: %s", t.silent, common(t.silences))
}

// list is "500 in 3 and 404 in 2", most frequent first, three at most.
func list(kinds []kind, total int) string {
	slices.SortStableFunc(kinds, func(a, b kind) int { return cmp.Compare(b.n, a.n) })
	const most = 3
	var told []string
	for _, k := range kinds[:min(most, len(kinds))] {
		told = append(told, fmt.Sprintf("%s in %d", k.text, k.n))
		total -= k.n
	}
	if total > 0 {
		told = append(told, fmt.Sprintf("otherwise wrongly in %d", total))
	}
	return strings.Join(told, " and ")
}

// common is the most frequent.
func common(kinds []kind) string {
	if len(kinds) == 0 {
		return "no reason known"
	}
	return slices.MaxFunc(kinds, func(a, b kind) int { return cmp.Compare(a.n, b.n) }).text
}

func percent(share float64) string {
	return strconv.FormatFloat(share*100, 'g', 4, 64) + "%"
}
