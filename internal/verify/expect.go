package verify

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"chaperone.dev/chaperone/internal/health"
	"chaperone.dev/chaperone/internal/promotion"
)

// content judges a body, and never repeats what it holds: it may be a patient's
// record.
func content(response *http.Response, check promotion.HTTPCheck) answer {
	status := strconv.Itoa(response.StatusCode)
	if check.Body == "" && len(check.JSON) == 0 || check.Method == http.MethodHead {
		return answer{outcome: right, text: status}
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, maxBody+1))
	whole := err == nil && len(body) <= maxBody
	body = body[:min(len(body), maxBody)]
	long := fmt.Sprintf("the answer is longer than the %d KiB that are read", maxBody>>10)
	switch {
	case !strings.Contains(string(body), check.Body):
		if err != nil {
			return silent("the answer broke off")
		}
		if !whole { // it may come yet, and we do not look
			return silent(long)
		}
		return answer{outcome: wrong, text: fmt.Sprintf("%s without %q in the body", status, brief(errors.New(check.Body)))}
	case len(check.JSON) == 0:
		return answer{outcome: right, text: status}
	case err != nil:
		return silent("the answer broke off")
	case !whole:
		return silent(long)
	}
	if nested(body) > maxNested {
		return silent(fmt.Sprintf("the body is nested more than %d deep", maxNested))
	}
	if why := differs(body, check.JSON); why != "" {
		return answer{outcome: wrong, text: status + " " + why}
	}
	return answer{outcome: right, text: status}
}

// maxNested is how deep a body may be: a path that looks through all of it takes
// the square of that.
const maxNested = 200

// nested is how deep JSON is, or a little more for what is none.
func nested(body []byte) (deepest int) {
	depth, quoted := 0, false
	for i := 0; i < len(body); i++ {
		switch c := body[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{', c == '[':
			depth++
			deepest = max(deepest, depth)
		case c == '}', c == ']':
			depth--
		}
	}
	return deepest
}

// differs says which value of a body is not as wanted, and not what it is.
func differs(body []byte, wanted []promotion.JSONValue) string {
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.UseNumber()
	var document any
	if decoder.Decode(&document) != nil || decoder.More() {
		return "with a body that is no JSON"
	}
	for _, value := range wanted {
		found, ok := at(document, value.Path)
		if !ok {
			return "without a value at " + value.Path
		}
		if !same(found, value.Equals) {
			return fmt.Sprintf("with another value than %q at %s", brief(errors.New(value.Equals)), value.Path)
		}
	}
	return ""
}

// at is the one value that a path leads to.
func at(document any, path string) (value any, found bool) {
	defer func() {
		if recover() != nil { // a body is what anybody answers
			value, found = nil, false
		}
	}()
	template, err := promotion.JSONPath(path)
	if err != nil {
		return nil, false
	}
	results, err := template.FindResults(document)
	if err != nil || len(results) != 1 || len(results[0]) != 1 {
		return nil, false
	}
	if !results[0][0].IsValid() {
		return nil, true
	}
	return results[0][0].Interface(), true
}

func same(value any, wanted string) bool {
	switch value := value.(type) {
	case nil:
		return wanted == "null"
	case string:
		return value == wanted
	case bool:
		return strconv.FormatBool(value) == wanted
	case json.Number:
		a, errA := value.Float64()
		b, errB := strconv.ParseFloat(wanted, 64)
		return value.String() == wanted || errA == nil && errB == nil && a == b
	}
	return false
}

// certified judges a server's certificate where a check asks about it.
func certified(response *http.Response, check promotion.HTTPCheck, now time.Time) (string, bool) {
	if check.Certificate <= 0 {
		return "", true
	}
	if response.TLS == nil || len(response.TLS.PeerCertificates) == 0 {
		return "an answer without a certificate", false
	}
	ends := response.TLS.PeerCertificates[0].NotAfter
	if left := ends.Sub(now); left < check.Certificate {
		return fmt.Sprintf("a certificate that is valid until %s, less than %s from now",
			ends.UTC().Format("2006-01-02"), health.Span(check.Certificate)), false
	}
	return "", true
}

// refusedCertificate tells a certificate that is no good, whoever looks at it,
// from one that only this daemon has no reason to trust: that may be a proxy's on
// the way. It counts where the check asks about certificates.
func refusedCertificate(err error, check promotion.HTTPCheck, now time.Time) (string, bool) {
	var (
		refused *tls.CertificateVerificationError
		invalid x509.CertificateInvalidError
		other   x509.HostnameError
	)
	if check.Certificate <= 0 || !errors.As(err, &refused) {
		return "", false
	}
	switch {
	case errors.As(refused.Err, &invalid) && invalid.Reason == x509.Expired:
		return outOfDate(invalid.Cert, refused.UnverifiedCertificates, now)
	case errors.As(refused.Err, &other):
		return "a certificate for another host", true
	}
	return "", false
}

// outOfDate is about a certificate that the server sent. One that it did not send
// is an authority's that this daemon trusts, which is nothing of the release's.
func outOfDate(one *x509.Certificate, sent []*x509.Certificate, now time.Time) (string, bool) {
	at := slices.IndexFunc(sent, func(c *x509.Certificate) bool { return c.Equal(one) })
	if at < 0 {
		return "", false
	}
	text := "a certificate that "
	if at > 0 {
		text = "a certificate of an issuer that "
	}
	if now.Before(one.NotBefore) {
		return text + "is not valid before " + one.NotBefore.UTC().Format("2006-01-02"), true
	}
	return text + "was valid until " + one.NotAfter.UTC().Format("2006-01-02"), true
}
