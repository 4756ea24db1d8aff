package promotion

import (
	"fmt"
	"testing"
	"time"

	"github.com/prometheus/prometheus/promql/parser"

	"chaperone.dev/chaperone/internal/strictyaml"
)

// A preset is a query that Prometheus would take, whatever is selected.
func TestPresetsAreQueries(t *testing.T) {
	t.Parallel()
	for _, p := range presets {
		for _, of := range []string{`job="api"`, `job="api",namespace=~"a|b"`, `job!=""`} {
			query := fmt.Sprintf(p.query, of, "90s", "0.95")
			expression, err := parser.NewParser(parser.Options{}).ParseExpr(query)
			if err != nil || lookback(expression) != 90*time.Second {
				t.Errorf("%s of %s: %v, looks back %s\n%s", p.kind, p.metric, err, lookback(expression), query)
			}
		}
	}
}

// What is read of a metric check is a query that gives a number, or a fault.
func FuzzMetricQuery(f *testing.F) {
	for _, query := range []string{"up", "rate(x[1m])", "rate(x)", `x{a="b"}`, "1", `"a"`, "x[5m]", "sum by (a) (x[5m:1m] offset 1d)", "", "(((("} {
		f.Add(query)
	}
	f.Fuzz(func(t *testing.T, text string) {
		document := strictyaml.Parse("f.yaml", fmt.Appendf(nil, "query: %q\n", text))
		query, back := parseQuery(document.Root().Value("query"))
		if document.Err() != nil || query == "" {
			return
		}
		expression, err := parser.NewParser(parser.Options{}).ParseExpr(query)
		if err != nil || expression.Type() == parser.ValueTypeMatrix || expression.Type() == parser.ValueTypeString || back > maxLookback {
			t.Errorf("%q was taken: %v", query, err)
		}
	})
}
