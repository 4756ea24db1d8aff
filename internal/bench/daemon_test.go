package bench

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// event is a line of the daemon's log, as far as it is of interest.
type event struct {
	Time        time.Time `json:"time"`
	Msg         string    `json:"msg"`
	Address     string    `json:"address"`
	Environment string    `json:"environment"`
	Action      string    `json:"action"`
	Revision    string    `json:"revision"`
	Reason      string    `json:"reason"`
	Outcome     string    `json:"outcome"`
}

// daemon is `chaperone run` in a process of its own.
type daemon struct {
	tb  testing.TB
	cmd *exec.Cmd

	mu     sync.Mutex
	events []event
	tail   []string
	came   chan struct{} // closed at each line
	ended  chan struct{}
}

func startDaemon(tb testing.TB, settings map[string]string) *daemon {
	tb.Helper()
	d := &daemon{tb: tb, cmd: exec.Command(program, "run"), came: make(chan struct{}), ended: make(chan struct{})}
	d.cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "CHAPERONE_") })
	for flag, value := range settings {
		d.cmd.Env = append(d.cmd.Env, "CHAPERONE_"+strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))+"="+value)
	}
	d.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // it must not outlive the benchmark
	read, write := io.Pipe()
	d.cmd.Stdout, d.cmd.Stderr = write, write
	if err := d.cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	go d.follow(read)
	go func() {
		_ = d.cmd.Wait() // how it ended matters only to stop
		_ = write.Close()
		close(d.ended)
	}()
	tb.Cleanup(d.kill)
	return d
}

func (d *daemon) follow(log io.Reader) {
	const kept = 40
	lines := bufio.NewScanner(log)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var e event
		err := json.Unmarshal(lines.Bytes(), &e)
		d.mu.Lock()
		if err == nil {
			d.events = append(d.events, e)
		}
		d.tail = append(d.tail[max(0, len(d.tail)-kept):], lines.Text())
		close(d.came)
		d.came = make(chan struct{})
		d.mu.Unlock()
	}
}

func (d *daemon) pid() int { return d.cmd.Process.Pid }

func (d *daemon) kill() {
	_ = d.cmd.Process.Kill() // it may have ended
	<-d.ended
}

// stop ends it as a rolling update does.
func (d *daemon) stop() {
	d.tb.Helper()
	if err := d.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		d.tb.Fatal(err)
	}
	select {
	case <-d.ended:
	case <-time.After(30 * time.Second):
		d.tb.Fatalf("daemon does not end\n%s", d.said())
	}
}

func (d *daemon) said() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return strings.Join(d.tail, "\n")
}

// await waits until what the daemon said so far satisfies a condition.
func (d *daemon) await(what string, patience time.Duration, holds func([]event) bool) {
	d.tb.Helper()
	end := time.After(patience)
	for {
		d.mu.Lock()
		events, came := d.events, d.came
		d.mu.Unlock()
		if holds(events) {
			return
		}
		select {
		case <-came:
		case <-d.ended:
			d.tb.Fatalf("daemon ended while waiting for %s\n%s", what, d.said())
		case <-end:
			d.tb.Fatalf("waited %s for %s\n%s", patience, what, d.said())
		}
	}
}

// followed waits until the daemon has seen a commit.
func (d *daemon) followed(revision string) time.Time {
	d.tb.Helper()
	var at time.Time
	d.await("commit "+revision+" to be seen", time.Minute, func(events []event) bool {
		for _, e := range events {
			if e.Msg == "new head" && e.Revision == revision {
				at = e.Time
				return true
			}
		}
		return false
	})
	return at
}

// settled waits until n environments are up to date with a revision, and
// returns when the last of them came to be.
func (d *daemon) settled(revision string, n int, patience time.Duration) time.Time {
	d.tb.Helper()
	var at time.Time
	d.await(fmt.Sprintf("%d environments to be up to date with %s", n, revision), patience, func(events []event) bool {
		done := map[string]bool{}
		for _, e := range events {
			if e.Msg == "status" && e.Revision == revision && e.Reason == "UpToDate" {
				done[e.Environment], at = true, e.Time
			}
		}
		return len(done) >= n
	})
	return at
}

// steps are the moments at which the first environment began and the last one
// ended each effect of a commit, since it was seen.
func (d *daemon) steps(revision string) map[string]time.Time {
	d.mu.Lock()
	defer d.mu.Unlock()
	at := map[string]time.Time{}
	for _, e := range d.events {
		if e.Revision != revision || e.Msg != "begin" && e.Msg != "end" {
			continue
		}
		name := e.Msg + " " + e.Action
		if _, known := at[name]; !known || e.Msg == "end" {
			at[name] = e.Time
		}
	}
	return at
}

// measured reads the daemon's own account of a step: how often, and how long in
// all.
func (d *daemon) measured(step string) (times int, took time.Duration) {
	d.tb.Helper()
	for line := range strings.Lines(d.scrape()) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		number, err := strconv.ParseFloat(value, 64)
		switch {
		case err != nil:
		case name == `chaperone_pass_duration_seconds_sum{step="`+step+`"}`:
			took = time.Duration(number * float64(time.Second))
		case name == `chaperone_pass_duration_seconds_count{step="`+step+`"}`:
			times = int(number)
		}
	}
	return times, took
}

func (d *daemon) spent(step string) time.Duration { _, took := d.measured(step); return took }

func (d *daemon) ran(step string) int { times, _ := d.measured(step); return times }

func (d *daemon) scrape() string {
	d.tb.Helper()
	var address string
	d.await("the metrics to be served", time.Minute, func(events []event) bool {
		for _, e := range events {
			if e.Msg == "serving" {
				address = e.Address
			}
		}
		return address != ""
	})
	response, err := http.Get("http://" + address + "/metrics")
	if err != nil {
		d.tb.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, 16<<20))
	if err != nil {
		d.tb.Fatal(err)
	}
	return string(text)
}
