package demo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"chaperone.dev/chaperone/internal/source"
)

const commandWait = 30 * time.Second

// run types a command. That its answer is no is no error.
func (d *demo) run(ctx context.Context, c command) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, commandWait)
	defer cancel()
	program := c.program
	environ := append(without(d.Environ, "CHAPERONE_"), "KUBECONFIG="+d.place.kubeconfig())
	if program == "chaperone" {
		program = d.Executable
	}
	args := c.args
	if program == "kubectl" {
		program, args = d.kubectl(args)
	}
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env, cmd.Dir, cmd.WaitDelay = environ, d.place.dir, time.Second
	if c.program == "git" {
		cmd.Env, cmd.Dir = d.source.environ, d.place.repository()
	}
	var out, problem bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &problem
	err := cmd.Run()
	var exited *exec.ExitError
	if errors.As(err, &exited) && exited.ExitCode() == 1 && out.Len() > 0 {
		err = nil
	}
	if err != nil {
		return "", fmt.Errorf("%s: %w: %s", c, err, tail(problem.String(), 3))
	}
	return out.String(), nil
}

// kubectl is the one that people have, or the one in the local cluster's program.
func (d *demo) kubectl(args []string) (string, []string) {
	if _, err := exec.LookPath("kubectl"); err == nil || d.cluster == nil || d.cluster.program == "" {
		return "kubectl", args
	}
	return d.cluster.program, append([]string{"kubectl"}, args...)
}

// String is the command as one types it into a shell.
func (c command) String() string {
	text := c.program
	for _, arg := range c.args {
		if strings.Contains(arg, " ") {
			arg = "'" + arg + "'"
		}
		text += " " + arg
	}
	return text
}

// show types commands for people to read. A command that cannot be run is shown
// without its answer.
func (d *demo) show(ctx context.Context, commands ...command) {
	for _, c := range commands {
		printed, err := d.run(ctx, c)
		if err != nil {
			printed = ""
		}
		d.tour.command(d.typed(c), printed)
	}
}

// typed is the command as one types it, from anywhere and with KUBECONFIG set.
func (d *demo) typed(c command) string {
	switch c.program {
	case "git":
		return command{"git", append([]string{"-C", d.place.repository()}, c.args...)}.String()
	case "chaperone":
		return command{d.calls(), c.args}.String()
	case "kubectl":
		program, args := d.kubectl(c.args)
		return command{program, args}.String()
	}
	return c.String()
}

// calls is how to call this program: by its name where the shell finds it.
func (d *demo) calls() string {
	name := filepath.Base(d.Executable)
	if found, err := exec.LookPath(name); err == nil && found == d.Executable {
		return name
	}
	if here, err := os.Getwd(); err == nil {
		if near, err := filepath.Rel(here, d.Executable); err == nil && !strings.HasPrefix(near, "..") {
			return near
		}
	}
	return d.Executable
}

func (d *demo) page() string { return "http://" + d.daemon.address + "/" }

// welcome tells what there is.
func (d *demo) welcome() {
	d.tour.line("%s", d.tour.paint(bold, "Chaperone accompanies every change from development to production"))
	d.tour.line("")
	d.tour.tell(fmt.Sprintf(`Kubernetes %s runs on this machine: a real API server, with simulated nodes. Beside it are a Git repository
with two healthcare systems, and the daemon, which follows the repository. You can look on from another terminal:`, d.cluster.Version))
	d.where()
	if !d.Keep {
		d.tour.tell("All of it goes when the demo ends.")
	}
}

func (d *demo) where() {
	for _, line := range [][2]string{
		{"cluster", "export KUBECONFIG=" + d.place.kubeconfig()},
		{"environments", d.calls() + " status"},
		{"page", d.page()},
		{"repository", d.place.repository()},
		{"daemon's log", d.place.log()},
	} {
		d.tour.line("  %-14s %s", line[0], line[1])
	}
	d.tour.line("")
}

// stay keeps everything up until it is interrupted, or something ends by itself.
func (d *demo) stay(ctx context.Context, result Result) error {
	d.staying = true
	d.farewell(result)
	for {
		select {
		case <-ctx.Done():
			d.report.say("ending the demo")
			return nil
		case <-d.daemon.ended:
			return fmt.Errorf("demo: %w", d.daemon.alive())
		}
	}
}

func (d *demo) farewell(result Result) {
	title := "Now it is yours"
	if !result.OK() {
		title = "Something did not come out as told; everything is still up to be looked at"
	}
	d.tour.line("%s", d.tour.paint(bold, title))
	d.tour.line("")
	d.where()
	d.tour.line("Try:")
	d.tour.line("")
	for _, line := range d.ideas() {
		d.tour.line("  %s", line)
	}
	d.tour.line("")
	d.tour.tell("Ctrl-C ends the demo.")
}

func (d *demo) ideas() []string {
	return []string{
		"# a change of your own: break something, commit, push, and watch",
		"git clone " + d.place.repository() + " mine",
		d.calls() + " status",
		"# what holds an environment, and who can change that",
		d.calls() + " why novamind/production",
		"# a promotion, as one who may approve",
		"git -C mine config user.email " + releaseManager.email,
		"git -C mine pull",
		"git -C mine merge --no-ff --no-edit origin/" + source.PromotionBranch("novamind/staging"),
		"git -C mine push",
		"# what production would run, what the policies say of it, and what differs on the cluster",
		d.calls() + " render novamind/production --repo mine",
		d.calls() + " check novamind/production --repo mine",
		d.calls() + " diff novamind/production --repo mine",
		"# drift: it comes back",
		d.typed(command{"kubectl", []string{"--namespace", "crohns-production", "delete", "networkpolicy", "core"}}),
	}
}
