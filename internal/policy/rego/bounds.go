package rego

import (
	"fmt"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/topdown"
)

// Bounds on what one call of a built-in function may give.
const (
	maxText  = 64 << 20 // bytes
	maxShift = 1 << 16  // bits
)

// A built-in function that makes one large value looks at no deadline while it
// does: a hundred references to one text of a megabyte are small, and printed
// they are not. So what these would give is measured before they are called.
// OPA keeps its functions for the whole process, and has no other way to them;
// what stands here only refuses more, and is the same for everybody.
func init() {
	for name, check := range map[string]func(args []*ast.Term) error{
		ast.Sprintf.Name:                boundedText,
		ast.InternalTemplateString.Name: boundedText,
		ast.JSONMarshal.Name:            boundedText,
		ast.YAMLMarshal.Name:            boundedText,
		ast.RegexReplace.Name:           boundedReplace,
		ast.BitsShiftLeft.Name:          boundedShift,
	} {
		call := topdown.GetBuiltin(name)
		topdown.RegisterBuiltinFunc(name, func(bctx topdown.BuiltinContext, args []*ast.Term, iter func(*ast.Term) error) error {
			if err := check(args); err != nil {
				return err
			}
			return call(bctx, args, iter)
		})
	}
}

// boundedText measures what printing all arguments would give.
func boundedText(args []*ast.Term) error {
	left := maxText
	for _, arg := range args {
		if left = spend(arg.Value, left); left < 0 {
			return fmt.Errorf("would give more than %d bytes", maxText)
		}
	}
	return nil
}

// spend takes the size of a printed value from what is left.
func spend(value ast.Value, left int) int {
	switch value := value.(type) {
	case ast.String:
		return left - len(value) - 2
	case *ast.Array:
		for i := 0; i < value.Len() && left >= 0; i++ {
			left = spend(value.Elem(i).Value, left-2)
		}
		return left
	case ast.Set:
		value.Until(func(entry *ast.Term) bool {
			left = spend(entry.Value, left-2)
			return left < 0
		})
		return left
	case ast.Object:
		value.Until(func(key, entry *ast.Term) bool {
			left = spend(entry.Value, spend(key.Value, left-4))
			return left < 0
		})
		return left
	}
	return left - 8
}

// boundedReplace supposes that all of the text is replaced, letter by letter.
func boundedReplace(args []*ast.Term) error {
	text, _ := args[0].Value.(ast.String)
	by, _ := args[2].Value.(ast.String)
	if (len(text)+1)*(len(by)+1) > maxText {
		return fmt.Errorf("could give more than %d bytes", maxText)
	}
	return nil
}

func boundedShift(args []*ast.Term) error {
	if by, ok := args[1].Value.(ast.Number); ok {
		if n, small := by.Int(); !small || n > maxShift {
			return fmt.Errorf("shifts by more than %d bits", maxShift)
		}
	}
	return nil
}
