package policy

import (
	"errors"
	"fmt"
	"net/mail"
	"regexp"
	"slices"
	"strings"
	"time"

	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/strictyaml"
)

// Bounds on exceptions.
const (
	maxExceptionObjects = 100
	// maxExceptionAhead is how far ahead an exception may reach, from the day that
	// it was requested and from now: it must be looked at again.
	maxExceptionAhead = 90 * 24 * time.Hour
	// expiresSoon is when an exception begins to announce its end.
	expiresSoon = 7 * 24 * time.Hour
	// minApprovers are people other than the requester.
	minApprovers = 2
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
	Requested    time.Time // it holds from this day on
	Expires      time.Time // the exception holds before this moment
	expiresText  string
	// Rationale and AlternativeMeasure are asked for where the rule cites an
	// addressable specification: see Rule.CheckWaiver.
	Rationale          string
	AlternativeMeasure string
}

// Ref is what a report tells of it.
func (e Exception) Ref() *ExceptionRef {
	return &ExceptionRef{Name: e.Name, File: e.File, Reason: e.Reason, Ticket: e.Ticket, Owner: e.Owner,
		Requester: e.Requester, ApprovedBy: e.ApprovedBy, Expires: e.expiresText,
		Rationale: e.Rationale, AlternativeMeasure: e.AlternativeMeasure}
}

// Holds reports whether the exception is in force at now.
func (e Exception) Holds(now time.Time) bool {
	return now.Before(e.Expires) && !now.Before(e.Requested) && !e.tooLong(now)
}

func (e Exception) tooLong(now time.Time) bool {
	return e.Expires.Sub(now) > maxExceptionAhead+24*time.Hour // the last day counts as a whole
}

// covers finds an object among those of the exception, wherever both land.
func (e Exception) covers(in Environment, object ObjectRef) bool {
	return slices.Contains(e.Environments, in.ID) &&
		slices.ContainsFunc(e.Objects, func(o ObjectRef) bool { return in.same(o, object) })
}

// same reports whether two references are to one object: what says no namespace
// lands in the environment's.
func (e Environment) same(a, b ObjectRef) bool {
	return a.In(e.Target.Namespace) == b.In(e.Target.Namespace)
}

// ParseException reads the file of one exception, strictly. The error has
// everything that is wrong with it, each with file and line.
func ParseException(file string, content []byte) (Exception, error) {
	document := strictyaml.Parse(file, content)
	root := document.Root()
	require(root, "apiVersion", "kind")
	strictyaml.Enum(root, "apiVersion", promotion.APIVersion, promotion.APIVersion)
	strictyaml.Enum(root, "kind", "Exception", "Exception")
	metadata := root.Object("metadata")
	require(metadata, "name")
	e := Exception{File: file, Name: metadata.String("name", "", notEmpty)}
	e.decodeSpec(root.Object("spec"))
	return e, document.Err()
}

func (e *Exception) decodeSpec(spec *strictyaml.Object) {
	require(spec, "rule", "environments", "objects", "reason", "ticket", "owner", "requester", "approvedBy", "requested", "expires")
	e.Line = spec.Value("rule").Line()
	e.Rule = spec.String("rule", "", func(id string) error {
		if !idPattern.MatchString(id) {
			return errors.New("want the id of one rule, such as pod/host-path")
		}
		return nil
	})
	for _, v := range few(spec, "environments", maxExceptionObjects) {
		e.Environments = append(e.Environments, decodeEnvironment(v))
	}
	few(spec, "objects", maxExceptionObjects)
	for _, object := range spec.Objects("objects") {
		e.Objects = append(e.Objects, decodeObject(object))
	}
	e.Reason, e.Ticket = spec.String("reason", "", notEmpty), spec.String("ticket", "", notEmpty)
	e.Owner, e.Requester = spec.String("owner", "", notEmpty), spec.String("requester", "", person)
	e.Rationale, e.AlternativeMeasure = spec.String("rationale", "", notEmpty), spec.String("alternativeMeasure", "", notEmpty)
	e.decodeApprovers(spec)
	e.Requested, _ = decodeMoment(spec.Value("requested"))
	e.decodeExpires(spec.Value("expires"))
}

// decodeApprovers wants several people, none of them the requester: one person
// is one address, however it is written.
func (e *Exception) decodeApprovers(spec *strictyaml.Object) {
	few(spec, "approvedBy", maxExceptionObjects)
	people := map[string]bool{personKey(e.Requester): true}
	e.ApprovedBy = spec.Strings("approvedBy", person, func(person string) error {
		key := personKey(person)
		switch {
		case key == "": // said already
			return nil
		case key == personKey(e.Requester):
			return fmt.Errorf("%s is the requester; want somebody else", person)
		case people[key]:
			return fmt.Errorf("%s is listed twice; want two different people", person)
		}
		people[key] = true
		return nil
	})
	if v := spec.Value("approvedBy"); len(e.ApprovedBy) > 0 && len(v.List()) < minApprovers {
		v.Problem("%d approver; want at least %d people, none of them the requester", len(v.List()), minApprovers)
	}
}

var plainAddress = regexp.MustCompile(`^[A-Za-z0-9._%'+-]+@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+$`)

// personKey is the same for all the ways to write one person's address: with a
// name, with a tag, in capitals. "" is no address; letters beyond ASCII are none,
// as some look like others.
func personKey(text string) string {
	address, err := mail.ParseAddress(strings.TrimSpace(text))
	if err != nil || !plainAddress.MatchString(address.Address) {
		return ""
	}
	account, domain, _ := strings.Cut(strings.ToLower(address.Address), "@")
	account, _, _ = strings.Cut(account, "+")
	return account + "@" + domain
}

func person(text string) error {
	if personKey(text) == "" {
		return fmt.Errorf("%.60q is no e-mail address; want one in ASCII, such as kim@example.org", text)
	}
	return nil
}

// decodeExpires reads a date, through the end of which (UTC) the exception
// holds, or a moment. One that is far from the request would begin to hold long
// after anybody looked at it.
func (e *Exception) decodeExpires(v strictyaml.Value) {
	var day bool
	e.Expires, day = decodeMoment(v)
	e.expiresText, _ = v.Scalar()
	if day {
		e.Expires = e.Expires.AddDate(0, 0, 1)
	}
	switch {
	case e.Requested.IsZero() || e.Expires.IsZero():
	case !e.Requested.Before(e.Expires):
		v.Problem("%s is before spec.requested", e.expiresText)
	case e.tooLong(e.Requested):
		v.Problem("%s is more than %d days after spec.requested; want less, and a new review then", e.expiresText, maxExceptionAhead/(24*time.Hour))
	}
}

// decodeMoment reads a moment, or a date (UTC); zero is neither.
func decodeMoment(v strictyaml.Value) (moment time.Time, day bool) {
	text, ok := v.Scalar()
	if !ok {
		return time.Time{}, false
	}
	if moment, err := time.Parse(time.DateOnly, text); err == nil {
		return moment, true
	}
	moment, err := time.Parse(time.RFC3339, text)
	if err != nil {
		v.Problem("%.60q is no date; want one such as 2026-10-31", text)
	}
	return moment, false
}

func decodeEnvironment(v strictyaml.Value) promotion.ID {
	text, ok := v.Scalar()
	if !ok {
		return promotion.ID{}
	}
	id, err := promotion.ParseID(text)
	if err != nil || strings.ContainsAny(text, wildcards) {
		v.Problem("%.60q is over-broad or not one environment; want pipeline/name, such as novamind/staging", text)
	}
	return id
}

func decodeObject(object *strictyaml.Object) ObjectRef {
	require(object, "apiVersion", "kind", "name")
	return ObjectRef{
		APIVersion: object.String("apiVersion", "", notEmpty, exact), Kind: object.String("kind", "", notEmpty, exact),
		Namespace: object.String("namespace", "", exact), Name: object.String("name", "", notEmpty, exact),
	}
}

const wildcards = "*?[]^$"

func exact(text string) error {
	if strings.ContainsAny(text, wildcards) {
		return fmt.Errorf("%.60q is over-broad; want each object by its exact name", text)
	}
	return nil
}

func notEmpty(text string) error {
	if strings.TrimSpace(text) == "" {
		return errors.New("empty; an exception must say it")
	}
	return nil
}

func require(object *strictyaml.Object, names ...string) {
	for _, name := range names {
		object.Require(name, "an exception must say it")
	}
}

// few is a list that must not be empty, nor so long that nobody reviewed it.
func few(object *strictyaml.Object, name string, limit int) []strictyaml.Value {
	v := object.Value(name)
	list := v.List()
	switch {
	case v.Present() && len(list) == 0 && v.IsEmpty():
		v.Problem("empty; want at least one entry")
	case len(list) > limit:
		v.Problem("%d entries are over-broad; want at most %d", len(list), limit)
		return nil
	}
	return list
}
