package state

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"chaperone.dev/chaperone/internal/reconcile"
)

// People's requests are annotations of the Environment object: whoever may
// patch it may pause and retry, and the daemon's own writes leave them alone.
const (
	PauseAnnotation = "chaperone.dev/pause" // JSON of a Pause
	RetryAnnotation = "chaperone.dev/retry" // JSON of a Retry
)

// Bounds of a request: it is kept in the object, shown on a line, and the ID of
// a retry goes into the journal.
const (
	maxRequestText = 1 << 10
	maxRequestID   = 128
	maxAnnotation  = 8 << 10
)

// Pause is a person's word that nothing is to change in an environment.
type Pause struct {
	Reason string    `json:"reason"`
	By     string    `json:"by"`
	At     time.Time `json:"at,omitzero"`
	Until  time.Time `json:"until,omitzero"` // zero is until it is resumed
}

// Retry is a person's word that what failed is to be tried again.
type Retry struct {
	ID     string           `json:"id"`               // of this request: it is granted once
	Digest reconcile.Digest `json:"digest,omitempty"` // what to try; "" is what is wanted now
	By     string           `json:"by"`
	At     time.Time        `json:"at,omitzero"`
}

// Requests is what people asked of one environment. A pause that cannot be read
// counts as one without end: whoever wrote it wanted a standstill. A retry that
// cannot be read counts as none. Problem says what is wrong with them, where,
// and what would be right.
type Requests struct {
	Pause   *Pause
	Retry   *Retry
	Problem string
}

// Equal reports whether nothing was asked for in between.
func (r Requests) Equal(other Requests) bool {
	return r.Problem == other.Problem && equal(r.Pause, other.Pause, Pause.equal) && equal(r.Retry, other.Retry, Retry.equal)
}

func equal[T any](a, b *T, same func(T, T) bool) bool {
	if a == nil || b == nil {
		return a == b
	}
	return same(*a, *b)
}

func (p Pause) equal(o Pause) bool {
	return p.Reason == o.Reason && p.By == o.By && p.At.Equal(o.At) && p.Until.Equal(o.Until)
}

func (r Retry) equal(o Retry) bool {
	return r.ID == o.ID && r.Digest == o.Digest && r.By == o.By && r.At.Equal(o.At)
}

// requestsOf reads the annotations of the object with this name.
func requestsOf(object string, annotations map[string]string) Requests {
	var requests Requests
	var problems []string
	broken := func(annotation string, err error) {
		problems = append(problems, fmt.Sprintf("Environment/%s: annotation %s: %v", object, annotation, err))
	}
	if text, asked := annotations[PauseAnnotation]; asked {
		pause, err := parsePause(text)
		if err != nil {
			broken(PauseAnnotation, err)
			pause = Pause{Reason: "unreadable pause annotation: " + err.Error()}
		}
		requests.Pause = &pause
	}
	if text, asked := annotations[RetryAnnotation]; asked {
		retry, err := parseRetry(text)
		if err != nil {
			broken(RetryAnnotation, err)
		} else {
			requests.Retry = &retry
		}
	}
	requests.Problem = strings.Join(problems, "; ")
	return requests
}

func parsePause(text string) (Pause, error) {
	fields, err := fieldsOf(text, "reason", "by", "at", "until")
	if err != nil {
		return Pause{}, err
	}
	p := Pause{Reason: fields["reason"], By: fields["by"]}
	if p.At, err = timeFrom(fields, "at"); err != nil {
		return Pause{}, err
	}
	if p.Until, err = timeFrom(fields, "until"); err != nil {
		return Pause{}, err
	}
	return p, p.check()
}

func parseRetry(text string) (Retry, error) {
	fields, err := fieldsOf(text, "id", "digest", "by", "at")
	if err != nil {
		return Retry{}, err
	}
	r := Retry{ID: fields["id"], Digest: reconcile.Digest(fields["digest"]), By: fields["by"]}
	if r.At, err = timeFrom(fields, "at"); err != nil {
		return Retry{}, err
	}
	return r, r.check()
}

// fieldsOf reads a JSON object of strings. encoding/json alone would take a
// field in another case, or the second of two.
func fieldsOf(text string, known ...string) (map[string]string, error) {
	want := `; want a JSON object of strings with the fields ` + strings.Join(known, ", ")
	if len(text) > maxAnnotation {
		return nil, fmt.Errorf("%d bytes; want at most %d", len(text), maxAnnotation)
	}
	if !utf8.ValidString(text) || !json.Valid([]byte(text)) {
		return nil, errors.New("not JSON" + want)
	}
	decoder := json.NewDecoder(strings.NewReader(text))
	if open, err := decoder.Token(); err != nil || open != json.Delim('{') {
		return nil, errors.New("not an object" + want)
	}
	fields := map[string]string{}
	for decoder.More() {
		name, errName := decoder.Token()
		value, errValue := decoder.Token()
		if err := errors.Join(errName, errValue); err != nil {
			return nil, fmt.Errorf("%w%s", err, want)
		}
		key, _ := name.(string)
		content, isText := value.(string)
		_, twice := fields[key]
		switch {
		case !slices.Contains(known, key):
			return nil, fmt.Errorf("unknown field %.80q%s", key, want)
		case twice:
			return nil, fmt.Errorf("field %q stands there twice; want it once", key)
		case !isText:
			return nil, fmt.Errorf("%s: not a string%s", key, want)
		}
		fields[key] = content
	}
	return fields, nil
}

const timeWanted = "want a time with its zone as RFC 3339 writes it, such as 2026-03-01T18:00:00Z"

func timeFrom(fields map[string]string, field string) (time.Time, error) {
	text, given := fields[field]
	if !given {
		return time.Time{}, nil
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil || !sane(t) {
		return time.Time{}, fmt.Errorf("%s: %.80q; %s", field, text, timeWanted)
	}
	return t.UTC(), nil
}

// sane keeps out the zero time, which would mean another thing, and years that
// cannot be written as JSON: a journal that takes them over could not be stored.
func sane(t time.Time) bool {
	year := t.UTC().Year()
	return year >= 1970 && year <= 9999
}

func checkTime(field string, t time.Time) error {
	switch {
	case t.IsZero():
		return fmt.Errorf("%s: missing; %s", field, timeWanted)
	case !sane(t):
		return fmt.Errorf("%s: year %d; %s", field, t.UTC().Year(), timeWanted)
	}
	return nil
}

// checkText keeps out what would break a line, or turn it around on a terminal.
func checkText(field, text string, longest int, want string) error {
	foul := func(r rune) bool {
		return r == utf8.RuneError || unicode.In(r, unicode.Cc, unicode.Zl, unicode.Zp, unicode.Bidi_Control)
	}
	switch {
	case strings.TrimSpace(text) == "":
		return fmt.Errorf("%s: missing; want %s", field, want)
	case len(text) > longest:
		return fmt.Errorf("%s: %d bytes; want at most %d", field, len(text), longest)
	case strings.ContainsFunc(text, foul):
		return fmt.Errorf("%s: holds control characters or is not UTF-8; want one line of text", field)
	}
	return nil
}

func (p Pause) check() error {
	if err := checkText("reason", p.Reason, maxRequestText, "why, in one sentence"); err != nil {
		return err
	}
	if err := checkText("by", p.By, maxRequestText, "who asks"); err != nil {
		return err
	}
	if err := checkTime("at", p.At); err != nil {
		return err
	}
	if p.Until.IsZero() {
		return nil
	}
	return checkTime("until", p.Until)
}

var digestText = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)

func (r Retry) check() error {
	if err := checkText("id", r.ID, maxRequestID, "a name for this request that none before it had"); err != nil {
		return err
	}
	if r.Digest != "" && !digestText.MatchString(string(r.Digest)) {
		return fmt.Errorf("digest: %.80q; want sha256: and 64 hexadecimal digits, or none for what is wanted now", r.Digest)
	}
	if err := checkText("by", r.By, maxRequestText, "who asks"); err != nil {
		return err
	}
	return checkTime("at", r.At)
}

// annotationOf is what parsePause and parseRetry read.
func annotationOf(request any) (string, error) {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false) // people read it with kubectl
	if err := encoder.Encode(request); err != nil {
		return "", err
	}
	return strings.TrimSpace(b.String()), nil
}
