package e2e

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"chaperone.dev/chaperone/internal/app"
	"chaperone.dev/chaperone/internal/config"
)

// logBuffer takes what daemons say.
type logBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

func (b *logBuffer) tail(lines int) string {
	all := strings.Split(strings.TrimRight(b.String(), "\n"), "\n")
	all = slices.DeleteFunc(all, func(line string) bool { return strings.Contains(line, `"reflector":`) })
	return strings.Join(all[max(0, len(all)-lines):], "\n") + "\n"
}

// settings are a daemon's, as flags. Each daemon has a cache of its own.
func (w *world) settings(change map[string]string) map[string]string {
	settings := map[string]string{
		"source-url": w.git.URL, "source-branch": "main", "source-token-file": w.tokenFile, "source-cache-dir": w.TempDir(),
		"source-timeout": "5s", "source-poll-interval": "1s", "policies-directory": w.policies, "namespace": w.namespace,
		"listen": "127.0.0.1:0", "kubeconfig": w.api.Kubeconfig, "leader-election": "false", "verify-proxy": w.cluster.Proxy,
		"log-level": "debug", "log-format": "json",
	}
	maps.Copy(settings, change)
	return settings
}

// daemon is one that runs inside the test process.
type daemon struct {
	*app.App
	w      *world
	cancel context.CancelFunc
	ended  chan error
}

// start runs a daemon in this process, which looks at the branch more often
// than one could configure.
func (w *world) start(change ...map[string]string) *daemon {
	w.Helper()
	merged := map[string]string{}
	for _, c := range change {
		maps.Copy(merged, c)
	}
	c, err := config.Load(config.Input{Flags: w.settings(merged)})
	if err != nil {
		w.Fatal(err)
	}
	c.Source.PollInterval = 300 * time.Millisecond
	log := slog.New(slog.NewJSONHandler(w.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	ctx, cancel := context.WithCancel(context.Background())
	d := &daemon{App: app.New(c, app.Build{Version: "test"}, log), w: w, cancel: cancel, ended: make(chan error, 1)}
	go func() { d.ended <- d.Run(ctx) }()
	w.Cleanup(func() { d.stop() })
	return d
}

// stop ends it as SIGTERM does, and wants that to be quick and clean.
func (d *daemon) stop() {
	d.w.Helper()
	if d.cancel == nil {
		return
	}
	d.cancel()
	d.cancel = nil
	select {
	case err := <-d.ended:
		if err != nil {
			d.w.Errorf("daemon ended with: %v", err)
		}
	case <-time.After(15 * time.Second):
		d.w.Errorf("daemon does not end\n%s", d.w.log.tail(40))
	}
}

// process is a daemon in a process of its own.
type process struct {
	w     *world
	cmd   *exec.Cmd
	stdin io.Closer
	log   *logBuffer // of this one alone
	ended chan error
	once  sync.Once
}

// spawn runs `chaperone run` in a process of its own.
func (w *world) spawn(settings map[string]string) *process {
	w.Helper()
	program, err := os.Executable()
	if err != nil {
		w.Fatal(err)
	}
	p := &process{w: w, cmd: exec.Command(program), log: &logBuffer{}, ended: make(chan error, 1)}
	p.cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "CHAPERONE_") })
	p.cmd.Env = append(p.cmd.Env, envDaemon+"=1")
	for flag, value := range settings {
		p.cmd.Env = append(p.cmd.Env, "CHAPERONE_"+strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))+"="+value)
	}
	out := io.MultiWriter(w.log, p.log)
	p.cmd.Stdout, p.cmd.Stderr = out, out
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		w.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		w.Fatal(err)
	}
	go func() { p.ended <- p.cmd.Wait() }()
	w.Cleanup(p.kill)
	return p
}

// kill is kill -9. It returns once the process is gone.
func (p *process) kill() {
	p.once.Do(func() {
		_ = p.cmd.Process.Kill()
		select {
		case <-p.ended:
		case <-time.After(10 * time.Second):
			p.w.Errorf("a killed process does not end")
		}
	})
}

// terminate is SIGTERM; it returns how the process ended, and how long that took.
func (p *process) terminate() (time.Duration, error) {
	began := time.Now()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return 0, err
	}
	select {
	case err := <-p.ended:
		p.once.Do(func() {})
		return time.Since(began), err
	case <-time.After(30 * time.Second):
		return time.Since(began), fmt.Errorf("does not end\n%s", p.w.log.tail(40))
	}
}

var serving = regexp.MustCompile(`"msg":"serving","address":"([^"]+)"`)

// address is where the process serves its page.
func (p *process) address() string {
	p.w.Helper()
	var found []string
	p.w.await("the page to be served", func() bool {
		found = serving.FindStringSubmatch(p.log.String())
		return found != nil
	})
	return found[1]
}

func fetch(t testing.TB, url string) string {
	t.Helper()
	response, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, 4<<20))
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// over reports whether the process has ended by itself.
func (p *process) over() bool {
	select {
	case err := <-p.ended:
		p.once.Do(func() {})
		p.ended <- err
		return true
	default:
		return false
	}
}

func contains(log *logBuffer, text string) bool { return strings.Contains(log.String(), text) }
