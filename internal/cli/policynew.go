package cli

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

//go:embed all:newrule
var newRule embed.FS

var ruleName = regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*/[a-z0-9]+(-[a-z0-9]+)*$`)

func newPolicyNew(c *command) *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use: "new GROUP/SLUG", Short: "Begin a rule: a folder that passes policy test at once",
		Long: `New writes the folder of a rule that works: metadata, a rule that asks every
Deployment for a label, its tests, and a manifest each that it denies and lets
pass. Change them into what you mean. Nothing that exists is overwritten.
` + exitHelp,
		Example: "  chaperone policy new network/no-node-ports\n  chaperone policy test",
		Args:    exactly(1, "a name, such as network/no-node-ports"), ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			if !ruleName.MatchString(args[0]) || strings.HasPrefix(args[0], "lib/") {
				return fmt.Errorf("policy new: %q: want group/slug in small letters, such as network/no-node-ports", args[0])
			}
			folder := filepath.Join(dir, filepath.FromSlash(args[0]))
			if _, err := os.Lstat(folder); !errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("policy new: %s is there already; want another name", folder)
			}
			files, err := writeRule(folder, args[0])
			for _, file := range files {
				fmt.Fprintln(c.Out, file)
			}
			return err
		},
	}
	policiesFlag(cmd, &dir)
	return cmd
}

// writeRule fills in the templates.
func writeRule(folder, id string) (written []string, err error) {
	names := strings.NewReplacer("<<.ID>>", id, "<<.Package>>", strings.NewReplacer("/", ".", "-", "_").Replace(packageName(id)))
	err = fs.WalkDir(newRule, "newrule", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := newRule.ReadFile(name)
		if err != nil {
			return err
		}
		file := filepath.Join(folder, filepath.FromSlash(strings.TrimSuffix(strings.TrimPrefix(name, "newrule/"), ".tmpl")))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return err
		}
		written = append(written, file)
		return os.WriteFile(file, []byte(names.Replace(string(content))), 0o644)
	})
	if err != nil {
		return written, fmt.Errorf("write rule %s: %w", id, err)
	}
	return written, nil
}

// regoKeywords may be no part of a package's name.
var regoKeywords = []string{"as", "contains", "default", "else", "every", "false", "if", "import", "in", "input", "not", "null", "package", "some", "true", "with"}

// packageName makes each part of an id one that Rego has room for.
func packageName(id string) string {
	parts := strings.Split(id, "/")
	for i, part := range parts {
		if slices.Contains(regoKeywords, part) || part[0] >= '0' && part[0] <= '9' {
			parts[i] = "rule_" + part
		}
	}
	return strings.Join(parts, "/")
}
