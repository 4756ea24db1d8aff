package promotion

import (
	"fmt"
	"strings"
	"time"

	"github.com/prometheus/prometheus/promql/parser"

	"chaperone.dev/chaperone/internal/strictyaml"
)

// maxLookback is how far a query may look back: further is more than a server
// should read to judge one release.
const maxLookback = 24 * time.Hour

// preset is a query for one way of naming a metric. %[1]s is the selector, %[2]s
// the time to look back, %[3]s the quantile.
type preset struct {
	kind, metric, query string
}

// presets are plain queries: what is asked stands in the evidence. Where nothing
// failed there is no series of failures, which is 0 of those requests that there
// are; where there are no requests, there is no answer.
var presets = []preset{
	errorsOf("http_requests_total", `code=~"5.."`),
	errorsOf("istio_requests_total", `response_code=~"5.."`),
	errorsOf("nginx_ingress_controller_requests", `status=~"5.."`),
	errorsOf("http_server_request_duration_seconds_count", `http_response_status_code=~"5.."`),
	latencyOf("http_request_duration_seconds_bucket"),
	latencyOf("istio_request_duration_milliseconds_bucket"),
	latencyOf("nginx_ingress_controller_request_duration_seconds_bucket"),
	latencyOf("http_server_request_duration_seconds_bucket"),
}

const (
	presetErrors  = "error-rate"
	presetLatency = "latency"
)

func errorsOf(metric, failed string) preset {
	return preset{presetErrors, metric, "(sum(rate(" + metric + "{%[1]s," + failed + "}[%[2]s])) or vector(0)) / sum(rate(" + metric + "{%[1]s}[%[2]s]))"}
}

func latencyOf(metric string) preset {
	return preset{presetLatency, metric, "histogram_quantile(%[3]s, sum by (le) (rate(" + metric + "{%[1]s}[%[2]s])))"}
}

// decodeQueries reads what is asked, and of what else, as a query or a preset.
func decodeQueries(o *strictyaml.Object, m *MetricCheck) {
	query, control := o.Value("query"), o.Object("control")
	kind := strictyaml.Enum(o, "preset", "", presetErrors, presetLatency)
	metric := o.String("metric", "", checkLine)
	of := selector(o.Value("selector"))
	over := o.Duration("over", time.Minute, 5*time.Second, maxLookback)
	quantile := decodeShare(o.Value("quantile"), 0.95, 0.01, 0.999, "a quantile from 0.01 to 0.999, such as 0.95")
	controlQuery := control.Value("query")
	controlSelector := control.Value("selector")
	controlOf := selector(controlSelector)
	switch {
	case o.Value("preset").Present() == query.Present():
		o.Require("query", "want either a query or a preset (error-rate or latency)")
		if query.Present() {
			query.Problem("the preset says it all; want either query or preset")
		}
		return
	case query.Present():
		for _, name := range []string{"metric", "selector", "over", "quantile"} {
			if v := o.Value(name); v.Present() {
				v.Problem("goes with a preset alone; remove it, or write it into the query")
			}
		}
		m.Query, m.Range = parseQuery(query)
		if control.Present() {
			control.Require("query", "want the same query of what the release does not change")
			m.Control, _ = parseQuery(controlQuery)
			m.checkControl(controlQuery)
		}
		return
	}
	o.Require("selector", `want what to measure, such as namespace="novamind",job="api"`)
	made := findPreset(o, kind, metric)
	if made.query == "" {
		return
	}
	expand := func(selector string) string {
		return fmt.Sprintf(made.query, selector, strictyaml.FormatDuration(over), fmt.Sprint(quantile))
	}
	m.Query, m.Range = expand(of), over
	if control.Present() {
		control.Require("selector", `want what the release does not change, such as namespace="novamind",job!="api"`)
		m.Control = expand(controlOf)
		m.checkControl(controlSelector)
	}
}

// checkControl: beside itself nothing ever fails.
func (m *MetricCheck) checkControl(written strictyaml.Value) {
	if m.Control != "" && m.Control == m.Query {
		written.Problem("it asks the same as the check, which would never fail beside it; want what the release does not change")
	}
}

func findPreset(o *strictyaml.Object, kind, metric string) preset {
	var known []string
	for _, p := range presets {
		if p.kind == kind && (metric == "" || p.metric == metric) {
			return p
		}
		if p.kind == kind {
			known = append(known, p.metric)
		}
	}
	if kind != "" {
		o.Value("metric").Problem("%.80q is not known; want one of %s; or write a query", metric, strings.Join(known, ", "))
	}
	return preset{}
}

// selector reads label matchers, as they stand between braces.
func selector(v strictyaml.Value) string {
	text, written := v.Scalar()
	if !written {
		return ""
	}
	text = strings.TrimSpace(text)
	matchers, err := parser.NewParser(parser.Options{}).ParseMetricSelector("{" + text + "}")
	if err != nil || len(text) > maxText || len(matchers) == 0 {
		v.Problem(`want label matchers such as namespace="novamind",job="api", without braces, not %.120q`, text)
		return ""
	}
	return strings.TrimSuffix(text, ",")
}

// parseQuery reads PromQL that gives one number, and how far it looks back.
func parseQuery(v strictyaml.Value) (string, time.Duration) {
	text, written := v.Scalar()
	if !written {
		return "", 0
	}
	if len(text) > maxText {
		v.Problem("want a query of at most %d bytes, not %d", maxText, len(text))
		return "", 0
	}
	expression, err := parser.NewParser(parser.Options{}).ParseExpr(text)
	if err != nil {
		v.Problem("%s; want PromQL such as sum(rate(http_requests_total{code=~\"5..\"}[1m]))", oneLine(err))
		return "", 0
	}
	if kind := expression.Type(); kind != parser.ValueTypeScalar && kind != parser.ValueTypeVector {
		v.Problem("want a query that gives a number, not a %s", parser.DocumentedType(kind))
		return "", 0
	}
	back := lookback(expression)
	if back > maxLookback {
		v.Problem("it looks back %s; want at most %s", strictyaml.FormatDuration(back), strictyaml.FormatDuration(maxLookback))
	}
	return text, back
}

// lookback is the longest span that an expression reads, offsets left out.
func lookback(n parser.Node) time.Duration {
	own := time.Duration(0)
	switch n := n.(type) {
	case *parser.MatrixSelector:
		own = n.Range
	case *parser.SubqueryExpr:
		own = n.Range
	}
	longest := time.Duration(0)
	for child := range parser.ChildrenIter(n) {
		longest = max(longest, lookback(child))
	}
	return own + longest
}

func oneLine(err error) string {
	text := strings.Join(strings.Fields(err.Error()), " ")
	if runes := []rune(text); len(runes) > 200 {
		text = string(runes[:199]) + "…"
	}
	return text
}
