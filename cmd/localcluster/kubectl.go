package main

import (
	"os"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/component-base/cli"
	"k8s.io/component-base/logs"
	"k8s.io/kubectl/pkg/cmd"
	cmdutil "k8s.io/kubectl/pkg/cmd/util"
)

func kubectlCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "kubectl ...",
		Short: "The kubectl of the same Kubernetes release",
		Long: `The kubectl of the Kubernetes release that the cluster runs, for machines that have none.
Everything after the word is kubectl's: its commands, its flags, its exit codes, and the
environment variables that it reads, such as KUBECONFIG. It runs no plugins.

  KUBECONFIG=DIR/kubeconfig localcluster kubectl get pods --all-namespaces
`,
		DisableFlagParsing: true, // they are kubectl's, --help included
		Run:                func(_ *cobra.Command, args []string) { kubectl(args) },
	}
}

// kubectl ends the process itself where something is wrong, as kubectl does.
func kubectl(args []string) {
	// It reads its preferences, its log level and the name under which it shows
	// itself to the API server from the process's arguments.
	os.Args = append([]string{"kubectl"}, args...)
	if _, err := logs.GlogSetter(cmd.GetLogVerbosity(os.Args)); err != nil {
		cmdutil.CheckErr(err)
	}
	streams := genericiooptions.IOStreams{In: os.Stdin, Out: os.Stdout, ErrOut: os.Stderr}
	flags := genericclioptions.NewConfigFlags(true).WithDiscoveryBurst(300).WithDiscoveryQPS(50).WithWarningPrinter(streams)
	root := cmd.NewDefaultKubectlCommandWithArgs(cmd.KubectlOptions{Arguments: os.Args, ConfigFlags: flags, IOStreams: streams})
	if err := cli.RunNoErrOutput(root); err != nil {
		cmdutil.CheckErr(err)
	}
}
