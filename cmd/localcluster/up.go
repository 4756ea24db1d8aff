package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"chaperone.dev/chaperone/cmd/localcluster/internal/instance"
	"chaperone.dev/chaperone/cmd/localcluster/internal/kubelet"
	"chaperone.dev/chaperone/cmd/localcluster/internal/server"
)

type upFlags struct {
	nodes      int
	dir        string
	ttl        time.Duration
	owner      int
	noCRDs     bool
	foreground bool
	fresh      bool // the directory holds no earlier cluster
	reportFD   int  // how a background process tells the one that started it
}

func upCommand() *cobra.Command {
	var f upFlags
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Start a cluster and print where it is",
		Long: `Start a cluster. Progress goes to standard error; once the cluster is ready, one line of JSON
goes to standard output:

  {"dir", "kubeconfig", "proxy", "pid", "version", "start_seconds"}

The cluster goes on in the background, in a process group of its own, and logs to
DIR/localcluster.log. It ends with "down", after --ttl, or when --owner-pid is gone. A directory
whose cluster was stopped with "down --keep" is started again with all that is in it, on the same
ports if they are still free.

Installed beside Kubernetes' own: a StorageClass "standard", resource metrics, and (unless
--no-crds) the definitions of Gateway API, External Secrets, Velero, Prometheus operator and
cert-manager.
` + exitHelp,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd.Context(), cmd.OutOrStdout()) },
	}
	flags := cmd.Flags()
	flags.IntVar(&f.nodes, "nodes", 3, "simulated nodes")
	flags.StringVar(&f.dir, "dir", "", "directory for everything the cluster stores (default a new temporary one)")
	flags.DurationVar(&f.ttl, "ttl", 30*time.Minute, "the cluster ends after this time")
	flags.IntVar(&f.owner, "owner-pid", 0, "the cluster ends when this process does")
	flags.BoolVar(&f.noCRDs, "no-crds", false, "without the custom resource definitions")
	flags.BoolVar(&f.foreground, "foreground", false, "stay in this process until it is interrupted")
	flags.IntVar(&f.reportFD, "report-fd", 0, "")
	must(flags.MarkHidden("report-fd"))
	return cmd
}

func (f *upFlags) run(ctx context.Context, stdout io.Writer) error {
	if f.nodes < 1 || f.nodes > kubelet.MaxNodes {
		return fmt.Errorf("--nodes %d: must be 1 to %d", f.nodes, kubelet.MaxNodes)
	}
	if f.ttl <= 0 {
		return fmt.Errorf("--ttl %s: must be longer than nothing", f.ttl)
	}
	temporary := f.dir == ""
	if err := f.prepareDir(); err != nil {
		return err
	}
	if !f.foreground {
		return f.runBackground(ctx, stdout)
	}
	report, err := f.reporter(stdout)
	if err != nil {
		return err
	}
	logs, err := f.openLogs()
	if err != nil {
		return err
	}
	defer logs.Close()
	quietLogs(logs)
	err = server.Run(ctx, server.Options{
		Dir: f.dir, Nodes: f.nodes, TTL: f.ttl, OwnerPID: f.owner, CRDs: !f.noCRDs, Discard: temporary, Logs: logs,
	}, report)
	if errors.Is(err, server.ErrEnded) {
		fmt.Fprintln(os.Stderr, "localcluster:", err)
		return nil
	}
	if err != nil {
		return coded{err, exitFailed}
	}
	return nil
}

func (f *upFlags) prepareDir() (err error) {
	if f.dir == "" {
		if f.dir, err = os.MkdirTemp("", "localcluster-"); err != nil {
			return fmt.Errorf("cluster directory: %w", err)
		}
	}
	if f.dir, err = filepath.Abs(f.dir); err != nil {
		return fmt.Errorf("cluster directory: %w", err)
	}
	f.fresh, err = instance.Prepare(f.dir)
	return err
}

func (f *upFlags) openLogs() (*os.File, error) {
	logs, err := os.OpenFile(filepath.Join(f.dir, instance.LogFile), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("log file: %w", err)
	}
	return logs, nil
}

func (f *upFlags) reporter(stdout io.Writer) (server.Reporter, error) {
	if f.reportFD == 0 {
		return &terminal{begun: time.Now(), stdout: stdout}, nil
	}
	file := os.NewFile(uintptr(f.reportFD), "report")
	if file == nil {
		return nil, fmt.Errorf("--report-fd %d: not open", f.reportFD)
	}
	return &pipe{file: file, enc: json.NewEncoder(file)}, nil
}

// terminal reports to people and scripts.
type terminal struct {
	begun  time.Time
	stdout io.Writer
}

func (t *terminal) Progress(step string) error {
	fmt.Fprintf(os.Stderr, "%5.1fs %s\n", time.Since(t.begun).Seconds(), step)
	return nil
}

func (t *terminal) Ready(info instance.Info) error {
	return json.NewEncoder(t.stdout).Encode(info)
}

// event is a line on the pipe between a background process and the one that started it.
type event struct {
	Progress string         `json:"progress,omitempty"`
	Ready    *instance.Info `json:"ready,omitempty"`
}

type pipe struct {
	file *os.File
	enc  *json.Encoder
}

func (p *pipe) Progress(step string) error { return p.enc.Encode(event{Progress: step}) }

func (p *pipe) Ready(info instance.Info) error {
	return errors.Join(p.enc.Encode(event{Ready: &info}), p.file.Close())
}
