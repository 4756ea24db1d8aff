package cli

import (
	"encoding/xml"
	"fmt"
	"io"
	"slices"
	"strings"

	"chaperone.dev/chaperone/internal/policy"
	"chaperone.dev/chaperone/internal/promotion"
)

// JUnit's XML as CI systems read it.
type junitSuites struct {
	XMLName  xml.Name     `xml:"testsuites"`
	Name     string       `xml:"name,attr"`
	Tests    int          `xml:"tests,attr"`
	Failures int          `xml:"failures,attr"`
	Errors   int          `xml:"errors,attr"`
	Suites   []junitSuite `xml:"testsuite"`
}

type junitSuite struct {
	Name     string      `xml:"name,attr"`
	Tests    int         `xml:"tests,attr"`
	Failures int         `xml:"failures,attr"`
	Errors   int         `xml:"errors,attr"`
	Skipped  int         `xml:"skipped,attr"`
	Cases    []junitCase `xml:"testcase"`
}

type junitCase struct {
	Class   string       `xml:"classname,attr"`
	Name    string       `xml:"name,attr"`
	File    string       `xml:"file,attr,omitempty"`
	Skipped *junitDetail `xml:"skipped,omitempty"`
	Failure *junitDetail `xml:"failure,omitempty"`
	Error   *junitDetail `xml:"error,omitempty"`
	Output  string       `xml:"system-out,omitempty"`
}

type junitDetail struct {
	Message string `xml:"message,attr"`
	Type    string `xml:"type,attr,omitempty"`
	Text    string `xml:",chardata"`
}

// writeJUnit prints a suite for each environment with a test for each rule: a
// rule that was not asked is skipped, not passed.
func writeJUnit(w io.Writer, all []judged) error {
	suites := junitSuites{Name: "chaperone check"}
	for _, j := range all {
		s := junitSuiteOf(j)
		suites.Tests, suites.Failures, suites.Errors = suites.Tests+s.Tests, suites.Failures+s.Failures, suites.Errors+s.Errors
		suites.Suites = append(suites.Suites, s)
	}
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	encoder := xml.NewEncoder(w)
	encoder.Indent("", "  ")
	if err := encoder.Encode(suites); err != nil {
		return fmt.Errorf("encode: %w", err)
	}
	_, err := io.WriteString(w, "\n")
	return err
}

// everyData is for what is said of exceptions, which is no rule of the bundle.
var everyData = []promotion.Data{promotion.DataSynthetic, promotion.DataAnonymized, promotion.DataPHI}

func junitSuiteOf(j judged) junitSuite {
	suite := junitSuite{Name: j.Environment.String()}
	rules := slices.Clone(j.rules)
	for _, f := range j.Findings {
		if !slices.ContainsFunc(rules, func(r policy.Rule) bool { return r.ID == f.Rule }) { // about an exception
			rules = append(rules, policy.Rule{ID: f.Rule, Title: f.Title, Data: everyData})
		}
	}
	for _, r := range rules {
		suite.Cases = append(suite.Cases, junitCaseOf(j, r))
	}
	for _, e := range j.Errors {
		if e.Rule == "" {
			suite.Cases = append(suite.Cases, junitCase{Class: suite.Name, Name: "policies", Error: &junitDetail{Message: cleanLines(e.Error())}})
		}
	}
	for _, c := range suite.Cases {
		suite.Tests++
		switch {
		case c.Error != nil:
			suite.Errors++
		case c.Failure != nil:
			suite.Failures++
		case c.Skipped != nil:
			suite.Skipped++
		}
	}
	return suite
}

func junitCaseOf(j judged, r policy.Rule) junitCase {
	c := junitCase{Class: j.Environment.String(), Name: r.ID}
	for _, e := range j.Errors {
		if e.Rule == r.ID {
			c.Error = &junitDetail{Message: cleanLines(e.Error()), Type: string(r.Severity)}
		}
	}
	var stopping, others []string
	for _, f := range j.Findings {
		if f.Rule != r.ID {
			continue
		}
		if f.Stops() {
			stopping = append(stopping, findingLine(f))
			if c.File == "" && f.Source != nil {
				c.File = f.Source.File
			}
		} else {
			others = append(others, findingLine(f))
		}
	}
	c.Output = cleanLines(strings.Join(others, "\n"))
	switch {
	case len(stopping) > 0:
		c.Failure = &junitDetail{Message: cleanLines(r.Title), Type: string(r.Severity), Text: cleanLines(strings.Join(stopping, "\n"))}
	case !r.AppliesTo(j.data):
		c.Skipped = &junitDetail{Message: fmt.Sprintf("the rule is not for %s data", j.data)}
	}
	return c
}

func findingLine(f policy.Finding) string {
	action, where := string(f.Action), "the release"
	if f.Exception != nil {
		action = "waived by " + f.Exception.Name
	}
	if f.Object != nil {
		where = f.Object.String()
	}
	if f.Path != "" {
		where += " " + f.Path
	}
	line := fmt.Sprintf("%s: %s: %s", action, where, f.Message)
	if f.Source != nil {
		line += " (" + f.Source.String() + ")"
	}
	return line
}
