package policy

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	yaml "go.yaml.in/yaml/v3"

	"chaperone.dev/chaperone/internal/promotion"
)

// Bounds on exceptions.
const (
	maxExceptions       = 1000
	maxExceptionObjects = 100
	// maxExceptionAhead is how far ahead an exception may reach. One that says
	// later does not hold until then: it must be looked at again.
	maxExceptionAhead = 90 * 24 * time.Hour
	// expiresSoon is when an exception begins to announce its end.
	expiresSoon = 7 * 24 * time.Hour
)

// Exception is a reviewed, expiring waiver of one rule for named objects in
// named environments.
type Exception struct {
	Name         string
	File         string
	Line         int
	Rule         string
	Environments []promotion.ID
	Objects      []ObjectRef
	Reason       string
	Ticket       string
	Owner        string
	Requester    string
	ApprovedBy   []string
	Expires      time.Time // the exception holds before this moment
	expiresText  string
}

// Ref is what a report tells of it.
func (e Exception) Ref() *ExceptionRef {
	return &ExceptionRef{Name: e.Name, File: e.File, Reason: e.Reason, Ticket: e.Ticket, Owner: e.Owner,
		ApprovedBy: e.ApprovedBy, Expires: e.expiresText}
}

// Holds reports whether the exception is in force at now.
func (e Exception) Holds(now time.Time) bool {
	return now.Before(e.Expires) && !e.tooLong(now)
}

func (e Exception) tooLong(now time.Time) bool {
	return e.Expires.Sub(now) > maxExceptionAhead+24*time.Hour // the last day counts as a whole
}

func (e Exception) covers(environment promotion.ID, object ObjectRef) bool {
	return slices.Contains(e.Environments, environment) &&
		slices.ContainsFunc(e.Objects, func(o ObjectRef) bool { return o.ID() == object.ID() })
}

// ParseExceptions reads one file of exceptions, strictly. Every error names
// file and line, and all of them are told, joined.
func ParseExceptions(file string, content []byte) ([]Exception, error) {
	decoder := yaml.NewDecoder(bytes.NewReader(content))
	var exceptions []Exception
	var problems []error
	for {
		var document yaml.Node
		err := decoder.Decode(&document)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil { // the decoder cannot go on behind a syntax error
			return nil, errors.Join(append(problems, fmt.Errorf("%s: %w", file, err))...)
		}
		if len(document.Content) == 1 && document.Content[0].Tag == "!!null" {
			continue // a stray `---` or a document of comments
		}
		if len(exceptions) >= maxExceptions {
			return nil, fmt.Errorf("%s:%d: more than %d exceptions", file, document.Line, maxExceptions)
		}
		r := &reader{file: file}
		e := readException(r, &document)
		exceptions = append(exceptions, e)
		problems = append(problems, r.problems...)
	}
	if len(problems) > 0 {
		return nil, errors.Join(problems...)
	}
	return exceptions, nil
}

func readException(r *reader, document *yaml.Node) Exception {
	e := Exception{File: r.file, Line: document.Line}
	root := r.mapping(document, "exception", "apiVersion", "kind", "metadata", "spec")
	if len(r.problems) > 0 {
		return e
	}
	r.equal(root, "apiVersion", "chaperone.dev/v1alpha1")
	r.equal(root, "kind", "Exception")
	metadata := r.mapping(root.field("metadata"), "metadata", "name")
	e.Name = r.text(metadata, "name")
	spec := r.mapping(root.field("spec"), "spec", "rule", "environments", "objects", "reason", "ticket",
		"owner", "requester", "approvedBy", "expires")
	e.Rule = r.text(spec, "rule")
	if e.Rule != "" && !idPattern.MatchString(e.Rule) {
		r.wrong(spec.field("rule"), "rule %.60q: want the id of one rule, such as pod/host-path", e.Rule)
	}
	for _, node := range r.items(spec, "environments", maxExceptionObjects) {
		e.Environments = append(e.Environments, r.environment(node))
	}
	for _, node := range r.items(spec, "objects", maxExceptionObjects) {
		e.Objects = append(e.Objects, r.object(node))
	}
	e.Reason, e.Ticket = r.text(spec, "reason"), r.text(spec, "ticket")
	e.Owner, e.Requester = r.text(spec, "owner"), r.text(spec, "requester")
	for _, node := range r.items(spec, "approvedBy", 20) {
		person := r.scalar(node, "approvedBy")
		if strings.EqualFold(person, e.Requester) && person != "" {
			r.wrong(node, "approvedBy: %s is the requester; want somebody else", person)
		}
		e.ApprovedBy = append(e.ApprovedBy, person)
	}
	e.expiresText = r.text(spec, "expires")
	e.Expires = r.expiry(spec.field("expires"), e.expiresText)
	return e
}

// expiry reads a date, through the end of which (UTC) the exception holds, or
// a moment.
func (r *reader) expiry(node *yaml.Node, text string) time.Time {
	if text == "" {
		return time.Time{}
	}
	if day, err := time.Parse(time.DateOnly, text); err == nil {
		return day.AddDate(0, 0, 1)
	}
	moment, err := time.Parse(time.RFC3339, text)
	if err != nil {
		r.wrong(node, "expires %.60q: want a date such as 2026-10-31", text)
	}
	return moment
}

func (r *reader) environment(node *yaml.Node) promotion.ID {
	text := r.scalar(node, "environments")
	if text == "" {
		return promotion.ID{}
	}
	id, err := promotion.ParseID(text)
	if err != nil || strings.ContainsAny(text, "*?[") {
		r.wrong(node, "environments: %.60q is over-broad or not one environment; want pipeline/name, such as novamind/staging", text)
	}
	return id
}

func (r *reader) object(node *yaml.Node) ObjectRef {
	fields := r.mapping(node, "objects", "apiVersion", "kind", "namespace", "name")
	ref := ObjectRef{APIVersion: r.text(fields, "apiVersion"), Kind: r.text(fields, "kind"), Name: r.text(fields, "name")}
	if fields.field("namespace") != nil {
		ref.Namespace = r.text(fields, "namespace")
	}
	for _, text := range []string{ref.APIVersion, ref.Kind, ref.Namespace, ref.Name} {
		if strings.ContainsAny(text, "*?[^$") {
			r.wrong(node, "objects: %.60q is over-broad; want each object by its exact name", text)
		}
	}
	return ref
}
