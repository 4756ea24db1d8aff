package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"google.golang.org/grpc/grpclog"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"

	"chaperone.dev/chaperone/cmd/localcluster/internal/instance"
)

// runBackground starts the same command once more, in a session of its own, and returns when it
// is ready. An interrupted start leaves nothing behind.
func (f *upFlags) runBackground(ctx context.Context, stdout io.Writer) error {
	cmd, reports, err := f.spawn()
	if err != nil {
		return coded{fmt.Errorf("start in the background: %w", err), exitFailed}
	}
	gone := make(chan error, 1)
	go func() { gone <- cmd.Wait() }()
	info, err := f.follow(ctx, reports)
	if err == nil {
		return json.NewEncoder(stdout).Encode(info)
	}
	_ = cmd.Process.Signal(syscall.SIGTERM) // no harm if it has ended
	select {
	case <-gone:
	case <-time.After(10 * time.Second):
		_ = cmd.Process.Kill()
		<-gone
	}
	err = errors.Join(err, f.lastWords())
	if f.fresh {
		err = errors.Join(err, os.RemoveAll(f.dir))
	}
	return coded{err, exitFailed}
}

func (f *upFlags) spawn() (*exec.Cmd, io.ReadCloser, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, nil, err
	}
	logs, err := f.openLogs()
	if err != nil {
		return nil, nil, err
	}
	defer logs.Close()
	reader, writer, err := os.Pipe()
	if err != nil {
		return nil, nil, err
	}
	defer writer.Close()
	cmd := exec.Command(self, "up", "--foreground", "--report-fd=3", "--dir="+f.dir,
		"--nodes="+strconv.Itoa(f.nodes), "--ttl="+f.ttl.String(),
		"--owner-pid="+strconv.Itoa(f.owner), "--no-crds="+strconv.FormatBool(f.noCRDs))
	cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = logs, logs, []*os.File{writer}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	return cmd, reader, cmd.Start()
}

// follow passes progress on until the cluster is ready.
func (f *upFlags) follow(ctx context.Context, reports io.ReadCloser) (*instance.Info, error) {
	stop := context.AfterFunc(ctx, func() { _ = reports.Close() })
	defer stop()
	defer reports.Close()
	progress := terminal{begun: time.Now()}
	lines := json.NewDecoder(reports)
	for {
		var e event
		if err := lines.Decode(&e); err != nil {
			if ctx.Err() != nil {
				return nil, errors.New("interrupted")
			}
			return nil, errors.New("the cluster ended before it was ready")
		}
		if e.Ready != nil {
			return e.Ready, nil
		}
		_ = progress.Progress(e.Progress)
	}
}

// lastWords is the end of the log, as an error: it is removed with the directory.
func (f *upFlags) lastWords() error {
	data, err := os.ReadFile(filepath.Join(f.dir, instance.LogFile))
	if err != nil {
		return nil
	}
	lines := strings.Split(strings.TrimSpace(string(data)), "\n")
	return errors.New(strings.Join(lines[max(0, len(lines)-15):], "\n"))
}

// quietLogs keeps warnings and errors, in the log file. At the level below, every object's event
// is a line.
func quietLogs(logs io.Writer) {
	var flags flag.FlagSet
	klog.InitFlags(&flags)
	must(flags.Set("stderrthreshold", "FATAL")) // or else errors are written twice
	klog.LogToStderr(false)
	klog.SetOutputBySeverity("INFO", io.Discard)
	klog.SetOutputBySeverity("WARNING", logs) // errors are written to it as well
	klog.SetOutputBySeverity("ERROR", io.Discard)
	klog.SetOutputBySeverity("FATAL", io.Discard)
	// The API server opens and closes many connections to etcd; gRPC warns of each.
	grpclog.SetLoggerV2(grpclog.NewLoggerV2(io.Discard, io.Discard, logs))
	rest.SetDefaultWarningHandler(rest.NoWarnings{})
}
