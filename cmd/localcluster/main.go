// Command localcluster runs a real Kubernetes control plane on this machine, without containers.
//
// One process holds etcd, kube-apiserver, kube-controller-manager and kube-scheduler of one
// Kubernetes release, simulated nodes, the resource metrics API, a volume provisioner and an HTTP
// proxy that plays the pods' network. It guarantees: everything listens on 127.0.0.1 (or on a
// socket in its directory), everything is stored in its directory, and it ends by itself after
// its time to live or with its owner, so that nothing is left behind. Any number of them run
// side by side.
//
// What a pod does is chosen by its images' tags, as in api:1.4.2-errors-100, or by the pod
// annotation local.chaperone.dev/behavior: healthy (and every tag that names nothing),
// never-ready, crash-loop, image-missing, errors-NN, slow-NNNms, fails-after-NNs, job-fail.
// `localcluster behaviors` tells what each does. What a pod uses is told to autoscalers by the
// annotations local.chaperone.dev/cpu-usage and local.chaperone.dev/memory-usage.
//
// What is not played: containers' logs and shells, traffic between pods, network policies, load
// balancers' addresses, and the operators of the installed custom resources, except that every
// ExternalSecret gets a Secret with random values.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"chaperone.dev/chaperone/cmd/localcluster/internal/instance"
)

// Exit codes, as in every command's help.
const (
	exitNo     = 1 // the answer is no: not running
	exitUsage  = 2 // wrong flags or directory
	exitFailed = 3 // the cluster could not be started or stopped
)

const exitHelp = "\nExit codes: 0 fine, 1 not running, 2 wrong usage, 3 could not be started or stopped.\n"

// coded is an error with its exit code.
type coded struct {
	error
	code int
}

func (c coded) Unwrap() error { return c.error }

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:]))
}

func run(ctx context.Context, args []string) int {
	root := newRoot()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	fmt.Fprintln(os.Stderr, "localcluster:", err)
	var c coded
	if errors.As(err, &c) {
		return c.code
	}
	if errors.Is(err, instance.ErrNone) {
		return exitNo
	}
	return exitUsage
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:           "localcluster",
		Short:         "A real Kubernetes control plane with simulated nodes, in one process",
		Long:          rootHelp + exitHelp,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.AddCommand(upCommand(), downCommand(), statusCommand(), behaviorsCommand(), kubectlCommand())
	return root
}

const rootHelp = `A real Kubernetes control plane with simulated nodes, in one process.

  localcluster up                     start one; prints where it is, as JSON
  localcluster status --dir DIR       the same again, while it runs
  localcluster down --dir DIR         stop it and remove its directory
  localcluster behaviors              what pods can be told to do
  localcluster kubectl ...            the kubectl of the same release, for machines that have none

Pods run nothing, but they get ready, fail and answer HTTP requests as their images' tags say.
Reach them through the proxy, under the names they have in a cluster:

  curl --proxy http://127.0.0.1:PORT http://api.shop.svc:8080/
`
