package preview

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	east "github.com/yuin/goldmark/extension/ast"
	"github.com/yuin/goldmark/text"
	"pgregory.net/rapid"

	"chaperone.dev/chaperone/internal/manifest"
	"chaperone.dev/chaperone/internal/plan"
	"chaperone.dev/chaperone/internal/policy"
	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/source"
	"chaperone.dev/chaperone/internal/testkit/generator"
)

// canary stands in all that is hostile. Nowhere but in code may it be seen.
const canary = "canary"

var hostile = generator.Shared(rapid.Custom(func(t *rapid.T) string {
	parts := rapid.SliceOfN(rapid.SampledFrom([]string{
		"@team", "@all ", "#12", "!34", "$5", "~bug", "%v1", "GH-1", "a/b#1", "0123456789abcdef0123456789abcdef01234567",
		"`", "``", "```", "````", "~~~", "\n", "\r\n", "\n\n", "\r", "\t", "    ", "|", "\\|", "\\", "\\`",
		"<script>", "</details>", "<details>", "<!--", "-->", "</code>", "</summary>", "</sub>", "<img src=x onerror=y>", "<a href=//e>",
		"[x](http://evil.example)", "![i](http://evil.example)", "[x]: http://evil.example", "https://evil.example", "www.evil.example", "a@b.example",
		"\u202e", "\u200b", "\u2028", "\x1b[31m", "\x00", "\xff", "***", "_x_", "~~x~~", "&#64;x", "&lt;", "&amp;", "---", "===", "# h", "> q", "- l", "1. n",
		"/close", "/approve\n", "é", "字", "😀", " ", "- [ ] x",
	}), 0, 8).Draw(t, "parts")
	at := rapid.IntRange(0, len(parts)).Draw(t, "at")
	return strings.Join(parts[:at], "") + canary + strings.Join(parts[at:], "")
}))

var (
	someID = generator.Shared(rapid.Custom(func(t *rapid.T) promotion.ID {
		return promotion.ID{Pipeline: hostile.Draw(t, "pipeline"), Name: hostile.Draw(t, "name")}
	}))
	someObject = generator.Shared(rapid.Custom(func(t *rapid.T) Object {
		o := Object{ID: manifest.ID{Group: hostile.Draw(t, "group"), Kind: hostile.Draw(t, "kind"), Namespace: hostile.Draw(t, "namespace"), Name: hostile.Draw(t, "name")},
			Action: rapid.SampledFrom([]plan.Action{plan.Create, plan.Update, plan.Delete, plan.Keep}).Draw(t, "action"), Reason: plan.ReasonPruneNever}
		if rapid.Bool().Draw(t, "renamed") {
			o.Was = hostile.Draw(t, "was")
		}
		o.Diff = hunks(strings.Join(lines.Draw(t, "before"), "\n"), strings.Join(lines.Draw(t, "after"), "\n"))
		return o
	}))
	lines       = generator.Shared(rapid.SliceOfN(hostile, 0, 5))
	someFinding = generator.Shared(rapid.Custom(func(t *rapid.T) policy.Finding {
		f := policy.Finding{Rule: hostile.Draw(t, "rule"), Severity: policy.SeverityHigh, Message: hostile.Draw(t, "message"),
			Action: rapid.SampledFrom([]policy.Action{policy.ActionDeny, policy.ActionWarn}).Draw(t, "action")}
		if rapid.Bool().Draw(t, "on an object") {
			f.Object = &policy.ObjectRef{APIVersion: hostile.Draw(t, "version"), Kind: hostile.Draw(t, "kind"), Name: hostile.Draw(t, "name")}
			f.Source = &policy.Place{File: hostile.Draw(t, "file"), Line: 3}
		}
		if rapid.Bool().Draw(t, "waived") {
			f.Exception = &policy.ExceptionRef{Name: hostile.Draw(t, "exception"), File: hostile.Draw(t, "its file"), Expires: hostile.Draw(t, "expires")}
		}
		return f
	}))
	findings        = generator.Shared(rapid.SliceOfN(someFinding, 0, 3))
	someEnvironment = generator.Shared(rapid.Custom(func(t *rapid.T) Environment {
		e := Environment{
			ID: someID.Draw(t, "id"), Pin: source.Revision(hostile.Draw(t, "pin")),
			Effect:     rapid.SampledFrom([]Effect{Changed, Promoted, Later, Added, Removed, Invalid, Settled}).Draw(t, "effect"),
			Difference: Difference{Objects: rapid.SliceOfN(someObject, 0, 4).Draw(t, "objects"), Irreversible: lines.Draw(t, "irreversible")}, Steps: lines.Draw(t, "steps"), Remarks: lines.Draw(t, "remarks"),
			Judgement: Judgement{Verdict: rapid.SampledFrom([]policy.Verdict{"", policy.VerdictAllow, policy.VerdictDeny, policy.VerdictError}).Draw(t, "verdict"),
				New: findings.Draw(t, "new"), Standing: findings.Draw(t, "standing"), Solved: findings.Draw(t, "solved"),
				Errors: []policy.RuleError{{Rule: hostile.Draw(t, "rule"), Message: hostile.Draw(t, "error")}}},
			// Plain words may stand in the text here.
			Gates:    []Gate{{Text: strings.ReplaceAll(hostile.Draw(t, "gate"), canary, "plain words")}},
			Settings: []Setting{{hostile.Draw(t, "field"), hostile.Draw(t, "old"), hostile.Draw(t, "now")}},
			Evidence: lines.Draw(t, "evidence"),
		}
		if rapid.Bool().Draw(t, "faulty") {
			e.Fault = &Fault{Reason: promotion.RenderFailed, Text: hostile.Draw(t, "fault"), Stands: rapid.Bool().Draw(t, "stands")}
		}
		return e
	}))
	somePreview = generator.Shared(rapid.Custom(func(t *rapid.T) Preview {
		return Preview{Base: source.Revision(hostile.Draw(t, "base")), Head: source.Revision(hostile.Draw(t, "head")), Judges: hostile.Draw(t, "judges"),
			Environments: rapid.SliceOfN(someEnvironment, 0, 4).Draw(t, "environments"), Notes: lines.Draw(t, "notes")}
	}))
)

// Whatever a repository holds, the Markdown of its preview has the structure that
// we gave it: by a parser of forges' own, nothing of it is markup, a link or a mention.
func TestNothingLeavesItsCode(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		p := somePreview.Draw(t, "preview")
		markdown := p.Markdown(Layout{})
		for _, problem := range escapes(markdown) {
			t.Errorf("%s in:\n%s", problem, markdown)
		}
	})
}

// A text is never longer than its limit, whole at every limit, and the same each time.
func TestMarkdownIsBounded(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		p := somePreview.Draw(t, "preview")
		for range rapid.IntRange(0, 200).Draw(t, "more") {
			p.Environments = append(p.Environments, p.Environments[:min(1, len(p.Environments))]...)
		}
		limit := rapid.IntRange(minLimit, 20_000).Draw(t, "limit")
		markdown := p.Markdown(Layout{Limit: limit})
		if len(markdown) > limit {
			t.Errorf("%d bytes of %d", len(markdown), limit)
		}
		if opened, closed := strings.Count(markdown, "\n<details>\n"), strings.Count(markdown, "\n</details>\n"); opened > closed {
			t.Errorf("%d folds are opened, and %d closed", opened, closed)
		}
		for _, problem := range escapes(markdown) {
			t.Errorf("%s in:\n%s", problem, markdown)
		}
		if p.Markdown(Layout{Limit: limit}) != markdown {
			t.Error("another time it is another text")
		}
	})
}

// The oracle sees what it is to see.
func TestOracleOfEscapes(t *testing.T) {
	t.Parallel()
	for _, markdown := range []string{
		"a canary", "- @team", "see #1", "[a](https://evil.example)", "https://evil.example", "<script>x</script>", "a <img src=x>\n",
		"<details>\n<summary>canary</summary>\n", "<sub><code>a</code>@team</sub>", "/close", "`a\n\n/close\n`", "> quoted", "| a |\n|--|\n| canary |\n",
		"```\na\n```\n@team\n", "| a |\n|--|\n| `a|b` |\n",
	} {
		if len(escapes(markdown)) == 0 {
			t.Errorf("it passes %q", markdown)
		}
	}
}

var (
	ours    = regexp.MustCompile(`</?(details|summary|sub)>`)
	inCode  = regexp.MustCompile(`(?s)<code>[^<]*</code>`)
	special = regexp.MustCompile(`[@#!$~%^<]|canary|www\.|://|(?i)[a-z]-[0-9]`)
)

// escapes tells what in a text is not of the few forms that we write.
func escapes(markdown string) (problems []string) {
	for line := range strings.Lines(markdown) {
		if strings.HasPrefix(line, "/") {
			problems = append(problems, fmt.Sprintf("a command to a forge: %q", line))
		}
	}
	src := []byte(markdown)
	doc := goldmark.New(goldmark.WithExtensions(extension.GFM)).Parser().Parse(text.NewReader(src))
	columns := 0
	_ = ast.Walk(doc, func(n ast.Node, entering bool) (ast.WalkStatus, error) {
		if !entering {
			return ast.WalkContinue, nil
		}
		bad := func(what, where string) { problems = append(problems, fmt.Sprintf("%s: %q", what, where)) }
		switch n := n.(type) {
		case *ast.Document, *ast.Paragraph, *ast.TextBlock, *ast.Heading, *ast.List, *ast.ListItem, *ast.Emphasis,
			*east.Table, *east.TableHeader, *east.TableCell:
			if table, is := n.(*east.Table); is {
				columns = len(table.Alignments)
			}
			return ast.WalkContinue, nil
		case *east.TableRow:
			if n.ChildCount() != columns || columns != 4 {
				bad("a row of other cells", fmt.Sprint(n.ChildCount()))
			}
			return ast.WalkContinue, nil
		case *ast.CodeSpan, *ast.FencedCodeBlock:
			return ast.WalkSkipChildren, nil
		case *ast.Text:
			if value := string(n.Value(src)); special.MatchString(value) {
				bad("text", value)
			}
			return ast.WalkContinue, nil
		case *ast.String:
			return ast.WalkContinue, nil
		case *ast.RawHTML:
			if value := string(n.Segments.Value(src)); ours.ReplaceAllString(value, "") != "" {
				bad("a tag", value)
			}
			return ast.WalkContinue, nil
		case *ast.HTMLBlock:
			value := string(n.Lines().Value(src))
			if rest := ours.ReplaceAllString(inCode.ReplaceAllString(value, ""), ""); special.MatchString(rest) {
				bad("a block of HTML", value)
			}
			return ast.WalkContinue, nil
		}
		bad("a node "+n.Kind().String(), "")
		return ast.WalkContinue, nil
	})
	return problems
}
