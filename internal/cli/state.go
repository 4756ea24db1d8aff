package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/client-go/rest"

	"chaperone.dev/chaperone/internal/app"
	"chaperone.dev/chaperone/internal/promotion"
	"chaperone.dev/chaperone/internal/state"
)

// clusterFlags say how to reach the daemon's cluster.
type clusterFlags struct {
	kubeconfig, context, namespace string
	timeout                        time.Duration
}

func (f *clusterFlags) add(cmd *cobra.Command, timeout time.Duration) {
	cmd.Flags().StringVar(&f.kubeconfig, "kubeconfig", "", "kubeconfig file; default $KUBECONFIG, or ~/.kube/config, or the pod's own account")
	cmd.Flags().StringVar(&f.context, "context", "", "context of the kubeconfig; default its current one")
	cmd.Flags().StringVar(&f.namespace, "namespace", "chaperone-system", "namespace of the daemon")
	cmd.Flags().DurationVar(&f.timeout, "timeout", timeout, "how long the cluster may take to answer")
}

// connect reads how to reach the cluster; it makes no request.
func (f *clusterFlags) connect(c *command) (*rest.Config, error) {
	if f.timeout <= 0 {
		return nil, fmt.Errorf("--timeout: want a time above zero, such as 30s, not %s", f.timeout)
	}
	path := f.kubeconfig
	if path == "" {
		path = c.environ("KUBECONFIG")
	}
	if home := c.environ("HOME"); path == "" && home != "" {
		usual := filepath.Join(home, ".kube", "config")
		if _, err := os.Stat(usual); err == nil {
			path = usual
		}
	}
	if path == "" && c.environ("KUBERNETES_SERVICE_HOST") == "" {
		return nil, errors.New("no cluster to ask: there is no ~/.kube/config, and this is no pod; set --kubeconfig or $KUBECONFIG")
	}
	return app.KubeConfig(path, f.context)
}

// ask bounds a conversation with the cluster, and says so when that was it.
func (f *clusterFlags) ask(ctx context.Context, question func(context.Context) error) error {
	bounded, cancel := context.WithTimeout(ctx, f.timeout)
	defer cancel()
	err := question(bounded)
	if err != nil && bounded.Err() != nil && ctx.Err() == nil {
		return notAsked(fmt.Errorf("no answer from the cluster within %s (--timeout): %w", f.timeout, err))
	}
	return err
}

// store is where the daemon keeps what it knows; no request is made yet.
func (f *clusterFlags) store(c *command) (*state.Store, error) {
	config, err := f.connect(c)
	if err != nil {
		return nil, err
	}
	return state.New(config, f.namespace, time.Now)
}

// asked is what the daemon has stored.
func (f *clusterFlags) asked(ctx context.Context, c *command, question func(context.Context, *state.Store) error) error {
	store, err := f.store(c)
	if err != nil {
		return err
	}
	err = f.ask(ctx, func(ctx context.Context) error { return question(ctx, store) })
	if errors.Is(err, state.ErrNotFound) {
		return notAsked(fmt.Errorf("the cluster knows no environments; is the daemon installed there (base/chaperone)? %w", err))
	}
	return err
}

// everything is every record.
func (f *clusterFlags) everything(ctx context.Context, c *command) (records []state.Record, err error) {
	err = f.asked(ctx, c, func(ctx context.Context, store *state.Store) error {
		records, err = store.Load(ctx)
		return notAsked(err)
	})
	return records, err
}

// records reads every environment that the daemon knows, or those named.
func (f *clusterFlags) records(ctx context.Context, c *command, names []string) ([]state.Record, error) {
	ids, err := parseIDs(names)
	if err != nil {
		return nil, err
	}
	records, err := f.everything(ctx, c)
	if err != nil {
		return nil, err
	}
	return f.chosen(records, ids)
}

func parseIDs(names []string) ([]promotion.ID, error) {
	var ids []promotion.ID
	for _, name := range names {
		id, err := promotion.ParseID(name)
		if err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	return ids, nil
}

func (f *clusterFlags) chosen(all []state.Record, ids []promotion.ID) ([]state.Record, error) {
	if len(ids) == 0 {
		return inOrder(all), nil
	}
	var known []promotion.ID
	for _, r := range all {
		known = append(known, r.ID)
	}
	var records []state.Record
	for _, id := range ids {
		i := slices.Index(known, id)
		switch {
		case i >= 0:
			records = append(records, all[i])
		case len(known) == 0:
			return nil, fmt.Errorf("environment %s: the daemon in namespace %s does not know it, nor any other yet", id, f.namespace)
		default:
			return nil, fmt.Errorf("environment %s: the daemon does not know it; it knows %s", id, listed(known))
		}
	}
	return records, nil
}

// inOrder puts records as a change passes through their environments. Those
// in a circle, which files of different times may make, come last.
func inOrder(all []state.Record) []state.Record {
	set := promotion.Set{Environments: map[promotion.ID]promotion.Environment{}}
	for _, r := range all {
		set.Environments[r.ID] = r.Environment
	}
	order := promotionOrder(set)
	place := func(r state.Record) int {
		if at := slices.Index(order, r.ID); at >= 0 {
			return at
		}
		return len(order)
	}
	sorted := slices.Clone(all)
	slices.SortStableFunc(sorted, func(a, b state.Record) int { return place(a) - place(b) })
	return sorted
}

func (c *command) environ(name string) string {
	for _, entry := range slices.Backward(c.Environ) {
		if value, found := strings.CutPrefix(entry, name+"="); found {
			return value
		}
	}
	return ""
}
