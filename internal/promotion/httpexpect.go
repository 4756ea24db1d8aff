package promotion

import (
	"fmt"
	"strings"
	"time"

	"k8s.io/client-go/util/jsonpath"

	"chaperone.dev/chaperone/internal/strictyaml"
)

// The words of endpoints.
const (
	endpointsAny  = "any"
	endpointsEach = "each"
)

const (
	maxJSON       = 20
	lowPercentile = 50
	topPercentile = 99
	maxValidFor   = 365 * 24 * time.Hour
)

// JSONPath is the template that a path of an environment's file stands for.
func JSONPath(path string) (*jsonpath.JSONPath, error) {
	template := strings.TrimSpace(path)
	if !strings.HasPrefix(template, "{") {
		template = "{" + template + "}"
	}
	parsed := jsonpath.New("path")
	if err := parsed.Parse(template); err != nil {
		return nil, fmt.Errorf("%q cannot be read: %.100s; want a path such as .status or .checks[0].state", path, err)
	}
	return parsed, nil
}

func checkJSONPath(path string) error {
	if len(path) > 200 || !strings.HasPrefix(strings.TrimLeft(path, "{ "), ".") && !strings.HasPrefix(path, "$") && !strings.HasPrefix(path, "{$") {
		return fmt.Errorf("want a path of at most 200 characters such as .status or .checks[0].state, not %.80q", path)
	}
	if strings.Count(path, "..") > 1 {
		return fmt.Errorf("%q looks through all that is found by looking through all, which some bodies make endless; want .. once at most", path)
	}
	_, err := JSONPath(path)
	return err
}

func decodeJSON(expect *strictyaml.Object) []JSONValue {
	limit(expect.Value("json"), maxJSON)
	var all []JSONValue
	for _, o := range expect.Objects("json") {
		o.Require("path", "want a path such as .status")
		o.Require("equals", "want the value that it must have, such as UP")
		value := JSONValue{Path: o.String("path", "", checkJSONPath)}
		if text, written := o.Value("equals").Scalar(); written {
			value.Equals = text
		}
		if len(value.Equals) > maxText {
			o.Value("equals").Problem("want at most %d bytes, not %d", maxText, len(value.Equals))
		}
		all = append(all, value)
	}
	return all
}

// decodeLatency wants as many requests as it takes for the percentile to be
// another one than the slowest: one slow answer among a few says little.
func decodeLatency(o *strictyaml.Object, count int) *Latency {
	l := Latency{
		Percentile: o.Int("percentile", 95, lowPercentile, topPercentile),
		Under:      o.Duration("under", 0, time.Millisecond, maxTimeout),
	}
	if !o.Present() {
		return nil
	}
	o.Require("under", "want how long an answer may take, such as 500ms")
	if least := LeastRequests(l.Percentile); count < least {
		o.Problem("percentile %d says nothing of %d requests; want a count of at least %d", l.Percentile, count, least)
	}
	return &l
}

// LeastRequests is how many requests it takes for one of them to be beyond a
// percentile.
func LeastRequests(percentile int) int { return (100 + 99 - percentile) / (100 - percentile) }

func decodeCertificate(o *strictyaml.Object, c HTTPCheck) time.Duration {
	certificate := o.Object("certificate")
	validFor := certificate.Duration("validFor", 0, time.Hour, maxValidFor)
	if !certificate.Present() {
		return 0
	}
	certificate.Require("validFor", "want how long it must be valid yet, such as 14d")
	if !strings.HasPrefix(c.URL, "https:") {
		certificate.Problem("only an https url has a certificate; want url: https://…, or remove it")
	}
	return validFor
}
