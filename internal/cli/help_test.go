package cli

import (
	"bytes"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// Help has examples and exit codes for every command, fits the width of a
// table, and is the same wherever it is asked for.
func TestHelp(t *testing.T) {
	t.Parallel()
	names := []string{"", "run", "demo", "render", "check", "preview", "diff", "status", "why", "history", "drill", "promote", "rollback", "retry", "pause",
		"resume", "revert", "version", "completion", "policy", "policy test", "policy list", "policy explain", "policy new", "policy replay"}
	for _, name := range names {
		t.Run("chaperone "+name, func(t *testing.T) {
			t.Parallel()
			args := append(strings.Fields(name), "--help")
			code, text, complaints := run(t, Streams{}, args...)
			if code != exitFine || complaints != "" {
				t.Errorf("exit code %d, and on standard error %q", code, complaints)
			}
			for _, want := range []string{"\nExit codes: 0 fine, 1 the answer is no, 2 wrong usage", "3 could not be asked", "\nExamples:\n  ", "Usage:\n  chaperone"} {
				if !strings.Contains(text, want) {
					t.Errorf("no %q in:\n%s", want, text)
				}
			}
			for line := range strings.SplitSeq(text, "\n") {
				if textWidth(line) > tableWidth {
					t.Errorf("%d columns: %q", textWidth(line), line)
				}
			}
			surroundings := Streams{Environ: []string{"HOME=/home/ada", "KUBECONFIG=/tmp/canary", "CHAPERONE_SOURCE_TOKEN_FILE=/tmp/canary"}}
			if _, elsewhere, _ := run(t, surroundings, args...); elsewhere != text {
				t.Errorf("elsewhere help is another:\n%s", elsewhere)
			}
		})
	}
	for _, cmd := range newRoot(Streams{}).Commands() {
		if !listedIn(names, cmd) {
			t.Errorf("command %s is not tested here", cmd.Name())
		}
	}
}

func listedIn(names []string, cmd *cobra.Command) bool {
	for _, name := range names {
		if cmd.Name() == name {
			return true
		}
	}
	return false
}

// run is one command in this process.
func run(t *testing.T, streams Streams, args ...string) (code int, out, complaints string) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	streams.Out, streams.Err = &stdout, &stderr
	if streams.In == nil {
		streams.In = strings.NewReader("")
	}
	code = Run(t.Context(), args, streams)
	return code, stdout.String(), stderr.String()
}

// Progress is for a person at a terminal, and leaves nothing behind.
func TestProgress(t *testing.T) {
	t.Parallel()
	code, out, progress := run(t, Streams{Logs: true}, "check", "--repo", "testdata/repo")
	if code != exitFine || strings.Count(out, "allow") != 3 {
		t.Errorf("exit code %d: %s%s", code, out, progress)
	}
	if !strings.Contains(progress, "judging shop/staging…") || !strings.HasSuffix(progress, "\r\x1b[K") {
		t.Errorf("progress is %q, want each environment told and the line cleared", progress)
	}
	if _, _, progress := run(t, Streams{}, "check", "--repo", "testdata/repo"); progress != "" {
		t.Errorf("without a terminal: %q", progress)
	}
}
