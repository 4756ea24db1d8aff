package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"chaperone.dev/chaperone/cmd/localcluster/internal/behavior"
	"chaperone.dev/chaperone/cmd/localcluster/internal/instance"
)

// stopPatience is how long a cluster may take to end before it is killed.
const stopPatience = 10 * time.Second

func downCommand() *cobra.Command {
	var dir string
	var keep bool
	cmd := &cobra.Command{
		Use:   "down --dir DIR",
		Short: "Stop a cluster and remove its directory",
		Long:  "Stop the cluster of a directory, if it runs, and remove the directory.\n" + exitHelp,
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			err := instance.Stop(dir, stopPatience, keep)
			if err != nil && !errors.Is(err, instance.ErrNone) {
				return coded{err, exitFailed}
			}
			return err
		},
	}
	cmd.Flags().StringVar(&dir, "dir", "", "the cluster's directory")
	cmd.Flags().BoolVar(&keep, "keep", false, `keep the directory: "up --dir" goes on with it`)
	must(cmd.MarkFlagRequired("dir"))
	return cmd
}

func statusCommand() *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use:   "status --dir DIR",
		Short: "Print where a running cluster is",
		Long:  "Print the line that \"up\" printed, if the cluster runs and is ready.\n" + exitHelp,
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			info, running, ready, err := instance.Status(dir)
			switch {
			case err != nil:
				return err
			case !running:
				return coded{fmt.Errorf("%s: stopped", dir), exitNo}
			case !ready:
				return coded{fmt.Errorf("%s: process %d is starting", dir, info.PID), exitNo}
			}
			return json.NewEncoder(cmd.OutOrStdout()).Encode(info)
		},
	}
	cmd.Flags().StringVar(&dir, "dir", "", "the cluster's directory")
	must(cmd.MarkFlagRequired("dir"))
	return cmd
}

func behaviorsCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "behaviors",
		Short: "List what pods can be told to do",
		Args:  cobra.NoArgs,
		Run: func(cmd *cobra.Command, _ []string) {
			out := cmd.OutOrStdout()
			for _, line := range behavior.Help() {
				fmt.Fprintln(out, line)
			}
			fmt.Fprint(out, behaviorsHelp)
		},
	}
}

const behaviorsHelp = `
An image's tag chooses its container's behaviour: the whole tag, a part of it between underscores,
or its end after a dash. api:1.4.2-errors-100, api:1.4.2_errors-100 and api:errors-100@sha256:…
are the same. The pod annotation local.chaperone.dev/behavior overrules all tags of the pod.

What a pod uses (resource metrics, autoscaling) is set by the pod annotations
local.chaperone.dev/cpu-usage and local.chaperone.dev/memory-usage, for example 800m and 1Gi;
without them it uses 30 % of its requests.
`

// must is for what only a change of this program's own code can break.
func must(err error) {
	if err != nil {
		//lint:panic because a flag that is named wrongly is named so in this package.
		panic(err)
	}
}
