package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"chaperone.dev/chaperone/internal/app"
	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/state"
)

// clusterFlags say how to reach the daemon's cluster.
type clusterFlags struct {
	kubeconfig, context, namespace string
	timeout                        time.Duration
}

func (f *clusterFlags) add(cmd *cobra.Command, c *command) {
	cmd.Flags().StringVar(&f.kubeconfig, "kubeconfig", c.environ("KUBECONFIG"), "kubeconfig file; default $KUBECONFIG, or the pod's own account")
	cmd.Flags().StringVar(&f.context, "context", "", "context of the kubeconfig; default its current one")
	cmd.Flags().StringVar(&f.namespace, "namespace", "chaperone-system", "namespace of the daemon")
	cmd.Flags().DurationVar(&f.timeout, "timeout", 30*time.Second, "give up after")
}

// open connects to the daemon's state.
func (f *clusterFlags) open() (*state.Store, error) {
	config, err := app.KubeConfig(f.kubeconfig, f.context)
	if err != nil {
		return nil, err
	}
	return state.New(config, f.namespace, time.Now)
}

// records reads every environment that the daemon knows, or those named.
func (f *clusterFlags) records(ctx context.Context, names []string) ([]state.Record, error) {
	store, err := f.open()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, f.timeout)
	defer cancel()
	all, err := store.Load(ctx)
	if errors.Is(err, state.ErrNotFound) {
		return nil, notAsked(fmt.Errorf("the cluster knows no environments: install the daemon first (base/chaperone): %w", err))
	}
	if err != nil {
		return nil, notAsked(err)
	}
	return chosen(all, names)
}

func chosen(all []state.Record, names []string) ([]state.Record, error) {
	if len(names) == 0 {
		return all, nil
	}
	var records []state.Record
	for _, name := range names {
		id, err := promotion.ParseID(name)
		if err != nil {
			return nil, err
		}
		i := slices.IndexFunc(all, func(r state.Record) bool { return r.ID == id })
		if i < 0 {
			return nil, fmt.Errorf("environment %s: the daemon does not know it; it knows %s", id, known(all))
		}
		records = append(records, all[i])
	}
	return records, nil
}

func known(all []state.Record) string {
	if len(all) == 0 {
		return "none yet"
	}
	text := ""
	for i, r := range all {
		if i > 0 {
			text += ", "
		}
		text += r.ID.String()
	}
	return text
}

func (c *command) environ(name string) string {
	for _, entry := range slices.Backward(c.Environ) {
		if value, found := strings.CutPrefix(entry, name+"="); found {
			return value
		}
	}
	return ""
}
