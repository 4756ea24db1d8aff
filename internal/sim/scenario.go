package sim

import (
	"errors"
	"fmt"
	"net/mail"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/reconcile"
)

// Scenario is a story that is played: what people, clusters and accidents do,
// and what is expected of the daemon.
type Scenario struct {
	Name  string
	Story []string // the comment that it opens with
	Steps []*Step
}

// Step is one line of a scenario, with the indented lines below it.
type Step struct {
	Line  int
	Text  string
	Block []string
	do    func(*driver) error
}

// String is the scenario as it is written.
func (s *Scenario) String() string {
	var b strings.Builder
	for _, line := range s.Story {
		b.WriteString(strings.TrimRight("# "+line, " ") + "\n")
	}
	b.WriteString("\n")
	for _, step := range s.Steps {
		b.WriteString(step.String())
	}
	return b.String()
}

// ending is the first step after the last thing that happens: from there on
// there are only expectations.
func (s *Scenario) ending() int {
	end := len(s.Steps)
	for end > 0 && strings.HasPrefix(s.Steps[end-1].Text, "expect ") {
		end--
	}
	return end
}

func (s *Step) String() string {
	return strings.Join(append([]string{s.Text}, s.Block...), "\n") + "\n"
}

// Bounds of a scenario's text: it is written by people, or by shrinking.
const (
	maxScenario = 1 << 20
	maxSteps    = 5_000
)

// Parse reads a scenario. Errors name the file and the line, all of them.
func Parse(name, text string) (*Scenario, error) {
	s := &Scenario{Name: name}
	if len(text) > maxScenario {
		return nil, fmt.Errorf("%s: %d bytes; want at most %d", name, len(text), maxScenario)
	}
	var problems []error
	problem := func(line int, format string, args ...any) {
		problems = append(problems, fmt.Errorf("%s:%d: "+format, append([]any{name, line}, args...)...))
	}
	for i, line := range strings.Split(text, "\n") {
		line = strings.TrimRight(line, " \t\r")
		switch {
		case strings.HasPrefix(line, "#") && len(s.Steps) == 0:
			s.Story = append(s.Story, strings.TrimPrefix(strings.TrimPrefix(line, "#"), " "))
		case line == "" || strings.HasPrefix(strings.TrimSpace(line), "#"):
		case strings.HasPrefix(line, " ") && len(s.Steps) == 0:
			problem(i+1, "indented, and there is no step that it could belong to")
		case strings.HasPrefix(line, " "):
			last := s.Steps[len(s.Steps)-1]
			last.Block = append(last.Block, line)
		default:
			s.Steps = append(s.Steps, &Step{Line: i + 1, Text: line})
		}
	}
	if len(s.Story) == 0 {
		problem(1, "no story; want it to open with a comment that tells who does what, and what must come of it")
	}
	if len(s.Steps) > maxSteps {
		return nil, fmt.Errorf("%s: %d steps; want at most %d", name, len(s.Steps), maxSteps)
	}
	for _, step := range s.Steps {
		if err := step.parse(); err != nil {
			problem(step.Line, "%w", err)
		}
	}
	return s, errors.Join(problems...)
}

// parse finds the verb that a line fits.
func (s *Step) parse() error {
	words, err := tokens(s.Text)
	if err != nil {
		return err
	}
	var nearest []string
	var wrong error
	for _, v := range verbs() {
		a, matches, err := match(v.words, words)
		if !matches {
			if v.words[0] == words[0].text {
				nearest = append(nearest, v.pattern)
			}
			continue
		}
		if err != nil {
			wrong = err
			continue
		}
		a.line, a.block = s.Line, s.Block
		if len(s.Block) > 0 && v.block == nil {
			return fmt.Errorf("%q takes no indented lines", v.pattern)
		}
		do, err := v.bind(a)
		if err != nil {
			return err
		}
		s.do = do
		return nil
	}
	switch {
	case wrong != nil:
		return wrong
	case len(nearest) > 0:
		return fmt.Errorf("%q is not understood; want one of: %s", s.Text, strings.Join(nearest, " | "))
	}
	return fmt.Errorf("%q is not understood; want a line that begins with one of: %s", s.Text, strings.Join(beginnings(), ", "))
}

func beginnings() []string {
	var first []string
	for _, v := range verbs() {
		first = append(first, v.words[0])
	}
	slices.Sort(first)
	return slices.Compact(first)
}

// verb is one kind of line. Words in capitals stand for arguments; do is called
// with them when the line's turn comes. One with a block reads the lines below.
type verb struct {
	pattern string
	words   []string // of the pattern
	do      func(*driver, args) error
	block   func(args) (func(*driver) error, error)
}

func (v verb) bind(a args) (func(*driver) error, error) {
	if v.block != nil {
		return v.block(a)
	}
	return func(d *driver) error { return v.do(d, a) }, nil
}

// args are a line's arguments, by kind, in order.
type args struct {
	line     int
	envs     []promotion.ID
	texts    []string
	people   []string
	spans    []time.Duration
	numbers  []int
	words    []string
	times    []time.Time
	block    []string
	pipeline string
}

type token struct {
	text   string
	quoted bool
}

// tokens are words and quoted texts; a comma after a word is for the reader.
func tokens(line string) ([]token, error) {
	var all []token
	for rest := strings.TrimSpace(line); rest != ""; rest = strings.TrimLeft(rest, " ,") {
		if rest[0] == '"' {
			quoted, err := strconv.QuotedPrefix(rest)
			if err != nil {
				return nil, fmt.Errorf("%s: a quotation mark is missing", rest)
			}
			text, err := strconv.Unquote(quoted)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", quoted, err)
			}
			all, rest = append(all, token{text, true}), rest[len(quoted):]
			if after := strings.TrimLeft(rest, ","); after != "" && after[0] != ' ' {
				return nil, fmt.Errorf("want a space after %s", quoted)
			}
			continue
		}
		end := strings.IndexAny(rest, ` "`)
		if end < 0 {
			end = len(rest)
		}
		word := strings.TrimRight(rest[:end], ",")
		if word != "" {
			all = append(all, token{text: word})
		}
		rest = rest[end:]
	}
	if len(all) == 0 {
		return nil, errors.New("empty")
	}
	return all, nil
}

// match holds a pattern against a line. An error says that the line has the
// form, and which argument is wrong.
func match(pattern []string, words []token) (a args, matches bool, err error) {
	if len(pattern) != len(words) {
		return a, false, nil
	}
	for i, want := range pattern {
		got := words[i]
		want = strings.TrimRight(want, ",")
		if kind, is := kinds[strings.TrimRight(want, "0123456789")]; is {
			if kind.quoted != got.quoted {
				return a, false, nil
			}
			if e := kind.read(&a, got.text); e != nil && err == nil {
				err = e
			}
			continue
		}
		if got.quoted || got.text != want {
			return a, false, nil
		}
	}
	return a, true, err
}

type kind struct {
	quoted bool
	read   func(*args, string) error
}

var kinds = map[string]kind{
	"ENV":    {read: readEnvironment},
	"TEXT":   {quoted: true, read: func(a *args, s string) error { a.texts = append(a.texts, s); return nil }},
	"WHO":    {read: readPerson},
	"SPAN":   {read: readSpan},
	"NUMBER": {read: readNumber},
	"WORD":   {read: readWord},
	"TIME":   {read: readTime},
	"CALL":   {read: readCall},
	"PHASE":  {read: readPhase},
	"REASON": {read: readReason},
}

// defaultPipeline is that of environments that are named without one.
const defaultPipeline = "demo"

var namePattern = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,40}[a-z0-9])?$`)

func readEnvironment(a *args, s string) error {
	if !strings.Contains(s, "/") {
		s = defaultPipeline + "/" + s
	}
	env, err := promotion.ParseID(s)
	if err != nil {
		return err
	}
	if !namePattern.MatchString(env.Pipeline) || !namePattern.MatchString(env.Name) {
		return fmt.Errorf("environment %q: want lower-case letters, digits and dashes", s)
	}
	a.envs = append(a.envs, env)
	return nil
}

func readPerson(a *args, s string) error {
	if _, err := mail.ParseAddress(s); err != nil {
		return fmt.Errorf("%q: want an e-mail address", s)
	}
	a.people = append(a.people, s)
	return nil
}

// maxSpan bounds how long a scenario may take.
const maxSpan = 400 * 24 * time.Hour

func readSpan(a *args, s string) error {
	span, err := time.ParseDuration(s)
	if days, found := strings.CutSuffix(s, "d"); err != nil && found {
		var n int
		n, err = strconv.Atoi(days)
		span = time.Duration(min(n, 1000)) * 24 * time.Hour
	}
	if err != nil || span <= 0 || span > maxSpan {
		return fmt.Errorf("%q: want a time such as 90s, 10m, 3h or 2d, at most %s", s, maxSpan)
	}
	a.spans = append(a.spans, span)
	return nil
}

func readNumber(a *args, s string) error {
	n, err := strconv.Atoi(s)
	if err != nil || n < 0 {
		return fmt.Errorf("%q: want a number", s)
	}
	a.numbers = append(a.numbers, n)
	return nil
}

func readWord(a *args, s string) error {
	a.words = append(a.words, s)
	return nil
}

func readTime(a *args, s string) error {
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return fmt.Errorf("%q: want a time such as 2026-03-02T09:00:00Z", s)
	}
	a.times = append(a.times, t)
	return nil
}

// readCall takes the operations of the ports.
func readCall(a *args, s string) error {
	if _, known := possible[s]; !known && s != "Source.Revert" {
		return fmt.Errorf("%q is no call of a port; want one such as Store.Save, Cluster.Write or Git.Push", s)
	}
	return readWord(a, s)
}

func readPhase(a *args, s string) error {
	phases := []reconcile.Phase{reconcile.PhaseReady, reconcile.PhaseProgressing, reconcile.PhaseWaiting, reconcile.PhaseHeld, reconcile.PhaseInvalid}
	if !slices.Contains(phases, reconcile.Phase(s)) {
		return fmt.Errorf("%q is no phase; want one of %v", s, phases)
	}
	return readWord(a, s)
}

func readReason(a *args, s string) error {
	if !slices.Contains(promotion.Reasons(), promotion.Reason(s)) {
		return fmt.Errorf("%q is no reason; internal/promotion/reason.go lists them", s)
	}
	return readWord(a, s)
}
