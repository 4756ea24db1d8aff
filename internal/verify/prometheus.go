package verify

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"chaperone.dev/chaperone/internal/promotion"
)

// Prometheus is the server that metric checks ask unless they name their own.
type Prometheus struct {
	URL       string
	TokenFile string // read anew for each check; "" is none. Other servers are not told it.
	CAFile    string // likewise; "" is those of the system
}

// Bounds of one query.
const (
	queryTimeout  = 10 * time.Second
	maxAnswer     = 1 << 20
	maxCredential = 64 << 10
)

// WithPrometheus returns a verifier that asks this server.
func (v *Verifier) WithPrometheus(p Prometheus) *Verifier {
	with := *v
	with.prometheus = p
	return &with
}

// sample is what one query gave: a number, or why there is none.
type sample struct {
	at      time.Time
	value   float64
	verdict Verdict // Pass where there is a number; else NoData or Error
	why     string
}

// querier asks one server, for one check.
type querier struct {
	client *http.Client
	base   *url.URL
	token  string
	stale  time.Duration
}

// querier reads the credentials as they are now. They go to the daemon's own
// server alone: who writes an environment file may name any other.
func (v *Verifier) querier(check promotion.MetricCheck) (*querier, error) {
	own := v.prometheus
	address := check.Prometheus
	if address == "" {
		address = own.URL
	}
	if address == "" {
		return nil, errors.New("no Prometheus is named; want verify.prometheus in the environment's file, or in the daemon's settings")
	}
	base, err := url.Parse(address)
	if err != nil || base.Host == "" {
		return nil, errors.New("want the address of a Prometheus such as http://prometheus.monitoring.svc:9090")
	}
	if err := promotion.CheckHost(base.Hostname()); err != nil {
		return nil, err
	}
	q := &querier{base: base, stale: check.Stale}
	transport := NewClient(nil).Transport.(*http.Transport)
	if address == own.URL {
		if q.token, err = credential(own.TokenFile); err != nil {
			return nil, err
		}
		if transport.TLSClientConfig, err = trusting(own.CAFile); err != nil {
			return nil, err
		}
	}
	if v.metricTransport != nil {
		q.client = &http.Client{Transport: v.metricTransport}
	} else {
		q.client = &http.Client{Transport: transport}
	}
	q.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return q, nil
}

func (q *querier) close() { q.client.CloseIdleConnections() }

// credential reads a small file; errors do not repeat it.
func credential(file string) (string, error) {
	if file == "" {
		return "", nil
	}
	f, err := os.Open(file)
	if err != nil {
		return "", fmt.Errorf("read the token of Prometheus: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxCredential))
	if err != nil {
		return "", fmt.Errorf("read the token of Prometheus: %w", err)
	}
	token := strings.TrimSpace(string(text))
	if token == "" || strings.ContainsAny(token, "\r\n") {
		return "", fmt.Errorf("token of Prometheus in %s: want one line", file)
	}
	return token, nil
}

func trusting(file string) (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if file == "" {
		return config, nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read the CA of Prometheus: %w", err)
	}
	config.RootCAs = x509.NewCertPool()
	if !config.RootCAs.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("CA of Prometheus in %s: want certificates in PEM", file)
	}
	return config, nil
}

// now asks for the value at a time.
func (q *querier) now(ctx context.Context, query string, at time.Time) sample {
	answer, s := q.ask(ctx, "query", url.Values{"query": {query}, "time": {unix(at)}})
	s.at = at
	if answer == nil {
		return s
	}
	points, s := answer.points()
	s.at = at
	if s.verdict == "" {
		s = points[0].sample()
		s.at = at // of a selector alone it is asked for, not when it was scraped
	}
	return s
}

// between asks for the values over a time, of which there may be fewer than
// steps. The sample is why there are none.
func (q *querier) between(ctx context.Context, query string, from, to time.Time, step time.Duration) ([]sample, sample) {
	answer, s := q.ask(ctx, "query_range", url.Values{
		"query": {query}, "start": {unix(from)}, "end": {unix(to)}, "step": {strconv.FormatFloat(step.Seconds(), 'f', -1, 64)},
	})
	if answer == nil {
		return nil, s
	}
	points, s := answer.points()
	if s.verdict != "" {
		return nil, s
	}
	var samples []sample
	for _, p := range points {
		samples = append(samples, p.sample())
	}
	return samples, sample{}
}

func unix(t time.Time) string {
	return strconv.FormatFloat(float64(t.UnixMilli())/1000, 'f', 3, 64)
}

// answered is what Prometheus says. What a series is called is not read: labels
// may hold anything.
type answered struct {
	Status    string            `json:"status"`
	ErrorType string            `json:"errorType"`
	Warnings  []json.RawMessage `json:"warnings"`
	IsPartial bool              `json:"isPartial"` // as VictoriaMetrics says it
	Data      struct {
		ResultType string          `json:"resultType"`
		Result     json.RawMessage `json:"result"`
	} `json:"data"`
}

func unanswered(verdict Verdict, format string, args ...any) sample {
	return sample{verdict: verdict, why: fmt.Sprintf(format, args...)}
}

// ask posts a query. The texts of a server's errors and warnings are not told:
// they repeat labels.
func (q *querier) ask(ctx context.Context, what string, form url.Values) (*answered, sample) {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	form.Set("timeout", strconv.Itoa(int(queryTimeout.Seconds()))+"s")
	form.Set("lookback_delta", strconv.Itoa(int(math.Ceil(q.stale.Seconds())))+"s")
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, q.base.JoinPath("api/v1", what).String(), strings.NewReader(form.Encode()))
	if err != nil {
		return nil, unanswered(Error, "the request cannot be built")
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	request.Header.Set("User-Agent", "chaperone-verify")
	if q.token != "" {
		request.Header.Set("Authorization", "Bearer "+q.token)
	}
	response, err := q.client.Do(request)
	if err != nil {
		return nil, unanswered(Error, "%s", silence(err, queryTimeout))
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer+1))
	switch {
	case response.StatusCode/100 == 3:
		return nil, unanswered(Error, "Prometheus answered %d, to ask elsewhere, which is not done", response.StatusCode)
	case len(body) > maxAnswer:
		return nil, unanswered(Error, "the answer is larger than %d KiB", maxAnswer>>10)
	case err != nil:
		return nil, unanswered(Error, "the answer broke off: %s", silence(err, queryTimeout))
	}
	var answer answered
	malformed := json.Unmarshal(body, &answer)
	switch {
	case response.StatusCode != http.StatusOK, malformed == nil && answer.Status != "success":
		return nil, unanswered(Error, "Prometheus answered %d%s", response.StatusCode, errorType(answer.ErrorType))
	case malformed != nil:
		return nil, unanswered(Error, "the answer is none of Prometheus")
	case answer.IsPartial:
		return nil, unanswered(Error, "the answer is partial, by its own account")
	case len(answer.Warnings) > 0:
		return nil, unanswered(Error, "the answer is partial, by %d of its own warnings", len(answer.Warnings))
	}
	return &answer, sample{}
}

// errorType repeats only the words that Prometheus has.
func errorType(word string) string {
	known := []string{"timeout", "canceled", "execution", "bad_data", "internal", "unavailable", "not_found", "not_acceptable", "cost_limit"}
	if slices.Contains(known, word) {
		return " (" + word + ")"
	}
	return ""
}

// point is [time, "value"].
type point struct {
	at    float64
	value string
}

func (p *point) UnmarshalJSON(text []byte) error {
	return json.Unmarshal(text, &[2]any{&p.at, &p.value})
}

func (p point) sample() sample {
	number, err := strconv.ParseFloat(p.value, 64)
	at := time.UnixMilli(int64(math.Round(p.at * 1000)))
	switch {
	case err != nil && !errors.Is(err, strconv.ErrRange):
		return sample{at: at, verdict: Error, why: "the answer holds no number"}
	case math.IsNaN(number):
		return sample{at: at, verdict: NoData, why: "NaN, which is no number"}
	case math.IsInf(number, 0):
		return sample{at: at, verdict: NoData, why: "an infinite value"}
	}
	return sample{at: at, value: number, verdict: Pass}
}

// points are those of the one series that is wanted, or why there are none.
func (a *answered) points() ([]point, sample) {
	var series []struct {
		Value  *point  `json:"value"`
		Values []point `json:"values"`
		// native histograms are no number
		Histogram  json.RawMessage `json:"histogram"`
		Histograms json.RawMessage `json:"histograms"`
	}
	var points []point
	switch a.Data.ResultType {
	case "scalar":
		var one point
		if json.Unmarshal(a.Data.Result, &one) != nil {
			return nil, unanswered(Error, "the answer is none of Prometheus")
		}
		return []point{one}, sample{}
	case "vector", "matrix":
		if json.Unmarshal(a.Data.Result, &series) != nil {
			return nil, unanswered(Error, "the answer is none of Prometheus")
		}
	default:
		return nil, unanswered(Error, "the answer is no number")
	}
	switch len(series) {
	case 0:
		return nil, unanswered(NoData, "an empty answer")
	case 1:
	default:
		return nil, unanswered(Error, "%d series where one is wanted; aggregate them, as sum() does", len(series))
	}
	one := series[0]
	points = one.Values
	if one.Value != nil {
		points = []point{*one.Value}
	}
	switch {
	case len(one.Histogram)+len(one.Histograms) > 0:
		return nil, unanswered(Error, "a histogram where a number is wanted; take a quantile of it")
	case len(points) == 0:
		return nil, unanswered(NoData, "an empty answer")
	}
	return points, sample{}
}
