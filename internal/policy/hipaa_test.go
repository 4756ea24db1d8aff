package policy

import (
	"strings"
	"testing"
	"time"

	"chaperone.dev/chaperone/internal/promotion"
)

// 164.306(d)(3): what is addressable may be left out with a reason and an
// equivalent measure; what is required may not.
func TestCheckWaiver(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name     string
		cites    []string
		waivable bool
		reasoned bool
		want     string // "" is none
	}{
		{"cites nothing", nil, true, false, ""},
		{"cites nothing and is not waivable", nil, false, true, "is not waivable; fix"},
		{"addressable, with reason and measure", []string{"164.312(a)(2)(iv)"}, true, true, ""},
		{"addressable, without", []string{"164.312(a)(2)(iv)"}, true, false, "want spec.rationale"},
		{"addressable, and not waivable", []string{"164.312(a)(2)(iv)"}, false, true, "is not waivable; fix"},
		{"a standard, with reason and measure", []string{"164.312(a)(1)"}, true, true, ""},
		{"a standard, without", []string{"164.312(a)(1)"}, true, false, "want spec.rationale"},
		{"a standard, and not waivable", []string{"164.308(a)(4)(i)"}, false, true, "is not waivable; fix"},
		{"a standard without specifications", []string{"164.312(d)"}, true, true, "164.312(d), which is required"},
		{"a required specification", []string{"164.308(a)(7)(ii)(A)"}, true, true, "164.308(a)(7)(ii)(A), which is required"},
		{"addressable, and its standard", []string{"164.312(e)(2)(ii)", "164.312(e)(1)"}, true, true, ""},
		{"one of each", []string{"164.312(e)(2)(ii)", "164.312(a)(2)(i)"}, true, true, "164.312(a)(2)(i), which is required"},
		{"the Privacy Rule", []string{"164.502(b)"}, true, true, "164.502(b), which is required"},
		{"a paragraph above an addressable one", []string{"164.308(a)(7)(ii)"}, true, true, "which is required"},
	} {
		r := Rule{ID: "a/b", Waivable: test.waivable}
		for _, cite := range test.cites {
			r.HIPAA = append(r.HIPAA, HIPAA{Cite: cite})
		}
		e := Exception{}
		if test.reasoned {
			e.Rationale, e.AlternativeMeasure = "r", "m"
		}
		err := r.CheckWaiver(e)
		if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", test.name, err, test.want)
		}
	}
}

// Metadata cannot make waivable what the law requires, nor say that it does.
func TestRequiredRulesAreNotWaivable(t *testing.T) {
	t.Parallel()
	for cite, want := range map[string]bool{
		"164.312(a)(2)(iv)": true, "164.312(a)(1)": true, "164.308(a)(7)(ii)(B)": false, "164.502(b)": false,
	} {
		for _, said := range []bool{true, false} {
			custom := validCustom()
			delete(custom, "waivable")
			if said {
				custom["waivable"] = true
			}
			custom["controls"] = map[string]any{"hipaa": []any{map[string]any{"cite": cite, "why": "w"}}}
			r, err := ParseRule("T", "D", custom)
			if r.Waivable != want || (err == nil) != (want || !said) {
				t.Errorf("%s, said %v: waivable %v, %v; want %v, and an error where metadata say otherwise", cite, said, r.Waivable, err, want)
			}
		}
	}
}

// A verdict ends when the first exception for its environment does, or when one
// that reached too far begins to hold.
func TestCountdown(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	at := func(d time.Duration) func(*Exception) { return func(e *Exception) { e.Expires = now.Add(d) } }
	elsewhere := func(e *Exception) {
		e.Expires, e.Environments = now.Add(day), []promotion.ID{{Pipeline: "novamind", Name: "production"}}
	}
	for name, test := range map[string]struct {
		exceptions []func(*Exception)
		until      time.Duration // 0 is never
		first      time.Duration
	}{
		"none":                   {nil, 0, 0},
		"one":                    {[]func(*Exception){at(10 * day)}, 10 * day, 10 * day},
		"the first of two":       {[]func(*Exception){at(10 * day), at(3 * day)}, 3 * day, 3 * day},
		"over":                   {[]func(*Exception){at(0)}, 0, 0},
		"of another environment": {[]func(*Exception){elsewhere}, 0, 0},
		"too long":               {[]func(*Exception){at(92 * day)}, day, 0},
		"too long, and one more": {[]func(*Exception){at(100 * day), at(60 * day)}, 9 * day, 60 * day},
	} {
		basis := Basis{Rules: []Rule{rule("pod/a", SeverityCritical)}}
		for _, change := range test.exceptions {
			basis.Exceptions = append(basis.Exceptions, exception(change))
		}
		report := Judge(inputFor(promotion.DataPHI), basis, nil, nil)
		if got := report.Until; got.IsZero() != (test.until == 0) || !got.IsZero() && got.Sub(now) != test.until {
			t.Errorf("%s: until %s, want %s from %s", name, got, test.until, now)
		}
		if first := report.Excepted; (first == nil) != (test.first == 0) || first != nil && first.Expires.Sub(now) != test.first {
			t.Errorf("%s: countdown %+v, want %s", name, first, test.first)
		}
	}
}
