// Package expression holds conditions about an object that people write in CEL.
// It guarantees that what does not parse, or could not yield true or false, is an
// error where it is written and not where it is asked; that asking costs no more
// than a fixed budget, whatever the object holds; and that a condition which errs,
// or yields anything else, is never true.
package expression

import (
	"errors"
	"fmt"
	"strings"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/ast"
	"github.com/google/cel-go/common/overloads"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/cel-go/ext"
)

// Bounds of one condition.
const (
	MaxText = 4096    // bytes of it
	budget  = 200_000 // of what it may cost to ask, in CEL's units: some milliseconds
	depth   = 40      // of nested parentheses and calls
)

// subject is the name that a condition knows its object by, as in the
// validation rules of a CustomResourceDefinition.
const subject = "self"

// Condition is one that was found to be right. It is safe for concurrent use.
type Condition struct{ program cel.Program }

// Compile reads a condition. The error says what is wrong, and where in the text.
func Compile(text string) (*Condition, error) {
	if strings.TrimSpace(text) == "" {
		return nil, errors.New("nothing is written")
	}
	if len(text) > MaxText {
		return nil, fmt.Errorf("%d bytes are more than the %d that are read", len(text), MaxText)
	}
	language, err := cel.NewEnv(
		cel.Variable(subject, cel.MapType(cel.StringType, cel.DynType)),
		cel.OptionalTypes(), ext.Strings(),
		cel.CrossTypeNumericComparisons(true),
		cel.ParserRecursionLimit(depth), cel.ParserExpressionSizeLimit(MaxText),
	)
	if err != nil {
		return nil, fmt.Errorf("prepare expressions: %w", err)
	}
	tree, issues := language.Compile(text)
	if issues != nil && issues.Err() != nil {
		return nil, first(issues)
	}
	if kind := tree.OutputType(); kind.Kind() != types.BoolKind && kind.Kind() != types.DynKind {
		return nil, fmt.Errorf("it yields a %s, and neither true nor false", kind)
	}
	if name := swells(tree); name != "" {
		return nil, fmt.Errorf("%s() may make a text of any size, whatever it costs; want a condition without it", name)
	}
	program, err := language.Program(tree, cel.CostLimit(budget), cel.CostTracking(comparisons{}))
	if err != nil {
		return nil, errors.New(line(err.Error()))
	}
	return &Condition{program}, nil
}

// swells is a function in an expression whose one call may yield far more than it
// was given: what it costs is counted when the memory is gone.
func swells(tree *cel.Ast) string {
	root := ast.NavigateAST(tree.NativeRep())
	for _, name := range []string{"join", "replace", "format"} {
		if len(ast.MatchDescendants(root, ast.FunctionMatcher(name))) > 0 {
			return name
		}
	}
	return ""
}

// comparisons are counted by all that they look at: CEL takes two objects to be as
// cheap to compare as they have fields.
type comparisons struct{}

// CallCost implements interpreter.ActualCostEstimator; nil is as CEL has it.
func (comparisons) CallCost(_, overload string, args []ref.Val, _ ref.Val) *uint64 {
	switch overload {
	case overloads.Equals, overloads.NotEquals, overloads.InList:
	default:
		return nil
	}
	left := budget
	for _, arg := range args {
		left = without(left, arg.Value())
	}
	cost := uint64(budget - left)
	return &cost
}

// without is what is left when a value was looked at, and not much below 0.
func without(left int, value any) int {
	left--
	switch value := value.(type) {
	case string:
		left -= len(value) / 10
	case map[string]any:
		for _, field := range value {
			if left = without(left, field); left < 0 {
				return left
			}
		}
	case map[ref.Val]ref.Val:
		for _, field := range value {
			if left = without(left, field.Value()); left < 0 {
				return left
			}
		}
	case []any:
		for _, item := range value {
			if left = without(left, item); left < 0 {
				return left
			}
		}
	case []ref.Val:
		for _, item := range value {
			if left = without(left, item.Value()); left < 0 {
				return left
			}
		}
	}
	return left
}

// Holds asks about an object. The error says that it cannot be told; it may name
// fields of the object, and shows no value of it.
func (c *Condition) Holds(object map[string]any) (holds bool, err error) {
	defer func() {
		if recovered := recover(); recovered != nil { // an object is what anybody stored
			holds, err = false, errors.New("cannot be told: the expression broke off")
		}
	}()
	if object == nil {
		object = map[string]any{}
	}
	value, _, err := c.program.Eval(map[string]any{subject: object})
	switch {
	case err != nil && strings.Contains(err.Error(), "cost limit exceeded"):
		return false, errors.New("costs too much to tell")
	case err != nil:
		return false, errors.New("cannot be told: " + withoutValues(err.Error()))
	case value.Type() != types.BoolType:
		return false, fmt.Errorf("cannot be told: it yields a %s, and neither true nor false", value.Type().TypeName())
	}
	return value == types.True, nil
}

// withoutValues keeps the errors that name fields and operations. Others quote
// what they could not read, which may be a secret.
func withoutValues(text string) string {
	for _, safe := range []string{"no such key", "no such overload", "division by zero", "index out of bounds", "unsupported index"} {
		if strings.HasPrefix(text, safe) {
			return line(text)
		}
	}
	return "an operation in it cannot be done with what the object holds"
}

// first is the first of what is wrong with a text, with its place in it.
func first(issues *cel.Issues) error {
	wrong := issues.Errors()[0]
	text := fmt.Sprintf("at character %d: %s", wrong.Location.Column()+1, line(wrong.Message))
	if wrong.Location.Line() > 1 {
		text = fmt.Sprintf("in line %d of it, %s", wrong.Location.Line(), text)
	}
	return errors.New(text)
}

// line keeps CEL's words to one bounded line.
func line(text string) string {
	const most = 200
	text = strings.Join(strings.Fields(text), " ")
	if runes := []rune(text); len(runes) > most {
		return string(runes[:most-1]) + "…"
	}
	return text
}
