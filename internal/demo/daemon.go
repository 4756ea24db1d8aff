package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"sigs.k8s.io/yaml"
)

const (
	namespace = "chaperone-system"
	stopWait  = 12 * time.Second // the daemon takes at most 10 to stop
	logTail   = 12               // lines of its log in an error
)

// daemon is `chaperone run` as a process of its own, so that it can be killed
// as a machine that loses power would do it.
type daemon struct {
	executable, config, log string
	address                 string // of its page
	environ                 []string
	process                 *exec.Cmd
	ended                   chan struct{}
	err                     error // once ended
}

// startDaemon writes the configuration and starts.
func (d *demo) startDaemon(ctx context.Context) error {
	executable, err := d.self()
	if err != nil {
		return fmt.Errorf("find chaperone's own program: %w", err)
	}
	address, err := freeAddress()
	if err != nil {
		return fmt.Errorf("find a port for the page: %w", err)
	}
	content, err := yaml.Marshal(d.configuration(address))
	if err != nil {
		return fmt.Errorf("write configuration: %w", err)
	}
	if err := os.WriteFile(d.place.config(), content, 0o600); err != nil {
		return fmt.Errorf("write configuration: %w", err)
	}
	d.Executable = executable
	d.daemon = &daemon{
		executable: executable, config: d.place.config(), log: d.place.log(), address: address,
		// Its settings are those of its file, and its Git is not steered by ours.
		environ: without(without(d.Environ, "CHAPERONE_"), "GIT_"),
	}
	d.later(func(context.Context) error { return d.daemon.stop() })
	d.report.say("starting the daemon")
	return d.daemon.start()
}

// self is chaperone's own program, from wherever it is called.
func (d *demo) self() (string, error) {
	if d.Executable == "" {
		return os.Executable()
	}
	return filepath.Abs(d.Executable)
}

// configuration is the daemon's. One replica needs no lease, and one that was
// killed would leave it held for a while.
func (d *demo) configuration(address string) map[string]any {
	return map[string]any{
		"source": map[string]any{
			"url": d.place.repository(), "branch": branch, "pollInterval": "1s", "cacheDir": d.place.mirror(),
		},
		"policies":       map[string]any{"directory": d.place.policies()},
		"namespace":      namespace,
		"listen":         address,
		"kubeconfig":     d.cluster.Kubeconfig,
		"leaderElection": false,
		"author":         map[string]any{"name": "Chaperone", "email": "chaperone@example.org"},
		"groups":         map[string]any{approvers: []string{releaseManager.email}},
		"verify":         map[string]any{"proxy": d.cluster.Proxy},
		"log":            map[string]any{"level": "info", "format": "text"},
	}
}

// freeAddress is one that nobody listens on, and that stays the page's when
// the daemon is started again.
func freeAddress() (string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return listener.Addr().String(), listener.Close()
}

func (d *daemon) start() error {
	log, err := os.OpenFile(d.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("start the daemon: %w", err)
	}
	defer log.Close()
	cmd := exec.Command(d.executable, "run", "--config", d.config)
	cmd.Env, cmd.Stdout, cmd.Stderr = d.environ, log, log
	cmd.SysProcAttr = apart()
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start the daemon: %w", err)
	}
	d.process, d.ended = cmd, make(chan struct{})
	go func(ended chan struct{}) {
		d.err = cmd.Wait()
		close(ended)
	}(d.ended)
	return nil
}

// alive is an error once the daemon ended by itself.
func (d *daemon) alive() error {
	select {
	case <-d.ended:
		return fmt.Errorf("the daemon ended by itself (%v); its last words:\n%s", d.err, d.lastWords())
	default:
		return nil
	}
}

// kill ends it at once, with nothing finished and nothing said.
func (d *daemon) kill() error {
	if err := d.process.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("kill the daemon: %w", err)
	}
	<-d.ended
	return nil
}

// stop asks it to end, and insists after a while.
func (d *daemon) stop() error {
	if d.process == nil {
		return nil
	}
	if err := d.process.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("demo: stop the daemon: %w", err)
	}
	select {
	case <-d.ended:
		return nil
	case <-time.After(stopWait):
		return d.kill()
	}
}

// lastWords is the end of the log.
func (d *daemon) lastWords() string {
	const most = 16 << 10
	file, err := os.Open(d.log)
	if err != nil {
		return err.Error()
	}
	defer file.Close()
	if info, err := file.Stat(); err == nil && info.Size() > most {
		if _, err := file.Seek(-most, io.SeekEnd); err != nil {
			return err.Error()
		}
	}
	content, err := io.ReadAll(io.LimitReader(file, most))
	if err != nil {
		return err.Error()
	}
	return tail(string(content), logTail)
}
