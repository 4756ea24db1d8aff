// Package cli is the command line: one file for each command. Results go to
// standard output, logs and progress to standard error. It guarantees the exit
// codes that every command's help tells: 0 fine, 1 the answer is no, 2 wrong
// usage or configuration, 3 could not be asked.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"chaperone.dev/chaperone/internal/fault"
	"chaperone.dev/chaperone/internal/source"
)

// Exit codes.
const (
	exitFine        = 0
	exitNo          = 1
	exitUsage       = 2
	exitUnreachable = 3
)

const exitHelp = `
Exit codes: 0 fine, 1 the answer is no, 2 wrong usage or configuration,
3 could not be asked (Git or cluster unreachable).`

// Streams are what a command reads from and writes to.
type Streams struct {
	In       io.Reader
	Out, Err io.Writer
	Environ  []string
	Terminal bool // Out is one
	Logs     bool // Err is a terminal
}

// System are the process's own.
func System() Streams {
	return Streams{
		In: os.Stdin, Out: os.Stdout, Err: os.Stderr, Environ: os.Environ(),
		Terminal: term.IsTerminal(int(os.Stdout.Fd())) && os.Getenv("NO_COLOR") == "",
		Logs:     term.IsTerminal(int(os.Stderr.Fd())),
	}
}

// Main runs one command and returns the process's exit code.
func Main(args []string, streams Streams) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	return Run(ctx, args, streams)
}

// Run is Main without signals.
func Run(ctx context.Context, args []string, streams Streams) int {
	root := newRoot(streams)
	root.SetArgs(args)
	root.SetIn(streams.In)
	root.SetOut(streams.Out)
	root.SetErr(streams.Err)
	err := root.ExecuteContext(ctx)
	var coded *exitError
	switch {
	case err == nil:
		return exitFine
	case errors.As(err, &coded):
		if coded.err != nil {
			fmt.Fprintln(streams.Err, "chaperone:", cleanLines(coded.err.Error()))
		}
		return coded.code
	case errors.Is(err, context.Canceled):
		fmt.Fprintln(streams.Err, "chaperone: interrupted")
		return exitUnreachable
	}
	fmt.Fprintln(streams.Err, "chaperone:", cleanLines(err.Error()))
	if unreachable(err) {
		return exitUnreachable
	}
	return exitUsage
}

// exitError ends a command with a code of its own.
type exitError struct {
	code int
	err  error // nil: everything was said on standard output
}

func (e *exitError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit code %d", e.code)
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

// no is the answer "no", already printed.
func no() error { return &exitError{code: exitNo} }

// notAsked says that Git or the cluster could not be reached.
func notAsked(err error) error {
	if err == nil {
		return nil
	}
	return &exitError{code: exitUnreachable, err: err}
}

// unreachable tells errors of the world outside from those of the user.
func unreachable(err error) bool {
	if errors.Is(err, source.ErrUnavailable) || errors.Is(err, context.DeadlineExceeded) {
		return true
	}
	if errors.Is(err, source.ErrBranchGone) || errors.Is(err, source.ErrUnknownRevision) {
		return false // Git answered
	}
	var classified *fault.Error
	return errors.As(err, &classified) && !fault.IsTerminal(err)
}

func newRoot(streams Streams) *cobra.Command {
	c := &command{Streams: streams}
	root := &cobra.Command{
		Use:   "chaperone",
		Short: "GitOps for regulated teams: promote, judge, verify, and take back",
		Long: `Chaperone polls a Git repository of kustomize environments, asks Rego policies
whether each may run, applies what differs in promotion order, verifies it, and
when verification fails restores the cluster and reverts the guilty commit.
` + exitHelp,
		Example:      "  chaperone demo\n  chaperone check novamind/production\n  chaperone status",
		SilenceUsage: true, SilenceErrors: true,
		Args:                       knownCommand,
		SuggestionsMinimumDistance: 2,
		RunE:                       func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.CompletionOptions.DisableDefaultCmd = true
	root.AddCommand(
		newRun(c), newDemo(c), newRender(c), newCheck(c), newPreview(c), newPolicy(c), newDiff(c), newStatus(c), newWhy(c), newHistory(c), newDrill(c),
		newPromote(c), newRollback(c), newRetry(c), newPause(c), newResume(c), newRevert(c),
		newVersion(c), newCompletion(c),
	)
	root.SetUsageFunc(writeUsage)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return fmt.Errorf("%w; see `%s --help`", err, cmd.CommandPath())
	})
	return root
}

// command is what the commands share.
type command struct{ Streams }

// progress tells a person at a terminal what takes its time; the next one
// replaces it, and "" clears it.
func (c *command) progress(what string) {
	if !c.Logs {
		return
	}
	if what != "" {
		what += "…"
	}
	fmt.Fprintf(c.Err, "\r\x1b[K%s", clean(what))
}

// knownCommand is where a misspelled command ends up.
func knownCommand(root *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	if near := root.SuggestionsFor(args[0]); len(near) > 0 {
		return fmt.Errorf("no command %q; there is %s", args[0], strings.Join(near, " and "))
	}
	return fmt.Errorf("no command %q; see `%s --help`", args[0], root.CommandPath())
}

// exactly wants n arguments and says what they are.
func exactly(n int, what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) != n {
			return fmt.Errorf("%s: want %s, got %d; see `%s --help`", cmd.Name(), what, len(args), cmd.CommandPath())
		}
		return nil
	}
}
