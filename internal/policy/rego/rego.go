// Package rego loads policy bundles and judges releases by them, with OPA as a
// library. It guarantees that every way in which OPA fails open fails closed
// here: a bundle that does not compile under strict mode and a short list of
// built-in functions, that names a field or value nobody defines, or whose own
// tests or examples fail, is refused as a whole and the one before stays in
// force; a rule that errs, conflicts, takes too long or gives no answer makes
// the verdict an error, never an allow, and names the rule.
//
// Evaluation is bounded by time, memory, input size and number of results. What
// rules answered is remembered as long as nothing changes that they look at.
package rego

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/storage"

	"chaperone.dev/chaperone/internal/fault"
	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/policy"
	"chaperone.dev/chaperone/internal/promotion"
)

// Limits bound what a bundle may hold and what judging by it may take. Zero
// fields are those of DefaultLimits.
type Limits struct {
	Files      int           // read from a bundle
	FileBytes  int64         // of one file
	Bytes      int64         // of all files
	Verify     time.Duration // for all tests and examples of a bundle
	InputBytes int           // of the objects judged at once
	Results    int           // of one evaluation
	Query      time.Duration // for all rules on one object, or for one rule on the release
	Evaluation time.Duration // for one Evaluate
	Memory     int           // by which the process may grow during one Evaluate, beside what its input takes
}

// DefaultLimits suit a bundle of some hundred rules and a release of some
// thousand objects.
func DefaultLimits() Limits {
	return Limits{
		Files: 4000, FileBytes: 1 << 20, Bytes: 16 << 20, Verify: 2 * time.Minute,
		InputBytes: 64 << 20, Results: 10_000, Query: 5 * time.Second, Evaluation: time.Minute,
		Memory: 256 << 20,
	}
}

func (l Limits) withDefaults() Limits {
	d := DefaultLimits()
	return Limits{
		Files: cmp.Or(l.Files, d.Files), FileBytes: cmp.Or(l.FileBytes, d.FileBytes), Bytes: cmp.Or(l.Bytes, d.Bytes),
		Verify: cmp.Or(l.Verify, d.Verify), InputBytes: cmp.Or(l.InputBytes, d.InputBytes),
		Results: cmp.Or(l.Results, d.Results), Query: cmp.Or(l.Query, d.Query), Evaluation: cmp.Or(l.Evaluation, d.Evaluation),
		Memory: cmp.Or(l.Memory, d.Memory),
	}
}

// Bundle is a set of policies that compiled and passed its own tests. It does
// not change, and is safe for concurrent use.
type Bundle struct {
	limits     Limits
	digest     manifest.Digest
	rules      []*rule
	frameworks []policy.Framework
	exceptions []policy.Exception
	templates  policy.PodTemplates
	compiler   *ast.Compiler
	data       map[string]any
	store      storage.Store
	byContent  bool      // see policy.Report
	sees       footprint // of all rules
	recorded   *recorded
	answers    answers
	documents  *document // of all rules and helpers
	constants  findings

	mu      sync.Mutex
	queries map[string]*prepared // by the rules in them
}

// rule is one package of the bundle.
type rule struct {
	policy.Rule
	dir         string
	module      *ast.Module
	entrypoints []entrypoint // those that it has
	foreign     *foreign     // nil: written for Chaperone
	index       int          // among the rules of the bundle, by ID
	sees        footprint
	answers     []*ast.Term // by entry point: the name of its answer in a query
	exception   *ast.Term   // the name of what the rule excepts itself
}

// nameAnswers once: the names are looked up about each object.
func (r *rule) nameAnswers() {
	for _, entry := range r.entrypoints {
		r.answers = append(r.answers, ast.StringTerm(r.ID+" "+entry.name))
	}
	r.exception = ast.StringTerm(r.ID + " exception")
}

// entrypoint is a name that a rule answers by, and what its results mean.
type entrypoint struct {
	name   string
	action policy.Action
}

var entrypoints = []entrypoint{
	{"deny", policy.ActionDeny},
	{"violation", policy.ActionDeny}, // as Gatekeeper calls it
	{"warn", policy.ActionWarn},
	{"audit", policy.ActionAudit},
}

// Load reads a bundle from the root of fsys, compiles it and runs its own tests
// and examples. The error tells everything that is wrong, with file and line.
func Load(ctx context.Context, fsys fs.FS, limits Limits) (*Bundle, error) {
	limits = limits.withDefaults()
	files, err := readFiles(fsys, limits)
	if err != nil {
		return nil, fmt.Errorf("read policies: %w", err)
	}
	return load(ctx, files, limits)
}

func load(ctx context.Context, files fileSet, limits Limits) (b *Bundle, err error) {
	// Whoever may write policies must not be able to stop the daemon.
	defer func() {
		if panicked := recover(); panicked != nil {
			b, err = nil, fault.Terminal("load policies", "", fmt.Errorf("compiler panicked: %v: %s", panicked, firstFrames(debug.Stack())))
		}
	}()
	b, modules, err := compile(ctx, files, limits)
	if err != nil {
		return nil, refused("compile policies", err)
	}
	if err := b.prove(ctx, files, modules); err != nil {
		return nil, refused("test policies", err)
	}
	return b, nil
}

// refused classifies: other content is needed, unless it was time that ran out.
func refused(op string, err error) error {
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return fault.Retryable(op, "", err)
	}
	return fault.Terminal(op, "", err)
}

// Digest names the bundle: sha256 over the names and contents of its files.
func (b *Bundle) Digest() manifest.Digest { return b.digest }

// Rules are ordered by ID.
func (b *Bundle) Rules() []policy.Rule {
	rules := make([]policy.Rule, 0, len(b.rules))
	for _, r := range b.rules {
		rules = append(rules, r.Rule)
	}
	return rules
}

// Exceptions are ordered by file and line.
func (b *Bundle) Exceptions() []policy.Exception { return slices.Clone(b.exceptions) }

// Around reports which facts about releases, here or in other environments, a
// rule looks at where data is of a class: a verdict does not outlast them.
func (b *Bundle) Around(data promotion.Data) policy.Looks {
	var looks policy.Looks
	for _, r := range b.rules {
		if r.AppliesTo(data) {
			looks.Upstream = looks.Upstream || r.sees.has("upstream")
			looks.Pipeline = looks.Pipeline || r.sees.has("pipeline")
			looks.LastGood = looks.LastGood || r.sees.has("lastGood")
		}
	}
	return looks
}

// PodTemplates is the bundle's table of where kinds keep their pod specs.
func (b *Bundle) PodTemplates() policy.PodTemplates { return b.templates }
