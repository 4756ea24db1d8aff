package rego

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/storage"
	"github.com/open-policy-agent/opa/v1/tester"

	"chaperone.dev/chaperone/internal/policy"
)

// testTimeout bounds one test of a bundle.
const testTimeout = 10 * time.Second

// prove verifies a bundle that is to be kept, and keeps nothing of that: its
// queries are of one rule each, and releases ask many at once.
func (b *Bundle) prove(ctx context.Context, files fileSet, modules map[string]*ast.Module) error {
	defer clear(b.queries)
	return b.verify(ctx, files, modules)
}

// verify runs the bundle's own tests and every rule's examples.
func (b *Bundle) verify(ctx context.Context, files fileSet, modules map[string]*ast.Module) error {
	ctx, cancel := context.WithTimeout(ctx, b.limits.Verify)
	defer cancel()
	problems := []error{b.runTests(ctx, newCompiler(b.data, capabilities(testOnly)), ast.RegoV1, modules)}
	for _, r := range b.rules {
		if f := r.foreign; f != nil {
			problems = append(problems, b.runTests(ctx, f.newCompiler(testOnly), f.version, f.modules))
		}
	}
	return errors.Join(append(problems, b.runExamples(ctx, files))...)
}

// runTests compiles everything once more, with the tests, so that nothing from
// a test file can take part in a judgement.
func (b *Bundle) runTests(ctx context.Context, compiler *ast.Compiler, version ast.RegoVersion, modules map[string]*ast.Module) error {
	txn, err := b.store.NewTransaction(ctx)
	if err != nil {
		return fmt.Errorf("open policy data: %w", err)
	}
	defer b.store.Abort(ctx, txn)
	results, err := b.startTests(ctx, txn, compiler, version, modules)
	if err != nil {
		return explain(err)
	}
	var failures []string
	for result := range results {
		if failure := testFailure(result); failure != "" {
			failures = append(failures, failure)
		}
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("tests did not finish within %s: %w", b.limits.Verify, err)
	}
	slices.Sort(failures)
	return joinTexts(failures)
}

func (b *Bundle) startTests(ctx context.Context, txn storage.Transaction, compiler *ast.Compiler, version ast.RegoVersion,
	modules map[string]*ast.Module) (chan *tester.Result, error) {
	return tester.NewRunner().
		SetCompiler(compiler).
		SetDefaultRegoVersion(version).
		SetStore(b.store).
		SetModules(modules).
		SetTimeout(testTimeout).
		SetParallel(1).
		RaiseBuiltinErrors(true).
		RunTests(ctx, txn)
}

func testFailure(result *tester.Result) string {
	place := at(result.Location)
	switch {
	case result.Error != nil:
		return fmt.Sprintf("%s: %s: %v", place, result.Name, result.Error)
	case result.Fail:
		return fmt.Sprintf("%s: %s failed", place, result.Name)
	}
	return ""
}

func joinTexts(texts []string) error {
	var errs []error
	for _, text := range texts {
		errs = append(errs, errors.New(text))
	}
	return errors.Join(errs...)
}

// runExamples wants of every rule that it denies each of its failing examples,
// and finds nothing in each of its passing ones.
func (b *Bundle) runExamples(ctx context.Context, files fileSet) error {
	var problems []error
	claimed := 0
	for _, r := range b.rules {
		for _, kind := range []fileKind{failFile, passFile} {
			examples := examplesOf(r, files.of(kind))
			claimed += len(examples)
			if len(examples) == 0 {
				problems = append(problems, fmt.Errorf("%s: rule %s has no example in %s; want at least one manifest",
					at(r.module.Package.Location), r.ID, exampleDir(r, kind)))
			}
			for _, example := range examples {
				if err := b.runExample(ctx, r, example); err != nil {
					problems = append(problems, err)
				}
			}
		}
	}
	if all := len(files.of(failFile)) + len(files.of(passFile)); claimed < all {
		problems = append(problems, fmt.Errorf("%d of %d examples stand in no rule's testdata", all-claimed, all))
	}
	return errors.Join(problems...)
}

func exampleDir(r *rule, kind fileKind) string {
	sub := "pass"
	if kind == failFile {
		sub = "fail"
	}
	return strings.TrimPrefix(r.dir+"/testdata/"+sub, "./")
}

func examplesOf(r *rule, files fileSet) fileSet {
	return slices.DeleteFunc(files, func(f file) bool {
		dir, _, _ := cutLast(f.name, "/")
		return dir != exampleDir(r, f.kind)
	})
}

func cutLast(s, sep string) (before, after string, found bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}

func (b *Bundle) runExample(ctx context.Context, r *rule, example file) error {
	in, params, err := readExample(r, example)
	if err != nil {
		return err
	}
	if b, err = b.withParams(params); err != nil {
		return fmt.Errorf("%s:1: %w", example.name, err)
	}
	if r.PerObject() && !slices.ContainsFunc(in.Objects, func(o *object) bool { return r.Judges(o, b.templates) }) {
		return fmt.Errorf("%s:1: rule %s is not asked about any object in it; want one of %s",
			example.name, r.ID, strings.Join(r.Kinds, ", "))
	}
	e := newEvaluation(b, in)
	e.run(ctx, []*rule{r})
	if len(e.errs) > 0 {
		return fmt.Errorf("%s:1: %w", example.name, e.errs[0])
	}
	return judgeExample(r, example, e.results)
}

func judgeExample(r *rule, example file, results []policy.Result) error {
	if example.kind == passFile {
		if len(results) > 0 {
			return fmt.Errorf("%s:1: rule %s finds %q in it; want nothing, it is an example that passes",
				example.name, r.ID, results[0].Message)
		}
		return nil
	}
	canDeny := slices.ContainsFunc(r.entrypoints, func(e entrypoint) bool { return e.action == policy.ActionDeny })
	for _, result := range results {
		if result.Action == policy.ActionDeny || !canDeny {
			return nil
		}
	}
	return fmt.Errorf("%s:1: rule %s does not deny it; want at least one finding, it is an example that fails", example.name, r.ID)
}
